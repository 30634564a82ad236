"""``edgeopt bench``: how fast a file is on a device, and whether it is faster than another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..flatbuffer import Model
from .binding import bound_inputs
from .devices import open_device
from .reading import PathLike, TFLiteFile, read_any

if TYPE_CHECKING:
    from ..artifact.artifact import Artifact
    from ..devices import BenchPlan, BenchReport, Device, Progress


def bench(
    artifact: PathLike | bytes | Artifact,
    *,
    device: str | Device = "local",
    inventory: PathLike | None = None,
    threads: Sequence[int] | None = (1,),
    runtime: str = "auto",
    kernels: str = "default",
    delegate: str | None = None,
    against: PathLike | bytes | Artifact | None = None,
    data: Any = None,
    plan: BenchPlan | None = None,
    op_profile: bool = True,
    keep: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> BenchReport:
    """Time a .tflite or .onnx file on a device.

    Args:
        artifact: The file: a path, its bytes, or an `edgeopt.Artifact`.
        device: "local", a name of the inventory, or a `edgeopt.devices.Device`, which stays open.
        inventory: The inventory's file; None looks for the project's and the user's.
        threads: Numbers of threads of one inference, each at least 1; there is one timing for each (default: 1 thread).
            None: the best number, found by timing numbers in turns (`BenchReport.choice` has the evidence).
        runtime: "ai_edge_litert", "tflite_runtime", or "auto": the first of them that loads on the device.
        kernels: "default", "builtin" (without XNNPACK) or "reference".
        delegate: "edgetpu", "gpu", or the path of a shared library on the device.
        against: Another file, to be timed in turns with this one: the way to say "faster".
        data: Samples as `edgeopt.data.load_dataset` takes them, the first of which is run; None: noise.
        plan: When a timing ends (default: as `BenchPlan` says); see `edgeopt.devices.bench_plan`.
        op_profile: Also tell the time of each operator, where the runtime has a profiler (default: yes).
        keep: Leave the run's folder on the device until its next run (default: no).
        on_progress: Called with every sign of life of the device.

    Raises:
        UsageError: A bad option; `FileFormatError` for a corrupt file.
        ModelError: The runtime cannot run the file.
        DeviceError: The device failed, or has no runtime.

    Example:
        >>> edgeopt.api.bench.bench("pruned.tflite", device="kitchen", against="base.tflite").runs[0].latency.comparison
    """
    from ..devices import BenchPlan, RunOptions

    file, other = read_any(artifact), None if against is None else read_any(against).data
    options = RunOptions(
        runtime=runtime,
        kernels=kernels,
        delegate=delegate,
        minimum_runtime=minimum_runtime(file.model) if isinstance(file, TFLiteFile) else None,
        keep=keep,
        op_profile=op_profile,
        bench=plan or BenchPlan(),
    )
    inputs = None if data is None else bound_inputs(file, data, 1)
    with open_device(device, inventory) as target:
        return target.bench(file.data, inputs, threads=threads, options=options, against=other, on_progress=on_progress)


def minimum_runtime(model: Model) -> int | None:
    """Return the Edge TPU runtime that a compiled file asks for; None for a file that is not compiled.

    Raises:
        FileFormatError: Its package is corrupt.
    """
    from ..converters.edgetpu.package import packages

    return max((package.minimum_runtime for package in packages(model)), default=0) or None
