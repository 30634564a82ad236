"""`edgeopt.data.images`: a folder of pictures becomes an array, prepared as it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from edgeopt.data.dataset import load_dataset
from edgeopt.data.folder import Pictures, Preparation
from edgeopt.data.images import load_image_folder
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
    images, labels, classes = load_image_folder(folder, Preparation())
    assert classes == ("cats", "dogs")
    assert images.shape == (3, 6, 8, 3)
    assert images.dtype == np.float32
    assert images[:, 0, 0, 0].tolist() == [10, 20, 200]
    assert labels.tolist() == [0, 0, 1]
    assert images.note() == (
        "images resized to 6x8 (bilinear without antialiasing, as Keras' image_dataset_from_directory does by default), "
        "pixels scaled to 0..255"
    )


@pytest.mark.parametrize(("scaling", "black", "white"), [("0..255", 0, 255), ("0..1", 0, 1), ("-1..1", -1, 1)])
def test_scaling_is_exact_at_both_ends(tmp_path, scaling, black, white):
    picture(tmp_path / "a.png", [[0, 255]])
    images, labels, _ = load_image_folder(tmp_path, Preparation(scaling=scaling))
    # One rounding to float32 in pixel * scale, at most half a unit in the last place of 1.
    np.testing.assert_allclose(images[:].ravel(), [black, white], atol=2**-24)
    assert labels is None


def test_size_is_height_then_width(folder):
    assert load_image_folder(folder, Preparation((3, 5)))[0].shape == (3, 3, 5, 3)


def test_other_sizes_take_the_first_ones(tmp_path):
    picture(tmp_path / "a.png", np.zeros((4, 5, 3)))
    picture(tmp_path / "b.png", np.zeros((9, 9, 3)))
    assert load_image_folder(tmp_path, Preparation())[0].shape == (2, 4, 5, 3)


def test_greyscale_has_one_channel_only_if_all_are_grey(tmp_path):
    picture(tmp_path / "a.png", np.full((4, 4), 7))
    assert load_image_folder(tmp_path, Preparation())[0].shape == (1, 4, 4, 1)
    picture(tmp_path / "b.png", np.full((4, 4, 3), 7))
    assert load_image_folder(tmp_path, Preparation())[0].shape == (2, 4, 4, 3)


def test_transparent_and_palette_images_become_rgb(tmp_path):
    picture(tmp_path / "a.png", np.full((4, 4, 4), 9))
    Image.fromarray(np.zeros((4, 4), np.uint8)).convert("P").save(tmp_path / "b.png")
    assert load_image_folder(tmp_path, Preparation())[0].shape == (2, 4, 4, 3)


def test_only_chosen_images_are_read(folder):
    (folder / "cats" / "a.png").write_bytes(b"broken, and never looked at")
    seen = []

    def choose(total, labels):
        seen.append((total, labels.tolist()))
        return np.array([1, 2])

    images, labels, _ = load_image_folder(folder, Preparation(), choose)
    assert seen == [(3, [0, 0, 1])]
    assert (images[:, 0, 0, 0].tolist(), labels.tolist()) == ([20, 200], [0, 1])


def test_a_model_of_the_other_channel_count_is_served(folder, tmp_path):
    grey = load_dataset(folder).bind(["x"], [(1, 6, 8, 1)])["x"]
    assert grey.shape == (3, 6, 8, 1)
    assert grey[:, 0, 0, 0].tolist() == [10, 20, 200]
    picture(tmp_path / "grey" / "a.png", np.full((6, 8), 7))
    colour = load_dataset(tmp_path / "grey").bind(["x"], [(1, 6, 8, 3)])["x"]
    assert colour.shape == (1, 6, 8, 3)
    assert (colour == 7).all()


def test_arrays_are_not_recoloured():
    with pytest.raises(DataError, match=r"expected \(samples, 6, 8, 1\)"):
        load_dataset(np.zeros((3, 6, 8, 3))).bind(["x"], [(1, 6, 8, 1)])


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


def test_an_unknown_way_to_resize(folder):
    with pytest.raises(DataError, match=r"Unknown image resize 'bilinar'; did you mean 'bilinear'"):
        load_dataset(folder, image_resize="bilinar")


def test_a_class_without_pictures_keeps_its_number(folder):
    (folder / "birds").mkdir()
    _, labels, classes = load_image_folder(folder, Preparation())
    assert (classes, labels.tolist()) == (("birds", "cats", "dogs"), [1, 1, 2])


# --- decoded where they are looked at --------------------------------------------------------------------------------


@pytest.fixture
def looked_at(monkeypatch):
    """The files that are decoded, in order."""
    import edgeopt.data.folder as module

    seen, decode = [], module.decode
    monkeypatch.setattr(module, "decode", lambda path, *rest: seen.append(path[-5:]) or decode(path, *rest))
    return seen


def test_pictures_are_indexed_like_an_array(folder, looked_at):
    pictures = load_dataset(folder).arrays[0]
    assert (len(pictures), pictures.shape, pictures.ndim, pictures.dtype) == (3, (3, 6, 8, 3), 4, np.float32)
    assert looked_at == []
    assert pictures[1].shape == (6, 8, 3)
    assert looked_at == ["b.png"]
    whole = np.asarray(pictures)
    for rows in (slice(1, None), np.array([2, 0]), np.array([True, False, True]), slice(0, 0)):
        np.testing.assert_array_equal(pictures[rows], whole[rows])
    for rows in ((slice(None), 0), (1, 2, slice(None)), (..., 0), (np.array([1]), slice(2))):
        np.testing.assert_array_equal(pictures[rows], whole[rows])
    np.testing.assert_array_equal(pictures.take(np.array([2, 0])), whole[[2, 0]])


def test_a_small_folder_is_decoded_once_and_a_large_one_each_time(folder, looked_at, monkeypatch):
    data = load_dataset(folder)
    for _ in range(2):
        found = data.bind(["x"], [(1, 6, 8, 3)])["x"]
        assert isinstance(found, np.ndarray)
    assert len(looked_at) == 3
    monkeypatch.setattr("edgeopt.data.folder.KEPT_BYTES", 3 * 6 * 8 * 3 * 4 - 1)
    assert isinstance(load_dataset(folder).bind(["x"], [(1, 6, 8, 3)])["x"], Pictures)
    assert len(looked_at) == 3


def test_another_process_reads_the_same(folder):
    pictures = load_dataset(folder, image_size=(3, 5), image_resize="area", image_scaling="-1..1").arrays[0]
    again = Pictures.from_dict(json.loads(json.dumps(pictures.with_channels(1).to_dict())))
    np.testing.assert_array_equal(again, pictures.with_channels(1))
    assert again.record() == pictures.with_channels(1).record()


def test_what_was_adapted_is_counted(tmp_path):
    picture(tmp_path / "1.png", np.zeros((4, 5, 3)))
    picture(tmp_path / "2.png", np.zeros((9, 9, 4)))
    picture(tmp_path / "3.png", np.zeros((4, 5)))
    Image.fromarray(np.zeros((4, 5), np.uint16)).save(tmp_path / "4.png")
    Image.fromarray(np.zeros((4, 5, 4), np.uint8), "CMYK").save(tmp_path / "5.jpg")
    pictures = load_dataset(tmp_path, image_size=(4, 5)).arrays[0]
    assert pictures.adapted() == {
        "resized": 1,
        "transparency dropped": 1,
        "grey to RGB": 2,
        "16 to 8 bits": 1,
        "CMYK to RGB": 1,
    }
    record = pictures.record()
    tensorflow, pillow = record["decoder"].split(", ")
    assert re.fullmatch(r"tensorflow \d\S+ \(JPEG\)", tensorflow)
    assert re.fullmatch(r"pillow \d\S+ \(PNG\)", pillow)
    assert (record["size"], record["resize"], record["scaling"]) == ([4, 5], "bilinear", "0..255")


def test_pictures_that_pillow_decodes_do_not_load_tensorflow(folder):
    code = (
        "import sys; from edgeopt.data import load_dataset; data = load_dataset(sys.argv[1], image_size=(3, 3));"
        "print(data.bind(['x'], [(1, 3, 3, 3)])['x'].shape, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(3, 3, 3, 3) False"


def test_more_pixels_than_fit_are_refused_before_they_are_decoded(folder):
    """A kilobyte of PNG can stand for gigabytes."""
    Image.new("1", (10_000, 6_000)).save(folder / "cats" / "a.png", optimize=True)
    with pytest.raises(DataError, match=r"a\.png has 10000x6000 pixels, expected 50,000,000 at most; resize it"):
        load_dataset(folder)


def test_whatever_a_decoder_raises_names_the_picture(folder, monkeypatch):
    """The plugins raise what they like: `struct.error`, `KeyError`, `ZeroDivisionError`, ..."""
    Image.new("RGB", (4, 4)).save(folder / "cats" / "z.gif")
    found = load_dataset(folder)
    monkeypatch.setattr(Image.Image, "convert", lambda *_: 1 / 0)
    with pytest.raises(DataError, match=r"z\.gif is not a readable image \(division by zero\)"):
        found.arrays[0].with_channels(3)[2:3]
