"""A folder of pictures is read as `keras.utils.image_dataset_from_directory` reads it, by what the two give."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import edgeopt
from edgeopt.api.bench import bound_inputs
from edgeopt.api.reading import read_tflite
from edgeopt.data.dataset import load_dataset
from edgeopt.devices import BenchPlan
from edgeopt.errors import DataError

SHORT = BenchPlan(min_seconds=0.0, max_seconds=0.05, min_runs=5, processes=1)
# Values reach 255, where one unit in the last place of float32 is 2**-16; each of the three interpolations of a pixel
# rounds once or twice, and TensorFlow may fuse a product and a sum: 8 units.
ROUNDING = 8 * 2.0**-16


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)


def photo(seed, height=40, width=56):
    """A picture with edges and gradients, so that decoders and resizings differ on it."""
    generator = np.random.default_rng(seed)
    rough = generator.normal(120, 30, (height, width, 3)).cumsum(0).astype(int) % 255
    return np.clip(rough, 0, 255).astype(np.uint8)


def by_keras(folder, size, **options):
    import keras

    read = keras.utils.image_dataset_from_directory(
        folder, image_size=size, shuffle=False, batch_size=None, verbose=False, **options
    )
    pairs = [(np.asarray(image), int(label)) for image, label in read]
    return np.stack([image for image, _ in pairs]).astype(np.float32), [label for _, label in pairs]


def by_edgeopt(folder, size, channels=3, **options):
    data = load_dataset(folder, image_size=size, **options)
    found = data.bind(["x"], [(1, *size, channels)])["x"]
    return np.asarray(found, np.float32), list(data.labels)


@pytest.fixture
def photos(tmp_path):
    """Two classes of JPEG and PNG photos of several sizes, larger and smaller than the target."""
    for index, (height, width) in enumerate([(40, 56), (90, 61), (17, 23), (32, 32)]):
        kind = "ab"[index % 2]
        save(tmp_path / "set" / kind / f"{index}.jpg", photo(index, height, width), quality=90)
        save(tmp_path / "set" / kind / f"{index}.png", photo(index + 9, height, width))
    return tmp_path / "set"


def test_by_default_photos_of_any_size_are_what_keras_reads(photos):
    ours, labels = by_edgeopt(photos, (32, 32))
    theirs, expected = by_keras(photos, (32, 32))
    assert labels == expected
    np.testing.assert_allclose(ours, theirs, atol=ROUNDING, rtol=0)


def test_sixteen_bits_are_read_at_full_range(tmp_path):
    ramp = np.linspace(0, 65535, 1024).reshape(32, 32).astype(np.uint16)
    save(tmp_path / "a" / "1.png", ramp)
    save(tmp_path / "b" / "1.png", np.ascontiguousarray(ramp[::-1]))
    ours, _ = by_edgeopt(tmp_path, (32, 32))
    np.testing.assert_array_equal(ours, by_keras(tmp_path, (32, 32))[0])
    assert 127 < ours.mean() < 128


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16), "16-bit"),
        (np.arange(64).reshape(8, 8).astype(np.int32) * 1000, "32-bit integer"),
        (np.linspace(0, 1, 64).reshape(8, 8).astype(np.float32), "float"),
    ],
)
def test_what_keras_does_not_read_and_eight_bits_do_not_hold_is_refused_by_name(tmp_path, pixels, words):
    save(tmp_path / "a" / "1.tif", pixels)
    save(tmp_path / "b" / "1.png", photo(0, 8, 8))
    with pytest.raises(DataError, match=rf"1\.tif holds {words} values .*; save it with 8 bits"):
        load_dataset(tmp_path, image_size=(8, 8)).bind(["x"], [(1, 8, 8, 3)])


def test_a_jpeg_is_decoded_as_tensorflow_decodes_it(tmp_path):
    for index in range(4):
        save(tmp_path / "ab"[index % 2] / f"{index}.jpg", photo(index), quality=95)
    ours, _ = by_edgeopt(tmp_path, (40, 56))
    np.testing.assert_array_equal(ours, by_keras(tmp_path, (40, 56))[0])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "turned", "I;16", "moving", "gray bmp"])
def test_every_mode_is_adapted_as_keras_adapts_it(tmp_path, mode):
    picture = Image.fromarray(photo(3))
    for name in ("a/1", "b/2"):
        if mode == "CMYK":
            save(tmp_path / f"{name}.jpg", picture.convert("CMYK"))
        elif mode == "turned":
            tags = Image.Exif()
            tags[274] = 6
            save(tmp_path / f"{name}.jpg", picture, exif=tags)
        elif mode == "I;16":
            save(tmp_path / f"{name}.png", photo(3)[..., 0].astype(np.uint16) * 257)
        elif mode == "moving":
            save(tmp_path / f"{name}.gif", picture, save_all=True, append_images=[Image.fromarray(photo(4))])
        elif mode == "gray bmp":
            save(tmp_path / f"{name}.bmp", picture.convert("L"))
        else:
            save(tmp_path / f"{name}.png", picture.convert(mode))
    save(tmp_path / "b" / "3.png", picture)
    np.testing.assert_array_equal(by_edgeopt(tmp_path, (40, 56))[0], by_keras(tmp_path, (40, 56))[0])


def test_colour_becomes_grey_as_keras_makes_it(tmp_path):
    save(tmp_path / "a" / "1.png", photo(0))
    save(tmp_path / "a" / "2.jpg", photo(1))
    save(tmp_path / "b" / "1.png", Image.fromarray(photo(2)).convert("L"))
    theirs, _ = by_keras(tmp_path, (24, 30), color_mode="grayscale")
    np.testing.assert_allclose(by_edgeopt(tmp_path, (24, 30), 1)[0], theirs, atol=ROUNDING, rtol=0)


def test_a_link_to_the_folder_itself_or_above_is_no_class(tmp_path):
    for kind in "ab":
        save(tmp_path / "set" / kind / "1.png", photo(0))
    (tmp_path / "set" / "again").symlink_to(tmp_path / "set", target_is_directory=True)
    (tmp_path / "set" / "up").symlink_to("..", target_is_directory=True)
    save(tmp_path / "elsewhere" / "1.png", photo(1))
    (tmp_path / "set" / "c").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert load_dataset(tmp_path / "set").labels.tolist() == [0, 1, 2]


# --- the scores that follow from it ----------------------------------------------------------------------------------


@pytest.fixture
def sharp(tmp_path):
    """A model that tells a fine checkerboard from grey after it was shrunk as Keras shrinks it, and the folder."""
    import keras

    board = np.indices((66, 66)).sum(0) % 2 * 255
    for index in range(6):
        save(tmp_path / "set" / "fine" / f"{index}.png", np.repeat(board[..., None], 3, 2).astype(np.uint8))
        save(tmp_path / "set" / "flat" / f"{index}.png", np.full((66, 66, 3), 124 + index, np.uint8))
    image = keras.Input((22, 22, 3), name="image")
    spread = keras.layers.GlobalAveragePooling2D()(abs(image - 127.5))
    out = keras.layers.Dense(2, name="kind")(spread)
    model = keras.Model(image, out)
    weights = np.array([[1, 0], [1, 0], [1, 0]], np.float32)
    model.layers[-1].set_weights([weights, np.array([0, 150], np.float32)])
    return model, tmp_path / "set"


def test_validate_gives_a_task_of_sharpness_the_score_that_keras_gives(sharp):
    model, folder = sharp
    images, labels = by_keras(folder, (22, 22))
    assert (model.predict(images, verbose=0).argmax(1) == labels).mean() == 1.0
    artifact = edgeopt.convert(model, calibration=folder, image_size=(22, 22))
    report = edgeopt.validate(artifact, data=folder, image_size=(22, 22), baseline=model, bench=SHORT)
    assert report.scores.baseline.value == 1.0
    assert report.scores.candidate.value == 1.0


def test_a_folder_whose_classes_do_not_fit_the_outputs_is_refused(tmp_path):
    import keras

    for kind in "ab":
        for index in range(3):
            save(tmp_path / kind / f"{index}.png", photo(index, 8, 8))
    image = keras.Input((8, 8, 3), name="image")
    model = keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(image)))
    artifact = edgeopt.convert(model, calibration=tmp_path)
    with pytest.raises(DataError, match=r"has 2 classes \(a, b\), and the output .* 10; give the folder"):
        edgeopt.validate(artifact, data=tmp_path, bench=SHORT)


def test_validate_reads_pictures_as_the_calibration_did_unless_told_otherwise(tmp_path):
    import keras

    for index in range(12):
        save(tmp_path / "set" / "ab"[index % 2] / f"{index}.png", photo(index, 30, 20))
    image = keras.Input((8, 8, 3), name="image")
    model = keras.Model(image, keras.layers.Dense(2, name="kind")(keras.layers.Flatten()(image)))
    prepared = {"image_size": (8, 8), "image_scaling": "-1..1", "image_resize": "crop"}
    edgeopt.convert(model, calibration=tmp_path / "set", **prepared).save(tmp_path / "m.tflite")
    report = edgeopt.validate(tmp_path / "m.tflite", data=tmp_path / "set", bench=SHORT).to_dict()
    images = report["images"]
    assert (images["size"], images["resize"], images["scaling"]) == ([8, 8], "crop", "-1..1")
    assert (images["classes"], images["adapted"]) == (["a", "b"], {"resized": 12})
    assert images["decoder"].startswith("pillow ")
    assert report["calibration_overlap"]["count"] == 12
    other = edgeopt.validate(
        tmp_path / "m.tflite", data=tmp_path / "set", bench=SHORT, image_resize="area", image_scaling="0..1"
    ).to_dict()
    assert (other["images"]["resize"], other["images"]["scaling"]) == ("area", "0..1")
    assert other["calibration_overlap"]["count"] == 0
    few = bound_inputs(read_tflite(tmp_path / "m.tflite"), tmp_path / "set", 2)["image"]  # what bench and parity run
    np.testing.assert_array_equal(few, load_dataset(tmp_path / "set", **prepared).arrays[0][:2])
    arrays = np.zeros((4, 8, 8, 3), np.float32)
    assert edgeopt.validate(tmp_path / "m.tflite", data=(arrays, [0, 1, 0, 1]), bench=SHORT).to_dict()["images"] is None


def test_classes_that_are_not_the_outputs_are_not_kept_by_a_conversion(tmp_path):
    import keras

    for index in range(4):
        save(tmp_path / "ab"[index % 2] / f"{index}.png", photo(index, 8, 8))
    image = keras.Input((8, 8, 3), name="image")
    model = keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(image)))
    artifact = edgeopt.convert(model, calibration=tmp_path)
    assert artifact.sidecar["images"]["classes"] == []
    assert any(warning.startswith("classes: the calibration folder has 2 classes") for warning in artifact.warnings)


def test_a_folder_too_large_for_memory_gives_the_scores_of_one_that_is_not(photos, monkeypatch, tmp_path):
    import keras

    image = keras.Input((16, 16, 3), name="image")
    model = keras.Model(image, keras.layers.Dense(2, name="kind")(keras.layers.Flatten()(image / 255)))
    model.save(tmp_path / "m.keras")
    artifact = edgeopt.convert(model, calibration=photos, image_size=(16, 16))

    def scores():
        found = edgeopt.validate(artifact, data=photos, baseline=str(tmp_path / "m.keras"), bench=SHORT).to_dict()
        return [
            found[name] for name in ("samples", "accuracy", "baseline_accuracy", "agreement", "calibration_overlap")
        ]

    small = scores()
    monkeypatch.setattr("edgeopt.data.folder.KEPT_BYTES", 0)
    monkeypatch.setattr("edgeopt.devices.pieces.PIECE_BYTES", 3 * 16 * 16 * 3 * 4)
    assert scores() == small
