"""``edgeopt parity``: does a file give the same numbers on two devices?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..artifact.atomic import refuse_to_overwrite
from ..errors import UsageError
from .bench import minimum_runtime
from .binding import bound_inputs
from .devices import open_device
from .reading import PathLike, read_tflite

if TYPE_CHECKING:
    from ..artifact.artifact import Artifact
    from ..devices import Device, Progress
    from ..devices.golden import Golden
    from ..devices.parity import Limits, ParityReport

SAMPLES = 100


def parity(
    artifact: PathLike | bytes | Artifact,
    *,
    data: Any,
    device: str | Device,
    other: str | Device = "local",
    inventory: PathLike | None = None,
    limits: Limits | None = None,
    samples: int = SAMPLES,
    runtime: str = "auto",
    threads: int = 1,
    kernels: str = "default",
    delegate: str | None = None,
    compiled: PathLike | bytes | Artifact | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> ParityReport:
    """Run samples through a .tflite file on two devices and compare the outputs as the file stores them.

    Args:
        artifact: The file: a path, its bytes, or an `edgeopt.Artifact`.
        data: Samples as `edgeopt.data.load_dataset` takes them; labels are not looked at.
        device: "local", a name of the inventory, or a `edgeopt.devices.Device`, which stays open.
        other: The other device, likewise.
        inventory: The inventory's file; None looks for the project's and the user's.
        limits: What is asserted; default: L1, equal bits under the reference kernels.
        samples: At most this many are run, the first ones.
        runtime: "ai_edge_litert", "tflite_runtime", or "auto": what the other device has.
        threads: Number of threads of one inference (default 1).
        kernels: "default" (at L1: reference), "builtin" or "reference".
        delegate: Of `device` alone; the other side runs without.
        compiled: What `device` runs in place of the file: its form compiled for the delegate's chip.
        on_progress: Called with every sign of life of a device.

    Raises:
        UsageError: A bad option; `DataError` for data that do not fit.
        ModelError: A runtime cannot run the file.
        DeviceError: A device failed, or has no such runtime.

    Example:
        >>> parity("model_int8.tflite", data="x.npy", device="kitchen").difference.equal
        True
    """
    from ..devices import RunOptions
    from ..devices.parity import Limits as Asserted
    from ..devices.parity import compare_measurements

    if samples < 1:
        raise UsageError(f"samples is {samples}; expected at least 1.")
    if compiled is not None and delegate is None:
        raise UsageError("A compiled file was given without a delegate to run it; name one, such as edgetpu.")
    chosen = limits or Asserted()
    options = RunOptions(runtime=runtime, threads=threads, kernels=kernels, bench=None)
    file = read_tflite(artifact)
    inputs = bound_inputs(file, data, samples)
    with ExitStack() as stack:
        ours = stack.enter_context(open_device(other, inventory))
        theirs = stack.enter_context(open_device(device, inventory))
        if delegate is None:
            return ours.parity(theirs, file.data, inputs, limits=chosen, options=options, on_progress=on_progress)
        # An accelerator's operators cannot be looked into: only the outputs are compared.
        plain = ours.measure(file.data, inputs, chosen.options(options), on_progress=on_progress)
        fitted = file if compiled is None else read_tflite(compiled)
        chip = replace(options, delegate=delegate, minimum_runtime=minimum_runtime(fitted.model))
        fast = theirs.measure(fitted.data, inputs, replace(chip, runtime=plain.kernel_profile.runtime))
        return compare_measurements(chosen, plain, fast)


def record_golden(
    artifact: PathLike | bytes | Artifact,
    path: PathLike,
    *,
    data: Any,
    device: str | Device = "local",
    inventory: PathLike | None = None,
    limits: Limits | None = None,
    samples: int = SAMPLES,
    runtime: str = "auto",
    threads: int = 1,
    kernels: str = "default",
    force: bool = False,
) -> Golden:
    """Run samples on a device and write them with the outputs to `path`, an .npz file; see `parity`.

    Raises:
        OutputError: `path` exists and `force` is not set, or cannot be written.
        EdgeoptError: As in `parity`.
    """
    from ..devices import RunOptions
    from ..devices.golden import record
    from ..devices.parity import Limits as Asserted

    refuse_to_overwrite(path, force)
    options = (limits or Asserted()).options(RunOptions(runtime=runtime, threads=threads, kernels=kernels))
    file = read_tflite(artifact)
    inputs = bound_inputs(file, data, samples)
    with open_device(device, inventory) as target:
        golden = record(target, file.data, inputs, options)
    golden.save(path)
    return golden


def check_golden(
    artifact: PathLike | bytes | Artifact,
    path: PathLike,
    *,
    device: str | Device = "local",
    inventory: PathLike | None = None,
    limits: Limits | None = None,
    runtime: str = "auto",
    threads: int = 1,
    kernels: str | None = None,
) -> ParityReport:
    """Run the samples of a golden file on a device and compare with its outputs.

    Args:
        artifact: The file that it was recorded with.
        path: The golden file.
        device: The device that runs the file, by name or as an object.
        inventory: The inventory's file; None looks for the project's and the user's.
        limits: What is asserted; default L1.
        runtime: "auto" takes the one that it was recorded with.
        threads: Number of threads of one inference (default 1).
        kernels: None takes those that it was recorded with.

    Raises:
        UsageError: It was recorded with another model; `FileFormatError` when it is no golden file.
        EdgeoptError: As in `parity`.
    """
    from ..devices import RunOptions
    from ..devices.golden import Golden, hold_against
    from ..devices.parity import Limits as Asserted

    golden = Golden.load(path)
    recorded = golden.measurement.kernel_profile
    chosen = recorded.runtime if runtime == "auto" else runtime
    options = RunOptions(runtime=chosen, threads=threads, kernels=kernels or recorded.kernels, bench=None)
    with open_device(device, inventory) as target:
        return hold_against(target, read_tflite(artifact).data, golden, limits or Asserted(), options)
