"""Packages of another architecture or release, from this system's own mirrors, without touching this system's apt."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SYSTEM_SOURCES = Path("/etc/apt")
# Documentation, and device nodes that an archive may carry, have no place on the board.
_EXCLUDED = [*(f"./usr/share/{name}/*" for name in ("doc", "man", "locale", "info", "perl")), "./dev/*"]


class Unavailable(Exception):
    """This machine cannot build or start the emulated board; the message says why."""


def run(argv: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run a build step and raise `Unavailable`, with the end of what it said, when it fails."""
    try:
        return subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL, **options)  # type: ignore[call-overload, no-any-return]
    except FileNotFoundError as error:
        raise Unavailable(f"{argv[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        tail = (error.stderr or error.stdout)[-600:].decode(errors="replace").strip()
        raise Unavailable(f"{argv[0]} failed (status {error.returncode}): {tail}") from error


def codename() -> str:
    """Return this system's Debian release name, such as ``bookworm``."""
    fields = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if line.count("=") == 1
    )
    if fields.get("ID") != "debian":
        raise Unavailable(f"the harness takes packages from Debian's mirrors, and this system is {fields.get('ID')}")
    return fields["VERSION_CODENAME"]


def _system_sources(own: str, wanted: str) -> dict[str, str]:
    """Return name -> text of the system's lists that name its own release, with `wanted` in its place."""
    found = {}
    for path in [SYSTEM_SOURCES / "sources.list", *sorted((SYSTEM_SOURCES / "sources.list.d").glob("*"))]:
        if path.suffix in (".list", ".sources") and path.is_file():
            text = path.read_text()
            if f" {own}" in text:
                found[path.name] = text.replace(own, wanted)
    if not found:
        raise Unavailable(f"no apt source of this system names its release {own}")
    return found


class PrivateApt:
    """apt-get with lists, cache and status of its own, for one release and one architecture."""

    def __init__(self, state: Path, suite: str, arch: str) -> None:
        self._state = state / f"apt-{suite}-{arch}"
        self._arch = arch
        self._sources = self._state / "sources"
        for part in ("lists/partial", "cache/archives/partial", "sources"):
            (self._state / part).mkdir(parents=True, exist_ok=True)
        (self._state / "status").touch()
        for name, text in _system_sources(codename(), suite).items():
            (self._sources / name).write_text(text)
        self._updated = False

    def _apt(self, *words: str, cwd: Path | None = None) -> None:
        state = self._state
        options = {
            "APT::Architecture": self._arch,
            "APT::Architectures::": self._arch,
            "Dir::State": state,
            "Dir::State::status": state / "status",
            "Dir::State::lists": state / "lists",
            "Dir::Cache": state / "cache",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": self._sources,
            "APT::Install-Recommends": 0,
            "APT::Sandbox::User": "root" if os.getuid() == 0 else os.environ.get("USER", ""),
            "Acquire::Check-Valid-Until": "false",
            "Debug::NoLocking": 1,
            "APT::Keep-Downloaded-Packages": 1,
            "Binary::apt-get::APT::Keep-Downloaded-Packages": 1,
        }
        settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        run(["apt-get", "-qq", *settings, *words], cwd=cwd)

    def update(self) -> None:
        """Fetch the package lists, once."""
        if not self._updated:
            self._apt("update")
            self._updated = True

    def download(self, package: str, target: Path) -> Path:
        """Fetch one package, without what it depends on, into the folder `target`."""
        self.update()
        folder = target / f"deb-{package}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._apt("download", package, cwd=folder)
        return next(folder.glob("*.deb"))

    def unpack(self, target: Path, *packages: str) -> None:
        """Unpack `packages` and all that they depend on into `target`; no package script runs."""
        self.update()
        self._apt("install", "-y", "--download-only", *packages)
        for name in ("bin", "sbin", "lib"):
            (target / "usr" / name).mkdir(parents=True, exist_ok=True)
            if not (target / name).exists():
                (target / name).symlink_to(f"usr/{name}")
        for archive in sorted((self._state / "cache" / "archives").glob("*.deb")):
            unpack_archive(archive, target)

    def clean(self) -> None:
        """Forget the archives and lists, which are no longer needed once unpacked."""
        shutil.rmtree(self._state)


def unpack_archive(archive: Path, target: Path) -> None:
    """Unpack one .deb."""
    target.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as tar:
        excluded = [f"--exclude={pattern}" for pattern in _EXCLUDED]
        options = ["--no-same-owner", "--keep-directory-symlink", *excluded]
        run_from(tar, ["tar", "-x", "-C", str(target), *options])


def run_from(source: subprocess.Popen[bytes], argv: list[str]) -> None:
    """Run `argv` with the output of `source` as its input."""
    done = subprocess.run(argv, stdin=source.stdout, capture_output=True, check=False)
    if done.returncode or source.wait():
        raise Unavailable(f"{argv[0]} failed: {done.stderr[-400:].decode(errors='replace')}")
