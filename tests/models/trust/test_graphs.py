"""`edgeopt.models.trust.graphs`: operators of SavedModels that touch files, processes or Python."""

from __future__ import annotations

import os
import shutil

import pytest

from edgeopt.errors import UnsafeModelError
from edgeopt.models.load import load_model
from edgeopt.models.trust.graphs import check_graphs, is_dangerous


def saved(folder, body, initialise=None):
    """A SavedModel whose signature runs `body`, and whose loading runs `initialise`."""
    import tensorflow as tf

    class Resource(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self):
            return tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.int64)

        def _initialize(self):
            if initialise is not None:
                initialise()

        def _destroy_resource(self):
            return None

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.resource = Resource()
            self.scale = tf.Variable(2.0)

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def call(self, x):
            return {"y": body(x * self.scale)}

    module = Module()
    tf.saved_model.save(module, str(folder), signatures=module.call.get_concrete_function())
    return folder


def written(path):
    import tensorflow as tf

    return lambda x=None: tf.io.write_file(str(path), "x")


def behind(effect):
    import tensorflow as tf

    def body(x):
        with tf.control_dependencies([effect()]):
            return tf.identity(x)

    return body


@pytest.mark.smoke
def test_a_file_written_on_loading(tmp_path):
    """The initialiser of a resource runs as soon as TensorFlow has loaded the folder."""
    folder = saved(tmp_path / "m", lambda x: x, initialise=written(tmp_path / "pwned"))
    (tmp_path / "pwned").unlink(missing_ok=True)
    with pytest.raises(UnsafeModelError, match="the operator 'WriteFile' in the function .* pass --unsafe-load"):
        load_model(folder)
    assert not (tmp_path / "pwned").exists()
    assert load_model(folder, unsafe_load=True).spec.inputs[0].name == "x"
    assert (tmp_path / "pwned").exists()  # the plant was a real one


@pytest.mark.smoke
def test_operators_in_the_signature(tmp_path):
    import tensorflow as tf

    effects = {
        "WriteFile": written(tmp_path / "pwned"),
        "ReadFile": lambda: tf.io.read_file("/etc/hostname"),
        "MatchingFiles": lambda: tf.io.matching_files("/etc/*"),
        "EagerPyFunc": lambda: tf.py_function(lambda: 1, [], tf.int32),
        "PyFunc": lambda: tf.numpy_function(lambda: 1, [], tf.int64),
        "PyFuncStateless": lambda: tf.numpy_function(lambda: 1, [], tf.int64, stateful=False),
        "PrintV2": lambda: tf.print("x", output_stream=f"file://{tmp_path}/pwned"),
        "SaveV2": lambda: tf.raw_ops.SaveV2(prefix=str(tmp_path / "p"), tensor_names=["a"], shape_and_slices=[""], tensors=[1.0]),
        "RestoreV2": lambda: tf.raw_ops.RestoreV2(prefix="p", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32])[0],
        "ShardedFilename": lambda: tf.raw_ops.ShardedFilename(basename="p", shard=0, num_shards=1),
    }  # fmt: skip
    for name, effect in effects.items():
        folder = saved(tmp_path / name, behind(effect))
        with pytest.raises(UnsafeModelError, match=f"the operator '{name}' in the function"):
            load_model(folder)
    nested = tf.function(behind(effects["WriteFile"]))
    for number, body in enumerate(
        (lambda x: tf.cond(x[0, 0] > 0, lambda: nested(x), lambda: x), lambda x: tf.map_fn(nested, x))
    ):
        with pytest.raises(UnsafeModelError, match="the operator 'WriteFile' in the function"):
            load_model(saved(tmp_path / f"nested{number}", body))


@pytest.mark.smoke
def test_a_function_that_poses_as_the_saver(tmp_path):
    """Its name does not make it one: what counts is who leads to it."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    save = {"tensor_names": ["a"], "shape_and_slices": [""], "tensors": [1.0]}
    folder = saved(tmp_path / "m", behind(lambda: tf.raw_ops.SaveV2(prefix=str(tmp_path / "p"), **save)))
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((folder / "saved_model.pb").read_bytes())
    (meta,) = model.meta_graphs
    called = next(node for node in meta.graph_def.node if node.op == "StatefulPartitionedCall")
    meta.saver_def.save_tensor_name = f"{called.name}:0"
    library = [item for item in meta.graph_def.library.function if "traced_save" not in item.signature.name]
    del meta.graph_def.library.function[:]  # the true one is not what is refused
    meta.graph_def.library.function.extend(library)
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(UnsafeModelError, match="the operator 'SaveV2' in the function"):
        load_model(folder)


@pytest.mark.smoke
def test_the_file_that_the_loader_takes_is_the_one_that_is_read(tmp_path):
    """Beside a harmless ``saved_model.pb`` may lie another form of it."""
    from tensorflow.core.protobuf import saved_model_pb2

    good, bad = saved(tmp_path / "good", lambda x: x), saved(tmp_path / "bad", behind(written(tmp_path / "pwned")))
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((bad / "saved_model.pb").read_bytes())
    (good / "saved_model.pbtxt").write_text(str(model))
    assert load_model(good)  # the text form is not taken
    shutil.copy(bad / "saved_model.pb", good / "saved_model.pb")
    with pytest.raises(UnsafeModelError, match="WriteFile"):
        check_graphs(good)


def test_a_model_of_tensorflow_1_loads_and_a_hostile_one_does_not(tmp_path):
    import tensorflow as tf

    for hostile in (False, True):
        folder = str(tmp_path / f"v1{hostile}")
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
            scale = tf.compat.v1.get_variable("scale", initializer=2.0, use_resource=True)
            y = x * scale
            if hostile:
                with tf.control_dependencies([tf.io.write_file(str(tmp_path / "pwned"), "x")]):
                    y = tf.identity(y)
            session.run(tf.compat.v1.global_variables_initializer())
            tf.compat.v1.saved_model.simple_save(session, folder, {"x": x}, {"y": y})
        if hostile:
            with pytest.raises(UnsafeModelError, match="the operator 'WriteFile' in its graph"):
                load_model(folder)
        else:
            assert load_model(folder).spec.inputs[0].name == "x"


def test_printing_to_the_screen_is_no_file(tmp_path):
    import tensorflow as tf

    assert load_model(saved(tmp_path / "m", behind(lambda: tf.print("x")))).spec.inputs[0].name == "x"


def test_each_operator_of_this_tensorflow_that_names_files_is_dangerous():
    """A new version's operators come to this test before they come to a user."""
    from tensorflow.python.framework import op_def_registry

    for name in ("ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "PyFuncStateless", "TextLineDataset", "TFRecordDataset",
                 "FixedLengthRecordDatasetV2", "ImmutableConst", "InitializeTableFromTextFileV2", "CreateSummaryFileWriter",
                 "DebugIdentityV3", "DumpTensor", "LoadDataset", "RpcCall", "XlaCustomCallV2", "MergeV2Checkpoints"):  # fmt: skip
        assert op_def_registry.get(name) is not None
        assert is_dangerous(name), name
    for name in (
        "Conv2D",
        "MatMul",
        "StatefulPartitionedCall",
        "VarHandleOp",
        "While",
        "TensorListReserve",
        "HashTableV2",
    ):
        assert not is_dangerous(name), name


@pytest.mark.smoke
def test_a_keras_2_model_with_recurrent_layers_is_checked_in_both_its_forms(tmp_path):
    """tf_keras makes it anew: out of the configurations beside the graph, and out of the graph."""
    import tf_keras

    layers = [tf_keras.Input((3, 4), name="x"), tf_keras.layers.LSTM(2)]
    good = tf_keras.Sequential(layers)
    good.compile("adam", loss=lambda truth, found: truth - found, metrics=["mae", tf_keras.metrics.AUC()])
    good.save(tmp_path / "good", save_format="tf")
    assert load_model(tmp_path / "good").spec.inputs
    code = tf_keras.layers.Lambda(lambda x: x * 2)
    tf_keras.Sequential([*layers, code]).save(tmp_path / "bad", save_format="tf")
    with pytest.raises(UnsafeModelError, match=r"holds Python code \(a Lambda layer\)"):
        load_model(tmp_path / "bad")
    assert os.path.isdir(tmp_path / "bad")

    class Unknown(tf_keras.layers.Layer):
        def call(self, x):
            return x * 2

    tf_keras.Sequential([*layers, Unknown()]).save(tmp_path / "own", save_format="tf")
    assert load_model(tmp_path / "own").spec.inputs  # made out of the graph, as before
