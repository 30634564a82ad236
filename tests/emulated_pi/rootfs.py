"""The board's files: an arm64 Debian 12 userland with sshd and two TFLite runtimes, unpacked and never "configured"."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from .apt import PrivateApt, Unavailable, run

BOARD_SUITE = "bookworm"
BOARD_PYTHON = (3, 11)
USER = "pi"
PASSWORD = "raspberry"
HERE = Path(__file__).parent
_PACKAGES = [
    *("python3", "python3-venv", "python3-pip", "libstdc++6", "dash", "bash", "coreutils", "grep", "sed", "gzip"),
    *("tar", "findutils", "procps", "hostname", "kmod", "iproute2", "mount", "util-linux"),
    *("openssh-server", "openssh-sftp-server"),
]
OTHER_NUMPY = "numpy==2.2.6"
_PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64")


def fingerprint(*more: str) -> str:
    """Return a hash of everything that decides what is in the image, so that a stale cache is noticed."""
    sources = [(HERE / name).read_bytes() for name in ("apt.py", "rootfs.py", "wheels.txt")]
    return hashlib.sha256(b"\0".join(sources) + "\0".join(more).encode()).hexdigest()


def build(cache: Path) -> Path:
    """Return the folder of the board's files below `cache`, building it when it is absent or stale; needs root."""
    root, stamp = cache / "root", cache / "root.stamp"
    if stamp.is_file() and stamp.read_text() == fingerprint():
        return root
    if os.getuid() != 0:
        raise Unavailable("the board's image is not built yet, and building it needs root (file owners)")
    stamp.unlink(missing_ok=True)
    shutil.rmtree(root, ignore_errors=True)
    apt = PrivateApt(cache, BOARD_SUITE, "arm64")
    apt.unpack(root, *_PACKAGES)
    apt.clean()
    _install_wheels(cache / "wheels", root / "usr/lib/python3/dist-packages")
    _configure(cache, root)
    _compile(root)
    stamp.write_text(fingerprint())
    return root


def _install_wheels(wheels: Path, packages: Path) -> None:
    shutil.rmtree(wheels, ignore_errors=True)
    platforms = [word for name in _PLATFORMS for word in ("--platform", name)]
    version = ".".join(map(str, BOARD_PYTHON))
    what = ["--python-version", version, "--only-binary=:all:", "-r", str(HERE / "wheels.txt")]
    run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels), *platforms, *what])
    # For the test of a runtime that was built for another NumPy; the board itself does not have it.
    other = wheels.with_name("wheels-numpy2")
    shutil.rmtree(other, ignore_errors=True)
    newer = ["--python-version", version, "--only-binary=:all:", OTHER_NUMPY]
    run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(other), *platforms, *newer])
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            # The GPU part of one runtime is 17 MB that no board of ours loads.
            archive.extractall(packages, [name for name in archive.namelist() if "WebGpu" not in name])


def _configure(cache: Path, root: Path) -> None:
    """Write what the packages' scripts would have: accounts, sshd's settings and keys."""
    secret = run(["openssl", "passwd", "-6", PASSWORD]).stdout.decode().strip()
    files = {
        "etc/passwd": f"root:x:0:0:root:/root:/bin/bash\n{USER}:x:1000:1000:{USER}:/home/{USER}:/bin/bash\n"
        "sshd:x:100:65534::/run/sshd:/usr/sbin/nologin\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n",
        "etc/group": f"root:x:0:\ntty:x:5:\n{USER}:x:1000:\nnogroup:x:65534:\n",
        "etc/shadow": f"root:*:19000:0:99999:7:::\n{USER}:{secret}:19000:0:99999:7:::\n",
        "etc/shells": "/bin/sh\n/bin/bash\n",
        "etc/hostname": "raspberrypi\n",
        "etc/hosts": "127.0.0.1 localhost raspberrypi\n",
        "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
        "etc/ssh/sshd_config": "HostKey /etc/ssh/ssh_host_ed25519_key\nUsePAM no\nPermitRootLogin prohibit-password\n"
        "PasswordAuthentication yes\nKbdInteractiveAuthentication no\nUseDNS no\nPidFile none\n"
        "Subsystem sftp /usr/lib/openssh/sftp-server\nSetEnv QEMU_CPU=cortex-a72\n",
        "var/log/lastlog": "",
    }
    for name in ("proc", "sys", "dev/pts", "dev/shm", "tmp", "run/sshd", "root/.ssh", f"home/{USER}/.ssh"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "tmp").chmod(0o1777)
    (root / "etc/shadow").chmod(0o640)
    (root / "bin/sh").unlink(missing_ok=True)
    (root / "bin/sh").symlink_to("dash")
    _make_keys(cache, root)


def _make_keys(cache: Path, root: Path) -> None:
    for key in (cache / "id", root / "etc/ssh/ssh_host_ed25519_key"):
        for path in (key, key.with_name(key.name + ".pub")):
            path.unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "edgeopt-test", "-f", str(key)])
    shutil.copy(root / "etc/ssh/ssh_host_ed25519_key.pub", cache / "host_key.pub")
    for home, owner in ((root / "root", 0), (root / "home" / USER, 1000)):
        keys = home / ".ssh" / "authorized_keys"
        shutil.copy(cache / "id.pub", keys)
        keys.chmod(0o600)
        for path in (home, home / ".ssh"):
            path.chmod(0o700)
        for path in (home, home / ".ssh", keys):
            os.chown(path, owner, owner)


def _compile(root: Path) -> None:
    """Compile the board's modules with a Python of its own release: under emulation, importing gets 4x faster."""
    if sys.version_info[:2] != BOARD_PYTHON:
        return
    folders = [str(root / "usr/lib/python3.11"), str(root / "usr/lib/python3/dist-packages")]
    options = ["-q", "-j2", "-s", str(root), "-p", "/", "-x", "/(test|tests|lib2to3|idlelib)/"]
    # Its status is 1 when any file, such as a template, is no Python.
    subprocess.run([sys.executable, "-m", "compileall", *options, *folders], capture_output=True, check=False)
