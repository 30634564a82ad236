"""`edgeopt.validate`, end to end on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeopt
from edgeopt.artifact.artifact import Artifact
from edgeopt.data.dataset import sample_hashes
from edgeopt.devices import BenchPlan
from edgeopt.errors import BudgetError, DataError, FileFormatError, UsageError
from edgeopt.evaluation.budget import Budget
from edgeopt.evaluation.fidelity import Cause, Fidelity, OutputFidelity

from ..devices.conftest import classifier_model, halving_model, two_input_model

QUICK = BenchPlan(1, 0.0, min_runs=5, max_runs=20, min_seconds=0, max_seconds=2, processes=1)

LABELS = np.arange(12) % 3
X = np.eye(3, dtype=np.float32)[LABELS]
WRONG = np.eye(3, dtype=np.float32)[np.where(np.arange(12) < 3, (LABELS + 1) % 3, LABELS)]  # 3 of 12 are wrong


def int8_classifier() -> bytes:
    """y = x in int8 with a step of 1/256 below 1: the classes stay as they are."""
    from ..flatbuffer.conftest import FileBuilder

    file = FileBuilder()
    x = file.tensor([1, 3], name="x", scales=[1 / 128], zero_points=[0])
    y = file.tensor([1, 3], name="y", scales=[1 / 256], zero_points=[-128])
    file.operator("QUANTIZE", [x], [y], options="QuantizeOptions")
    return file.build([x], [y])


@pytest.fixture
def npz(tmp_path: Path) -> str:
    np.savez(tmp_path / "test.npz", x=WRONG, y=LABELS)
    return str(tmp_path / "test.npz")


def test_a_file_is_validated(tmp_path: Path, npz: str) -> None:
    (tmp_path / "m.tflite").write_bytes(classifier_model())
    report = edgeopt.validate(str(tmp_path / "m.tflite"), data=npz, bench=QUICK)
    found = report.to_dict()
    assert (found["accuracy"], found["samples"], found["verdict"]) == (0.75, 12, "ok")
    assert found["artifact"] == str(tmp_path / "m.tflite") and found["size_bytes"] == len(classifier_model())
    assert found["kernel_profile"]["runtime"] == "ai_edge_litert"
    assert found["latency_ms"]["p50"] > 0 and found["conditions"]["before"]["load_average"]
    assert len(report.measurement["samples_ms"]) == found["latency_runs"]["runs"] == 20
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("form", ["bytes", "artifact", "path"])
def test_every_form_of_file_and_data(tmp_path: Path, form: str) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(int8_classifier())
    given: dict[str, Any] = {"bytes": path.read_bytes(), "artifact": Artifact(path.read_bytes()), "path": path}
    data: dict[str, Any] = {"bytes": (WRONG, LABELS), "artifact": {"x": WRONG, "y": LABELS}, "path": (WRONG, LABELS)}
    assert edgeopt.validate(given[form], data=data[form], bench=QUICK).to_dict()["accuracy"] == 0.75


def test_a_tflite_baseline_runs_on_the_same_device(npz: str) -> None:
    found = edgeopt.validate(
        int8_classifier(), data=npz, baseline=classifier_model(), budget=Budget(max_drop=0.0), bench=QUICK
    ).to_dict()
    assert (found["accuracy"], found["baseline_accuracy"], found["accuracy_drop"]) == (0.75, 0.75, 0.0)
    low, high = found["accuracy_drop_ci95"]
    assert low < 0 < high and found["agreement"] == 1.0 and found["verdict"] == "not proven"
    assert found["baseline"]["kind"] == "tflite"


def test_a_worse_file_misses_a_budget_on_the_drop() -> None:
    swapped = np.eye(3, dtype=np.float32)[[1, 0, 2]]  # a dense layer that swaps two classes
    from ..flatbuffer.conftest import FileBuilder

    file = FileBuilder()
    x, y = file.tensor([1, 3], "float32", name="x"), file.tensor([1, 3], "float32", name="y")
    weights = file.tensor([3, 3], "float32", name="w", data=swapped)
    file.operator("FULLY_CONNECTED", [x, weights, -1], [y], options="FullyConnectedOptions")
    report = edgeopt.validate(
        file.build([x], [y]), data=(X, LABELS), baseline=classifier_model(), budget=Budget(max_drop=0.5), bench=QUICK
    )
    assert report.to_dict()["accuracy_drop"] == pytest.approx(2 / 3)
    assert report.to_dict()["agreement"] == pytest.approx(1 / 3)
    with pytest.raises(BudgetError, match=r"max_drop is 0.5, measured 0.6667"):
        report.raise_for_budget()


def test_samples_that_calibrated_the_file_are_found_by_their_hashes(tmp_path: Path) -> None:
    noise = WRONG + np.linspace(0, 0.1, 12, dtype=np.float32)[:, None]  # no two samples are the same
    calibration = {"count": 6, "seed": 0, "source": None, "hashes": sample_hashes([noise[3:9]])}
    artifact = Artifact(classifier_model(), {"calibration": calibration})
    artifact.save(tmp_path / "m.tflite")
    for given in (artifact, tmp_path / "m.tflite"):
        report = edgeopt.validate(given, data=(noise, LABELS), bench=QUICK)
        overlap = report.to_dict()["calibration_overlap"]
        assert (overlap["count"], overlap["clean"]["samples"], overlap["clean"]["accuracy"]) == (6, 6, 0.5)
        assert any("6 of the 12 samples calibrated this file" in warning for warning in report.warnings)


def test_a_sidecar_without_calibration_tells_nothing() -> None:
    report = edgeopt.validate(Artifact(classifier_model(), {"calibration": None}), data=(X, LABELS), bench=QUICK)
    assert report.to_dict()["calibration_overlap"] is None


def test_inputs_are_bound_by_name_and_one_of_several_outputs_is_scored(tmp_path: Path) -> None:
    zebra, apple = np.array([[1.0, 2.0], [4.0, 3.0]]), np.array([[5.0, 6.0], [8.0, 7.0]])
    np.savez(tmp_path / "d.npz", apple=apple, zebra=zebra, y=np.array([1, 0]))
    scored = {
        name: edgeopt.validate(two_input_model(), data=str(tmp_path / "d.npz"), output_name=name, bench=QUICK).to_dict()
        for name in ("zoo", "air")
    }
    assert scored["air"]["accuracy"] == 1.0, "max(apple, 0) is largest where the label says"
    assert scored["zoo"]["accuracy"] == 0.0, "and -zebra smallest"


def test_labels_of_several_outputs_are_those_of_the_scored_one() -> None:
    x = {"zebra": np.array([[1.0, 2.0], [4.0, 3.0]]), "apple": np.array([[5.0, 6.0], [8.0, 7.0]])}
    right, wrong = np.array([1, 0]), np.array([0, 1])
    for labels in ({"air": right, "zoo": wrong}, {"air": right, "zoo": right}):
        found = edgeopt.validate(two_input_model(), data=(x, labels), output_name="air", bench=QUICK).to_dict()
        assert found["accuracy"] == 1.0
    found = edgeopt.validate(two_input_model(), data=(x, {"air": wrong, "zoo": right}), output_name="air", bench=QUICK)
    assert found.to_dict()["accuracy"] == 0.0

    def both(y_true: dict[str, np.ndarray], y_pred: dict[str, np.ndarray]) -> float:
        return float((y_true["air"] == y_pred["air"].argmax(1)).mean())

    report = edgeopt.validate(two_input_model(), data=(x, {"air": right, "zoo": wrong}), metric=both, bench=QUICK)
    assert report.to_dict()["metric"]["value"] == 1.0
    with pytest.raises(DataError, match="has no labels for the output 'air'; did you mean 'ai'"):
        edgeopt.validate(two_input_model(), data=(x, {"ai": right, "zoo": wrong}), output_name="air", bench=QUICK)


def test_a_metric_of_several_outputs_gets_them_by_name() -> None:
    def gap(y_true: object, y_pred: dict[str, np.ndarray]) -> float:
        return float((y_pred["air"] + y_pred["zoo"]).mean())

    data = {"zebra": np.ones((4, 2)), "apple": 3 * np.ones((4, 2))}
    found = edgeopt.validate(two_input_model(), data=data, metric=gap, bench=QUICK).to_dict()
    assert found["metric"]["value"] == 2.0 and found["metric"]["name"] == "gap"


def test_progress_is_told() -> None:
    stages = set()
    edgeopt.validate(
        classifier_model(), data=(X, LABELS), bench=QUICK, on_progress=lambda event: stages.add(event.stage)
    )
    assert {"samples", "device"} <= stages <= {"samples", "device", "bench", "evaluate", "waiting"}


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        (classifier_model(), {"data": (X, LABELS[:11])}, DataError, r"11 label\(s\) for 12 samples"),
        (classifier_model(), {"data": X}, DataError, "no labels, which the metric accuracy needs"),
        (classifier_model(), {"data": (X[:, :2], LABELS)}, DataError, r"shape \(12, 2\) for input 'x'"),
        (classifier_model(), {"data": (X.reshape(-1), np.zeros(36))}, DataError, r"shape \(36,\) for input 'x'"),
        (classifier_model(), {"data": (X, LABELS + 1)}, DataError, r"lie in \[1, 3\], but the outputs have 3 classes"),
        (classifier_model(), {"data": "missing.npz"}, DataError, "missing.npz does not exist"),
        (classifier_model(), {"data": (X, LABELS), "metric": "acuracy"}, UsageError, "did you mean 'accuracy'"),
        (classifier_model(), {"data": (X, LABELS), "output_name": "z"}, UsageError, "no output 'z'; expected one of y"),
        (
            classifier_model(),
            {"data": (X, LABELS), "budget": Budget(max_drop=1)},
            UsageError,
            "give a model with --baseline",
        ),
        (
            classifier_model(),
            {"data": (X, LABELS), "baseline": "no.keras"},
            UsageError,
            "Model no.keras does not exist",
        ),
        (
            classifier_model(),
            {"data": (X, LABELS), "baseline": b"PK"},
            FileFormatError,
            "The baseline is a file that starts with b'PK'",
        ),
        (classifier_model(), {"data": (X, LABELS), "baseline": two_input_model()}, DataError, "baseline's inputs are"),
        (classifier_model(), {"data": (X, LABELS), "baseline": halving_model()}, DataError, r"shape \(12, 3\)"),
        (
            two_input_model(),
            {"data": {"zebra": X[:, :2], "apple": X[:, :2], "y": LABELS}},
            UsageError,
            "outputs zoo, air",
        ),
        (classifier_model()[:100], {"data": (X, LABELS)}, FileFormatError, "corrupt .tflite"),
        (b"", {"data": (X, LABELS)}, FileFormatError, "expected a .tflite file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_named(model: bytes, options: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        edgeopt.validate(model, bench=QUICK, **options)
    assert type(caught.value) is error


def test_a_baseline_that_is_not_there_is_named_before_the_device_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Model .* does not exist"):
        edgeopt.validate(
            classifier_model(), data=(X, LABELS), baseline=str(tmp_path / "nowhere"), device="no-such-device"
        )


@pytest.mark.heavy
def test_a_float_model_is_run_on_the_same_samples(shared_data: Path) -> None:
    """MLPerf Tiny keyword spotting: the float SavedModel beside MLPerf's own int8 file."""
    archive = np.load(shared_data / "kws" / "test.npz")
    data = (archive["x"][:300], archive["y"][:300])
    found = edgeopt.validate(
        shared_data / "kws" / "ref_int8.tflite",
        data=data,
        baseline=shared_data / "kws" / "ref_saved_model",
        bench=QUICK,
    ).to_dict()
    assert found["baseline"]["kind"] == "keras"
    assert 0.85 < found["accuracy"] < 0.97 and 0.85 < found["baseline_accuracy"] < 0.97
    low, high = found["accuracy_drop_ci95"]
    assert low <= found["accuracy_drop"] <= high and 0.88 < found["agreement"] < 1


# --- a file whose outputs are not the model's ------------------------------------------------------------------------


def test_a_file_that_the_conversion_found_unfaithful_is_never_ok(npz: str) -> None:
    """The cause and the remedy that the sidecar holds stand in the verdict, the warnings and the missed budget."""
    cause = Cause("ADD", 3, "mask", "t", 1e7, -2.0, "mask", "mask with a value such as -100")
    bad = OutputFidelity("y", 2.0, 0, 1.0, 0.9, None, 0.5, False, (), ("2.0 dB of signal to noise, under 15",))
    artifact = Artifact(int8_classifier(), {"fidelity": Fidelity((bad,), 50, True, cause).to_dict()})
    report = edgeopt.validate(artifact, data=npz, bench=QUICK)
    assert report.verdict == "unfaithful"
    assert any(text.startswith("fidelity: ") and "mask with a value" in text for text in report.warnings)
    missed = edgeopt.validate(artifact, data=npz, budget=Budget(min_metric=0.9), bench=QUICK)
    with pytest.raises(BudgetError, match="from ADD of layer 'mask' .* on: mask with a value such as -100"):
        missed.raise_for_budget()


def test_a_baseline_is_held_against_the_outputs(npz: str) -> None:
    report = edgeopt.validate(int8_classifier(), data=npz, baseline=classifier_model(), bench=QUICK)
    found = Fidelity.from_dict(report.to_dict()["baseline_fidelity"])
    assert found.holds and found.outputs[0].same_class == 1.0
    assert found.outputs[0].max_error == pytest.approx(1 / 128)  # 1 becomes 127/128
    assert report.verdict == "ok"
