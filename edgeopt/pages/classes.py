"""What a classifier gets right, class by class, and what it says instead."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluation.tango import share_interval
from .document import Cell, Section, Table, cells, table
from .evidence import Subject
from .records import Classes

_MOST_ROWS = 40
_MOST_CLASSES = 24  # of a matrix; of more classes, those that are mistaken most often are listed
_MOST_MISTAKEN = 20


def classes_part(subject: Subject) -> Section | None:
    """Return the accuracy of each class and the confusions; None where no validation tells them."""
    found = next((held.get("classes") for held in subject.validations if held.get("classes")), None)
    if found is None or not found["samples"]:
        return None
    names = _class_names(found)
    if len(names) <= _MOST_CLASSES:
        return Section("Accuracy by class", (_by_class(found, names), _matrix(found, names)))
    return Section("Accuracy by class", (_by_class(found, names), _mistaken(found, names)))


def _class_names(found: Classes) -> list[str]:
    given = found["names"] or []
    return [given[n] if n < len(given) else str(n) for n in range(len(found["samples"]))]


def _by_class(found: Classes, names: Sequence[str]) -> Table:
    rows = []
    for name, right, count in zip(names, found["right"], found["samples"], strict=False):
        if not count:
            rows.append((Cell(name), Cell("–"), Cell("–"), Cell("0")))
            continue
        low, high = share_interval(right, count)
        ends = f"{100 * low:.1f} to {100 * high:.1f} %"
        rows.append(
            (Cell(name), Cell(f"{100 * right / count:.1f} %", share=right / count), Cell(ends), Cell(f"{count:,}"))
        )
    shown = sorted(rows, key=lambda row: row[1].share if row[1].share is not None else 2.0)[:_MOST_ROWS]
    note = (
        f"The worst {_MOST_ROWS} of {len(rows)} classes." if len(rows) > _MOST_ROWS else "The worst class comes first."
    )
    return table("Share of each class that is told right", ("class", "right", "95 % interval", "samples"), shown, note)


def _matrix(found: Classes, names: Sequence[str]) -> Table:
    counts = {(true, said): count for true, said, count in found["confused"]}
    rows = []
    for true, name in enumerate(names):
        total = max(1, found["samples"][true])
        row = [Cell(name)]
        for said in range(len(names)):
            count = found["right"][true] if said == true else counts.get((true, said), 0)
            row.append(Cell(str(count) if count else "·", heat=count / total, mark="none"))
        rows.append(tuple(row))
    note = "A row is what is there, a column what the file says; a cell is as strong as its share of the row."
    return Table("Confusion matrix, in samples", ("is \\ said", *names), tuple(rows), note, square=True)


def _mistaken(found: Classes, names: Sequence[str]) -> Table:
    worst = sorted(found["confused"], key=lambda item: -item[2])[:_MOST_MISTAKEN]
    rows = [cells(_named(names, true), _named(names, said), f"{count:,}") for true, said, count in worst]
    return table("Mistaken most often", ("is", "said", "samples"), rows)


def _named(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else str(number)
