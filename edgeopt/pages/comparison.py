"""Files side by side: what each measures, and what is better or worse than the first one beyond doubt."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..artifact.envelope import envelope
from ..evaluation.tango import tango_interval
from .evidence import Subject
from .measured import COSTS, Score, costs_of, place_of, score_of, timings_of
from .records import Profile, Turns

BETTER, WORSE, SAME, UNKNOWN = "better", "worse", "no difference shown", "not known"
# Smaller changes of a size come from names and metadata in the file.
_TOLERANCE = 0.01
_FORMULA = ("=", "+", "-", "@", "\t")  # what a spreadsheet takes for one at the beginning of a cell


@dataclass(frozen=True)
class TimedTurns:
    """A file and the reference, timed in turns on a device.

    Attributes:
        place: Device, runtime and threads, as words.
        ratio: The file's time over the reference's: below 1, it is faster.
        ratio_ci95: Its 95 % interval; None from too few turns.
        verdict: "better", "worse" or "no difference shown" of this file.
        counts: Whether it is a measurement of a board: False for an emulated one.
        flaws: What was wrong with the board meanwhile, which slowed both alike: busy, throttling...
    """

    place: str
    ratio: float
    ratio_ci95: tuple[float, float] | None
    verdict: str
    counts: bool = True
    flaws: tuple[str, ...] = ()

    @classmethod
    def of(cls, place: str, held: Turns, *, counts: bool = True, flaws: tuple[str, ...] = ()) -> TimedTurns:
        """Return what a bench, or a stage of a run, tells of the turns."""
        ends = held.get("ratio_ci95")
        low, high = ends or (0.0, math.inf)
        verdict = UNKNOWN if not counts else BETTER if high < 1 else WORSE if low > 1 else SAME
        return cls(place, held.get("ratio", math.nan), ends, verdict, counts, flaws)


@dataclass(frozen=True)
class Difference:
    """How much better one file's metric is than another's.

    Attributes:
        gain: Positive is better.
        ci95: Its 95 % interval.
        paired: Whether both were scored on the same samples, and compared one by one.
    """

    gain: float
    ci95: tuple[float, float]
    paired: bool

    def to_dict(self) -> dict[str, object]:
        """Return the difference as JSON values."""
        return {"gain": self.gain, "ci95": list(self.ci95), "paired": self.paired}


@dataclass(frozen=True)
class Line:
    """One file of a comparison.

    Attributes:
        subject: The file, and all that is known of it.
        costs: "size_bytes", "gzip_bytes", "macs" and "peak_activation_bytes"; None where it is not known.
        verdicts: What is to be said of each of them, and of "metric", against the reference.
        difference: The metric's gain over the reference's; None where it is not known.
        turns: Its timings in turns with the reference.
    """

    subject: Subject
    score: Score | None
    costs: Mapping[str, int | None]
    verdicts: Mapping[str, str]
    difference: Difference | None
    turns: tuple[TimedTurns, ...]

    def latencies(self) -> dict[str, float]:
        """Return the median latency in milliseconds by place; each was taken by itself, so that nothing is claimed."""
        found = {}
        for timing in reversed(timings_of(self.subject)):
            found[place_of(timing)] = (timing.get("latency_ms") or {}).get("p50", math.nan)
        return dict(reversed(found.items()))

    def to_dict(self) -> dict[str, Any]:
        """Return the file as JSON values."""
        difference = None if self.difference is None else self.difference.to_dict()
        score = self.score
        return {
            "name": self.subject.name,
            "file": self.subject.path,
            "sha256": self.subject.sha256,
            "metric": None if score is None else {**score.metric, "ci95": list(score.metric["ci95"])},
            "samples": None if score is None else score.samples,
            **self.costs,
            "latencies_ms": self.latencies(),
            "against_reference": {**self.verdicts, "metric_difference": difference},
            "turns": [
                {**vars(item), "ratio_ci95": None if item.ratio_ci95 is None else list(item.ratio_ci95)}
                for item in self.turns
            ],
        }


@dataclass(frozen=True)
class Comparison:
    """Files side by side; the first is what the others are compared with.

    Attributes:
        lines: One a file, in the order in which they were given.
    """

    lines: tuple[Line, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the comparison in the JSON envelope of all verbs."""
        files = [line.to_dict() for line in self.lines]
        return envelope("compare", "ok", {"reference": self.lines[0].subject.name, "files": files})

    def to_csv(self) -> str:
        """Return one line a file, with the names of the columns first."""
        places = list(dict.fromkeys(place for line in self.lines for place in line.latencies()))
        turned = list(dict.fromkeys(item.place for line in self.lines for item in line.turns))
        head = ["name", "sha256", "metric", "value", "low", "high", "samples", "metric_verdict"]
        for name in COSTS:
            head += [name, f"{name}_verdict"]
        head += [f"p50_ms {place}" for place in places]
        for place in turned:
            head += [f"ratio {place}", f"low {place}", f"high {place}", f"verdict {place}"]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([_inert(name) for name in head])
        for line in self.lines:
            writer.writerow([_inert(value) for value in _values(line, places, turned)])
        return text.getvalue()


def comparison_of(subjects: Sequence[Subject], turns: Mapping[str, Sequence[TimedTurns]]) -> Comparison:
    """Return the comparison of all files with the first.

    Args:
        subjects: At least one.
        turns: By name of the file: how it was timed in turns with the first.
    """
    reference = subjects[0]
    return Comparison(tuple(_line(subject, reference, tuple(turns.get(subject.name, ()))) for subject in subjects))


def metric_difference(ours: Score, theirs: Score) -> Difference | None:
    """Return how much better one score is than another; None for different metrics.

    Answers to the same samples are compared one by one, with Tango's interval. Otherwise the two intervals make that of
    the difference (Newcombe, Statistics in Medicine 17, 1998, method 10), as if the two were of samples of their own:
    of the same samples it is wider than need be, and claims too little rather than much.
    """
    one, other = ours.metric, theirs.metric
    if one["name"] != other["name"] or one["higher_is_better"] != other["higher_is_better"]:
        return None
    gain = one["value"] - other["value"]
    if ours.data is not None and ours.data == theirs.data and ours.right is not None and theirs.right is not None:
        won, lost = (
            int((first & ~second).sum()) for first, second in ((ours.right, theirs.right), (theirs.right, ours.right))
        )
        return Difference(gain, tango_interval(won, lost, len(ours.right)), paired=True)
    low = gain - math.hypot(one["value"] - one["ci95"][0], other["ci95"][1] - other["value"])
    high = gain + math.hypot(one["ci95"][1] - one["value"], other["value"] - other["ci95"][0])
    return Difference(*((gain, (low, high)) if one["higher_is_better"] else (-gain, (-high, -low))), paired=False)


def _line(subject: Subject, reference: Subject, turns: tuple[TimedTurns, ...]) -> Line:
    score, base = score_of(subject), score_of(reference)
    difference = None if subject is reference or score is None or base is None else metric_difference(score, base)
    costs, theirs = costs_of(subject), costs_of(reference)
    verdicts = {} if subject is reference else {name: _of_costs(costs[name], theirs[name]) for name in COSTS}
    if subject is not reference:
        low, high = (0.0, 0.0) if difference is None else difference.ci95
        verdicts["metric"] = UNKNOWN if difference is None else BETTER if low > 0 else WORSE if high < 0 else SAME
    return Line(subject, score, costs, verdicts, difference, turns)


def _of_costs(ours: int | None, theirs: int | None) -> str:
    if ours is None or theirs is None:
        return UNKNOWN
    if abs(ours - theirs) <= _TOLERANCE * max(theirs, 1):
        return SAME
    return BETTER if ours < theirs else WORSE


def _values(line: Line, places: Sequence[str], turned: Sequence[str]) -> list[object]:
    score, latencies = line.score, line.latencies()
    found: list[object] = [line.subject.name, line.subject.sha256 or ""]
    if score is None:
        found += ["", "", "", "", "", line.verdicts.get("metric", "")]
    else:
        metric = score.metric
        found += [metric["name"], metric["value"], *metric["ci95"], score.samples, line.verdicts.get("metric", "")]
    for name in COSTS:
        found += [line.costs[name], line.verdicts.get(name, "")]
    found += [latencies.get(place, "") for place in places]
    by_place = {item.place: item for item in line.turns}
    for place in turned:
        item = by_place.get(place)
        found += ["", "", "", ""] if item is None else [item.ratio, *(item.ratio_ci95 or ("", "")), item.verdict]
    return found


def _inert(value: object) -> object:
    """Return a value as a spreadsheet may have it: a text that looks like a formula is none."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def place_words(device: str, profile: Profile) -> str:
    """Return where turns were timed."""
    return place_of({"device": device, "kernel_profile": profile})
