"""`edgeopt.converters.rewrite`: only names and the two index lists of a finished file change."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.converters.rewrite import put_names
from edgeopt.errors import ConversionError
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.specs import input_specs, output_specs


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """What the converter gives for two inputs and two outputs: keys in the Keras order, tensors in its own."""
    import tensorflow as tf

    folder = str(tmp_path_factory.mktemp("lean"))
    module = tf.Module()
    module.weights = tf.Variable(np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32))

    def infer(in000, in001):
        return {"out000": in000 - in001, "out001": tf.matmul(in001, module.weights)}

    specs = [tf.TensorSpec((1, 4), tf.float32, name=name) for name in ("in000", "in001")]
    module.infer = tf.function(infer, input_signature=specs)
    tf.saved_model.save(module, folder, signatures=module.infer)
    return bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())


def test_names_and_order_are_the_ones_given(converted, running):
    file = put_names(converted, ["zebra", "apple"], ["difference", "product"])
    model = read_model(file)
    assert [spec.name for spec in input_specs(model)] == ["zebra", "apple"]
    assert [spec.tensor_name for spec in output_specs(model)] == ["difference", "product"]
    run = running(file)
    assert (run.input_names, run.output_names) == (["zebra", "apple"], ["difference", "product"])
    signature = run.interpreter.get_signature_list()["serving_default"]
    assert {kind: sorted(names) for kind, names in signature.items()} == {
        "inputs": ["apple", "zebra"],
        "outputs": ["difference", "product"],
    }
    found = run.real({"zebra": np.full((1, 4), 5, np.float32), "apple": np.ones((1, 4), np.float32)})
    np.testing.assert_array_equal(found[0], np.full((1, 4), 4, np.float32))


def test_swapped_names_swap_the_values(converted, running):
    """The planted bad case: were names only labels, this would give the same."""
    feeds = {"zebra": np.full((1, 4), 5, np.float32), "apple": np.ones((1, 4), np.float32)}
    right = running(put_names(converted, ["zebra", "apple"], ["d", "p"])).real(feeds)
    swapped = running(put_names(converted, ["apple", "zebra"], ["d", "p"])).real(feeds)
    np.testing.assert_array_equal(right[0], -swapped[0])


def test_the_signature_runner_takes_the_same_names(converted, running):
    interpreter = running(put_names(converted, ["zebra", "apple"], ["d", "p"])).interpreter
    runner = interpreter.get_signature_runner("serving_default")
    found = runner(zebra=np.full((1, 4), 5, np.float32), apple=np.ones((1, 4), np.float32))
    np.testing.assert_array_equal(found["d"], np.full((1, 4), 4, np.float32))


def test_operators_and_weights_stay_as_they_are(converted):
    before, after = read_model(converted), read_model(put_names(converted, ["a", "b"], ["c", "d"]))
    assert [op.name for op in before.main.operators] == [op.name for op in after.main.operators]
    assert [(op.inputs, op.outputs) for op in before.main.operators] == [
        (op.inputs, op.outputs) for op in after.main.operators
    ]
    for old, new in zip(before.main.tensors, after.main.tensors, strict=True):
        assert (old.dtype, old.shape, old.buffer) == (new.dtype, new.shape, new.buffer)
    weights = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    assert weights.T.tobytes() in put_names(converted, ["a", "b"], ["c", "d"])


def test_buffers_keep_their_alignment_of_16_bytes(converted):
    from ai_edge_litert import schema_py_generated as schema

    file = put_names(converted, ["a", "b"], ["a much longer name, so that things move", "d"])
    model = schema.Model.GetRootAs(file, 0)
    offsets = []
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength():
            table = buffer._tab
            offsets.append(table.Vector(table.Offset(4)))
    assert offsets
    assert [offset % 16 for offset in offsets] == [0] * len(offsets)


def test_the_same_gives_the_same_bytes(converted):
    assert put_names(converted, ["a", "b"], ["c", "d"]) == put_names(converted, ["a", "b"], ["c", "d"])


def test_inputs_or_outputs_that_are_not_there(converted):
    with pytest.raises(ConversionError, match=r"it kept 2 of 3 \(a, b, c\); remove inputs that the model does not use"):
        put_names(converted, ["a", "b", "c"], ["d", "e"])
