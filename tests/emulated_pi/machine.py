"""The whole board: a virtual arm64 machine with its own kernel, memory limit and disk; it runs without privileges."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .apt import PrivateApt, Unavailable, codename, run, unpack_archive
from .board import Board, free_port, make_folder
from .rootfs import HERE, build, fingerprint

MODEL = "Raspberry Pi 4 Model B Rev 1.4"
CPU = "cortex-a72"
DISK_MB = 1100
_DRIVERS = "kernel/drivers"
_VIRTIO = [f"{_DRIVERS}/virtio/{name}" for name in ("virtio_ring", "virtio", "virtio_pci_modern_dev")]
_VIRTIO += [f"{_DRIVERS}/virtio/{name}" for name in ("virtio_pci_legacy_dev", "virtio_pci")]
_NETWORK = ["kernel/net/core/failover", f"{_DRIVERS}/net/net_failover", f"{_DRIVERS}/net/virtio_net"]
_DISK = [f"{_DRIVERS}/block/virtio_blk"]


@dataclass(frozen=True)
class Size:
    """How big the machine is."""

    memory_mb: int = 512
    cores: int = 2


def start(cache: Path, size: Size | None = None) -> Board:
    """Return a fresh machine, whose device tree says that it is a Raspberry Pi 4.

    Raises:
        Unavailable: This machine cannot build the image or start it.
    """
    size = size or Size()
    _build(cache)
    port = free_port()
    folder = make_folder(cache, port)
    emulator = [*_program(cache, "qemu-system-aarch64"), "-L", str(cache / "x86/usr/share/qemu")]
    hardware = ["-cpu", CPU, "-smp", str(size.cores), "-m", str(size.memory_mb), "-nographic"]
    try:
        tree = _device_tree(cache, folder, emulator, hardware)
    except Unavailable:
        shutil.rmtree(folder)
        raise
    disk = f"if=none,id=d0,format=raw,snapshot=on,file={cache / 'disk.img'}"
    network = f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"
    boot = ["-kernel", str(cache / "vmlinuz"), "-initrd", str(cache / "initrd"), "-dtb", str(tree)]
    boot += ["-append", "console=ttyAMA0 rdinit=/init quiet panic=1 net.ifnames=0"]
    devices = ["-drive", disk, "-device", "virtio-blk-pci,drive=d0"]
    devices += ["-netdev", network, "-device", "virtio-net-pci,netdev=n0,id=nic0,romfile="]
    monitor = Path(tempfile.mkdtemp(prefix="pi-", dir="/tmp")) / "monitor"  # a socket's path must be short
    devices += ["-serial", "stdio", "-monitor", f"unix:{monitor},server=on,wait=off"]
    argv = [*emulator, "-M", "virt", *hardware, "-accel", "tcg,thread=multi", *boot, *devices]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=folder
        )

    def halt() -> None:
        process.kill()
        process.wait()
        shutil.rmtree(monitor.parent, ignore_errors=True)

    board = Board("machine", port, cache / "id", folder, halt=halt, monitor=monitor)
    try:
        board.wait(120)
    except Unavailable as error:
        log_text = (folder / "log").read_text(errors="replace")[-600:]
        board.stop()
        raise Unavailable(f"the virtual machine did not start: {error}; {log_text}") from error
    return board


def _stamp() -> str:
    names = ("machine.py", "machine_init.sh", "initrd_init.sh")
    return fingerprint(*(hashlib.sha256((HERE / name).read_bytes()).hexdigest() for name in names))


def _build(cache: Path) -> None:
    """Build emulator, kernel, initrd and disk below `cache`, unless they are there; needs root."""
    stamp = cache / "machine.stamp"
    if stamp.is_file() and stamp.read_text() == _stamp():
        return
    if os.getuid() != 0:
        raise Unavailable("the virtual machine's disk is not built yet, and building it needs root (file owners)")
    if os.uname().machine != "x86_64":
        raise Unavailable(f"the virtual machine's emulator is for x86_64, and this is {os.uname().machine}")
    stamp.unlink(missing_ok=True)
    root = build(cache)
    if not (cache / "x86.ok").is_file():
        apt = PrivateApt(cache, codename(), "amd64")
        apt.unpack(cache / "x86", "qemu-system-arm", "cpio", "device-tree-compiler", "libc-bin")
        apt.clean()
        (cache / "x86.ok").touch()
    kernel = _kernel(cache)
    _initrd(cache, kernel)
    _disk(cache, root, kernel)
    shutil.rmtree(kernel)
    stamp.write_text(_stamp())


def _program(cache: Path, name: str) -> list[str]:
    """Return the argv of an unpacked, not installed program: its own loader and libraries."""
    tree = cache / "x86"
    places = [tree / "usr/bin" / name, tree / "bin" / name]
    program = next((path for path in places if path.is_file()), None)
    if program is None:
        raise Unavailable(f"{name} is not among the unpacked packages")
    library = tree / "usr/lib/x86_64-linux-gnu"
    loader = tree / "lib64/ld-linux-x86-64.so.2"
    if not loader.exists():
        loader = tree / "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    return [str(loader), "--library-path", str(library), str(program)]


def _kernel(cache: Path) -> Path:
    """Fetch Debian's cloud kernel; return the folder with its modules."""
    apt = PrivateApt(cache, "bookworm", "arm64")
    pointer = apt.download("linux-image-cloud-arm64", cache)
    fields = run(["dpkg-deb", "-f", str(pointer), "Depends"]).stdout.decode()
    kernel = cache / "kernel"
    shutil.rmtree(kernel, ignore_errors=True)
    unpack_archive(apt.download(fields.replace(",", " ").split()[0], cache), kernel)
    busybox = apt.download("busybox-static", cache)
    unpack_archive(busybox, kernel / "busybox")
    apt.clean()
    for leftover in cache.glob("deb-*"):
        shutil.rmtree(leftover)
    shutil.copy(next(kernel.glob("boot/vmlinuz-*")), cache / "vmlinuz")
    return kernel


def _copy_modules(kernel: Path, names: list[str], target: Path) -> None:
    """Copy modules so that the order of their file names is the order in which they load."""
    target.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        found = next(path for path in kernel.glob(f"**/modules/*/{name}.ko*"))
        shutil.copy(found, target / f"{place:02d}-{found.name}")


def _initrd(cache: Path, kernel: Path) -> None:
    tree = cache / "initrd-tree"
    shutil.rmtree(tree, ignore_errors=True)
    for name in ("bin", "m", "newroot"):
        (tree / name).mkdir(parents=True)
    busybox = next(path for path in (kernel / "busybox").glob("**/bin/busybox") if path.is_file())
    shutil.copy(busybox, tree / "bin/busybox")
    shutil.copy(HERE / "initrd_init.sh", tree / "init")
    for name in ("init", "bin/busybox"):
        (tree / name).chmod(0o755)
    _copy_modules(kernel, _VIRTIO + _DISK, tree / "m")
    names = "\n".join(["."] + [str(path.relative_to(tree)) for path in sorted(tree.rglob("*"))])
    with (cache / "initrd").open("wb") as out:
        subprocess.run(
            [*_program(cache, "cpio"), "-o", "-H", "newc", "-R", "0:0", "--quiet"],
            input=names.encode(), stdout=out, cwd=tree, check=True,
        )  # fmt: skip
    shutil.rmtree(tree)


def _disk(cache: Path, root: Path, kernel: Path) -> None:
    modules = root / "usr/lib/modules/vm"
    shutil.rmtree(modules, ignore_errors=True)
    _copy_modules(kernel, _NETWORK, modules)
    shutil.copy(HERE / "machine_init.sh", root / "sbin/edgeopt-init")
    (root / "sbin/edgeopt-init").chmod(0o755)
    image = cache / "disk.img"
    image.unlink(missing_ok=True)
    run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", str(root), str(image), f"{DISK_MB}M"])


def _device_tree(cache: Path, folder: Path, emulator: list[str], hardware: list[str]) -> Path:
    """Return the machine's device tree, with a Raspberry Pi's name in place of the emulator's."""
    tree = folder / "pi.dtb"
    run([*emulator, "-M", f"virt,dumpdtb={tree}", *hardware, "-nic", "none"])
    run([*_program(cache, "fdtput"), "-ts", str(tree), "/", "model", MODEL])
    return tree
