"""Results as plain text, for a terminal on a board: ASCII, 80 columns."""

from __future__ import annotations

from typing import Any, List, Tuple

from .protocol import Message
from .records import OpProfile

Rows = List[Tuple[str, str]]


def result_table(result: Message) -> str:
    """Return the table of ``bench`` or ``eval``."""
    profile = result["kernel_profile"]
    threads = "%d thread%s" % (profile["threads"], "" if profile["threads"] == 1 else "s")
    rows: Rows = [
        ("model", str(result["model"])),
        ("runtime", "%s %s, delegate %s, %s" % (profile["runtime"], profile["version"], profile["delegate"], threads)),
    ]
    if profile["kernels"] != "default":
        rows.append(("kernels", profile["kernels"]))
    rows += [("left out", "%(runtime)s: %(reason)s" % item) for item in result["runtimes_skipped"]]
    if "latency_ms" in result:
        rows += _latency(result)
    if "op_profile" in result:
        rows += _operators(result["op_profile"])
    if "samples" in result:
        found = result["evaluation"]
        way = "%d samples in %.2f s, %d at a time on %d core%s" % (
            result["samples"], found["seconds"], found["batch"], found["workers"], "" if found["workers"] == 1 else "s",
        )  # fmt: skip
        rows.append(("evaluation", way))
    rows += [(name, "%.4f" % result[name]) for name in ("accuracy", "top5", "mae", "mse") if name in result]
    return _aligned(rows)


def info_table(result: Message) -> str:
    """Return the table of ``info``."""
    rows: Rows = [(name.replace("_", " "), _text(value)) for name, value in result["board"].items()]
    rows += [(name.replace("_", " "), _text(value)) for name, value in result["state"].items()]
    for runtime in result["runtimes"]:
        usable = "%s with NumPy %s" % (runtime["version"], runtime["numpy"])
        rows.append((runtime["name"], usable if runtime["problem"] is None else "no: " + runtime["problem"]))
    return _aligned(rows)


def _operators(profile: OpProfile) -> Rows:
    if "problem" in profile:
        return [("operators", "not profiled: %s" % profile["problem"])]
    return [("operator", "%(ms).3f ms  %(op)s (%(by)s %(index)d)" % item) for item in profile["operators"]]


def _latency(result: Message) -> Rows:
    figures, runs = result["latency_ms"], result["latency_runs"]
    after = result["conditions"]["after"]
    ends = figures["p50_ci95"]
    interval = runs["no_interval"] if ends is None else "95 %% interval %.3f to %.3f" % tuple(ends)
    median = "%.3f ms (%s)" % (figures["p50"], interval)
    tail = "p90 %(p90).3f, p95 %(p95).3f, p99 %(p99).3f, max %(max).3f ms" % figures
    spread = "mean %(mean).3f ms, median absolute deviation %(mad).3f ms" % figures
    cold = "%(cold).3f ms (load %(load).3f, first inference %(first).3f)" % figures
    steady = "stable" if runs["stable"] else "NOT stable"
    count = "%d in %.1f s after %d to warm up, median %s" % (runs["runs"], runs["seconds"], runs["warmup_runs"], steady)
    spread_over = len(runs["process_p50_ms"])
    count += ", %d process%s" % (spread_over, "" if spread_over == 1 else "es")
    rows = [("median", median), ("tail", tail), ("spread", spread), ("cold start", cold)]
    if result["emulated"]:
        rows = [(name, text + ", emulated: not a measurement") for name, text in rows]
    rows.append(("runs", count))
    rows.append(("governor", _text(after["governors"])))
    rows.append(("temperature", _text(after["temperature_c"])))
    rows.append(("throttling", _text(after["throttling"])))
    rows.append(("load average", _text(after["load_average"])))
    rows.append(("other programs", _text(after["busy"])))
    peak = result["conditions"]["peak_rss_bytes"]
    rows.append(("peak memory", "unknown" if peak is None else "%.1f MiB" % (peak / 2**20)))
    return rows


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return " ".join(_text(item) for item in value) or "none"
    if isinstance(value, dict) and "cores" in value:
        return "%(name)s (%(cores).2f cores)" % value
    if isinstance(value, dict):
        return ", ".join(value.get("flags", [])) or "none"
    return "%.2f" % value if isinstance(value, float) else str(value)


def _aligned(rows: Rows) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join("%-*s  %s" % (width, name, value) for name, value in rows)
