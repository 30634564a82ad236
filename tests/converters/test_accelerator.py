"""Every registered accelerator keeps the contract of `converters.accelerator`, on a real model."""

from __future__ import annotations

import hashlib
import json

import pytest

from edgeopt.converters.accelerator import (
    ACCELERATORS,
    MAPPED,
    VERDICTS,
    Accelerator,
    OpMapping,
    Prediction,
    accelerator,
    histogram,
)
from edgeopt.errors import CompilerError, FileFormatError, UsageError
from edgeopt.flatbuffer import read_model
from edgeopt.recipes.convert import ConvertRecipe

# Every family once; the other sizes of Ethos-U differ in numbers only.
HEAVY = [pytest.param(name, marks=pytest.mark.heavy) for name in ("ethos-u65-256", "ethos-u85-256")]
NAMES = ["edgetpu", "ethos-u55-128", *HEAVY]


@pytest.fixture(params=NAMES)
def target(request) -> Accelerator:
    if request.param != "edgetpu":
        pytest.importorskip("ethosu", reason="ethos-u-vela is not installed")
    return accelerator(request.param)


@pytest.fixture
def model(shared_data) -> bytes:
    return (shared_data / "coral" / "split_concat.tflite").read_bytes()


def compiled(target: Accelerator, model: bytes):
    try:
        return target.compiler.compile(model, "m")
    except CompilerError as error:
        if target.name == "edgetpu" and "was not found" in str(error):
            pytest.skip("edgetpu_compiler is proprietary and not here; tests/converters/edgetpu replays its logs")
        raise


def test_every_name_loads_and_is_consistent():
    for name in ACCELERATORS:
        found = accelerator(name)
        assert found.name == name
        assert found.compiler.target == found.predictor.target == name


def test_what_it_wants_is_a_valid_recipe(target):
    recipe = ConvertRecipe.from_dict(dict(target.wants.recipe))
    assert (recipe.quantize, recipe.edges) == ("int8", "int8")


def test_each_operator_gets_one_verdict_with_a_reason_and_a_remedy(target, shared_data):
    data = (shared_data / "coral" / "posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite").read_bytes()
    model = read_model(data)
    found = target.predictor.predict(model, data)
    assert [op.index for op in found.operators] == [op.index for op in model.main.operators]
    assert [op.op for op in found.operators] == [op.name for op in model.main.operators]
    assert {op.verdict for op in found.operators} <= set(VERDICTS)
    assert all(op.rule and op.why and op.remedy for op in found.operators if op.verdict != MAPPED)
    assert found.cpu_ops == {"PosenetDecoderOp": 1}
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_given_bytes_are_not_changed_and_the_result_says_what_it_holds(target, model):
    before = hashlib.sha256(model).hexdigest()
    (result,) = compiled(target, model)
    assert hashlib.sha256(model).hexdigest() == before
    assert result.target == target.name
    assert result.name.startswith("m_")
    assert result.mapped > 0
    # One custom operator, and whatever the result says was left, is all there is in the file.
    left = histogram(op.name for op in read_model(result.model).main.operators if not op.custom)
    assert left == dict(result.cpu_ops)
    assert result.log
    json.dumps(result.to_dict(), allow_nan=False)


def test_what_was_predicted_is_what_is_compiled(target, model):
    (result,) = compiled(target, model)
    assert target.predictor.predict(read_model(model), model).cpu_ops == dict(result.cpu_ops)


def test_a_compiled_file_is_refused(target, model, shared_data):
    if target.name == "edgetpu":
        again = (shared_data / "coral" / "split_concat_edgetpu.tflite").read_bytes()
    else:
        again = compiled(target, model)[0].model
    with pytest.raises(UsageError, match="already"):
        target.predictor.predict(read_model(again), again)
    with pytest.raises(UsageError, match="already"):
        target.compiler.compile(again, "m")


def test_bytes_that_are_no_model_are_refused(target):
    with pytest.raises(FileFormatError, match=r"expected a .tflite file"):
        target.compiler.compile(b"nothing like a model", "m")


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(UsageError, match="Unknown accelerator 'edgtpu'; did you mean 'edgetpu'"):
        accelerator("edgtpu")
    with pytest.raises(UsageError, match="Unknown accelerator 'ethos-u55-129'; did you mean 'ethos-u55-128'"):
        accelerator("ethos-u55-129")


def test_histograms_and_predictions_count():
    operators = tuple(OpMapping(i, op, verdict, "") for i, (op, verdict) in enumerate(
        [("ADD", "mapped"), ("ADD", "mapped"), ("EXP", "cpu"), ("TRANSPOSE", "unsure")]
    ))  # fmt: skip
    found = Prediction("x", operators, 1)
    assert (found.mapped_ops, found.cpu_ops, found.unsure_ops) == ({"ADD": 2}, {"EXP": 1}, {"TRANSPOSE": 1})
    assert list(histogram(["b", "a", "b"])) == ["b", "a"]
