"""Does the agent's clock agree with the runtime's own benchmark tool, and with itself from run to run?

    python benchmarks/agent_overhead.py MODEL.tflite [--rounds 41] [--runs 100] [--threads 1] [--repeat 20]

Overhead: whole processes by turns (A B B A ...). A is ``litert-benchmark``, which ai-edge-litert brings along; B is
``edgeopt-agent.pyz bench``, by hand, with ai_edge_litert. Both run the same file with the same threads, warm-up and
number of runs, in one process; of each round the ratio of the two medians is taken, B / A, and of these the median with
the sign test's interval. The tool prints its median in hundredths of a millisecond, so choose a model that takes 2 ms
or more.

Repeatability: ``edgeopt bench`` as users run it, again and again. Told are the spread of what the runs print as p50,
and what their 95 % intervals cover: the median of all runs, and, of every ordered pair of runs, the p50 that the other
run printed.

Prints Markdown, and the load average before and after.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from edgeopt.api.bench import bench
from edgeopt.devices import pack_agent

WARMUP = 20


def tool_median_ms(model: str, runs: int, threads: int, folder: Path) -> float:
    """Return the median that litert-benchmark reports."""
    tool = shutil.which("litert-benchmark", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if tool is None:
        sys.exit("litert-benchmark is not installed; it comes with ai-edge-litert 2.3")
    result = folder / "tool.json"
    argv = [tool, "--model", model, "--num_runs", str(runs), "--warmup_runs", str(WARMUP)]
    argv += ["--num_threads", str(threads), "--result_json", str(result)]
    subprocess.run(argv, check=True, capture_output=True)
    return float(json.loads(result.read_text())["latency"]["median_ms"])


def agent_median_ms(agent: Path, model: str, runs: int, threads: int) -> float:
    """Return the median that the agent, run by hand, reports."""
    argv = [sys.executable, str(agent), "bench", model, "--runtime", "ai_edge_litert", "--threads", str(threads)]
    argv += ["--runs", str(runs), "--processes", "1", "--json"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["latency_ms"]["p50"])


def sign_interval(values: list[float]) -> tuple[float, float]:
    """Return the narrowest interval of order statistics that holds the median with 95 % (W. R. Thompson, 1936)."""
    ordered, count = sorted(values), len(values)
    outside, place = 0.0, 0
    for cut in range(count // 2):
        outside += math.comb(count, cut) / 2**count  # the chance that at most `cut` values lie below the median
        if 2 * outside > 0.05:
            break
        place = cut
    return ordered[place], ordered[-1 - place]


def overhead(agent: Path, options: argparse.Namespace, folder: Path) -> None:
    """Print the ratio of the agent's median to the tool's."""
    tool, ours = [], []
    for number in range(options.rounds):
        for which in ("AB", "BA")[number % 2]:
            if which == "A":
                tool.append(tool_median_ms(options.model, options.runs, options.threads, folder))
            else:
                ours.append(agent_median_ms(agent, options.model, options.runs, options.threads))
    ratios = [b / a for a, b in zip(tool, ours, strict=True)]
    low, high = sign_interval(ratios)
    print("| model | threads | rounds | litert-benchmark p50 ms | agent p50 ms | ratio | 95 % interval |")
    print("|---|---|---|---|---|---|---|")
    name = Path(options.model).stem
    middle = f"{statistics.median(tool):.2f} | {statistics.median(ours):.2f} | {statistics.median(ratios):.3f}"
    print(f"| {name} | {options.threads} | {options.rounds} | {middle} | {low:.3f} to {high:.3f} |\n")


def repeatability(options: argparse.Namespace) -> None:
    """Print how far the medians of repeated runs lie apart, and what their intervals cover."""
    runs = []
    for _ in range(options.repeat):
        report = bench(options.model, runtime="ai_edge_litert", threads=(options.threads,))
        runs.append(report.runs[0].latency.figures)
    medians = [float(run["p50"]) for run in runs]
    low, high = np.array([run["p50_ci95"] for run in runs]).T[:, :, None]
    middle = statistics.median(medians)
    held = (low <= middle) & (middle <= high)
    inside = (low <= medians) & (medians <= high)
    pairs = (inside.sum() - len(runs)) / (len(runs) * (len(runs) - 1))  # each holds its own
    print("| model | runs | p50 ms, median | smallest to largest p50 | width of the intervals | hold the median of all "
          "| hold another run's p50 |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    spread, width = (max(medians) - min(medians)) / middle, np.median(high - low) / middle
    apart = f"{min(medians):.4f} to {max(medians):.4f} ({100 * spread:.1f} %)"
    print(f"| {Path(options.model).stem} | {len(runs)} | {middle:.4f} | {apart} | {100 * width:.1f} % "
          f"| {100 * held.mean():.0f} % | {100 * pairs:.0f} % |\n")  # fmt: skip


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=20)
    options = parser.parse_args()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        agent = Path(name) / "edgeopt-agent.pyz"
        agent.write_bytes(pack_agent())
        if options.rounds:
            overhead(agent, options, Path(name))
        if options.repeat:
            repeatability(options)
    print(f"Load average {before:.1f} before, {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} cores.")


if __name__ == "__main__":
    main()
