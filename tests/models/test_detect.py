"""`edgeopt.models.detect`: which Keras wrote a file, from what is in it. No TensorFlow here."""

from __future__ import annotations

import json
import zipfile

import h5py
import pytest

from edgeopt.errors import FileFormatError, UsageError
from edgeopt.models.detect import Flavour, detect

KERAS3 = {"class_name": "Functional", "config": {"layers": [{"batch_shape": [None, 4]}]}}
KERAS2 = {"class_name": "Functional", "config": {"layers": [{"batch_input_shape": [None, 4]}]}}


def keras_zip(path, config, version=None):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        if version is not None:
            archive.writestr("metadata.json", json.dumps({"keras_version": version}))
    return path


def hdf5(path, **attributes):
    with h5py.File(path, "w") as archive:
        archive.attrs.update(attributes)
    return path


@pytest.mark.parametrize(
    ("config", "version", "flavour"),
    [
        (KERAS3, "3.15.1", Flavour.KERAS3),
        (KERAS2, "2.19.0", Flavour.TF_KERAS),
        (KERAS3, None, Flavour.KERAS3),
        (KERAS2, None, Flavour.TF_KERAS),
        (KERAS2, "4.0", Flavour.KERAS3),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "hdf5"])
def test_the_version_decides_and_else_the_spelling_of_shapes(tmp_path, kind, config, version, flavour):
    if kind == "zip":
        path = keras_zip(tmp_path / "m.keras", config, version)
    else:
        versions = {} if version is None else {"keras_version": version}
        path = hdf5(tmp_path / "m.h5", model_config=json.dumps(config), **versions)
    found = detect(path)
    assert found.flavour is flavour
    assert found.suffix == (".keras" if kind == "zip" else ".h5")
    assert json.loads(found.config_text) == config


@pytest.mark.parametrize("name", ["m.h5", "m.hdf5", "m.keras", "model"])
def test_the_name_does_not_matter(tmp_path, name):
    assert detect(hdf5(tmp_path / name, model_config=json.dumps(KERAS2), keras_version="2.4.0")).suffix == ".h5"
    assert detect(keras_zip(tmp_path / name, KERAS3, "3.0")).suffix == ".keras"


def test_attributes_may_be_bytes(tmp_path):
    path = hdf5(tmp_path / "m.h5", model_config=json.dumps(KERAS2).encode(), keras_version=b"2.2.4")
    assert detect(path).flavour is Flavour.TF_KERAS


def test_a_saved_model_is_a_folder_with_a_saved_model(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert detect(tmp_path).flavour is Flavour.SAVED_MODEL


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="Model .*absent.keras does not exist; expected a .keras or .h5 file"):
        detect(tmp_path / "absent.keras")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not a Keras model; expected a .keras or .h5 file, or a SavedModel folder"),
        (b"hello world", "is not a Keras model"),
        (b"\x1c\0\0\0TFL3", "is a .tflite file already; expected a Keras model"),
        (b"PK\x03\x04 and then nothing", "is a damaged zip file"),
        (b"\x89HDF\r\n\x1a\n and then nothing", "is a damaged HDF5 file"),
    ],
)
def test_what_is_no_model(tmp_path, content, sentence):
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(FileFormatError, match=sentence):
        detect(tmp_path / "m")


def test_an_empty_folder(tmp_path):
    with pytest.raises(FileFormatError, match=r"holds no saved_model\.pb"):
        detect(tmp_path)


def test_a_zip_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(FileFormatError, match=r"is a zip file without config\.json"):
        detect(tmp_path / "m.keras")


@pytest.mark.parametrize("kind", ["zip", "hdf5"])
def test_a_configuration_that_is_no_json(tmp_path, kind):
    path = tmp_path / "m"
    keras_zip(path, "{not json", "3.0") if kind == "zip" else hdf5(path, model_config="{not json")
    with pytest.raises(FileFormatError, match="is a damaged Keras file"):
        detect(path)


@pytest.mark.parametrize("group", ["layers", "_layer_checkpoint_dependencies", None])
def test_weights_alone(tmp_path, group):
    with h5py.File(tmp_path / "w.h5", "w") as archive:
        if group is None:
            archive.attrs["layer_names"] = ["dense"]
        else:
            archive.create_group(group)
    with pytest.raises(
        FileFormatError, match=r"holds the weights of a model only; .* save it with model\.save\(\.\.\.\)"
    ):
        detect(tmp_path / "w.h5")


def test_hdf5_of_something_else(tmp_path):
    with pytest.raises(FileFormatError, match="holds no Keras model"):
        detect(hdf5(tmp_path / "m.h5", author="me"))


@pytest.mark.parametrize(
    ("place", "value"), [((6, 8), 1), ((8, 10), 99)], ids=["encrypted", "packed in an unknown way"]
)
def test_archives_that_cannot_be_unpacked(tmp_path, place, value):
    path = keras_zip(tmp_path / "m.keras", KERAS3)
    data = bytearray(path.read_bytes())
    data[place[0]] = data[data.index(b"PK\x01\x02") + place[1]] = value
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match="is a damaged zip file .*; save the model again"):
        detect(path)


@pytest.mark.parametrize("version", ["\u00b2.0", "9" * 5000, ""])
def test_a_version_that_is_no_number_decides_nothing(tmp_path, version):
    assert detect(keras_zip(tmp_path / "m.keras", KERAS2, version)).flavour is Flavour.TF_KERAS
