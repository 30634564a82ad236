"""``edgeopt.report``: what was measured of files and runs, as one HTML page."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..artifact.atomic import refuse_to_overwrite, write_atomically
from ..artifact.shown import Shown
from .details import file_section, sensitivity_section
from .document import Commands, Page, Section, cells, table
from .evidence import Evidence, gather
from .overview import bought_section, glance_section, verdict_section
from .render import render
from .timing import conditions_section


@dataclass(frozen=True, repr=False)
class Report(Shown):
    """What was given, as a page.

    Attributes:
        page: Its title and its sections.
    """

    page: Page

    def shown(self) -> dict[str, object]:
        """Return the title, and what the sections are called."""
        return {"title": self.page.title, "sections": ", ".join(part.title for part in self.page.sections)}

    def html(self) -> str:
        """Return the page as HTML that needs no other file.

        Raises:
            UsageError: Jinja2 is not installed.
        """
        return render(self.page)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the page.

        Raises:
            OutputError: The file exists and `force` is not set, or cannot be written.
            UsageError: Jinja2 is not installed.
        """
        target = Path(path)
        refuse_to_overwrite(target, force)
        write_atomically(target, self.html().encode())
        return target


def report(sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, title: str | None = None) -> Report:
    """Gather what was measured of files and runs, for people to look at.

    Args:
        sources: ``.tflite`` files (with the sidecars beside them), folders that `edgeopt.optimize` wrote, and the JSON
            of ``validate``, ``bench``, ``parity``, ``sensitivity``, ``inspect``, ``optimize``; one of them, or several.
            Results of one file are told together, whichever way they came.
        title: Of the page; None makes one of the names of the files.

    Raises:
        UsageError: A path cannot be read; `DataError` for JSON of something else, `FileFormatError` for a corrupt file.

    Example:
        >>> edgeopt.report(["model_int8.tflite", "validation.json", "bench.json"]).save("report.html")
    """
    given = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    evidence = gather(given)
    return Report(
        page_of(evidence, title or _title(evidence), ["edgeopt", "report", *(os.fspath(item) for item in given)])
    )


def page_of(evidence: Evidence, title: str, command: list[str]) -> Page:
    """Return the page of what was given, and of the command that makes it."""
    subjects = evidence.subjects
    found: list[Section | None] = [
        verdict_section(evidence),
        glance_section(subjects) if subjects else None,
        bought_section(evidence.runs),
        sensitivity_section(evidence.sensitivities),
        *(file_section(subject) for subject in subjects),
        conditions_section(subjects),
        _again_section(evidence, command),
    ]
    counts = f"{_count(len(subjects), 'file')}, from {_count(len(evidence.sources), 'source')}"
    lead = f"{counts}. Every figure was measured on the exported file."
    return Page(title, lead, tuple(section for section in found if section is not None and _says(section)))


def _says(section: Section) -> bool:
    return bool(section.blocks or section.parts)


def _title(evidence: Evidence) -> str:
    names = [subject.name for subject in evidence.subjects]
    if len(evidence.runs) == 1:
        return f"Report of {Path(evidence.runs[0][0]).name or evidence.runs[0][0]}"
    return f"Report of {names[0]}" if len(names) == 1 else f"Report of {len(names)} files"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _again_section(evidence: Evidence, command: list[str]) -> Section:
    rows = [cells(source.path, source.kind, source.sha256 or "–") for source in evidence.sources]
    return Section(
        "How to make it again",
        (
            Commands("This page:", shlex.join([*command, "-o", "report.html"])),
            table("What it was made from", ("path", "written by", "SHA-256"), rows),
        ),
    )
