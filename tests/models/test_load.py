"""`edgeopt.models.load`: files of every flavour and name, and what is said of those that do not load."""

from __future__ import annotations

import json
import sys
import zipfile

import h5py
import numpy as np
import pytest

from edgeopt.errors import FileFormatError, ModelError, UnsafeModelError, UsageError
from edgeopt.models.detect import Flavour
from edgeopt.models.load import describe, flavour_of, load_model, resolve_custom_objects

FLAVOUR = {"keras": Flavour.KERAS3, "tf_keras": Flavour.TF_KERAS}

MINE = """
import keras, tf_keras
def swish6(x):
    return x * 6
class Twice(keras.layers.Layer):
    def call(self, x):
        return x * 2
class TwiceToo(tf_keras.layers.Layer):
    def call(self, x):
        return x * 2
"""


@pytest.fixture(scope="module", autouse=True)
def mine(tmp_path_factory):
    """A module of custom layers, importable as ``their_layers``."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "their_layers.py").write_text(MINE)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


def small(lib, *layers):
    return lib.Sequential([lib.Input((4,), name="x"), *layers, lib.layers.Dense(2, name="y")])


@pytest.mark.smoke
@pytest.mark.parametrize("saved_as", ["m.keras", "m.h5", "m.hdf5"])
@pytest.mark.parametrize("found_as", ["same", "other", "none"])
def test_the_content_decides_who_loads_whatever_the_name(any_keras, tmp_path, saved_as, found_as):
    model = small(any_keras)
    model.save(tmp_path / saved_as)
    name = {"same": saved_as, "other": "m.h5" if saved_as == "m.keras" else "m.keras", "none": "model"}[found_as]
    (tmp_path / saved_as).rename(tmp_path / name)
    loaded = load_model(tmp_path / name)
    assert loaded.flavour is FLAVOUR[any_keras.__name__]
    assert type(loaded.model).__module__.split(".")[0] == any_keras.__name__
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(loaded.call([x]), model(x))


def test_layers_are_named_nested_ones_included(any_keras):
    inner = any_keras.Sequential([any_keras.layers.Dense(3, name="deep")], name="inner")
    loaded = describe(small(any_keras, inner))
    assert ("deep", "Dense") in loaded.layers


def test_the_real_keras_2_file_with_its_old_configuration(shared_data):
    loaded = load_model(shared_data / "cifar10" / "mlperf_resnet8.h5")
    assert loaded.flavour is Flavour.TF_KERAS
    assert loaded.spec.inputs[0].shape == (None, 32, 32, 3)


def test_depthwise_convolutions_with_groups_load(tmp_path):
    """Keras 2 wrote ``groups`` into DepthwiseConv2D, which Keras 3 refuses: the file goes to tf_keras."""
    import tf_keras

    layers = [tf_keras.Input((8, 8, 3), name="x"), tf_keras.layers.DepthwiseConv2D(3)]
    tf_keras.Sequential(layers).save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as archive:
        config = json.loads(archive.attrs["model_config"])
        config["config"]["layers"][1]["config"]["groups"] = 1
        archive.attrs["model_config"] = json.dumps(config)
    assert load_model(tmp_path / "m.h5").flavour is Flavour.TF_KERAS


# --- code in files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_python_code_runs_only_when_allowed(any_keras, tmp_path, name):
    small(any_keras, any_keras.layers.Lambda(lambda t: t * 3, output_shape=(4,))).save(tmp_path / name)
    with pytest.raises(
        UnsafeModelError, match=r"holds Python code \(a Lambda layer\), which would run on loading; pass --unsafe"
    ):
        load_model(tmp_path / name)
    assert load_model(tmp_path / name, unsafe_load=True).spec.output_names == ("y",)


def test_code_is_found_however_the_json_is_spaced(tmp_path):
    import tf_keras

    small(tf_keras, tf_keras.layers.Lambda(lambda t: t * 3)).save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as archive:
        archive.attrs["model_config"] = json.dumps(json.loads(archive.attrs["model_config"]), separators=(",", ":"))
    with pytest.raises(UnsafeModelError, match="holds Python code"):
        load_model(tmp_path / "m.h5")


def test_an_activation_that_is_bare_code(any_keras, tmp_path):
    any_keras.Sequential([any_keras.Input((4,)), any_keras.layers.Dense(2, activation=lambda t: t)]).save(
        tmp_path / "m.h5"
    )
    with pytest.raises(ModelError, match="holds an activation that is bare Python code"):
        load_model(tmp_path / "m.h5", unsafe_load=True)


def test_an_activation_called_lambda_can_be_given(tmp_path):
    import tf_keras

    tf_keras.Sequential([tf_keras.Input((4,), name="x"), tf_keras.layers.Dense(2, activation="relu")]).save(
        tmp_path / "m.h5"
    )
    with h5py.File(tmp_path / "m.h5", "a") as archive:
        archive.attrs["model_config"] = archive.attrs["model_config"].replace('"relu"', '"<lambda>"')
    with pytest.raises(ModelError, match=r"names an activation '<lambda>' .* --custom-objects '<lambda>=module:NAME'"):
        load_model(tmp_path / "m.h5")
    assert load_model(tmp_path / "m.h5", custom_objects=["<lambda>=their_layers:swish6"]).spec.inputs[0].name == "x"


# --- custom objects ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_custom_layers_are_asked_for_by_name_and_can_be_given(any_keras, tmp_path, name):
    import their_layers

    kind = "Twice" if any_keras.__name__ == "keras" else "TwiceToo"
    model = small(any_keras, getattr(their_layers, kind)())
    model.save(tmp_path / name)
    with pytest.raises(
        UnsafeModelError, match=f"needs the custom object '{kind}'; say where .* --custom-objects module:{kind}"
    ):
        load_model(tmp_path / name)  # though tf_keras would import the module by itself
    loaded = load_model(tmp_path / name, custom_objects=[f"their_layers:{kind}"])
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(loaded.call([x]), model(x))


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("Twice", "Received 'Twice' as a custom object; expected module:NAME or ALIAS=module:NAME"),
        ("absent_module:Twice", "Cannot import the custom object 'absent_module:Twice'"),
        ("their_layers:Thrice", "module 'their_layers' has no 'Thrice'"),
    ],
)
def test_custom_objects_that_are_not_there(reference, sentence):
    with pytest.raises(UsageError, match=sentence):
        resolve_custom_objects([reference])


def test_a_custom_object_may_have_another_name():
    import their_layers

    assert resolve_custom_objects(["Old=their_layers:Twice"]) == {"Old": their_layers.Twice}


# --- damaged -------------------------------------------------------------------------------------------------------


def rewritten(source, target, change):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


def test_truncated_weights(any_keras, tmp_path):
    small(any_keras).save(tmp_path / "m.keras")
    cut = rewritten(tmp_path / "m.keras", tmp_path / "c.keras", lambda n, c: c[:600] if "weights" in n else c)
    with pytest.raises(FileFormatError, match="is a damaged HDF5 file"):
        load_model(cut)


def test_missing_weights(any_keras, tmp_path):
    small(any_keras).save(tmp_path / "m.keras")
    cut = rewritten(tmp_path / "m.keras", tmp_path / "c.keras", lambda n, c: None if "weights" in n else c)
    with pytest.raises((ModelError, FileFormatError), match=r"c\.keras"):
        load_model(cut)


# --- objects -------------------------------------------------------------------------------------------------------


def test_flavours_of_objects(any_keras):
    assert flavour_of(small(any_keras)) is FLAVOUR[any_keras.__name__]
    assert flavour_of(object()) is None


def test_what_is_no_model():
    with pytest.raises(UsageError, match=r"Received a model of type builtins\.int; expected a Keras model"):
        describe(3)


def test_another_backend_is_refused(monkeypatch):
    import keras

    model = small(keras)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ModelError, match="Keras runs on the jax backend, but conversion needs TensorFlow"):
        describe(model)
