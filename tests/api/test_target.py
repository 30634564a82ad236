"""Converting for an accelerator: its wishes become the recipe, and its compiler's file lies beside the plain one."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.api.target import compile_beside, compiled_path, predict, recipe_for
from edgeopt.errors import OutputError, RecipeError, UsageError
from edgeopt.recipes.convert import ConvertRecipe


def test_the_edge_tpu_gets_uint8_ends_static_batch_and_per_tensor_dense() -> None:
    recipe = recipe_for("edgetpu", ConvertRecipe())
    assert (recipe.quantize, recipe.input_type, recipe.output_type) == ("int8", "uint8", "uint8")
    assert recipe.per_tensor_dense and not recipe.dynamic_batch and recipe.batch_size == 1


def test_int8_ends_that_the_user_asked_for_are_kept() -> None:
    assert recipe_for("edgetpu", ConvertRecipe(input_type="int8")).input_type == "int8"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": "float16"}, r"quantize='float16' does not go with target edgetpu"),
        ({"input_type": "float32"}, r"input_type='float32' does not go with target edgetpu"),
        ({"batch_size": 4}, r"batch_size=4 does not go with target edgetpu"),
        ({"dynamic_batch": True}, r"dynamic_batch does not go with target edgetpu"),
    ],
)
def test_what_the_compiler_cannot_read_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe_for("edgetpu", ConvertRecipe.from_dict(options))


def test_an_unknown_target_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"Unknown accelerator 'edge-tpu'.*edgetpu"):
        recipe_for("edge-tpu", ConvertRecipe())


def test_an_existing_compiled_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "m_edgetpu.tflite").write_bytes(b"old")
    with pytest.raises(OutputError, match=r"m_edgetpu\.tflite exists already"):
        compiled_path("edgetpu", tmp_path / "m.tflite", force=False)


def test_a_coral_model_is_predicted_fully_mapped(shared_data: Path) -> None:
    prediction = predict("edgetpu", (shared_data / "coral" / "mobilenet_v1_0.25_128_quant.tflite").read_bytes())
    assert prediction.mapped_ops["CONV_2D"] > 0
    assert not prediction.cpu_ops and not prediction.unsure_ops


@pytest.mark.heavy
def test_vela_compiles_beside_the_plain_file_with_its_log(shared_data: Path, tmp_path: Path) -> None:
    data = (shared_data / "kws" / "ref_int8.tflite").read_bytes()
    path, made = compile_beside("ethos-u55-128", tmp_path / "kws.tflite", data)
    assert path == tmp_path / "kws_vela.tflite" and path.read_bytes() == made.model
    assert path.with_suffix(".log").read_text()
    assert made.mapped > 0 and not made.cpu_ops
