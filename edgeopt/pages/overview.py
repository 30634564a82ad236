"""The first part of a page: the verdict, all files in one table, and the pictures of what accuracy costs."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluation.budget import BudgetLine
from .document import Block, Cell, Note, Picture, Pictures, Section, Verdict, cells, table
from .evidence import Evidence, Subject
from .measured import (
    COSTS,
    VERDICTS,
    Score,
    costs_of,
    difference_figure,
    drop_figure,
    fidelity_of,
    flaws_of,
    is_share,
    metric_ends,
    metric_figure,
    place_of,
    score_of,
    size_of,
    timings_of,
    verdict_of,
)
from .records import Ladder, Run
from .scatter import Point, scatter
from .words import bytes_cell, count_cell, time_cell

_MARKS = {"met": "good", "missed": "bad"}
_MOST_PLACES = 4  # as many columns of latencies


def verdict_section(evidence: Evidence) -> Section:
    """Return what is to be said first: the verdict of each run and of each file, with the lines of its budget."""
    found = [_run_verdict(path, run) for path, run in evidence.runs]
    found += [_file_verdict(subject) for subject in evidence.subjects if subject.validations or subject.stage is None]
    return Section("Verdict", tuple(found))


def _run_verdict(path: str, run: Run) -> Verdict:
    word, overall = run.get("verdict", "ok"), run.get("overall")
    ladder = run.get("ladder")
    told = "" if ladder is None else _recommended(ladder)
    told += "" if overall is None else f"In all, {overall.get('stage', '')} {overall.get('summary', '')}."
    lines = [*_budget(run.get("budget", [])), *(Note(text, "unsure") for text in run.get("warnings", []))]
    return Verdict(path, word, VERDICTS.get(word, "unsure"), told, tuple(lines))


def _recommended(ladder: Ladder) -> str:
    """Return which file is recommended, and its score on the samples that chose nothing; all other figures chose."""
    told = f"Recommended: {ladder.get('recommended', '')}: {ladder.get('reason', '')}. "
    metric = ladder.get("final", {}).get("metric")
    if metric is None:
        return told
    score = f"{metric['name']} {metric_figure(metric)} ({metric_ends(metric)})"
    return f"{told}On {ladder['final'].get('samples', '')} samples that chose nothing: {score}. "


def _file_verdict(subject: Subject) -> Verdict:
    fidelity = fidelity_of(subject)
    told = []
    if fidelity is not None:
        unmoved = fidelity.get("verdict") == "not proven"
        holds = "do not move" if unmoved else "are the model's" if fidelity["holds"] else "are not the model's"
        told = [
            f"Its outputs {holds}: {fidelity['snr_db']:.1f} dB of signal to noise on {fidelity['samples']} samples."
        ]
    score = score_of(subject)
    if score is not None and score.drop is not None:
        told.append(_change(score, score.drop))
    lines = [line for validation in subject.validations for line in _budget(validation.get("budget", []))]
    return Verdict(subject.name, *verdict_of(subject), " ".join(told), tuple(lines))


def _change(score: Score, drop: float) -> str:
    """Return which way a metric went from the baseline's, by how much, and the interval that way."""
    worse, name, ends = drop >= 0, score.metric["name"], score.drop_ci95
    way = "drops" if worse == score.metric["higher_is_better"] else "rises"
    if not worse and ends is not None:
        ends = -ends[1], -ends[0]
    by, between = difference_figure(name, abs(drop), ends)
    return f"Its {name} {way} by {by.lstrip('+')} ({between}) from the baseline's, on the same samples."


def _budget(lines: Sequence[BudgetLine]) -> list[Note]:
    return [Note(_line(line), _MARKS.get(line.verdict, "unsure")) for line in lines]


def _line(line: BudgetLine) -> str:
    """Return a line of a budget as words; bytes in whole numbers."""
    if not line.name.endswith("_bytes"):
        return f"Budget: {line}"
    what = line.name.removeprefix("max_").removesuffix("_bytes")
    return f"Budget: {what} {line.value:,.0f} B, at most {line.limit:,.0f} B: {line.verdict}"


def glance_section(subjects: Sequence[Subject]) -> Section:
    """Return all files in one table, and the pictures."""
    places = _places(subjects)
    shown = places[:_MOST_PLACES]
    scored = [score for subject in subjects if (score := score_of(subject)) is not None]
    metric = scored[0].metric["name"] if scored else "metric"
    columns = ["file", "verdict", metric, "drop", "size", "zipped", "MACs", "activations", *shown]
    rows = [_row(subject, shown) for subject in subjects]
    left = f" {len(places) - len(shown)} more places of measurement are told below." if len(places) > len(shown) else ""
    overview = table(
        "All files",
        columns,
        rows,
        "Under each figure: its 95 % interval, or the exact number. Latencies are medians of one inference; ? marks "
        "one that does not count, for the reason given under “Conditions”. Activations are the most that live at once."
        + left,
    )
    pictures = pictures_of(subjects)
    return Section("At a glance", (overview, *([Pictures(tuple(pictures))] if pictures else [])))


def _row(subject: Subject, places: Sequence[str]) -> list[Cell]:
    word, mark = verdict_of(subject)
    score = score_of(subject)
    value = Cell("–") if score is None else Cell(metric_figure(score.metric), metric_ends(score.metric))
    drop = Cell("–") if score is None or score.drop is None else Cell(*drop_figure(score))
    costs = costs_of(subject)
    timed = {place_of(timing): timing for timing in reversed(timings_of(subject))}
    return [
        Cell(subject.name),
        Cell(word, mark=mark),
        value,
        drop,
        *(count_cell(costs[name]) if name == "macs" else bytes_cell(costs[name]) for name in COSTS),
        *(time_cell(timed.get(place)) for place in places),
    ]


def _places(subjects: Sequence[Subject]) -> list[str]:
    """Return the places of measurement, that of the most files first."""
    found = [place for subject in subjects for place in {place_of(t): None for t in timings_of(subject)}]
    return sorted(dict.fromkeys(found), key=lambda place: -found.count(place))


def pictures_of(subjects: Sequence[Subject]) -> list[Picture]:
    """Return what accuracy costs in time, where most files were timed alike, and in bytes."""
    places = _places(subjects)
    scored = [(subject, score) for subject in subjects if (score := score_of(subject)) is not None]
    if len({score.metric["name"] for _, score in scored}) != 1 or len(scored) < 2:
        return []
    timed = [] if not places else [_timed_point(subject, places[0]) for subject, _ in scored]
    sized = [None if (size := size_of(subject)) is None else _point(subject, size / 1024) for subject, _ in scored]
    found = []
    for points, cost, note in (
        (timed, f"median latency, ms ({places[0] if places else ''})", "A hollow point's timing does not count."),
        (sized, "size of the file, KiB", ""),
    ):
        drawn = [point for point in points if point is not None]
        if len(drawn) > 1:
            found.append(
                _picture(drawn, cost, scored[0][1].metric["name"], scored[0][1].metric["higher_is_better"], note)
            )
    return found


def _picture(points: list[Point], cost: str, metric: str, higher: bool, note: str) -> Picture:
    name = f"{metric}, %" if is_share(metric) else metric
    chart = scatter(f"{metric} against {cost.partition(',')[0]}", (cost, name), points, higher=higher)
    told = (
        "The line joins the files that no other beats in both, by their estimates; whiskers are 95 % intervals, and "
        f"where they overlap nothing is proven. {note}"
    )
    return Picture(chart, told.strip())


def _point(subject: Subject, cost: float, ends: tuple[float, float] | None = None, counts: bool = True) -> Point | None:
    score = score_of(subject)
    if score is None:
        return None
    scale = 100 if is_share(score.metric["name"]) else 1
    low, high = score.metric["ci95"]
    return Point(subject.name, cost, scale * score.metric["value"], ends, (scale * low, scale * high), counts)


def _timed_point(subject: Subject, place: str) -> Point | None:
    timing = next((timing for timing in timings_of(subject) if place_of(timing) == place), None)
    times = None if timing is None else timing.get("latency_ms")
    if timing is None or times is None:
        return None
    return _point(subject, times["p50"], times.get("p50_ci95"), not flaws_of(timing))


def bought_section(runs: Sequence[tuple[str, Run]]) -> Section | None:
    """Return what each technique of a run bought, and what its passes left as it was."""
    blocks: list[Block] = []
    for path, run in runs:
        gains = run.get("compression", [])
        rows = [
            cells(gain.get("stage", ""), _sentence(gain.get("summary", "")), gain.get("note", "")) for gain in gains
        ]
        if rows:
            blocks.append(table(path, ("stage", "what it changed", "what the technique buys"), rows))
        left = [
            cells(item.get("stage", ""), item.get("subject", ""), item.get("reason", ""), item.get("detail", ""))
            for item in run.get("skipped", [])
        ]
        if left:
            blocks.append(table(f"{path}: left as it was", ("stage", "what", "reason", "detail"), left))
    return Section("What each technique bought", tuple(blocks)) if blocks else None


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
