"""Make what tf2onnx leaves the same in every process, and give it the model's names.

tf2onnx numbers its nodes by a counter and walks over sets, so that names and order change with the process. Here nodes
are put into the order in which the outputs need them, constants are numbered in that order, and values keep the name of
a tensor of the .tflite file (which holds the layers that were fused) or are named after what they come from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ...errors import ConversionError


def tidied(proto: Any, names: tuple[Sequence[str], Sequence[str]], tensors: Collection[str]) -> Any:
    """Return `proto` (an ``onnx.ModelProto``) in an order, and under names, that only depend on what it computes.

    Args:
        proto: What tf2onnx made; it is changed.
        names: Of the inputs and of the outputs, in the order that they get.
        tensors: Names of the .tflite file's tensors.

    Raises:
        ConversionError: It has other inputs or outputs than `names` says.
    """
    graph = proto.graph
    for kind, items, wanted in (("input", graph.input, names[0]), ("output", graph.output, names[1])):
        _in_order(kind, items, wanted)
    constants = {item.name: item for item in graph.initializer}
    order = _in_order_of_need(graph)
    renamed = _new_names(order, constants, [*names[0], *names[1]], tensors)
    kept = []
    for name, item in constants.items():
        if name in renamed:
            item.name = renamed[name]
            kept.append(item)
    for node in order:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
        node.name = node.output[0]
        if not node.domain:
            node.ClearField("domain")  # "" may be written, or left out
        _replace(node.attribute, sorted(node.attribute, key=lambda item: str(item.name)))
    _replace(graph.initializer, sorted(kept, key=lambda item: int(item.name.rpartition("_")[2])))
    _replace(graph.node, order)
    del graph.value_info[:]
    graph.name, proto.producer_name, proto.producer_version, graph.doc_string = "model", "edgeopt", "", ""
    return proto


def _in_order(kind: str, items: Any, wanted: Sequence[str]) -> None:
    found = {item.name: item for item in items}
    if set(found) != set(wanted):
        raise ConversionError(
            f"tf2onnx gave the {kind}s {', '.join(sorted(found))} where the model has {', '.join(wanted)}; "
            "keep the .tflite file."
        )
    _replace(items, [found[name] for name in wanted])


def _replace(repeated: Any, items: Sequence[Any]) -> None:
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del repeated[:]
    repeated.extend(copies)


def _in_order_of_need(graph: Any) -> list[Any]:
    """Return the nodes, each behind those that it reads; branches in the order of inputs, from the first output on."""
    maker = {name: node for node in graph.node for name in node.output}
    order: list[Any] = []
    begun: set[str] = set()
    stack = [(item.name, False) for item in reversed(graph.output)]
    while stack:
        name, all_read = stack.pop()
        node = maker.get(name)
        if node is None:
            continue
        if all_read:
            order.append(node)
        elif node.output[0] not in begun:
            begun.add(node.output[0])
            stack.append((name, True))
            stack += [(read, False) for read in reversed(node.input)]
    return order


def _new_names(
    order: Sequence[Any], constants: Mapping[str, Any], ends: Sequence[str], tensors: Collection[str]
) -> dict[str, str]:
    renamed: dict[str, str] = {}
    taken = set(ends)
    numbered = 0
    for node in order:
        for name in node.input:
            if name in constants and name not in renamed:
                renamed[name] = f"constant_{numbered}"
                numbered += 1
        for name in node.output:
            if name in ends:
                continue
            # Of two equal constants or Dequantize nodes, chance says which one stays: they are named by what they read.
            named = name in tensors and node.op_type != "DequantizeLinear"
            source = renamed.get(node.input[0], node.input[0]) if node.input else "none"
            base = name if named else f"{source}/{node.op_type}"
            renamed[name] = next(
                word for n in range(len(taken) + 1) if (word := f"{base}.{n}" if n else base) not in taken
            )
            taken.add(renamed[name])
    return renamed
