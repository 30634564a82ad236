"""`edgeopt.data.images`: a folder of pictures becomes an array, prepared as it says."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgeopt.data.dataset import load_dataset
from edgeopt.data.images import fit_channels, load_image_folder
from edgeopt.errors import DataError


def picture(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes of 6 x 8 colour images of one value each: cats 10 and 20, dogs 200."""
    for name, value in (("cats/b.png", 20), ("cats/a.png", 10), ("dogs/c.PNG", 200)):
        picture(tmp_path / "set" / name, np.full((6, 8, 3), value))
    (tmp_path / "set" / "readme.txt").write_text("no image")
    (tmp_path / "set" / ".hidden").mkdir()
    return tmp_path / "set"


def test_classes_are_sub_folders_in_alphabetical_order(folder):
    images, labels, note = load_image_folder(folder, None, "0..255")
    assert images.shape == (3, 6, 8, 3)
    assert images.dtype == np.float32
    assert images[:, 0, 0, 0].tolist() == [10, 20, 200]
    assert labels.tolist() == [0, 0, 1]
    assert note == "images resized to 6x8, pixels scaled to 0..255"


@pytest.mark.parametrize(("scaling", "black", "white"), [("0..255", 0, 255), ("0..1", 0, 1), ("-1..1", -1, 1)])
def test_scaling_is_exact_at_both_ends(tmp_path, scaling, black, white):
    picture(tmp_path / "a.png", [[0, 255]])
    images, labels, _ = load_image_folder(tmp_path, None, scaling)
    # One rounding to float32 in pixel * scale, at most half a unit in the last place of 1.
    np.testing.assert_allclose(images.ravel(), [black, white], atol=2**-24)
    assert labels is None


def test_size_is_height_then_width(folder):
    assert load_image_folder(folder, (3, 5), "0..1")[0].shape == (3, 3, 5, 3)


def test_other_sizes_take_the_first_ones(tmp_path):
    picture(tmp_path / "a.png", np.zeros((4, 5, 3)))
    picture(tmp_path / "b.png", np.zeros((9, 9, 3)))
    assert load_image_folder(tmp_path, None, "0..1")[0].shape == (2, 4, 5, 3)


def test_greyscale_has_one_channel_only_if_all_are_grey(tmp_path):
    picture(tmp_path / "a.png", np.full((4, 4), 7))
    assert load_image_folder(tmp_path, None, "0..255")[0].shape == (1, 4, 4, 1)
    picture(tmp_path / "b.png", np.full((4, 4, 3), 7))
    assert load_image_folder(tmp_path, None, "0..255")[0].shape == (2, 4, 4, 3)


def test_transparent_and_palette_images_become_rgb(tmp_path):
    picture(tmp_path / "a.png", np.full((4, 4, 4), 9))
    Image.fromarray(np.zeros((4, 4), np.uint8)).convert("P").save(tmp_path / "b.png")
    assert load_image_folder(tmp_path, None, "0..255")[0].shape == (2, 4, 4, 3)


def test_only_chosen_images_are_read(folder):
    (folder / "cats" / "a.png").write_bytes(b"broken, and never looked at")
    seen = []

    def choose(total, labels):
        seen.append((total, labels.tolist()))
        return np.array([1, 2])

    images, labels, _ = load_image_folder(folder, None, "0..255", choose)
    assert seen == [(3, [0, 0, 1])]
    assert (images[:, 0, 0, 0].tolist(), labels.tolist()) == ([20, 200], [0, 1])


def test_a_model_of_the_other_channel_count_is_served(folder, tmp_path):
    grey = load_dataset(folder).bind(["x"], [(1, 6, 8, 1)])["x"]
    assert grey.shape == (3, 6, 8, 1)
    # Three products and two sums, each rounded to float32 around 200: under 4 ulp of 2**-16.
    np.testing.assert_allclose(grey[:, 0, 0, 0], [10, 20, 200], atol=4 * 2**-16)
    picture(tmp_path / "grey" / "a.png", np.full((6, 8), 7))
    colour = load_dataset(tmp_path / "grey").bind(["x"], [(1, 6, 8, 3)])["x"]
    assert colour.shape == (1, 6, 8, 3)
    assert (colour == 7).all()


def test_arrays_are_not_recoloured():
    with pytest.raises(DataError, match=r"expected \(samples, 6, 8, 1\)"):
        load_dataset(np.zeros((3, 6, 8, 3))).bind(["x"], [(1, 6, 8, 1)])
    assert fit_channels(np.zeros((3, 6, 8, 2)), 3).shape[-1] == 2


def test_another_size_than_the_models_says_how_to_state_it(folder):
    with pytest.raises(DataError, match=r"expected \(samples, 96, 96, 3\); state the size with --image-size"):
        load_dataset(folder).bind(["x"], [(1, 96, 96, 3)])


def test_no_images(tmp_path):
    with pytest.raises(DataError, match=r"holds no images \(.bmp, .gif"):
        load_dataset(tmp_path)


def test_an_unreadable_image_is_named(folder):
    (folder / "cats" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(DataError, match=r"a\.png is not a readable image \(.*\); remove it or save it again"):
        load_dataset(folder)


def test_an_unknown_scaling(folder):
    with pytest.raises(DataError, match=r"Unknown image scaling '0\.\.2'; expected one of 0\.\.255, 0\.\.1, -1\.\.1"):
        load_dataset(folder, image_scaling="0..2")
