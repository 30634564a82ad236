"""``edgeopt bench --pipeline``: what is printed of parts that run side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .output import console, interval_words, readable_bytes

if TYPE_CHECKING:
    from ..devices import PipelineReport
    from ..devices.measurement import Comparison
    from ..devices.pipeline import Way


def print_pipeline(report: PipelineReport) -> None:
    """Print each part, the ways of running, what they compare to, and what that means."""
    out = console()
    note = " (emulated: not a measurement)" if report.emulated else ""
    raw = report.raw
    out.print(
        f"{len(report.parts)} parts on {report.device}{note}, {report.threads} threads in all, "
        f"{report.cores or 'an unknown number of'} cores, {raw['queue']} slots between parts",
        markup=False,
    )
    for place, part in enumerate(report.parts):
        profile = part["kernel_profile"]
        threads = f"{profile['threads']} thread{'' if profile['threads'] == 1 else 's'}"
        kernels = f"{profile['runtime']} {profile['version']}, {profile['delegate']}, {threads}"
        over = f"hands on {readable_bytes(raw['link_bytes'][place + 1])}"
        out.print(f"{place}  {part['name']}: {part['run_ns'] / 1e6:.3f} ms; {kernels}; {over}", markup=False)
    of_whole = raw["whole"]["kernel_profile"]["threads"] if "whole" in raw else ""
    whole = f"whole, {of_whole} thread{'' if of_whole == 1 else 's'}"
    for name, way in (("pipeline", report.stream), ("one sample", report.single), (whole, report.whole)):
        if way is not None:
            out.print(f"{name:16}  {_way(way)}", markup=False)
    for text, style in remarks(report):
        out.print(text + (note if style == "bold" else ""), style=style, markup=False)


def remarks(report: PipelineReport) -> list[tuple[str, str]]:
    """Return what is said of a pipeline, each with its style: equal or not, faster or not, and why not."""
    found = [(f"invalid: {item['reason']}: {item['detail']}", "red") for item in report.invalid]
    if report.no_interval:
        found.append((f"no interval: {report.no_interval}", ""))
    samples = report.raw["samples"]
    if report.different is not None:
        equal = "equal bit for bit" if not report.different else f"different in {report.different} samples"
        found.append((f"results: {equal} ({samples} samples)", "red" if report.different else "bold"))
    through, latency = report.throughput, report.latency
    if through is not None and latency is not None and report.whole is not None:
        found.append((f"throughput: {_ratio(through)} of the whole's time a sample: {through.verdict}", "bold"))
        found.append((f"latency: {_ratio(latency)} of the whole's: {latency.verdict}", "bold"))
        slowest = report.slowest
        least = slowest["run_ns"] / report.raw["whole"]["run_ns"]
        share = f"{least:.2f} of the whole's time by itself"
        text = f"the slowest part, {slowest['name']}, takes {share}: these parts cannot beat that"
        found.append((text, ""))
    if report.cores is not None and report.threads > report.cores:
        text = (
            f"the parts ask for {report.threads} threads, and there are {report.cores} cores: they wait for each other"
        )
        found.append((text, "yellow"))
    return found


def _way(way: Way) -> str:
    from ..evaluation.figures import figure, interval_ends

    ends = "" if way.ms_ci95 is None else f" ({' to '.join(interval_ends(way.ms_ci95))})"
    return f"{figure(way.ms, way.ms_ci95)} ms a sample{ends}, {way.per_second:.4g} a second"


def _ratio(compared: Comparison) -> str:
    from ..evaluation.figures import figure, interval_ends

    ends, words = compared.ratio_ci95, interval_words(compared.processes, compared.no_interval)
    words = words if ends is None else f"{words} {' to '.join(interval_ends(ends))}"
    return f"{figure(compared.ratio, ends)} ({words})"
