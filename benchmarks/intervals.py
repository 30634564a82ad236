"""How often edgeopt's 95 % intervals hold the true value, by simulation, beside the percentile bootstrap.

    python benchmarks/intervals.py [--runs 1000] [--seed 0] [--write docs/validate.md]

Prints a Markdown table, and with `--write` puts it between the markers in that page. Shares are not drawn but computed
exactly, over a grid of true shares, of which the worst is told. The rest is drawn: 1000 runs know a coverage of 0.95 to
0.014 (two standard errors). Takes three to five minutes on one core.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markers import write_between

from edgeopt.devices.agent.stats import LEAST_PROCESSES, LEAST_RUNS, median_interval, process_interval
from edgeopt.evaluation.metrics import load_metric
from edgeopt.evaluation.scoring import drop, evaluate
from edgeopt.evaluation.tango import Z95, share_interval, tango_interval

MARKER = "begin: python benchmarks/intervals.py --write docs/validate.md"
Rng = np.random.Generator
Interval = tuple[float, float]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    samples: str
    covers: float
    before: float | None = None

    def __str__(self) -> str:
        before = "" if self.before is None else f"{self.before:.3f}"
        return f"| {self.what} | {self.samples} | {self.covers:.3f} | {before} |"


def wilson(successes: int, count: int) -> Interval:
    share, scale = successes / count, 1 + Z95**2 / count
    half = Z95 * math.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2))
    return (share + Z95**2 / (2 * count) - half) / scale, (share + Z95**2 / (2 * count) + half) / scale


def shares() -> Iterator[Row]:
    """A share of right answers, computed exactly: the worst of 5000 true shares."""
    for count in (50, 100, 500):
        logs = np.array([math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
                         for k in range(count + 1)])  # fmt: skip
        hits, truths = np.arange(count + 1), np.linspace(1e-4, 1 - 1e-4, 5000)
        worst = []
        for method in (share_interval, wilson):
            ends = np.array([method(int(k), count) for k in hits])
            found = [
                np.exp(logs + hits * np.log(p) + (count - hits) * np.log1p(-p))[(ends[:, 0] <= p) & (p <= ends[:, 1])]
                for p in truths
            ]
            worst.append(min(float(part.sum()) for part in found))
        yield Row("accuracy, the worst of all true values (before: Wilson)", str(count), *worst)


LOST, WON = (0.002, 0.01, 0.02, 0.05, 0.1, 0.3), (0.0, 0.002, 0.01, 0.05, 0.1)


def drops_of_shares() -> Iterator[Row]:
    """A drop of the accuracy, computed exactly for true shares of lost and won answers."""
    for count in (50, 100, 200):
        pairs = [(b, c) for b in range(count + 1) for c in range(count + 1 - b) if b + c <= 0.75 * count]
        ends = np.array([tango_interval(b, c, count) for b, c in pairs])
        lost, won = np.array(pairs).T
        logs = np.array([math.lgamma(k + 1) for k in range(count + 1)])
        ways = logs[count] - logs[lost] - logs[won] - logs[count - lost - won]
        worst, told = 1.0, {}
        for p in LOST:
            for q in WON:
                likely = np.exp(
                    ways + lost * np.log(p) + won * np.log(q or 1) + (count - lost - won) * np.log1p(-p - q)
                )
                likely = np.where((won == 0) | (q > 0), likely, 0.0)
                covers = float(likely[(ends[:, 0] <= p - q) & (p - q <= ends[:, 1])].sum())
                worst = min(worst, covers + max(0.0, 1 - float(likely.sum())))
                told[p, q] = covers
        yield Row("drop of the accuracy, the worst of 30 true values", str(count), worst)
        for p in (0.002, 0.01):
            before = coverage(lambda rng, p=p, count=count: old_drop(rng, p, count), 1000, 0)
            yield Row(f"drop of the accuracy, {p:.1%} of the answers broken", str(count), told[p, 0.0], before)


def old_drop(rng: Rng, share: float, count: int) -> tuple[Interval, float]:
    return percentile_bootstrap(np.asarray(rng.random(count) < share, np.float64), rng), share


def percentile_bootstrap(values: np.ndarray, rng: Rng) -> Interval:
    means = values[rng.integers(0, len(values), (500, len(values)))].mean(axis=1)
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def coverage(draw: Callable[[Rng], tuple[Interval, float]], runs: int, seed: int) -> float:
    held = []
    for run in range(runs):
        (low, high), truth = draw(np.random.default_rng([seed, run]))
        held.append(low <= truth <= high)
    return float(np.mean(held))


def scored(metric: Any, labels: Any, output: Any, run_seed: int = 0) -> Interval:
    return evaluate(load_metric(metric), labels, output, run_seed).ci95


def dropped(metric: Any, labels: Any, ours: Any, theirs: Any) -> Interval:
    found = load_metric(metric)
    return drop(found, labels, ours, theirs, (evaluate(found, labels, ours), evaluate(found, labels, theirs)))[1]


ERRORS: dict[str, tuple[Callable[[Rng, int], np.ndarray], float]] = {
    "normal": (lambda rng, n: np.abs(rng.normal(0, 1, n)), math.sqrt(2 / math.pi)),
    "exponential": (lambda rng, n: rng.exponential(1, n), 1.0),
    "lognormal": (lambda rng, n: rng.lognormal(0, 1, n), math.exp(0.5)),
    "uniform": (lambda rng, n: rng.random(n), 0.5),
}


def errors(runs: int, seed: int) -> Iterator[Row]:
    """A mean error, and the drop between two models."""
    for name, (draw, truth) in ERRORS.items():
        for count in (50, 200):

            def score(rng: Rng, draw=draw, truth=truth, count=count) -> tuple[Interval, float]:
                return scored("mae", np.zeros(count), draw(rng, count)), truth

            def old(rng: Rng, draw=draw, truth=truth, count=count) -> tuple[Interval, float]:
                return percentile_bootstrap(draw(rng, count), rng), truth

            row = coverage(score, runs, seed), coverage(old, runs, seed)
            yield Row(f"mae, {name} errors", str(count), *row)

    def independent(rng: Rng, count: int) -> tuple[np.ndarray, np.ndarray, float]:
        return rng.exponential(1.1, count), rng.exponential(1, count), 0.1

    def grown(rng: Rng, count: int) -> tuple[np.ndarray, np.ndarray, float]:
        theirs = rng.lognormal(0, 1, count)
        return theirs * rng.exponential(1.1, count), theirs, 0.1 * math.exp(0.5)

    def rare(share: float) -> Callable[[Rng, int], tuple[np.ndarray, np.ndarray, float]]:
        def draw(rng: Rng, count: int) -> tuple[np.ndarray, np.ndarray, float]:
            theirs = rng.exponential(1, count)
            return theirs + (rng.random(count) < share) * rng.exponential(1, count), theirs, share

        return draw

    kinds = {"exponential errors, independent": independent, "lognormal errors, changed by a factor": grown}
    kinds |= {f"{share:.0%} of the errors grow": rare(share) for share in (0.01, 0.02, 0.05, 0.1, 0.3)}
    for name, kind in kinds.items():
        for count in (50, 100):

            def now(rng: Rng, kind=kind, count=count) -> tuple[Interval, float]:
                ours, theirs, truth = kind(rng, count)
                return dropped("mae", np.zeros(count), ours, theirs), truth

            def before(rng: Rng, kind=kind, count=count) -> tuple[Interval, float]:
                ours, theirs, truth = kind(rng, count)
                return percentile_bootstrap(ours - theirs, rng), truth

            yield Row(f"drop of mae, {name}", str(count), coverage(now, runs, seed), coverage(before, runs, seed))


def areas(runs: int, seed: int) -> Iterator[Row]:
    """The area under the ROC curve of normal scores, `shift` apart, and the drop by noise."""
    for count, share in ((50, 0.5), (50, 0.2), (100, 0.2), (200, 0.5)):
        for shift, spread in ((1.0, 1.0), (2.0, 1.0), (2.0, 2.0), (3.5, 1.0)):
            truth = 0.5 * (1 + math.erf(shift / math.sqrt(1 + spread**2) / math.sqrt(2)))

            def data(rng: Rng, count=count, share=share, shift=shift, spread=spread) -> tuple[np.ndarray, np.ndarray]:
                positive = rng.permutation(np.arange(count) < round(share * count))
                return positive.astype(int), np.where(
                    positive, rng.normal(shift, spread, count), rng.normal(size=count)
                )

            def now(rng: Rng, data=data, truth=truth) -> tuple[Interval, float]:
                return scored("auc", *data(rng)), truth

            def before(rng: Rng, data=data, truth=truth) -> tuple[Interval, float]:
                return old_area(*data(rng), rng), truth

            what = f"auc {truth:.2f}, {share:.0%} positive{'' if spread == 1 else ', unequal spreads'}"
            yield Row(what, str(count), coverage(now, runs, seed), coverage(before, runs // 3, seed))
    for count, share, noise in ((50, 0.5, 0.7), (50, 0.2, 0.7), (100, 0.2, 0.1), (200, 0.5, 0.1)):
        clean, noisy = (0.5 * (1 + math.erf(1.5 / math.sqrt(2 * (1 + sd**2)) / math.sqrt(2))) for sd in (0, noise))

        def loss(rng: Rng, count=count, share=share, noise=noise, truth=clean - noisy) -> tuple[Interval, float]:
            positive = rng.permutation(np.arange(count) < round(share * count))
            theirs = rng.normal(size=count) + 1.5 * positive
            ours = theirs + rng.normal(0, noise, count)
            return dropped("auc", positive.astype(int), ours, theirs), truth

        yield Row(f"drop of auc by {clean - noisy:.3f}, {share:.0%} positive", str(count), coverage(loss, runs, seed))


def old_area(labels: np.ndarray, scores: np.ndarray, rng: Rng) -> Interval:
    area, found = load_metric("auc").whole, []
    for _ in range(200):
        rows = rng.integers(0, len(labels), len(labels))
        if 0 < labels[rows].sum() < len(rows):
            found.append(area(labels[rows], scores[rows]))
    return float(np.percentile(found, 2.5)), float(np.percentile(found, 97.5))


def custom(runs: int, seed: int) -> Iterator[Row]:
    """Metrics of the user's own: smooth ones, and such as are not."""

    def rmse(labels: np.ndarray, output: np.ndarray) -> float:
        return float(np.sqrt(np.mean(np.square(labels - output))))

    def median(labels: np.ndarray, output: np.ndarray) -> float:
        return float(np.median(np.abs(labels - output)))

    def f1(labels: np.ndarray, output: np.ndarray) -> float:
        both = float((labels * output).sum())
        return 2 * both / max(1.0, float(labels.sum() + output.sum()))

    for count in (50, 200):

        def own_rmse(rng: Rng, count=count) -> tuple[Interval, float]:
            return scored(rmse, np.zeros(count), rng.exponential(1, count)), math.sqrt(2)

        def own_median(rng: Rng, count=count) -> tuple[Interval, float]:
            return scored(median, np.zeros(count), rng.exponential(1, count)), math.log(2)

        def own_f1(rng: Rng, count=count) -> tuple[Interval, float]:
            labels = (rng.random(count) < 0.3).astype(float)
            wrong = rng.random(count) < 0.1
            # Of the population: 0.27 both, 0.3 labels, 0.27 + 0.07 said.
            return scored(f1, labels, np.where(wrong, 1 - labels, labels)), 2 * 0.27 / (0.3 + 0.34)

        for name, draw in (("root of mean square", own_rmse), ("median", own_median), ("F1", own_f1)):
            yield Row(f"module:callable, {name}", str(count), coverage(draw, max(200, runs // 3), seed))


def correlated(rng: Rng, count: int, likeness: float) -> np.ndarray:
    noise, series = rng.normal(size=count + 200), np.zeros(count + 200)
    for place in range(1, count + 200):
        series[place] = likeness * series[place - 1] + noise[place]
    return 10 + 0.1 * series[200:]


def old_median(samples: np.ndarray, rng: Rng) -> Interval:
    length = max(1, round(len(samples) ** 0.5))
    starts = rng.integers(0, len(samples) - length + 1, (300, -(-len(samples) // length), 1))
    rows = samples[(starts + np.arange(length)).reshape(300, -1)[:, : len(samples)]]
    medians = np.median(rows, axis=1)
    return float(np.percentile(medians, 2.5)), float(np.percentile(medians, 97.5))


PROCESSES: dict[str, Callable[[Rng, int], np.ndarray]] = {
    "normal": lambda rng, k: 10 + rng.normal(0, 1, k),
    "long tail (lognormal)": lambda rng, k: 10 + rng.lognormal(0, 1, k),
    "one of ten slow": lambda rng, k: 10 + rng.normal(0, 0.1, k) + (rng.random(k) < 0.1),
    "fast and slow ones": lambda rng, k: 10 + rng.normal(0, 0.05, k) + (rng.random(k) < 0.5),
}


def latencies(runs: int, seed: int) -> Iterator[Row]:
    """One process's own median; and the next run's, from several processes."""
    for likeness in (0.0, 0.5, 0.9):
        for count in (LEAST_RUNS, 125, 900):

            def now(rng: Rng, count=count, likeness=likeness) -> tuple[Interval, float]:
                return known(median_interval(correlated(rng, count, likeness), 0.0)), 10.0

            def before(rng: Rng, count=count, likeness=likeness) -> tuple[Interval, float]:
                return old_median(correlated(rng, count, likeness), rng), 10.0

            what = f"median or ratio of one process, autocorrelation {likeness:g}"
            yield Row(what, f"{count} in turn", coverage(now, runs, seed), coverage(before, runs // 3, seed))
    for name, draw in PROCESSES.items():
        for count in (LEAST_PROCESSES, 7, 9):

            def following(rng: Rng, draw=draw, count=count) -> tuple[Interval, float]:
                return known(process_interval(list(draw(rng, count)), 0.0)), float(np.median(draw(rng, count)))

            yield Row(
                f"the next run's median, processes: {name}", f"{count} processes", coverage(following, 4000, seed)
            )


def known(interval: Interval | None) -> Interval:
    """Return an interval that is there: fewer runs or processes than are asked for here have none."""
    assert interval is not None  # noqa: S101
    return interval


def tails(seed: int) -> Iterator[Row]:
    """How often the next run's p95 keeps below the slowest process's, which is no interval: none is claimed."""
    for name, draw in PROCESSES.items():

        def bounded(rng: Rng, draw=draw) -> tuple[Interval, float]:
            this, following = (draw(rng, 9)[:, None] * (1 + rng.gamma(2, 0.01, (9, 100))) for _ in range(2))
            return (0.0, float(np.percentile(this, 95, axis=1).max())), float(np.percentile(following, 95))

        yield Row(f"no interval: the next run's p95 below `p95_worst`, processes: {name}", "9 processes",
                  coverage(bounded, 2000, seed))  # fmt: skip


def table(runs: int, seed: int) -> str:
    """Return the whole table."""
    lines = ["| 95 % interval of | from | covers | percentile bootstrap |", "|---|---|---|---|"]
    parts = [shares(), drops_of_shares(), errors(runs, seed), areas(runs, seed), custom(runs, seed),
             latencies(runs, seed), tails(seed)]  # fmt: skip
    for part in parts:
        for row in part:
            lines.append(str(row))
            print(row, flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    found = table(options.runs, options.seed)
    if options.write is not None:
        write_between(options.write, MARKER, found)


if __name__ == "__main__":
    main()
