"""`edgeopt.flatbuffer.specs`: inputs and outputs under their argument names."""

from __future__ import annotations

from edgeopt.flatbuffer import load_model, read_model
from edgeopt.flatbuffer.specs import TensorSpec, input_specs, output_specs


def test_specs_carry_the_names_of_the_signature(small_file):
    model = read_model(small_file)
    assert input_specs(model) == (TensorSpec("image", "int8", (1, 4, 4, 2), (1, 4, 4, 2), 0.5, -128, "x", 0),)
    assert output_specs(model) == (TensorSpec("label", "int8", (1, 3), (1, 3), 0.125, 7, "y", 7),)


def test_without_a_signature_they_carry_the_names_of_the_tensors(file):
    a, b = file.tensor([1, 2], "float32", name="a"), file.tensor([1, 2], name="b", shapeSignature=[-1, 2])
    (first, second) = input_specs(read_model(file.build([b, a], [])))
    # In the file's order, with dynamic dimensions as the interpreter has them, and as such, and no scale where there is none.
    assert (first.name, first.shape, first.signature) == ("b", (1, 2), (-1, 2))
    assert (second.name, second.scale, second.zero_point) == ("a", None, None)


def test_the_order_is_the_subgraphs_and_not_the_signatures(file):
    tensors = [file.tensor([2], name=f"t{number}") for number in range(3)]
    file.signature("serve", {}, {"a": tensors[2], "b": tensors[0], "c": tensors[1]})
    specs = output_specs(read_model(file.build([], tensors)))
    assert [spec.name for spec in specs] == ["b", "c", "a"]


def test_the_first_signature_of_the_main_subgraph_names_them(file):
    x = file.tensor([2], name="x")
    other = file.subgraph("other")
    file.tensor([2], name="x", graph=other)
    file.signature("encode", {"elsewhere": x}, {}, graph=other)
    file.signature("first", {"mine": x}, {})
    file.signature("second", {"theirs": x}, {})
    assert [spec.name for spec in input_specs(read_model(file.build([x], [])))] == ["mine"]


def test_the_scale_is_exactly_the_files_float32(shared_data):
    (spec,) = input_specs(load_model(shared_data / "coral/keras_lstm_mnist_ptq.tflite"))
    assert (spec.name, spec.tensor_name) == ("x", "serving_default_x:0")
    assert spec.scale == 0.003921568859368563
    assert spec.to_dict() == {
        "name": "x",
        "dtype": "uint8",
        "shape": [1, 28, 28],
        "signature": [1, 28, 28],
        "scale": 0.003921568859368563,
        "zero_point": 0,
        "tensor_name": "serving_default_x:0",
        "index": 0,
    }
