"""Files side by side: what is better or worse than the first, and only what is beyond doubt."""

from __future__ import annotations

import base64
import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgeopt
from edgeopt.errors import UsageError
from edgeopt.evaluation.answers import read_right
from edgeopt.evaluation.tango import share_interval, tango_interval
from edgeopt.pages.comparison import TimedTurns, metric_difference
from edgeopt.pages.measured import Score


def score(right: int, count: int, *, higher: bool = True) -> Score:
    metric = {"name": "accuracy", "value": right / count, "higher_is_better": higher, "ci_method": "agresti-coull"}
    return Score({**metric, "ci95": share_interval(right, count)}, count, None, None)  # type: ignore[typeddict-item]


def test_a_difference_beyond_its_interval_and_one_within() -> None:
    found = metric_difference(score(900, 1000), score(800, 1000))
    assert found.gain == pytest.approx(0.1) and 0 < found.ci95[0] < found.gain < found.ci95[1]
    low, high = metric_difference(score(81, 100), score(80, 100)).ci95
    assert low < 0 < high


def test_of_errors_less_is_a_gain() -> None:
    found = metric_difference(score(800, 1000, higher=False), score(900, 1000, higher=False))
    assert found.gain == pytest.approx(0.1) and found.ci95[0] > 0 and not found.paired


def test_the_interval_of_a_difference_covers() -> None:
    """Of 95 % intervals of samples that are the files' own, about 95 % hold the true difference."""
    rng = np.random.default_rng(0)
    ours, theirs = rng.binomial(300, 0.9, 2000), rng.binomial(300, 0.85, 2000)
    inside = 0
    for one, other in zip(ours.tolist(), theirs.tolist(), strict=True):
        low, high = metric_difference(score(one, 300), score(other, 300)).ci95
        inside += low <= 0.05 <= high
    assert 0.93 <= inside / 2000 <= 0.99


def test_on_the_same_samples_a_smaller_difference_is_beyond_doubt() -> None:
    """Fifteen of a thousand answers are won and none lost: paired that is a gain, of samples of their own it is not."""
    theirs = np.arange(1000) < 800
    ours = np.arange(1000) < 815

    def answered(right: np.ndarray, data: str | None) -> Score:
        return replace(score(int(right.sum()), 1000), data=data, right=right)

    paired = metric_difference(answered(ours, "these"), answered(theirs, "these"))
    assert paired.paired and paired.ci95 == tango_interval(15, 0, 1000) and paired.ci95[0] > 0
    for other in ("others", None):
        alone = metric_difference(answered(ours, "these"), answered(theirs, other))
        assert not alone.paired and alone.gain == paired.gain and alone.ci95[0] < 0 < alone.ci95[1]


def test_a_validation_tells_which_samples_were_right(results: Path) -> None:
    held = json.loads((results / "validate.json").read_text())
    right = read_right(held["right"], held["samples"])
    assert (
        right is not None and list(np.flatnonzero(~right)) == [0, 10, 20, 30, 40, 50] and len(held["data_sha256"]) == 64
    )
    assert read_right(held["right"], 100) is None and read_right("not base64!", 60) is None


def test_two_validations_of_the_same_samples_are_a_pair(results: Path, tmp_path: Path) -> None:
    held = json.loads((results / "validate.json").read_text())
    other = edgeopt.Artifact.load(results / "other.tflite")
    worse = np.ones(60, bool)
    worse[:30] = False
    text = base64.b64encode(np.packbits(worse).tobytes()).decode()
    metric = {**held["metric"], "value": 0.5, "ci95": [0.37, 0.63]}
    changed = {**held, "artifact": None, "sha256": other.sha256, "metric": metric, "right": text}
    (tmp_path / "other.json").write_text(json.dumps(changed))
    sources = [results / "m.tflite", results / "other.tflite", results / "validate.json", tmp_path / "other.json"]
    found = edgeopt.compare(sources)
    against = found.to_dict()["files"][1]["against_reference"]
    assert against["metric"] == "worse" and against["metric_difference"]["paired"]
    assert "points (-" in found.html() and ", paired)" in found.html()


def test_different_metrics_are_not_compared() -> None:
    other = score(1, 2)
    other.metric["name"] = "auc"
    assert metric_difference(score(1, 2), other) is None


@pytest.mark.parametrize(
    ("ends", "counts", "verdict"),
    [
        ((0.8, 0.9), True, "better"),
        ((1.1, 1.2), True, "worse"),
        ((0.9, 1.1), True, "no difference shown"),
        (None, True, "no difference shown"),
        ((0.8, 0.9), False, "not known"),
    ],
)
def test_turns_are_judged_by_their_interval(ends, counts: bool, verdict: str) -> None:
    assert TimedTurns.of("here", {"ratio": 1.0, "ratio_ci95": ends}, counts=counts).verdict == verdict


@pytest.fixture(scope="module")
def compared(results: Path):
    return edgeopt.compare([results / "m.tflite", results / "other.tflite", results / "validate.json"])


def test_the_larger_file_is_worse_in_size_and_nothing_else(compared) -> None:
    found = compared.to_dict()
    assert found["schema_version"] == 1 and found["reference"] == "m.tflite"
    first, second = found["files"]
    assert first["against_reference"]["metric_difference"] is None and first["metric"]["value"] == pytest.approx(0.9)
    verdicts = second["against_reference"]
    assert (verdicts["size_bytes"], verdicts["macs"], verdicts["metric"]) == (
        "worse",
        "no difference shown",
        "not known",
    )
    assert second["metric"] is None and json.dumps(found, allow_nan=False)


def test_the_table_as_csv(compared) -> None:
    first, second = csv.DictReader(io.StringIO(compared.to_csv()))
    assert (first["name"], second["size_bytes_verdict"]) == ("m.tflite", "worse")
    assert float(first["value"]) == pytest.approx(0.9) and int(second["size_bytes"]) == int(first["size_bytes"]) + 8000


def test_no_cell_is_a_formula_for_a_spreadsheet(results: Path, tmp_path: Path) -> None:
    for name in ("=1+1.tflite", "b.tflite"):
        (tmp_path / name).write_bytes((results / "m.tflite").read_bytes() + name.encode())
    text = edgeopt.compare([tmp_path / "b.tflite", tmp_path / "=1+1.tflite"]).to_csv()
    assert "'=1+1.tflite" in text and "\n=" not in text


def test_turns_that_a_bench_took_are_told(results: Path) -> None:
    found = edgeopt.compare([results / "other.tflite", results / "bench.json"]).to_dict()["files"][1]
    assert found["name"] == "m.tflite" and len(found["turns"]) == 1 and "ai_edge_litert" in found["turns"][0]["place"]


def test_on_a_device_all_files_are_timed_in_turns_with_the_first(results: Path) -> None:
    from edgeopt.devices import BenchPlan

    plan = BenchPlan(min_seconds=0.1, max_seconds=0.2, processes=1)
    found = edgeopt.compare([results / "m.tflite", results / "other.tflite"], device="local", plan=plan)
    first, second = found.comparison.lines
    assert not first.turns and 0.2 < second.turns[0].ratio < 5
    assert "time, in turns" in found.html() and "<h1>1 file compared with m.tflite</h1>" in found.html()


def test_one_file_is_no_comparison_and_what_is_not_there_is_not_timed(results: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two or more"):
        edgeopt.compare([results / "m.tflite"])
    (tmp_path / "v.json").write_bytes((results / "validate.json").read_bytes())
    with pytest.raises(UsageError, match="is not there to be timed"):
        edgeopt.compare([results / "other.tflite", tmp_path / "v.json"], device="local")


def test_what_a_compiled_file_does_not_tell_is_not_called_better(shared_data: Path) -> None:
    names = ("split_concat.tflite", "split_concat_edgetpu.tflite")
    found = edgeopt.compare([shared_data / "coral" / name for name in names]).to_dict()["files"][1]
    assert found["macs"] is None and found["peak_activation_bytes"] is None
    assert {found["against_reference"][name] for name in ("macs", "peak_activation_bytes")} == {"not known"}
    assert found["against_reference"]["size_bytes"] == "worse"
