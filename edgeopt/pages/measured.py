"""What is known of a file, whichever result told it: its score, its timings, its sizes."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..evaluation.answers import read_right
from ..evaluation.figures import figure, interval_ends
from ..evaluation.metrics import Array
from .evidence import Subject
from .records import Fidelity, Metric, Profile, Stage, Timing, Validation

_SHARES = ("accuracy", "top5")  # metrics that are printed in per cent
COSTS = ("size_bytes", "gzip_bytes", "macs", "peak_activation_bytes")
VERDICTS = {
    "ok": "good",
    "missed": "bad",
    "unfaithful": "bad",
    "failed": "bad",
    "invalid": "bad",
    "not proven": "unsure",
}


@dataclass(frozen=True, eq=False)
class Score:
    """A file's metric.

    Attributes:
        metric: The metric with its interval.
        samples: How many were scored; None where that is not told.
        drop: From the baseline, positive when the file is worse; None without a baseline.
        drop_ci95: Its interval.
        data: Hash of the samples; None where it is not told.
        right: Which of them were answered rightly, ``(samples,)``; None where it is not told.
    """

    metric: Metric
    samples: int | None
    drop: float | None
    drop_ci95: tuple[float, float] | None
    data: str | None = None
    right: Array | None = field(default=None, repr=False)


def score_of(subject: Subject) -> Score | None:
    """Return the score of a file: the first validation's, or its run's; None where it was not scored."""
    scored: list[Validation | Stage] = [*subject.validations, *([] if subject.stage is None else [subject.stage])]
    for held in scored:
        if "metric" in held:
            drop = held.get("accuracy_drop", held.get("drop"))
            ends = held.get("accuracy_drop_ci95", held.get("drop_ci95"))
            return Score(held["metric"], held.get("samples"), drop, ends, *_answers(held))
    return None


def _answers(held: Validation | Stage) -> tuple[str | None, Array | None]:
    text, samples = held.get("right"), held.get("samples")
    right = read_right(text, samples) if isinstance(text, str) and isinstance(samples, int) else None
    data = held.get("data_sha256")
    return (data if isinstance(data, str) else None), right


def timings_of(subject: Subject) -> list[Timing]:
    """Return the timings of a file: those of a bench first, which does nothing else."""
    benched = [run for bench in subject.benches for run in bench.get("runs", [])]
    others: list[Timing] = [*subject.validations, *([] if subject.stage is None else [subject.stage])]
    return [timing for timing in (*benched, *others) if (timing.get("latency_ms") or {}).get("p50")]


def place_of(timing: Timing) -> str:
    """Return where a timing was taken: device, runtime, threads."""
    device, profile = timing.get("device", "a device"), timing.get("kernel_profile")
    return device if profile is None else f"{device}: {profile_words(profile)}"


def profile_words(profile: Profile) -> str:
    """Return a kernel profile in a few words."""
    threads = f"{profile['threads']} thread{'' if profile['threads'] == 1 else 's'}"
    delegate = "" if profile["delegate"] == "none" else f", {profile['delegate']}"
    kernels = "" if profile["kernels"] == "default" else f", {profile['kernels']} kernels"
    return f"{profile['runtime']} {profile['version']}{delegate}, {threads}{kernels}"


def flaws_of(timing: Timing) -> list[str]:
    """Return why a timing does not count; nothing if it does."""
    if "unmeasured" not in timing and "invalid" not in timing:
        return ["what it was taken under is not told"]
    found = timing.get("unmeasured") or timing.get("invalid") or []
    told = [f"{flaw['reason']}: {flaw['detail']}" for flaw in found]
    return told or (["emulated: not a measurement"] if timing.get("emulated") else [])


def fidelity_of(subject: Subject) -> Fidelity | None:
    """Return how near a file's outputs are to its model's: on the most samples."""
    held = [found for item in subject.validations for found in (item.get("baseline_fidelity"), item.get("fidelity"))]
    found = [item for item in (*held, subject.sidecar.get("fidelity")) if item is not None]
    return max(found, key=lambda item: item["samples"], default=None)


def verdict_of(subject: Subject) -> tuple[str, str]:
    """Return a file's verdict in a word and its mark: the worst of its validations, or what its fidelity says."""
    order = ("missed", "failed", "unfaithful", "not proven", "invalid", "ok")
    words = [validation.get("verdict", "ok") for validation in subject.validations]
    words += [] if subject.verdict is None else [subject.verdict]
    words.sort(key=lambda word: order.index(word) if word in order else 0)
    if words:
        return words[0], VERDICTS.get(words[0], "unsure")
    found = fidelity_of(subject)
    if found is not None and not found["holds"]:
        word = found.get("verdict", "unfaithful")
        return word, VERDICTS[word]
    return ("not validated" if subject.stage is None else "on the way"), "none"


def size_of(subject: Subject) -> int | None:
    """Return a file's size in bytes."""
    if subject.inspection is not None:
        return subject.inspection.size_bytes
    held = (*subject.validations, *subject.benches, subject.stage)
    return next((item["size_bytes"] for item in held if item is not None and "size_bytes" in item), None)


def costs_of(subject: Subject) -> dict[str, int | None]:
    """Return the sizes of a file, its work and its memory; None where one is not known."""
    inside, stage = subject.inspection, subject.stage
    if inside is not None:
        # What an Edge TPU computes inside of its operator, the file does not tell; nor what other custom operators do.
        macs = None if inside.macs_unknown or inside.edgetpu else inside.macs
        peak = None if inside.edgetpu else inside.peak_activation_bytes
        rest: tuple[int | None, ...] = (inside.gzip_bytes, macs, peak)
    elif stage is not None:
        rest = (stage.get("gzip_bytes"), stage.get("macs"), stage.get("peak_activation_bytes"))
    else:
        rest = (None, None, None)
    return dict(zip(COSTS, (size_of(subject), *rest), strict=True))


def is_share(metric: str) -> bool:
    """Whether a metric is printed in per cent."""
    return metric in _SHARES


def metric_figure(metric: Metric) -> str:
    """Return a metric's value as text."""
    if not is_share(metric["name"]):
        return figure(metric["value"], metric["ci95"])
    return f"{figure(100 * metric['value'], _hundred(metric['ci95']))} %"


def metric_ends(metric: Metric) -> str:
    """Return the ends of a metric's interval as text."""
    ends = _hundred(metric["ci95"]) if is_share(metric["name"]) else metric["ci95"]
    return " to ".join(interval_ends(ends))


def drop_figure(score: Score) -> tuple[str, str]:
    """Return a drop, and the ends of its interval, as text; of a share in points."""
    return ("", "") if score.drop is None else difference_figure(score.metric["name"], score.drop, score.drop_ci95)


def difference_figure(metric: str, value: float, ends: tuple[float, float] | None) -> tuple[str, str]:
    """Return a difference of two scores, and the ends of its interval, as text; of a share in points."""
    scale, unit = (100, " points") if is_share(metric) else (1, "")
    scaled = None if ends is None else (scale * ends[0], scale * ends[1])
    told = "" if scaled is None else " to ".join(interval_ends(scaled, signed=True))
    return f"{figure(scale * value, scaled, signed=True)}{unit}", told


def _hundred(ends: tuple[float, float]) -> tuple[float, float]:
    return 100 * ends[0], 100 * ends[1]
