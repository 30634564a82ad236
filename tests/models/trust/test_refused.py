"""`edgeopt.models.trust`: hostile `.keras` and `.h5` files of each form; none of them runs, imports or calls anything."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest

from edgeopt.errors import FileFormatError, UnsafeModelError
from edgeopt.models.load import load_layers, load_model

VERSION = {"keras": "3.8.0", "tf_keras": "2.15.0"}
SYSTEM = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
FORMS = pytest.mark.parametrize("suffix", [".keras", ".h5"])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Payloads leave their mark in the folder of the test."""
    monkeypatch.chdir(tmp_path)


def layer(class_name, config, module="keras.layers", **more):
    name = config.get("name", "mine")
    return {
        "module": module,
        "class_name": class_name,
        "config": {"name": name, **config},
        "registered_name": None,
        "name": name,
        **more,
    }


def model(flavour, *layers, **more):
    """A functional model of an input, the layers beside it, and a Dense layer."""
    shape = {"batch_shape" if flavour == "keras" else "batch_input_shape": [None, 4]}
    first = layer("InputLayer", {**shape, "dtype": "float32", "name": "x"}, inbound_nodes=[])
    if flavour == "keras":
        history = {
            "class_name": "__keras_tensor__",
            "config": {"shape": [None, 4], "dtype": "float32", "keras_history": ["x", 0, 0]},
        }
        nodes = [{"args": [history], "kwargs": {}}]
    else:
        nodes = [[["x", 0, 0, {}]]]
    last = layer("Dense", {"name": "d", "units": 2}, inbound_nodes=nodes)
    module = "keras.src.models.functional" if flavour == "keras" else "keras.src.engine.functional"
    config = {
        "name": "m",
        "trainable": True,
        "layers": [first, *layers, last],
        "input_layers": [["x", 0, 0]],
        "output_layers": [["d", 0, 0]],
    }
    return {"module": module, "class_name": "Functional", "registered_name": "Functional", "config": config, **more}


def sequential(*layers, module="keras.models"):
    return {
        "module": module,
        "class_name": "Sequential",
        "registered_name": None,
        "config": {"name": "s", "layers": list(layers)},
    }


def write(config, flavour, suffix, name="evil", members=None):
    path = f"{name}{suffix}"
    if suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", json.dumps(config) if not isinstance(config, str) else config)
            archive.writestr("metadata.json", json.dumps({"keras_version": VERSION[flavour], "date_saved": "x"}))
            for member, content in (members or {}).items():
                archive.writestr(member, content)
    else:
        with h5py.File(path, "w") as file:
            file.attrs["keras_version"], file.attrs["backend"] = VERSION[flavour], "tensorflow"
            file.attrs["model_config"] = json.dumps(config) if not isinstance(config, str) else config
            file.create_group("model_weights").attrs["layer_names"] = []
    return path


def refused(config, flavour, suffix, match, **more):
    path = write(config, flavour, suffix, **more)
    with pytest.raises(UnsafeModelError, match=match):
        load_model(path)
    assert not os.path.exists("pwned")


def function(module, name, registered="function"):
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered}


# --- functions -----------------------------------------------------------------------------------------------------


@pytest.mark.smoke
@FORMS
@pytest.mark.parametrize("flavour", ["keras", "tf_keras"])
def test_a_lambda_layer_with_a_function_of_the_system(flavour, suffix):
    """The file of ``repro/hostile/evil_lambda.py``: Keras 2 called ``os.system("touch pwned")``."""
    evil = layer(
        "Lambda", {"name": "l", "function": SYSTEM, "function_type": "function", "module": "x", "arguments": {}}
    )
    evil["inbound_nodes"] = [[["_CONSTANT_VALUE", -1, "touch pwned", {}]]]
    refused(model(flavour, evil), flavour, suffix, r"holds Python code \(a Lambda layer\), .* pass --unsafe-load")


@pytest.mark.smoke
@FORMS
@pytest.mark.parametrize("flavour", ["keras", "tf_keras"])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("keras.utils", "get_file"),
        ("keras.src.utils.file_utils", "get_file"),
        ("keras.saving", "load_model"),
        ("keras.config", "enable_unsafe_deserialization"),
        ("keras.activations", "get"),
        ("tf_keras.utils", "get_file"),
        ("tensorflow", "py_function"),
        ("tensorflow.python.ops.io_ops", "write_file"),
        ("tensorflow.python.ops.gen_io_ops", "write_file"),
        (None, "system"),
    ],
)
def test_a_function_as_activation(flavour, suffix, module, name):
    evil = layer("Activation", {"name": "act", "activation": function(module, name)})
    refused(model(flavour, evil), flavour, suffix, f"needs the custom object '{name}'; .*the layer 'act' names")


@pytest.mark.smoke
@FORMS
def test_a_function_whose_registered_name_is_another(suffix):
    """tf_keras falls back to the registered name, within the module."""
    for evil in (function("keras.utils", "relu", "get_file"), function("builtins", "relu", "get")):
        refused(
            model("tf_keras", layer("Activation", {"activation": evil})),
            "tf_keras",
            suffix,
            "needs the custom object 'relu'",
        )


@pytest.mark.smoke
def test_a_node_that_names_a_function():
    """Keras 3.8 called it while it made the graph."""
    node = {"args": [{"class_name": "__keras_tensor__", "config": {"shape": [None, 4], "dtype": "float32", "keras_history": ["x", 0, 0]}}],
            "kwargs": {"mask": SYSTEM}}  # fmt: skip
    evil = layer("Dense", {"units": 2, "name": "evil"}, inbound_nodes=[node])
    refused(model("keras", evil), "keras", ".keras", "the layer 'evil' names 'os.system'")
    node["args"], node["kwargs"] = [SYSTEM], {}
    refused(model("keras", evil), "keras", ".keras", "the layer 'evil' names 'os.system'")


@pytest.mark.smoke
@FORMS
@pytest.mark.parametrize("flavour", ["keras", "tf_keras"])
def test_a_compilation_inside_a_model(flavour, suffix):
    """Only that of the outermost model is left out by ``compile=False``."""
    inner = sequential(layer("Dense", {"units": 2, "name": "i"}))
    inner["compile_config"] = {"optimizer": "sgd", "loss": SYSTEM}
    refused(model(flavour, inner), flavour, suffix, "names 'os.system'")


# --- classes -------------------------------------------------------------------------------------------------------


@pytest.mark.smoke
@FORMS
@pytest.mark.parametrize("flavour", ["keras", "tf_keras"])
@pytest.mark.parametrize(
    ("module", "name", "registered"),
    [
        ("subprocess", "Popen", None),
        ("subprocess", "Popen", "Dense"),
        ("os", "Dense", None),
        ("builtins", "open", None),
        ("keras.utils", "get_file", None),
        ("keras.callbacks", "CSVLogger", None),
        ("keras.utils", "Dense", "get_file"),
        ("keras_evil", "Dense", None),
        ("keras.layers; os", "Dense", None),
        (None, "Popen", "subprocess>Popen"),
        ("keras.layers", "Dense", "os>system"),
        ("tensorflow.python.ops.init_ops", "os", None),
        ("edgeopt.process.isolation", "run_isolated", "edgeopt>run_isolated"),
        ("shutil", "__ellipsis__", "rmtree"),
        ("shutil", "TensorShape", "rmtree"),
    ],
)
def test_a_class_that_is_none_of_keras(flavour, suffix, module, name, registered):
    evil = layer(name, {"name": "evil", "args": ["touch pwned"]}, module=module)
    evil["registered_name"] = registered
    refused(model(flavour, evil), flavour, suffix, "the layer 'evil' names")


@pytest.mark.smoke
@FORMS
@pytest.mark.parametrize("flavour", ["keras", "tf_keras"])
@pytest.mark.parametrize("kind", ["TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "Lambda"])
def test_layers_that_hold_code(flavour, suffix, kind):
    for module in ("keras.layers", None):
        refused(
            model(flavour, layer(kind, {"name": "evil"}, module=module)),
            flavour,
            suffix,
            f"Python code .a {kind} layer",
        )


@pytest.mark.smoke
@FORMS
def test_the_name_of_a_registered_class_does_not_hide_another(any_keras, suffix):
    """The newer formats look up one name, the older ones the other."""
    any_keras.saving.register_keras_serializable("trusted")(type("Fine", (any_keras.layers.Layer,), {}))
    for kind in ("Lambda", "Popen"):
        evil = layer(kind, {"name": "evil"}, module="subprocess")
        evil["registered_name"] = "trusted>Fine"
        refused(model(any_keras.__name__, evil), any_keras.__name__, suffix, "evil|Lambda")
    evil = layer("trusted>Fine", {"name": "evil"}, module="subprocess")
    evil["registered_name"] = "subprocess>Popen"
    refused(model(any_keras.__name__, evil), any_keras.__name__, suffix, "the layer 'evil' names")


@pytest.mark.smoke
@FORMS
def test_the_name_of_ones_own_object_does_not_open_a_module(any_keras, suffix):
    """Keras would import the module, to look there for what only the user has."""

    @any_keras.saving.register_keras_serializable("ours")
    def warm(x):
        return x

    flavour = any_keras.__name__
    for evil in (function("shutil", "warm", "rmtree"), function("planted_module", "warm")):
        refused(
            model(flavour, layer("Activation", {"activation": evil})), flavour, suffix, "needs the custom object 'warm'"
        )
    path = write(model(flavour, layer("Mine", {"name": "evil"}, module="planted_module")), flavour, suffix)
    with any_keras.utils.custom_object_scope({"Mine": type("Mine", (any_keras.layers.Layer,), {})}):
        with pytest.raises(UnsafeModelError, match="the layer 'evil' names 'planted_module.Mine'"):
            load_model(path)


@pytest.mark.smoke
@FORMS
@pytest.mark.parametrize("flavour", ["keras", "tf_keras"])
def test_what_is_deep_inside(flavour, suffix):
    evil = layer(
        "Dense",
        {"units": 2, "kernel_initializer": {"module": "os", "class_name": "Popen", "config": {}}, "name": "deep"},
    )
    wrapped = layer("TimeDistributed", {"layer": evil, "name": "around"})
    for config in (model(flavour, sequential(wrapped)), sequential(sequential(sequential(wrapped)))):
        refused(config, flavour, suffix, "the layer 'deep' names 'os.Popen'")
    built = layer("Dense", {"units": 2, "name": "built"}, build_config={"shapes_dict": SYSTEM})
    refused(model(flavour, built), flavour, suffix, "the layer 'built' names 'os.system'")


@pytest.mark.smoke
@FORMS
def test_type_specifications(suffix):
    for evil in (
        {
            "class_name": "__typespec__",
            "spec_name": "Popen",
            "module": "subprocess",
            "registered_name": None,
            "config": [],
        },
        {
            "class_name": "__typespec__",
            "spec_name": "TensorSpec",
            "module": "subprocess",
            "registered_name": "Popen",
            "config": [],
        },
        {"class_name": "TypeSpec", "type_spec": "evil.Spec", "serialized": []},
        {
            "class_name": "TypeSpec",
            "type_spec": "tf.TensorSpec",
            "module": "shutil",
            "registered_name": "rmtree",
            "config": {},
        },
    ):
        refused(
            model("tf_keras", layer("Dense", {"units": 2, "extra": evil})),
            "tf_keras",
            suffix,
            "needs the custom object",
        )


def test_a_module_without_a_class():
    refused(model("tf_keras", layer("Dense", {"units": 2, "extra": {"module": "os"}})), "tf_keras", ".h5", "names 'os'")


# --- TensorFlow's functions and operators --------------------------------------------------------------------------


@pytest.mark.smoke
@FORMS
@pytest.mark.parametrize("symbol", ["io.write_file", "io.gfile.rmtree", "py_function", "numpy_function", "load_op_library",
                                    "compat.v1.py_func", "raw_ops.WriteFile", "map_fn", "saved_model.load"])  # fmt: skip
@pytest.mark.parametrize("kind", ["TFOpLambda", "SlicingOpLambda"])
def test_functions_of_tensorflow_that_do_more_than_compute(suffix, symbol, kind):
    evil = layer(kind, {"name": "evil", "function": symbol, "trainable": True, "dtype": "float32"})
    evil["inbound_nodes"] = [["_CONSTANT_VALUE", -1, "pwned", {"contents": "x"}]]
    refused(model("tf_keras", evil), "tf_keras", suffix, f"the layer 'evil' calls the TensorFlow function '{symbol}'")


@pytest.mark.smoke
@FORMS
def test_operators_of_tensorflow_that_do_more_than_compute(suffix):
    import tensorflow as tf

    raw = tf.compat.v1.NodeDef(name="w", op="WriteFile").SerializeToString().decode()
    for node in ({"name": "w", "op": "WriteFile"}, raw, {"name": "w", "op": "EagerPyFunc"}, {"bad": 1}, None):
        evil = layer("TensorFlowOpLayer", {"name": "evil", "node_def": node, "constants": {}})
        refused(model("tf_keras", evil), "tf_keras", suffix, "the layer 'evil' runs the operator")


@pytest.mark.smoke
@FORMS
def test_methods_of_classes_and_tensors(suffix):
    for kind, config in (
        ("ClassMethod", {"cls_symbol": "io.gfile.GFile", "method_name": "write"}),
        ("ClassMethod", {"cls_symbol": "RaggedTensor", "method_name": "__subclasses__"}),
        ("InstanceMethod", {"attr_name": "__reduce__"}),
        ("InstanceProperty", {"attr_name": "graph"}),
    ):
        refused(model("tf_keras", layer(kind, {"name": "evil", **config})), "tf_keras", suffix, "the layer 'evil' ")


@pytest.mark.smoke
@FORMS
@pytest.mark.parametrize("kind", ["StringLookup", "IntegerLookup", "TextVectorization"])
def test_a_vocabulary_that_is_a_file(any_keras, suffix, kind):
    evil = layer(kind, {"name": "words", "vocabulary": "/etc/passwd"})
    refused(
        model(any_keras.__name__, evil), any_keras.__name__, suffix, "the layer 'words' reads the file '/etc/passwd'"
    )


def test_the_operation_layer_of_edgeopt_calls_operations_only():
    from edgeopt.models.graph.operations import function_of

    for name in (
        "utils.get_file",
        "saving.load_model",
        "config.enable_unsafe_deserialization",
        "activations.get",
        "ops.os",
        "os",
    ):
        assert function_of(name) is None
    assert callable(function_of("mean")) and callable(function_of("activations.relu"))


# --- the file around it --------------------------------------------------------------------------------------------


class Touch:
    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.mark.smoke
@pytest.mark.parametrize("flavour", ["keras", "tf_keras"])
def test_pickled_weights(flavour):
    """tf_keras loads ``model.weights.npz`` with ``allow_pickle=True``."""
    content = io.BytesIO()
    np.savez(content, __root__=np.array([Touch()], dtype=object))
    assert pickle.dumps(Touch())
    members = {"model.weights.npz": content.getvalue()}
    refused(model(flavour), flavour, ".keras", "may hold pickled Python code", members=members)


@pytest.mark.smoke
@FORMS
@pytest.mark.parametrize("flavour", ["keras", "tf_keras"])
def test_depth_is_bounded(flavour, suffix):
    deep = sequential()
    for _ in range(100):
        deep = sequential(deep)
    path = write(deep, flavour, suffix)
    with pytest.raises(FileFormatError, match="of more than 256 levels"):
        load_model(path)
    for text in (
        '{"class_name": "Sequential", "config": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a": ' + "9" * 9000 + "}",
    ):
        path = write(text, flavour, suffix) if suffix == ".keras" else write(text[:60_000], flavour, suffix)
        with pytest.raises(FileFormatError, match="damaged|levels"):
            load_model(path)


def test_size_and_count_are_bounded(monkeypatch):
    from edgeopt.models import detect
    from edgeopt.models.trust import configs

    path = write(model("keras"), "keras", ".keras")
    monkeypatch.setattr(configs, "_MAX_OBJECTS", 5)
    with pytest.raises(FileFormatError, match="of more than 5 objects"):
        load_layers(path)
    monkeypatch.setattr(detect, "_MAX_CONFIG", 100)
    with pytest.raises(FileFormatError, match="holds a configuration of .* bytes; expected at most 100"):
        load_layers(path)
    path = write(model("keras"), "keras", ".h5")
    with pytest.raises(FileFormatError, match="holds a configuration of .* bytes; expected at most 100"):
        load_layers(path)


def test_the_command_ends_with_2():
    evil = layer("Activation", {"name": "act", "activation": SYSTEM})
    path = write(model("tf_keras", evil), "tf_keras", ".keras")
    done = subprocess.run(
        [sys.executable, "-m", "edgeopt", "check", path], capture_output=True, text=True, check=False, cwd=os.getcwd()
    )
    assert done.returncode == 2
    assert "needs the custom object 'system'" in done.stderr
    assert not os.path.exists("pwned")


# --- sizes ---------------------------------------------------------------------------------------------------------


@FORMS
@pytest.mark.parametrize("flavour", ["keras", "tf_keras"])
@pytest.mark.parametrize(
    ("kind", "sizes"),
    [("Dense", {"units": 10**9}), ("Embedding", {"input_dim": 10**12, "output_dim": 8}), ("LSTM", {"units": 10.0**9})],
)
def test_a_layer_that_would_fill_the_memory_is_refused_unbuilt(flavour, suffix, kind, sizes):
    (key, size), *_ = sizes.items()
    evil = layer(kind, {"name": "big", **sizes}, inbound_nodes=[])
    refused(model(flavour, evil), flavour, suffix, f"layer 'big' asks for {key}={size:,}, and the file holds 0 weights")
