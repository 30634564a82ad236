"""Debian 13's Python 3.13, with edgeopt and its newest wheels, in a root of its own: nothing is installed here.

    scripts/other-python        as root, on Debian; uv does the installing

The root is unpacked from this system's own package source, as the emulated board's image is, and entered by chroot.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ..emulated_pi.apt import PrivateApt, Unavailable, run

SUITE = "trixie"
PYTHON = "3.13"
PACKAGES = ("python3", "libstdc++6", "coreutils")
CHECKOUT = Path(__file__).resolve().parents[2]
# /proc and /dev are the agent's and TensorFlow's; the mounts end with their namespace.
ENTER = """set -e
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
exec chroot "$0" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/tmp TMPDIR=/tmp PYTHONPATH=/opt/site \
  /usr/bin/python3 /opt/smoke.py
"""


def find_uv() -> str:
    """Return uv's path: on PATH, or beside this Python."""
    found = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if found is None:
        raise Unavailable("uv is not installed, and pip installs for no other Python; pip install uv")
    return found


def build(folder: Path) -> Path:
    """Return a root below `folder` with Python, edgeopt in /opt/site and the smoke test.

    Raises:
        Unavailable: This machine cannot make one, whatever edgeopt is like.
        RuntimeError: edgeopt cannot be installed there.
    """
    if os.getuid() != 0:
        raise Unavailable("entering another root needs root")
    uv, root = find_uv(), folder / "root"
    apt = PrivateApt(folder, SUITE, run(["dpkg", "--print-architecture"]).stdout.decode().strip())
    apt.unpack(root, *PACKAGES)
    apt.clean()
    if not (root / "usr/bin" / f"python{PYTHON}").exists():
        raise Unavailable(f"the package source has no Python {PYTHON} in {SUITE}")
    for name in ("proc", "dev", "tmp"):
        (root / name).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    if (root / "usr/lib64").is_dir() and not (root / "lib64").exists():
        (root / "lib64").symlink_to("usr/lib64")
    wheels = ["--only-binary", ":all:", "--no-binary", "edgeopt"]
    # A copy without build/, which the build would leave in the checkout.
    source = folder / "source"
    shutil.copytree(CHECKOUT, source, ignore=shutil.ignore_patterns(".*", "build", "tests", "benchmarks", "*.egg-info"))
    target = ["--python-version", PYTHON, "--python", sys.executable, "--target", str(root / "opt/site")]
    must_run([uv, "pip", "install", "--quiet", *target, *wheels, str(source)])
    shutil.copyfile(Path(__file__).with_name("smoke.py"), root / "opt/smoke.py")
    return root


def smoke(root: Path) -> str:
    """Run the smoke test in the root, and return its last line, the versions.

    Raises:
        RuntimeError: It failed; the message is what it said.
    """
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    return must_run([*namespaces, "sh", "-c", ENTER, str(root)]).splitlines()[-1]


def must_run(argv: list[str]) -> str:
    """Run what fails only if edgeopt does, and return what it printed."""
    done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed (status {done.returncode}): {done.stderr[-3000:]}")
    return done.stdout


def main() -> None:
    """Build, run, say so."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgeopt-root-", ignore_cleanup_errors=True) as folder:
        try:
            root = build(Path(folder))
            built = time.monotonic()
            print(smoke(root))
        except (Unavailable, RuntimeError) as error:
            sys.exit(f"scripts/other-python: {error}")
    print(f"{built - start:.0f} s to build, {time.monotonic() - built:.0f} s to run", file=sys.stderr)


if __name__ == "__main__":
    main()
