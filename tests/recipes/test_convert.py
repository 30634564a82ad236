"""`edgeopt.recipes.convert`: what is asked for checks itself, and goes to TOML and back without loss."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import RecipeError, UsageError
from edgeopt.recipes.convert import IO_TYPES, QUANTIZE_MODES, ConvertRecipe, convert_recipe_from_file

EVERYTHING = {
    "quantize": "int8",
    "calibration_samples": 12,
    "seed": 3,
    "input_type": "uint8",
    "output_type": "float32",
    "batch_size": 4,
    "dynamic_batch": False,
    "input_shapes": {"image": [1, 96, 96, 3]},
    "per_tensor_dense": True,
    "allow_float_ops": True,
    "preprocess": "mean subtracted",
    "image_size": [96, 64],
    "image_scaling": "-1..1",
    "image_resize": "crop",
    "sparse_weights": True,
    "ranges": "mse",
    "repair": False,
    "recover": True,
    "edges": "int8",
    "fidelity": True,
    "min_fidelity": 20.5,
    "float_ops": ["stem", "scores"],
    "max_drop": None,
    "from_layer": ["embedding"],
    "to": "tflite",
}


def test_the_defaults_are_full_int8_of_batch_1():
    recipe = ConvertRecipe()
    assert (recipe.quantize, recipe.file_input_type, recipe.file_output_type) == ("int8", "int8", "int8")
    assert (recipe.batch_size, recipe.calibration_samples, recipe.seed) == (1, 200, 0)
    assert not (recipe.dynamic_batch or recipe.allow_float_ops or recipe.per_tensor_dense)


def test_a_round_trip_loses_nothing():
    recipe = ConvertRecipe.from_dict(EVERYTHING)
    assert recipe.to_dict() == EVERYTHING
    assert ConvertRecipe.from_dict(recipe.to_dict()) == recipe
    assert recipe.input_shapes == {"image": (1, 96, 96, 3)}
    assert recipe.image_size == (96, 64)


@pytest.mark.parametrize("mode", QUANTIZE_MODES)
def test_only_integer_activations_need_calibration(mode):
    assert ConvertRecipe(quantize=mode).needs_calibration == (mode in ("int8", "int8w4", "int16x8"))
    assert ConvertRecipe(quantize=mode).file_input_type == IO_TYPES[mode][0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"quantize": "int9"}, r"Unknown quantize mode 'int9'; did you mean 'int8'\?"),
        ({"quantize": "float32", "input_type": "int8"}, "input_type 'int8' does not go with quantize='float32'; expected one of float32"),
        ({"output_type": "int16"}, "output_type 'int16' does not go with quantize='int8'; expected one of int8, uint8, float32"),
        ({"calibration_samples": 0}, "calibration_samples is 0; expected a whole number of at least 1"),
        ({"calibration_samples": "many"}, "calibration_samples is 'many'; expected a whole number"),
        ({"batch_size": 1.5}, "batch_size is 1.5; expected a whole number"),
        ({"batch_size": True}, "batch_size is True; expected a whole number"),
        ({"seed": -1}, "seed is -1; expected a whole number of at least 0"),
        ({"dynamic_batch": "yes"}, "dynamic_batch is 'yes'; expected true or false"),
        ({"preprocess": 3}, "preprocess is 3; expected text"),
        ({"to": "onn"}, r"Unknown format to='onn'; did you mean 'onnx'\?"),
        ({"to": "onnx", "quantize": "float16"}, "to='onnx' goes with quantize=int8 or float32, not 'float16'"),
        ({"to": "tensorrt", "quantize": "float32"}, "to='tensorrt' goes with quantize=int8, not 'float32'"),
        ({"to": "onnx", "input_type": "int8"}, "input_type='int8' does not go with to='onnx', whose ends are float32"),
        ({"to": "onnx", "dynamic_batch": True}, "dynamic_batch does not go with to='onnx'"),
        ({"to": "onnx", "edges": "prepared"}, "edges='prepared' does not go with to='onnx'"),
        ({"dynamic_batch": True, "batch_size": 2}, "batch_size and dynamic_batch exclude each other"),
        ({"per_tensor_dense": True, "quantize": "dynamic"}, "per_tensor_dense goes with quantize='int8', not 'dynamic'"),
        ({"input_shapes": [1, 2]}, r"input_shapes is \[1, 2\]; expected a table"),
        ({"input_shapes": {"x": 3}}, "The shape of input 'x' is 3; expected a list"),
        ({"input_shapes": {"x": [1, 0]}}, "A size in the shape of input 'x' is 0"),
        ({"image_size": 96}, "image_size is 96; expected height and width"),
        ({"image_size": [96, 0]}, "image_size's width is 0"),
        ({"image_resize": "bilinar"}, r"Unknown image_resize 'bilinar'; did you mean 'bilinear'\?"),
        ({"ranges": "percentil"}, r"Unknown ranges 'percentil'; did you mean 'percentile'\?"),
        ({"ranges": "best", "quantize": "int16x8"}, "ranges 'best' goes with quantize='int8' or 'int8w4', not 'int16x8'"),
        ({"recover": True, "quantize": "float16"}, "recover goes with quantize='int8' or 'int8w4', not 'float16'"),
        ({"image_scaling": "0..2"}, "Unknown image_scaling '0..2'"),
        ({"quantise": "int8"}, r"Unknown convert option 'quantise'; did you mean 'quantize'\?"),
    ],
)  # fmt: skip
def test_a_bad_value_is_said_with_what_was_expected(options, sentence):
    with pytest.raises(RecipeError, match=sentence):
        ConvertRecipe.from_dict(options)


def test_numpy_numbers_are_numbers():
    assert ConvertRecipe(seed=np.int64(4), batch_size=np.uint8(2)).to_dict()["seed"] == 4


def write(folder, text):
    path = folder / "recipe.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file(tmp_path):
    text = '[convert]\nquantize = "int16x8"\nseed = 5\ninput_shapes = {image = [1, 8, 8, 3]}\n'
    recipe = convert_recipe_from_file(write(tmp_path, text))
    assert recipe == ConvertRecipe(quantize="int16x8", seed=5, input_shapes={"image": (1, 8, 8, 3)})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[convert]\nquantise = 'int8'", r"Unknown convert option 'quantise'; did you mean 'quantize'\?"),
        ("[konvert]\nseed = 1", r"Unknown table \[konvert\] in .*; did you mean 'convert'\?"),
        ("convert = 3", r"'convert' in .* is a int; expected a \[convert\] table"),
        ("[convert", "is not valid TOML"),
        ("", r"has nothing under \[convert\] and would do nothing; fill it, or drop it\."),
        ("[convert]\n", "would do nothing"),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_a_bad_file(tmp_path, text, sentence):
    with pytest.raises(RecipeError, match=sentence):
        convert_recipe_from_file(write(tmp_path, text))


def test_a_missing_file(tmp_path):
    with pytest.raises(UsageError, match="Cannot read the recipe .*absent.toml: No such file"):
        convert_recipe_from_file(tmp_path / "absent.toml")
