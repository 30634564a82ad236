"""The operators of a SavedModel: those that touch files, processes or Python are refused before it is loaded.

Loading a SavedModel runs parts of it (initialisers), so its functions are read here as data: all of them, called or
not. The savers that every SavedModel has are let through where the loader, and nothing else, comes to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...errors import FileFormatError, UnsafeModelError, one_line

# By what the name says, for the many versions of an operator.
_PATTERN = re.compile(
    "PyFunc|File|Reader|TFRecord|FixedLengthRecord|RecordInput|TextLine|LMDB|Sql|Snapshot.*Dataset|SnapshotChunk|"
    "DataService|Rpc|RemoteCall|SummaryWriter|SummaryFileWriter|SummaryDbWriter|Write.*Summary|DebugIdentity|DebugN|DumpTensor|CSVDataset|"
    "CacheDataset|SaveDataset|LoadDataset|Save|Restore|Checkpoint|CustomCall|XlaCallModule|HostCompute|TPUCompile$|"
    "TPUExecute"
)
_NAMES = frozenset(
    ("Abort", "Copy", "CopyHost", "DatasetFromGraph", "DecodeProtoV2", "DeserializeIterator", "EncodeProto",
     "GenerateVocabRemapping", "ImmutableConst", "ImportEvent", "LoadAndRemapMatrix", "MlirPassthroughOp",
     "RegisterDataset", "RegisterDatasetV2", "RewriteDataset", "TfLiteSubgraphExecute")
)  # fmt: skip
_WRITERS = frozenset(("MergeV2Checkpoints", "Save", "SaveSlices", "SaveV2", "ShardedFilename"))
_READERS = frozenset(("Restore", "RestoreSlice", "RestoreV2", "ShardedFilename"))

_Place = tuple[bool, str]  # whether it is a function (or a node of the graph itself), and its name


def is_dangerous(operator: str) -> bool:
    """Whether an operator touches files, other processes or Python, by its name.

    Example:
        >>> is_dangerous("WriteFile"), is_dangerous("Conv2D")
        (True, False)
    """
    return operator in _NAMES or _PATTERN.search(operator) is not None


def check_graphs(folder: Path) -> None:
    """Refuse a SavedModel that holds an operator which touches files, processes or Python.

    Raises:
        UnsafeModelError: It does.
        FileFormatError: It cannot be read.
    """
    import tensorflow as tf

    try:
        # The file that the loader takes, where there are several.
        model = tf.__internal__.saved_model.parse_saved_model(str(folder))
    except Exception as error:
        text = one_line(error, 300)
        raise FileFormatError(f"The SavedModel {folder} cannot be loaded ({text}); save it again.") from error
    for graph in model.meta_graphs:
        _Graph(graph).check(folder)


class _Graph:
    """The nodes and functions of one graph of a SavedModel, and which of them leads to which."""

    def __init__(self, meta: Any) -> None:
        self.meta = meta
        self.functions: dict[str, list[Any]] = {}
        for item in meta.graph_def.library.function:
            self.functions.setdefault(item.signature.name, []).extend(item.node_def)
        self.nodes = {node.name: node for node in meta.graph_def.node}

    def check(self, folder: Path) -> None:
        saver = self.meta.saver_def
        saving, restoring = self._behind(saver.save_tensor_name), self._behind(saver.restore_op_name)
        others = self._others(saving | restoring)
        for place in (*((False, name) for name in self.nodes), *((True, name) for name in self.functions)):
            allowed: frozenset[str] = frozenset()
            if place not in others:
                # The loader runs what restores, and never what saves.
                allowed = _READERS if place in restoring else _READERS | _WRITERS
            self._judge(folder, place, allowed)

    def _others(self, savers: set[_Place]) -> set[_Place]:
        """What something else than the savers leads to."""
        meta = self.meta
        tensors = [tensor.name for item in meta.signature_def.values() for tensor in item.outputs.values()]
        for name in ("saved_model_main_op", "legacy_init_op", "table_initializer"):
            tensors += meta.collection_def[name].node_list.value if name in meta.collection_def else ()
        starts = {place for tensor in tensors for place in self._behind(tensor)}
        graph = meta.object_graph_def
        starts |= {(True, name) for name in (*graph.concrete_functions, *self.functions) if (True, name) not in savers}
        starts |= {(True, name) for name in graph.concrete_functions}
        mine = [name for name in self.nodes if (False, name) not in savers]
        starts |= {(False, name) for name in mine}
        starts |= {(True, called) for name in mine for called in _calls(self.nodes[name])}
        return starts | self._reach([place for place in starts if place[0]])

    def _behind(self, tensor: str) -> set[_Place]:
        """The nodes that a tensor is computed by, and the functions that those call."""
        return self._reach([(False, _node_of(tensor))]) if tensor else set()

    def _reach(self, starts: Iterable[_Place]) -> set[_Place]:
        found: set[_Place] = set()
        left = list(starts)
        while left:
            place = left.pop()
            if place in found:
                continue
            found.add(place)
            for node in self._nodes_at(place):
                left.extend((True, name) for name in _calls(node))
                if not place[0]:
                    left.extend((False, _node_of(name)) for name in node.input)
        return found

    def _nodes_at(self, place: _Place) -> Iterable[Any]:
        is_function, name = place
        if is_function:
            return self.functions.get(name, ())
        return (self.nodes[name],) if name in self.nodes else ()

    def _judge(self, folder: Path, place: _Place, allowed: frozenset[str]) -> None:
        for node in self._nodes_at(place):
            if _prints_to_file(node) or (is_dangerous(node.op) and node.op not in allowed):
                where = f"in the function {place[1][:100]!r}" if place[0] else "in its graph"
                raise UnsafeModelError(
                    f"{folder} holds the operator {node.op[:100]!r} {where}, which touches files, other processes or "
                    "Python when the model is loaded or run; pass --unsafe-load if you trust it."
                )


def _node_of(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _calls(node: Any) -> list[str]:
    """The functions that a node calls."""
    names = [node.op]  # a function may stand as an operator
    for value in node.attr.values():
        names += [value.func.name] if value.HasField("func") else [item.name for item in value.list.func]
    return names


def _prints_to_file(node: Any) -> bool:
    return node.op == "PrintV2" and not re.fullmatch(rb"|stdout|stderr|log\((info|warning|error)\)", _stream(node))


def _stream(node: Any) -> bytes:
    return bytes(node.attr["output_stream"].s) if "output_stream" in node.attr else b""
