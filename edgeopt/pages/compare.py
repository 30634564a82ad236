"""``edgeopt.compare``: files and runs side by side, timed in turns on a device if that is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..artifact.atomic import refuse_to_overwrite, write_atomically
from ..artifact.shown import Shown
from ..errors import UsageError
from ..evaluation.figures import figure, interval_ends
from .comparison import BETTER, WORSE, Comparison, Line, TimedTurns, comparison_of, place_words
from .document import Block, Cell, Note, Page, Pictures, Section, Table, table
from .evidence import Evidence, Subject, gather
from .measured import COSTS, difference_figure, flaws_of, metric_ends, metric_figure, place_of, timings_of
from .overview import pictures_of
from .records import Metric, Profile, Timing, Turns
from .render import render
from .timing import conditions_section
from .words import bytes_cell, count_cell, time_cell

if TYPE_CHECKING:
    from ..devices import BenchPlan, BenchReport, Device, Progress

_MARKS = {BETTER: "good", WORSE: "bad"}
_NAMES = {"size_bytes": "size", "gzip_bytes": "zipped", "macs": "MACs", "peak_activation_bytes": "activations"}
NOTE = (
    "Each file is held against the first: ✓ better, ✗ worse. Metrics count where the 95 % interval of the difference "
    "leaves out 0 (paired: on the same samples), sizes from 1 % on, times where the two were timed in turns. "
    "? marks a median that does not count (busy, throttled, emulated)."
)


@dataclass(frozen=True, repr=False)
class Compared(Shown):
    """What `compare` found.

    Attributes:
        comparison: One line a file.
        evidence: What it was made from.
    """

    comparison: Comparison
    evidence: Evidence

    def shown(self) -> dict[str, object]:
        """Return the names of the files."""
        first, *others = (line.subject.name for line in self.comparison.lines)
        return {"reference": first, "files": ", ".join(others)}

    def to_dict(self) -> dict[str, object]:
        """Return the comparison in the JSON envelope of all verbs."""
        return self.comparison.to_dict()

    def to_csv(self) -> str:
        """Return the comparison as CSV, one line a file."""
        return self.comparison.to_csv()

    def html(self) -> str:
        """Return the comparison as an HTML page that needs no other file.

        Raises:
            UsageError: Jinja2 is not installed.
        """
        subjects = self.evidence.subjects
        blocks: list[Block] = [table_of(self.comparison), Note(NOTE)]
        pictures = pictures_of(subjects)
        blocks += [Pictures(tuple(pictures))] if pictures else []
        sections = [Section("Side by side", tuple(blocks)), conditions_section(subjects)]
        others = len(subjects) - 1
        title = f"{others} file{'' if others == 1 else 's'} compared with {subjects[0].name}"
        lead = "Every figure was measured on the exported file."
        return render(Page(title, lead, tuple(section for section in sections if section is not None)))

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the comparison: as ``.csv``, as ``.html``, or else as JSON.

        Raises:
            OutputError: The file exists and `force` is not set, or cannot be written.
        """
        import json

        target = Path(path)
        refuse_to_overwrite(target, force)
        kinds: dict[str, Callable[[], str]] = {".csv": self.to_csv, ".html": self.html}
        text = kinds.get(target.suffix, lambda: json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n")()
        write_atomically(target, text.encode())
        return target


def compare(
    files: Iterable[str | os.PathLike[str]],
    *,
    device: str | Device | Sequence[str | Device] | None = None,
    inventory: str | os.PathLike[str] | None = None,
    runtime: str = "auto",
    threads: int = 1,
    plan: BenchPlan | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Compared:
    """Put files side by side, and say what is better or worse than the first beyond doubt.

    Args:
        files: As `edgeopt.report` takes them: ``.tflite`` files, folders of `edgeopt.optimize` (each of its files is
            one), and JSON of ``validate`` and ``bench``, whose figures are added to their files.
        device: Where every file is timed in turns with the first: a name of the inventory, "local", a
            `edgeopt.devices.Device`, or several; None times nothing.
        inventory: The inventory's file; None looks for the project's and the user's.
        runtime: What times them, as in `edgeopt.validate`.
        threads: Threads of one inference.
        plan: When a timing ends.
        on_progress: Called with every sign of life of the device.

    Raises:
        UsageError: Fewer than two files, or a file that is to be timed is not there.
        DeviceError: A device failed.

    Example:
        >>> edgeopt.compare(["a.tflite", "b.tflite"], device="pi").comparison.lines[1].turns[0].verdict
        'better'
    """
    evidence = gather(files)
    subjects = evidence.subjects
    if len(subjects) < 2:
        raise UsageError(f"Got {len(subjects)} file to compare; give two or more.")
    turns = {subject.name: _known_turns(subject, subjects[0]) for subject in subjects[1:]}
    for place in _places(device):
        for subject in subjects[1:]:
            found = _timed(
                subject,
                subjects[0],
                {"device": place, "inventory": inventory, "runtime": runtime, "threads": (threads,)},
                plan,
                on_progress,
            )
            turns[subject.name] = [found, *(old for old in turns[subject.name] if old.place != found.place)]
    return Compared(comparison_of(subjects, turns), evidence)


def _places(device: str | Device | Sequence[str | Device] | None) -> list[str | Device]:
    """Return the devices that are asked for: none, one, or several."""
    if device is None:
        return []
    return list(device) if isinstance(device, list | tuple) else [device]  # type: ignore[list-item]


def _timed(
    subject: Subject,
    reference: Subject,
    where: dict[str, object],
    plan: BenchPlan | None,
    on_progress: Callable[[Progress], None] | None,
) -> TimedTurns:
    """Time a file in turns with the reference."""
    from ..api.bench import bench

    for needed in (subject, reference):
        if needed.path is None:
            raise UsageError(f"The file {needed.name} is not there to be timed; give the .tflite file itself.")
    report: BenchReport = bench(
        str(subject.path),
        against=str(reference.path),
        plan=plan,
        op_profile=False,
        on_progress=on_progress,
        **where,  # type: ignore[arg-type]
    )
    run = report.runs[0]
    compared = run.latency.comparison
    if compared is None:
        raise RuntimeError("a bench against another file compares them")
    profile: Profile = run.measurement.kernel_profile.to_dict()  # type: ignore[assignment]
    held: Turns = {"ratio": compared.ratio, "ratio_ci95": compared.ratio_ci95}
    flaws = tuple(f"{item['reason']}: {item['detail']}" for item in run.invalid)
    return TimedTurns.of(place_words(report.device, profile), held, counts=not report.emulated, flaws=flaws)


def _known_turns(subject: Subject, reference: Subject) -> list[TimedTurns]:
    """Return how a file was timed in turns with the reference, as a bench or a run tells."""
    found = []
    for bench in subject.benches:
        if bench.get("against", {}).get("sha256") == reference.sha256:
            runs = [run for run in bench.get("runs", []) if "comparison" in run]
            found += [_turns(run, run["comparison"]) for run in runs]
    stage, first = subject.stage, reference.stage
    if stage is not None and first is not None and first.get("kind") == "original":
        held = stage.get("against_original")
        if held is not None and subject.run == reference.run:
            found.append(_turns(stage, held))
    return found


def _turns(timing: Timing, held: Turns) -> TimedTurns:
    return TimedTurns.of(place_of(timing), held, counts=not timing.get("emulated"), flaws=tuple(flaws_of(timing)))


def table_of(comparison: Comparison) -> Table:
    """Return the comparison as a table, with what is better or worse marked."""
    places = list(dict.fromkeys(place for line in comparison.lines for place in line.latencies()))
    turned = list(dict.fromkeys(item.place for line in comparison.lines for item in line.turns))
    metric = next((line.score.metric["name"] for line in comparison.lines if line.score is not None), "metric")
    columns = [
        "file",
        metric,
        *_NAMES.values(),
        *(f"p50 {p}" for p in places),
        *(f"time, in turns: {p}" for p in turned),
    ]
    rows = [_row(line, places, turned, first=number == 0) for number, line in enumerate(comparison.lines)]
    return table("All files, held against the first", columns, rows)


def _row(line: Line, places: Sequence[str], turned: Sequence[str], *, first: bool) -> list[Cell]:
    def mark(name: str) -> str:
        return _MARKS.get(line.verdicts.get(name, ""), "none")

    score = line.score
    metric = (
        Cell("–")
        if score is None
        else Cell(metric_figure(score.metric), _metric_detail(line, score.metric), mark=mark("metric"))
    )
    row = [Cell(line.subject.name, "what the others are held against" if first else ""), metric]
    for name in COSTS:
        made = count_cell(line.costs[name]) if name == "macs" else bytes_cell(line.costs[name])
        row.append(Cell(made.text, made.detail, mark=mark(name)))
    timed = {place_of(timing): timing for timing in reversed(timings_of(line.subject))}
    row += [time_cell(timed.get(place)) for place in places]
    by_place = {item.place: item for item in line.turns}
    return [*row, *(_turns_cell(by_place.get(place), first) for place in turned)]


def _metric_detail(line: Line, metric: Metric) -> str:
    """Return the interval of a metric, and how much better it is than the first file's."""
    if line.difference is None:
        return metric_ends(metric)
    gain, ends = difference_figure(metric["name"], line.difference.gain, line.difference.ci95)
    return f"{metric_ends(metric)}; {gain} ({ends}{', paired' if line.difference.paired else ''})"


def _turns_cell(item: TimedTurns | None, first: bool) -> Cell:
    if item is None:
        return Cell("1" if first else "–")
    ends = "no interval" if item.ratio_ci95 is None else " to ".join(interval_ends(item.ratio_ci95))
    told = "; ".join([ends, *dict.fromkeys(flaw.partition(":")[0] for flaw in item.flaws)])
    return Cell(figure(item.ratio, item.ratio_ci95), told, mark=_MARKS.get(item.verdict, "none"))
