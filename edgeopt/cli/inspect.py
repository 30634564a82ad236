"""``edgeopt inspect``: show what is inside a .tflite file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .output import add_row, console, json_option, next_step, readable_bytes, wants_text
from .paths import FILE, path_argument

if TYPE_CHECKING:
    from rich.table import Table

    from ..api.inspect import Inspection

Shape = Sequence[int]

_LONGEST_NAME = 40
_MOST_ROWS = 2000


@click.command("inspect")
@path_argument("file", FILE, metavar="FILE.tflite")
@click.option("--tensors", is_flag=True, help="Also list every tensor with its quantisation.")
@json_option
def command(file: str, tensors: bool, json_path: str | None) -> None:
    """Show what is inside a .tflite file: operators, tensors, quantisation, sizes, MACs, memory.

    Works on any .tflite file and needs no TensorFlow.
    """
    from ..api.inspect import inspect

    found = inspect(file)
    if wants_text(found.to_dict, json_path):
        _print(found, tensors)
        if found.edgetpu:
            next_step("bench", file, "--device", "BOARD", "--delegate", "edgetpu")
        else:
            next_step("bench", file, why="how long it takes here; --device BOARD for there")


def _print(found: Inspection, tensors: bool) -> None:
    from ..flatbuffer import describe

    out = console()
    for table in (_summary(found), _ends(found), _operators(describe.operator_rows(found.model))):
        out.print(table)
    if tensors:
        out.print(_tensors(describe.tensor_rows(found.model)))
    for table in (
        _edgetpu(found),
        _signatures(describe.signature_rows(found.model)),
        _metadata(describe.metadata_rows(found.model)),
    ):
        if table.row_count:
            out.print(table)


def _summary(found: Inspection) -> Table:
    """Return the totals, one a line."""
    memory, model = found.memory, found.model
    custom = {operator.name for graph in model.subgraphs for operator in graph.operators if operator.custom_options}
    table = _table(found.file or "model", "", "")
    lines = {
        "size": f"{readable_bytes(found.size_bytes)} ({found.size_bytes:,} B), gzip {readable_bytes(found.gzip_bytes)}",
        "parameters": _at_least(found.parameters, [name for name in found.macs_unknown if name in custom]),
        "MACs": _at_least(found.macs, list(found.macs_unknown)),
        "binary MACs": f"{found.binary_macs:,}" if found.binary_macs else "",
        "peak activation memory": _peak(found),
        "activation arena": "not planned" if memory.arena_bytes is None else readable_bytes(memory.arena_bytes),
        "state": readable_bytes(memory.variable_bytes) if memory.variable_bytes else "",
        "weights expanded at load": readable_bytes(memory.expanded_weight_bytes)
        if memory.expanded_weight_bytes
        else "",
        "fully int8": _int8(found),
        "dynamic dimensions": _some([str(item) for item in found.dynamic_dimensions]),
        "weight scales": ", ".join(f"{name} {kind}" for name, kind in found.granularity.items()),
        "fewer than 8 bits": "; ".join(map(str, found.low_bits)),
        "operators": ", ".join(f"{count} {name}" for name, count in found.ops.items()),
        "subgraphs": str(len(model.subgraphs)) if len(model.subgraphs) > 1 else "",
        "description": model.description,
    }
    for name, value in lines.items():
        if value:
            add_row(table, name, value)
    return table


def _at_least(count: int, unknown: list[str]) -> str:
    """Return a count, as a lower bound where some operators do not tell theirs."""
    return f"at least {count:,} (unknown: {_some(unknown)})" if unknown else f"{count:,}"


def _peak(found: Inspection) -> str:
    memory = found.memory
    live = _some([f"{_shorten(tensor.name)} {readable_bytes(tensor.nbytes)}" for tensor in memory.live], limit=4)
    at = "" if memory.peak_operator is None else f" at operator {memory.peak_operator}"
    called = f", called subgraphs {readable_bytes(memory.called_bytes)}" if memory.called_bytes else ""
    return f"{readable_bytes(memory.peak_bytes)}{at}: {live or 'no activations'}{called}"


def _int8(found: Inspection) -> str:
    if found.fully_int8:
        return "yes"
    ops = [f"{item.op} (operator {item.index})" for item in found.float_ops]
    return f"no, {_some(ops)} on float tensors" if ops else "no"


def _ends(found: Inspection) -> Table:
    table = _table("inputs and outputs", "", "name", "dtype", "shape", "scale", "zero point")
    for kind, specs in (("input", found.inputs), ("output", found.outputs)):
        for spec in specs:
            scale = "" if spec.scale is None else f"{spec.scale:.9g}"
            point = "" if spec.zero_point is None else str(spec.zero_point)
            add_row(table, kind, _shorten(spec.name), spec.dtype, _shape(spec.shape, spec.signature), scale, point)
    return table


def _edgetpu(found: Inspection) -> Table:
    """Return what a file compiled for the Edge TPU holds for the chip; no rows for other files."""
    table = _table("for the Edge TPU", "", "")
    for package in found.edgetpu:
        runtime = f"runtime {package.minimum_runtime} or newer"
        add_row(table, f"operator {package.operator}", f"chip {package.chip}, {runtime}")
        compiler = package.compiler_version or "not stated"
        parameters = f"{readable_bytes(package.cached_bytes)} cached, {readable_bytes(package.streamed_bytes)} streamed"
        add_row(table, "parameters", parameters)
        add_row(table, "compiler", compiler)
        for part in package.executables:
            memory = (
                f"{readable_bytes(part.narrow_memory_bytes)} activations a tile" if part.narrow_memory_bytes else ""
            )
            cycles = f"{part.estimated_cycles:,} cycles estimated" if part.estimated_cycles else ""
            facts = [f"token {part.caching_token:016x}" if part.caching_token else "", memory, cycles]
            add_row(table, part.kind, ", ".join([readable_bytes(part.size_bytes), *filter(None, facts)]))
    if found.edgetpu:
        left = {name: count for name, count in found.ops.items() if name != "edgetpu-custom-op"}
        add_row(table, "on the CPU", ", ".join(f"{count} {name}" for name, count in left.items()) or "nothing")
    return table


def _operators(rows: list[dict[str, Any]]) -> Table:
    table = _table("operators", "index", "operator", "v", "inputs", "outputs", "MACs", "weights")
    for row in _shown(rows, table):
        index = str(row["index"]) if not row["subgraph"] else f"{row['subgraph']}:{row['index']}"
        macs = "?" if row["macs"] is None else f"{row['macs']:,}" if row["macs"] else ""
        weights = readable_bytes(row["weight_bytes"]) if row["weight_bytes"] else ""
        ends = (_operands(row["inputs"]), _operands(row["outputs"]))
        add_row(table, index, _shorten(row["op"]), str(row["version"]), *ends, macs, weights)
    return table


def _operands(operands: list[dict[str, Any] | None]) -> str:
    """Return the computed operands of an operator (its constants show as weights), or all if it has no others."""
    given = [operand for operand in operands if operand is not None]
    computed = [operand for operand in given if not operand["constant"]] or given
    return _some([f"{operand['dtype']} {_shape(operand['shape'])}" for operand in computed], limit=4)


def _tensors(rows: list[dict[str, Any]]) -> Table:
    table = _table("tensors", "index", "name", "dtype", "shape", "bytes", "kind", "quantisation", "scale", "zero point")
    for row in _shown(rows, table):
        index = str(row["index"]) if not row["subgraph"] else f"{row['subgraph']}:{row['index']}"
        kinds = [kind for kind in ("constant", "variable", "sparse") if row[kind]]
        shape = _shape(row["shape"], row["signature"])
        head = (index, _shorten(row["name"]), row["dtype"], shape, f"{row['nbytes']:,}", " ".join(kinds))
        add_row(table, *head, *_quantization(row["quantization"]))
    return table


def _quantization(found: dict[str, Any] | None) -> tuple[str, str, str]:
    if found is None:
        return "", "", ""
    axis = "" if found["axis"] is None else f" ({found['scales']} on axis {found['axis']})"
    scale = _range(f"{float(found['scale_min']):.6g}", f"{float(found['scale_max']):.6g}")
    point = _range(str(found["zero_point_min"]), str(found["zero_point_max"]))
    return found["granularity"] + axis, scale, point


def _signatures(rows: list[dict[str, Any]]) -> Table:
    table = _table("signatures", "key", "subgraph", "inputs", "outputs")
    for row in _shown(rows, table):
        ends = [_some([f"{name} = tensor {i}" for name, i in row[end].items()]) for end in ("inputs", "outputs")]
        add_row(table, _shorten(row["key"]), str(row["subgraph"]), *ends)
    return table


def _metadata(rows: list[dict[str, Any]]) -> Table:
    table = _table("metadata", "name", "bytes", "text")
    for row in _shown(rows, table):
        add_row(table, _shorten(row["name"]), f"{row['size_bytes']:,}", _shorten(row["text"] or ""))
    return table


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, show_header=any(columns))
    table.pad_edge, table.collapse_padding = False, True
    for column in columns:
        right = column in ("MACs", "bytes", "index", "v", "weights")
        whole = right or column in ("dtype", "operator", "kind")
        table.add_column(column, justify="right" if right else "left", no_wrap=whole, overflow="fold")
    return table


def _some(items: list[str], limit: int = 3) -> str:
    """Return the first `limit` items and how many more there are."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def _shape(shape: Shape, signature: Shape | None = None) -> str:
    """Return a shape, and beside it the signature where that has other dimensions."""
    text = "[" + ",".join(map(str, shape)) + "]"
    return text if signature in (None, shape) else f"{text} (signature {_shape(signature)})"


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _shorten(name: str) -> str:
    """Return a name with its middle cut out when it is long (the names of fused operators run to hundreds)."""
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"


def _shown(rows: list[dict[str, Any]], table: Table) -> list[dict[str, Any]]:
    """Return the rows to show, after saying under the table how many are left out."""
    if len(rows) > _MOST_ROWS:
        table.caption = f"{len(rows) - _MOST_ROWS:,} more: --json lists all"
    return rows[:_MOST_ROWS]
