"""Does the agent's clock agree with the runtime's own benchmark tool, and with itself from run to run?

    python benchmarks/agent_overhead.py MODEL.tflite [--rounds 15] [--runs 100] [--threads 1] [--repeat 10]

Overhead: whole processes by turns (A B B A ...). A is ``litert-benchmark``, which ai-edge-litert brings along; B is
``edgeopt-agent.pyz bench``, by hand, with ai_edge_litert. Both run the same file with the same threads, warm-up and
number of runs; of each round the ratio of the two medians is taken, B / A. The tool prints its median in hundredths of
a millisecond, so choose a model that takes 2 ms or more.

Repeatability: B alone, with its usual plan, again and again. The spread is that of the runs' medians; the coverage is
the share of runs whose 95 % interval holds the median of all runs.

Prints Markdown. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.devices import pack_agent
from edgeopt.devices.agent.stats import median_interval

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


def agent_figures(agent: Path, model: str, threads: int, *more: str) -> dict[str, Any]:
    """Return what the agent, run by hand, reports."""
    argv = [sys.executable, str(agent), "bench", model, "--runtime", "ai_edge_litert", "--threads", str(threads)]
    done = subprocess.run([*argv, *more, "--json"], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)["latency_ms"]
    return found


def overhead(agent: Path, options: argparse.Namespace, folder: Path) -> None:
    """Print the ratio of the agent's median to the tool's."""
    tool, ours = [], []
    for number in range(options.rounds):
        for which in ("AB", "BA")[number % 2]:
            if which == "A":
                tool.append(tool_median_ms(options.model, options.runs, options.threads, folder))
            else:
                found = agent_figures(agent, options.model, options.threads, "--runs", str(options.runs))
                ours.append(found["p50"])
    ratios = np.array(ours) / np.array(tool)
    low, high = median_interval(ratios)
    print("| model | threads | litert-benchmark p50 ms | agent p50 ms | ratio | 95 % interval |")
    print("|---|---|---|---|---|---|")
    name = Path(options.model).name
    middle = f"{statistics.median(tool):.3f} | {statistics.median(ours):.3f} | {np.median(ratios):.3f}"
    print(f"| {name} | {options.threads} | {middle} | {low:.3f} to {high:.3f} |")


def repeatability(agent: Path, options: argparse.Namespace) -> None:
    """Print how far the medians of repeated runs lie apart, and how many intervals hold the median of them all."""
    runs = [agent_figures(agent, options.model, options.threads) for _ in range(options.repeat)]
    medians = [run["p50"] for run in runs]
    middle = statistics.median(medians)
    held = sum(run["p50_ci95"][0] <= middle <= run["p50_ci95"][1] for run in runs)
    widths = [(run["p50_ci95"][1] - run["p50_ci95"][0]) / run["p50"] for run in runs]
    print("\n| runs | median of medians ms | spread (max - min) | width of the intervals | intervals that hold it |")
    print("|---|---|---|---|---|")
    spread = (max(medians) - min(medians)) / middle
    numbers = f"{middle:.4f} | {100 * spread:.1f} % | {100 * statistics.median(widths):.1f} %"
    print(f"| {options.repeat} | {numbers} | {100 * held / len(runs):.0f} % |")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        agent = Path(name) / "edgeopt-agent.pyz"
        agent.write_bytes(pack_agent())
        if options.rounds:
            overhead(agent, options, Path(name))
        if options.repeat:
            repeatability(agent, options)


if __name__ == "__main__":
    main()
