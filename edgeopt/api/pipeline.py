"""Cut a .tflite file into parts, and time parts side by side: ``edgetpu segments --cut``, ``bench --pipeline``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifact.atomic import refuse_to_overwrite, write_atomically
from ..errors import UsageError
from .bench import minimum_runtime
from .devices import open_device
from .reading import PathLike, read_tflite

if TYPE_CHECKING:
    from ..converters.cutting import Part
    from ..devices import BenchPlan, Device, PipelinePart, PipelineReport, Progress


def cut_file(
    model: PathLike,
    *,
    parts: int = 2,
    at: Sequence[str] = (),
    out_dir: PathLike | None = None,
    force: bool = False,
) -> dict[Path, Part]:
    """Cut a .tflite file into parts that run one behind the other, ``NAME_segment_0_of_2.tflite`` and so on.

    Args:
        model: The file; one that is not compiled.
        parts: How many parts of about equal work (default 2), where `at` names none.
        at: Cut behind the operators that write these tensors instead.
        out_dir: Where to write; None writes beside the file.
        force: Replace what is there.

    Returns:
        The parts by their paths, in their order.

    Raises:
        UsageError: The file cannot be read, a name is no tensor's, or an output exists (OutputError).
        ModelError: The model cannot be cut so.

    Example:
        >>> [part.macs for part in cut_file("model_int8.tflite", parts=2).values()]
        [6340608, 6161024]
    """
    from ..converters.cutting import cut

    file, path = read_tflite(model), Path(model)
    found = cut(file.data, parts, at)
    folder = path.parent if out_dir is None else Path(out_dir)
    paths = [folder / f"{path.stem}_segment_{place}_of_{len(found)}.tflite" for place in range(len(found))]
    for target in paths:
        refuse_to_overwrite(target, force)
    for target, part in zip(paths, found, strict=True):
        write_atomically(target, part.model)
    return dict(zip(paths, found, strict=True))


def bench_pipeline(
    parts: Sequence[PathLike],
    *,
    against: PathLike | None = None,
    device: str | Device = "local",
    inventory: PathLike | None = None,
    threads: Sequence[int] = (1,),
    delegates: Sequence[str] = (),
    queue: int | None = None,
    runtime: str = "auto",
    kernels: str = "default",
    data: Any = None,
    samples: int = 100,
    plan: BenchPlan | None = None,
    keep: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> PipelineReport:
    """Run parts of a model side by side on a device, each in a process of its own, and time them against the whole.

    Args:
        parts: Paths of the parts, in their order.
        against: The whole model, run in turns with the pipeline, with as many threads as all parts together; whether
            the results are equal bit for bit is part of the report.
        device: "local", a name of the inventory, or a `edgeopt.devices.Device`, which stays open.
        inventory: The inventory's file; None looks for the project's and the user's.
        threads: Threads of one inference, for each part, or one number for all of them.
        delegates: As `edgeopt.api.bench.bench` takes one: one for all parts, one for each, or one more, which is the
            whole's; without that the whole runs on the CPU.
        queue: Slots between two parts, at least 1 (default 2).
        runtime: "ai_edge_litert", "tflite_runtime", or "auto".
        kernels: "default", "builtin" or "reference".
        data: Samples by the names of the whole, or of the parts that read them; None: noise.
        samples: How many of them to run, at least 1.
        plan: When the timing ends (default: as `BenchPlan` says).
        keep: Leave the run's folder on the device until its next run (default: no).
        on_progress: Called with every sign of life of the device.

    Raises:
        UsageError: A bad option; `FileFormatError` for a corrupt file.
        DeviceError: The device failed, or a part died, which is named.

    Example:
        >>> report = bench_pipeline(["m_segment_0_of_2.tflite", "m_segment_1_of_2.tflite"], against="m.tflite")
        >>> report.throughput.ratio, report.latency.ratio, report.different
    """
    from ..devices import BenchPlan, RunOptions

    members = _members(parts, threads, list(delegates))
    whole = None if against is None else _whole(against, members, list(delegates))
    options = RunOptions(runtime=runtime, kernels=kernels, keep=keep, bench=plan or BenchPlan())
    inputs = None if data is None else _inputs(parts, data, samples)
    with open_device(device, inventory) as target:
        return target.pipeline(members, inputs, against=whole, queue=queue, options=options, on_progress=on_progress)


def _members(paths: Sequence[PathLike], threads: Sequence[int], delegates: Sequence[str]) -> list[PipelinePart]:
    count = len(paths)
    if len(threads) not in (1, count):
        raise UsageError(f"Received {len(threads)} numbers of threads for {count} parts, expected 1 or {count}.")
    if len(delegates) not in (0, 1, count, count + 1):
        raise UsageError(
            f"Received {len(delegates)} delegates for {count} parts, expected 1, {count}, or one more for the whole."
        )
    each = list(threads) * count if len(threads) == 1 else list(threads)
    given = [None] * count if not delegates else list(delegates) * count if len(delegates) == 1 else list(delegates)
    return [
        _part(path, name, own, delegate)
        for path, name, own, delegate in zip(paths, _names(paths), each, given[:count], strict=True)
    ]


def _whole(path: PathLike, members: Sequence[PipelinePart], delegates: Sequence[str]) -> PipelinePart:
    own = delegates[-1] if len(delegates) == len(members) + 1 else None
    return _part(path, os.path.basename(os.fspath(path)), sum(member.threads for member in members), own)


def _part(path: PathLike, name: str, threads: int, delegate: str | None) -> PipelinePart:
    from ..devices import PipelinePart

    file = read_tflite(path)
    return PipelinePart(name, file.data, threads, delegate, minimum_runtime(file.model))


def _names(paths: Sequence[PathLike]) -> list[str]:
    """Return what messages call the files: their names, or their paths where two have one name."""
    names = [os.path.basename(os.fspath(path)) for path in paths]
    return names if len(set(names)) == len(names) else [os.fspath(path) for path in paths]


def _inputs(paths: Sequence[PathLike], data: Any, samples: int) -> dict[str, Any]:
    import numpy as np

    from ..data.dataset import load_dataset
    from ..devices.pipeline import outside_inputs

    specs = outside_inputs([read_tflite(path).data for path in paths])
    dataset = load_dataset(data)
    chosen = dataset.take(np.arange(min(samples, dataset.count)))
    return dict(chosen.bind([spec.name for spec in specs], [spec.signature for spec in specs]))
