"""``edgeopt.bundle`` and ``edgeopt.verify``: a file with all that proves it, in an archive, and whether it holds.

The archive is stored, not packed, and its entries have no time: the same contents are the same bytes everywhere, and a
hostile one cannot become more than it is.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

from ..api.parity import check_golden, record_golden
from ..api.reading import read_tflite, readable
from ..artifact.artifact import Artifact, sidecar_path
from ..artifact.atomic import refuse_to_overwrite, write_atomically
from ..artifact.envelope import as_text, envelope
from ..artifact.npz import ZIP_DAMAGE
from ..artifact.outside import loads
from ..artifact.shown import Shown
from ..artifact.snippet import inference_snippet
from ..artifact.typed import Unfit, fitted
from ..errors import CheckError, FileFormatError, UsageError, one_line
from .card import model_card
from .report import report

if TYPE_CHECKING:
    from ..devices import Device
    from ..devices.parity import Limits, ParityReport

MANIFEST, AGENT, SNIPPET, GOLDEN, REPORT, CARD, EVIDENCE = (
    "manifest.json", "edgeopt-agent.pyz", "run_on_board.py", "golden.npz", "report.html", "README.md",
    "evidence",
)  # fmt: skip
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold
_LARGEST_MANIFEST = 1 << 20


class _Entry(TypedDict):
    sha256: str
    size_bytes: int


class _Manifest(TypedDict):
    model: str
    files: dict[str, _Entry]


@dataclass(frozen=True, repr=False)
class Verification(Shown):
    """What `verify` found; that it is there means that all hashes are right.

    Attributes:
        path: The archive.
        files: Name of each file in it -> its SHA-256.
        parity: How a device's answers compare with the recorded ones; None without a device.
    """

    path: str
    files: dict[str, str]
    parity: ParityReport | None = None

    def shown(self) -> dict[str, object]:
        """Return where it lies, how many files are right, and whether a device answers as was recorded."""
        held = None if self.parity is None else self.parity.held
        return {"path": self.path, "files": len(self.files), "held": held}

    def to_dict(self) -> dict[str, object]:
        """Return the result in the JSON envelope of all verbs."""
        held = self.parity is None or self.parity.held
        found = None if self.parity is None else self.parity.to_dict()
        fields = {"bundle": self.path, "files": dict(self.files), "parity": found}
        return envelope("verify", "ok" if held else "failed", fields)


def bundle(
    file: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    data: Any = None,
    samples: int = 20,
    evidence: Iterable[str | os.PathLike[str]] = (),
    force: bool = False,
) -> Path:
    """Put a .tflite file into an archive with all that proves it.

    In it are the file, its sidecar, the lines of Python that run it on a board, the agent, the evidence, a report of
    all and a model card, with `data` golden vectors of this machine's reference kernels, and ``manifest.json`` with the
    SHA-256 of each.

    Args:
        file: The .tflite file.
        path: The archive, ``OUT.zip``.
        data: Samples, as `edgeopt.validate` takes them; None records no golden vectors.
        samples: How many of them are recorded.
        evidence: JSON that ``validate``, ``bench`` and others wrote of it.
        force: Replace the archive if it is there.

    Raises:
        OutputError: The archive is there and `force` is not set, or cannot be written.
        UsageError: A file cannot be read, two have one name, or Jinja2 is not installed.

    Example:
        >>> edgeopt.bundle("model_int8.tflite", "model.zip", data="test.npz", evidence=["validation.json"])
    """
    from ..devices import pack_agent

    refuse_to_overwrite(path, force)
    given, model = [Path(item) for item in evidence], Path(file)
    read_tflite(model)
    found = {model.name: model.read_bytes(), AGENT: pack_agent()}
    side = Artifact.load(model).sidecar
    if side:
        found[sidecar_path(model).name] = sidecar_path(model).read_bytes()
    if isinstance(side.get("snippet"), str):
        found[SNIPPET] = inference_snippet(model.name, side).encode()
    for item in given:
        name = f"{EVIDENCE}/{item.name}"
        if name in found:
            raise UsageError(f"Two files of evidence are called {item.name}; rename one of them.")
        found[name] = _bytes(item)
    made = report([model, *given])
    found[REPORT], found[CARD] = made.html().encode(), model_card(made.page, model.name).encode()
    if data is not None:
        found[GOLDEN] = _golden(model, data, samples)
    target = Path(path)
    write_atomically(target, _archive(found, model.name))
    return target


def verify(
    path: str | os.PathLike[str],
    *,
    device: str | Device | None = None,
    inventory: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
) -> Verification:
    """Check that an archive of `bundle` is whole and, on a device, that the file still answers as it did.

    Args:
        path: The archive.
        device: Where the golden vectors are replayed: "local", a name of the inventory, or a
            `edgeopt.devices.Device`; None replays none.
        inventory: The inventory's file; None looks for the project's and the user's.
        limits: What is asserted of the answers; default L1, bit for bit.

    Raises:
        CheckError: A file is not as the manifest says, is missing, or is not in it.
        FileFormatError: It is no archive of `bundle`.
        UsageError: It cannot be read, or has no golden vectors to replay.

    Example:
        >>> edgeopt.verify("model.zip", device="pi").parity.held
        True
    """
    found, manifest = _read(Path(path))
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(found.items())}
    stated = {name: entry["sha256"] for name, entry in manifest["files"].items()}
    wrong = sorted(name for name in {*hashes, *stated} if hashes.get(name) != stated.get(name))
    if wrong:
        raise CheckError(f"{readable(path)} is not as it was bundled: {', '.join(wrong[:5])}; get it anew.")
    if device is None:
        return Verification(readable(path), hashes)
    if GOLDEN not in found or manifest["model"] not in found:
        raise UsageError(f"{readable(path)} has no golden vectors to replay; bundle it with samples (--data).")
    with tempfile.TemporaryDirectory() as folder:
        golden = Path(folder) / GOLDEN
        golden.write_bytes(found[GOLDEN])
        parity = check_golden(found[manifest["model"]], golden, device=device, inventory=inventory, limits=limits)
    return Verification(readable(path), hashes, parity)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}; check the path.") from error


def _golden(model: Path, data: Any, samples: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / GOLDEN
        record_golden(model, path, data=data, samples=samples)
        return path.read_bytes()


def _archive(files: dict[str, bytes], model: str) -> bytes:
    entries = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        for name, content in sorted(files.items())
    }
    manifest = as_text(envelope("bundle", "ok", {"model": model, "files": entries}))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [(MANIFEST, manifest.encode()), *sorted(files.items())]:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # Unix, also when packed elsewhere
            archive.writestr(entry, content)
    return buffer.getvalue()


def _read(path: Path) -> tuple[dict[str, bytes], _Manifest]:
    """Return the files of an archive, and its manifest; none of its names is ever a path on this machine."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if any(member.compress_type != zipfile.ZIP_STORED for member in members) or len(set(names)) < len(names):
                raise ValueError("its files are packed, or two have one name")
            if sum(member.file_size for member in members) > path.stat().st_size:
                raise ValueError("its files are larger than it is")
            found = {member.filename: archive.read(member) for member in members}
    except FileNotFoundError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}; expected an archive of edgeopt bundle.") from error
    except ZIP_DAMAGE as error:
        raise FileFormatError(f"{path} is no archive of edgeopt bundle ({one_line(error)}); get it anew.") from error
    text = found.pop(MANIFEST, b"")
    try:
        if len(text) > _LARGEST_MANIFEST:
            raise ValueError(f"{MANIFEST} has more than {_LARGEST_MANIFEST >> 20} MiB")
        return found, cast(_Manifest, fitted(_Manifest, loads(text.decode()), MANIFEST))
    except (ValueError, Unfit) as error:
        raise FileFormatError(f"{path} is no archive of edgeopt bundle ({one_line(error)}); get it anew.") from error
