"""What is given to a page, gathered by file: runs, results as JSON, and .tflite files with their sidecars."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ..api.inspect import Inspection, inspect
from ..api.reading import readable
from ..artifact.artifact import Artifact
from ..artifact.envelope import SCHEMA_VERSION
from ..artifact.outside import loads, read_text
from ..artifact.typed import Unfit, fitted
from ..errors import DataError, FileFormatError, UsageError
from .records import Bench, Classes, Inspected, Parity, Run, Sensitivity, SidecarFields, Stage, Validation

RESULT = "result.json"


@dataclass
class Subject:
    """One .tflite file, and all that is known of it.

    Attributes:
        name: What the page calls it.
        sha256: Of the file; None where only its name is known.
        path: Where it was read from; None where it is not there.
        inspection: What is inside; None where the file is not there.
        sidecar: How it was converted; empty where that is not known.
        stage: What a run measured of it; None where it is of no run.
        run: The folder of that run.
        verdict: That run's, where this is the file that it judges.
    """

    name: str
    sha256: str | None = None
    path: str | None = None
    inspection: Inspection | None = None
    sidecar: SidecarFields = field(default_factory=lambda: SidecarFields())
    stage: Stage | None = None
    run: str | None = None
    verdict: str | None = None
    validations: list[Validation] = field(default_factory=list)
    benches: list[Bench] = field(default_factory=list)
    parities: list[Parity] = field(default_factory=list)


@dataclass(frozen=True)
class Source:
    """Something that was given: its path, the verb that wrote it, and its SHA-256."""

    path: str
    kind: str
    sha256: str


@dataclass
class Evidence:
    """Everything that was given, in that order."""

    subjects: list[Subject] = field(default_factory=list)
    runs: list[tuple[str, Run]] = field(default_factory=list)
    sensitivities: list[Sensitivity] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)


def gather(sources: Iterable[str | os.PathLike[str]]) -> Evidence:
    """Read what is given.

    Args:
        sources: Paths of ``.tflite`` files, of folders that ``edgeopt optimize`` wrote, and of JSON that ``validate``,
            ``bench``, ``parity``, ``sensitivity``, ``inspect``, ``optimize`` or ``convert`` wrote. A JSON that names
            its file is joined by that file where it still lies there.

    Raises:
        UsageError: Nothing was given, or a path cannot be read.
        DataError: A JSON that is not one of these.
        FileFormatError: A .tflite file or its sidecar is corrupt.
    """
    found = Evidence()
    for source in sources:
        _take(found, Path(source))
    if not found.sources:
        raise UsageError("Got nothing to show; give .tflite files, folders of optimize, or JSON that edgeopt wrote.")
    _tell_apart(found.subjects)
    return found


def _take(found: Evidence, path: Path) -> None:
    if path.is_dir():
        if not (path / RESULT).is_file():
            raise UsageError(f"The folder {path} has no {RESULT}; expected one that `edgeopt optimize` wrote.")
        _take_json(found, path / RESULT)
    elif path.suffix == ".json":
        _take_json(found, path)
    else:
        subject = _file(found, path)
        found.sources.append(Source(readable(path), "file", subject.sha256 or ""))


def _take_json(found: Evidence, path: Path) -> None:
    try:
        text = read_text(path)
        values = loads(text)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}; expected JSON that edgeopt wrote.") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON that edgeopt wrote ({error}).") from error
    parts = _parts(values, path)
    for part in parts:
        kind, take = _kind(part, path)
        try:
            take(found, part, path)
        except Unfit as error:
            raise DataError(f"{path} is not as `edgeopt {kind}` writes it: {error}; write it anew.") from error
        found.sources.append(Source(readable(path), kind, hashlib.sha256(text.encode()).hexdigest()))


def _parts(values: Any, path: Path) -> list[Mapping[str, Any]]:
    """Return a result, or those of several devices."""
    tool = values.get("tool") if isinstance(values, Mapping) else None
    if not isinstance(tool, Mapping) or tool.get("name") != "edgeopt" or values.get("schema_version") != SCHEMA_VERSION:
        raise DataError(f"{path} is not JSON that edgeopt wrote, of schema version {SCHEMA_VERSION}.")
    devices = values.get("devices")
    if not isinstance(devices, list):
        return [values]
    return [part for part in devices if isinstance(part, Mapping)]


def _kind(part: Mapping[str, Any], path: Path) -> tuple[str, Callable[[Evidence, Mapping[str, Any], Path], None]]:
    """Return what wrote a result, which its fields tell, and what takes it."""
    tables: list[tuple[str, set[str], Callable[[Evidence, Mapping[str, Any], Path], None]]] = [
        ("optimize", {"stages", "compression"}, _take_run),
        ("parity", {"sides", "lsb_histogram"}, _take_parity),
        ("bench", {"runs", "arena_bytes"}, _take_bench),
        ("sensitivity", {"operators", "held_back", "snr_db"}, _take_sensitivity),
        ("inspect", {"operators", "tensors"}, _take_inspection),
        ("validate", {"metric", "samples", "kernel_profile"}, _take_validation),
        ("convert", {"quantize", "source_model"}, _take_sidecar),
    ]
    for kind, fields, take in tables:
        if fields <= part.keys():
            return kind, take
    raise DataError(
        f"{path} is JSON of edgeopt, but not of a verb that a page shows; expected that of "
        f"{', '.join(kind for kind, *_ in tables)}."
    )


def _take_validation(found: Evidence, part: Mapping[str, Any], path: Path) -> None:
    held = cast(Validation, fitted(Validation, part, "validation"))
    if (classes := held.get("classes")) is not None:
        _check(classes)
    _subject(found, held.get("sha256"), held.get("artifact"), path).validations.append(held)


def _check(classes: Classes) -> None:
    """Raise unless the counts of the classes can be true."""
    samples, right = classes["samples"], classes["right"]
    if len(samples) != len(right) or not all(0 <= hits <= count for hits, count in zip(right, samples, strict=True)):
        raise Unfit("classes.right is not, for each class, at most classes.samples")


def _take_bench(found: Evidence, part: Mapping[str, Any], path: Path) -> None:
    held = cast(Bench, fitted(Bench, part, "bench"))
    _subject(found, held.get("sha256"), part.get("artifact"), path).benches.append(held)


def _take_parity(found: Evidence, part: Mapping[str, Any], path: Path) -> None:
    held = cast(Parity, fitted(Parity, part, "parity"))
    _subject(found, held.get("sha256"), held.get("artifact"), path).parities.append(held)


def _take_sensitivity(found: Evidence, part: Mapping[str, Any], path: Path) -> None:
    found.sensitivities.append(cast(Sensitivity, fitted(Sensitivity, part, "sensitivity")))


def _take_inspection(found: Evidence, part: Mapping[str, Any], path: Path) -> None:
    held = cast(Inspected, fitted(Inspected, part, "inspection"))
    named = held.get("file")
    place = None if named is None else _place(named, path)
    if place is None:
        raise UsageError(f"{path} speaks of the file {named!r}, which is not there; give the .tflite file itself.")
    _file(found, place)


def _take_sidecar(found: Evidence, part: Mapping[str, Any], path: Path) -> None:
    _file(found, path.with_suffix(".tflite"))


def _take_run(found: Evidence, part: Mapping[str, Any], path: Path) -> None:
    held = cast(Run, fitted(Run, part, "run"))
    found.runs.append((readable(path.parent), held))
    last = held["stages"][-1]["name"] if held["stages"] else None
    judged = held.get("ladder", {}).get("recommended", last)
    for stage in held["stages"]:
        file = path.parent / Path(stage["artifact"]).name
        subject = _file(found, file) if file.is_file() else Subject(stage["name"])
        if not file.is_file():
            found.subjects.append(subject)
        subject.stage, subject.run = stage, readable(path.parent)
        subject.verdict = held.get("verdict", "ok") if stage["name"] == judged else None


def _subject(found: Evidence, sha256: str | None, named: Any, source: Path) -> Subject:
    """Return the file that a result speaks of: by its hash, or by its name where the result has none."""
    name = named if isinstance(named, str) else None
    for subject in found.subjects:
        if sha256 is not None and subject.sha256 == sha256:
            return subject
        if sha256 is None and name is not None and Path(subject.path or subject.name).name == Path(name).name:
            return subject
    place = None if name is None else _place(name, source)
    if place is not None and sha256 in (None, _hash(place)):
        return _file(found, place)
    made = Subject(Path(name).name if name else f"file {(sha256 or '')[:8]}", sha256)
    found.subjects.append(made)
    return made


def _place(name: str, source: Path) -> Path | None:
    """Return where a file lies that a result names: as it is named, or beside the result."""
    places = (Path(name), source.parent / Path(name).name)
    return next((place for place in places if place.suffix == ".tflite" and place.is_file()), None)


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}; expected a .tflite file.") from error


def _file(found: Evidence, path: Path) -> Subject:
    """Return the file at `path`, read once however often it is named."""
    artifact = Artifact.load(path)
    inspection = inspect(path)
    try:
        sidecar = cast(SidecarFields, fitted(SidecarFields, artifact.sidecar, "sidecar"))
    except Unfit as error:
        raise FileFormatError(f"The sidecar of {path} is not as edgeopt writes it: {error}; convert again.") from error
    for subject in found.subjects:
        if subject.sha256 == artifact.sha256:
            subject.path, subject.inspection, subject.sidecar = readable(path), inspection, sidecar
            return subject
    made = Subject(path.name, artifact.sha256, readable(path), inspection, sidecar)
    found.subjects.append(made)
    return made


def _tell_apart(subjects: list[Subject]) -> None:
    """Call files by their paths where their names are the same."""
    names = [subject.name for subject in subjects]
    for subject in subjects:
        if names.count(subject.name) > 1 and subject.path is not None:
            subject.name = subject.path
