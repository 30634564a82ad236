"""Where edgeopt installs: what uv resolves, for each Python and host, at both ends of the bounds; and where it runs.

    python benchmarks/installation.py                     resolve, and write the tables of docs/installation.md
    python benchmarks/installation.py --run               and install and run it on each Python that is found here
    python benchmarks/installation.py --run --python 3.13 --bounds oldest

A Python is "found" if uv finds it on PATH: pyenv's must be chosen, as in PYENV_VERSION=3.10.13:3.11.7:3.12.1:3.13.0.
"Ran" is tests/installation/smoke.py --train: convert, validate, prune, train quantised. Its versions are kept in
installation.json; a cell says so only while they are what the bounds resolve to. Wheels only: nothing is compiled.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import tomllib
from markers import write_between

CHECKOUT = Path(__file__).resolve().parent.parent
PAGE = CHECKOUT / "docs" / "installation.md"
RUNS = Path(__file__).with_suffix(".json")
SMOKE = CHECKOUT / "tests" / "installation" / "smoke.py"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
NEWEST_TENSORFLOW = "2.21"
BOUNDS = {
    "oldest": ["--resolution", "lowest-direct"],
    "as pip chooses": [],
    f"TensorFlow {NEWEST_TENSORFLOW}": ["--constraint", "-"],
}
HOSTS = {
    "Linux x86-64": "x86_64-unknown-linux-gnu",
    "Linux aarch64": "aarch64-unknown-linux-gnu",
    "macOS, Apple silicon": "aarch64-apple-darwin",
    "macOS, Intel": "x86_64-apple-darwin",
    "Windows x86-64": "x86_64-pc-windows-msvc",
}
SHOWN = {"tensorflow": "TensorFlow", "keras": "Keras", "numpy": "NumPy", "ai-edge-litert": "LiteRT"}
WHEELS = ["--only-binary", ":all:"]


def uv(*words: str) -> subprocess.CompletedProcess[str]:
    """Run uv; the constraint of the newest TensorFlow stands on its stdin for whoever asks for it."""
    beside = Path(sys.executable).with_name("uv")
    program = shutil.which("uv") or (str(beside) if beside.is_file() else None)
    if program is None:
        sys.exit("uv was not found; install it with: pip install uv")
    return subprocess.run(
        [program, *words], cwd=CHECKOUT, input=f"tensorflow>={NEWEST_TENSORFLOW}", capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def resolve(python: str, bounds: str, extra: str | None = None, host: str = "Linux x86-64") -> dict[str, str] | str:
    """Return name -> version of everything that would be installed, or why nothing can be."""
    words = ["pip", "compile", "--no-annotate", "--no-header", "--python-version", python]
    words += ["--python-platform", HOSTS[host], *WHEELS, *BOUNDS[bounds], "pyproject.toml"]
    done = uv(*words, *(["--extra", extra] if extra else []))
    if done.returncode:
        return done.stderr
    pins = (line.split(" ")[0].partition("==") for line in done.stdout.splitlines() if "==" in line)
    return {name: version for name, _, version in pins}


def reason(refusal: str) -> str:
    """Return uv's first cause, in a few words."""
    if "larq>=" in refusal:
        return "larq needs NumPy 1"
    for name in ("ai-edge-litert", "tensorflow", "tflite-runtime", "seglearn", "ethos-u-vela"):
        if f"{name}>=" in refusal or f"{name}==" in refusal:
            return f"no wheels of {name}"
    return " ".join(refusal.split())[:80]


def smoke(python: str, bounds: str) -> dict[str, str] | str:
    """Install and run on the `python` of this machine; returns the versions, or why uv finds no such Python."""
    found = uv("python", "find", "--no-python-downloads", "--system", python)
    if found.returncode:
        return found.stderr.strip().splitlines()[0]
    with tempfile.TemporaryDirectory() as folder:
        inside = str(Path(folder) / "bin" / "python")
        made = uv("venv", "--python", found.stdout.strip(), folder, "--clear")
        installed = uv(
            "pip", "install", "--python", inside, *WHEELS, "--no-binary", "edgeopt", *BOUNDS[bounds], str(CHECKOUT)
        )
        for step in (made, installed):
            if step.returncode:
                sys.exit(f"Python {python}, {bounds}: {step.stderr}")
        ran = subprocess.run([inside, str(SMOKE), "--train"], capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.exit(f"Python {python}, {bounds}: {ran.stderr[-3000:]}")
    versions = dict(json.loads(ran.stdout.splitlines()[-1]))
    if not versions["python"].startswith(f"{python}."):
        sys.exit(f"Python {python}, {bounds}: it ran on {versions['python']} instead")
    return versions


def pythons_table(runs: dict[str, dict[str, str]]) -> list[str]:
    """Return the lines of the table of Pythons, bounds and extras, on Linux x86-64."""
    extras = list(tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    heads = ["Python", "versions", *SHOWN.values(), "ran", *(f"`{extra}`" for extra in extras)]
    lines = [heads, ["---"] * len(heads)]
    for python in PYTHONS:
        for bounds in BOUNDS:
            with ThreadPoolExecutor() as pool:
                core, *found = pool.map(partial(resolve, python, bounds), [None, *extras])
            if isinstance(core, str):
                lines.append([python, bounds, "**refused**: " + reason(core), *[""] * (len(heads) - 3)])
                continue
            run = runs.get(f"{python}, {bounds}", {})
            same = bool(run) and all(run[name] == core[name] for name in SHOWN)
            cells = [extra_cell(core, one) for one in found]
            lines.append(
                [python, bounds, *(core[name] for name in SHOWN), f"yes, {run['python']}" if same else "no", *cells]
            )
            print(" | ".join(lines[-1]), file=sys.stderr)
    return ["| " + " | ".join(line) + " |" for line in lines]


def extra_cell(core: dict[str, str], extra: dict[str, str] | str) -> str:
    """Return what an extra does to an installation."""
    if isinstance(extra, str):
        return "refused: " + reason(extra)
    if extra == core:
        return "adds nothing"
    lowered = [f"{SHOWN[name]} {extra[name]}" for name in SHOWN if extra[name] != core[name]]
    return ", ".join(["resolves", *lowered])


def hosts_table() -> list[str]:
    """Return the lines of the table of hosts."""
    lines = [["host", *(f"Python {python}" for python in PYTHONS)], ["---"] * (1 + len(PYTHONS))]
    for host in HOSTS:
        cells = []
        for python in PYTHONS:
            found = resolve(python, "as pip chooses", host=host)
            cells.append(f"refused: {reason(found)}" if isinstance(found, str) else f"TensorFlow {found['tensorflow']}")
        lines.append([host, *cells])
    return ["| " + " | ".join(line) + " |" for line in lines]


def main() -> None:
    """Resolve, run what was asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", action="store_true", help="install and run, too")
    parser.add_argument("--python", choices=PYTHONS, action="append", help="run this one only")
    parser.add_argument("--bounds", choices=tuple(BOUNDS), action="append", help="run these only")
    options = parser.parse_args()
    runs: dict[str, dict[str, str]] = json.loads(RUNS.read_text()) if RUNS.is_file() else {}
    for python in (options.python or PYTHONS) if options.run else ():
        for bounds in options.bounds or BOUNDS:
            found = smoke(python, bounds)
            print(f"{python}, {bounds}: {found}", file=sys.stderr)
            if not isinstance(found, str):
                runs[f"{python}, {bounds}"] = found
                RUNS.write_text(json.dumps(runs, indent=1, sort_keys=True) + "\n")
    for marker, lines in (("pythons", pythons_table(runs)), ("hosts", hosts_table())):
        write_between(PAGE, f"benchmarks/installation.py: {marker}", "\n".join(lines))


if __name__ == "__main__":
    main()
