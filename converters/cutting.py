"""Cut a .tflite file into parts that run one after the other: a pipeline for several cores, processes or chips.

The cuts lie between operators. A part's inputs and outputs keep the tensors' names, by which one part's result finds
the part that reads it; what the model itself reads and writes keeps the names of its signature, too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ..errors import ModelError, UsageError, nearest
from ..flatbuffer import Model, Operator, read_model
from ..flatbuffer.macs import operator_macs
from ..flatbuffer.specs import input_specs, output_specs
from .piece import piece
from .rewrite import unpacked

# What can be handed over as an array; a handle or a string cannot.
_HANDED_OVER = frozenset({"int8", "uint8", "int16", "int32", "int64", "float16", "float32", "bool"})
_SHARED_STATE = frozenset({"VAR_HANDLE", "ASSIGN_VARIABLE", "READ_VARIABLE"})
# A part may be so much dearer than in the best cut, where less goes from part to part for it.
_SLACK = 1.02


@dataclass(frozen=True)
class Part:
    """One part of a model.

    Attributes:
        model: The bytes of its .tflite file.
        operators: The first of the whole's operators that it runs, and the first that it does not.
        macs: Its multiply-accumulates.
        handed_over_bytes: What goes on to the parts behind it, in bytes a sample, what it only passes on included.
    """

    model: bytes = field(repr=False)
    operators: tuple[int, int]
    macs: int
    handed_over_bytes: int


def cut(data: bytes, parts: int = 2, at: Sequence[str] = ()) -> tuple[Part, ...]:
    """Cut a model into `parts` parts of about equal work, or behind the operators that write the tensors `at`.

    Work is counted in multiply-accumulates, and the elements that operators write. Among cuts whose dearest part is
    within 2 % of the best, the one is taken that hands over the fewest bytes.

    Args:
        data: A .tflite file of one graph.
        parts: How many, at least 2; not looked at where `at` names tensors.
        at: Tensor names, in any order.

    Raises:
        FileFormatError: `data` is corrupt.
        ModelError: The file has several graphs, shares a state between operators, or has not so many places to cut.
        UsageError: `parts` is below 2, or a name of `at` is no place to cut at.
    """
    if parts < 2 and not at:
        raise UsageError(f"parts is {parts}; expected at least 2.")
    model = read_model(data)
    bars = sorted(_SHARED_STATE & {operator.name for operator in model.main.operators})
    if len(model.subgraphs) > 1 or bars:
        why = f"keeps a state that operators share ({bars[0]})" if bars else f"has {len(model.subgraphs)} graphs"
        raise ModelError(f"The model {why}, and only one graph without such can be cut; run it whole.")
    places = _Places(model)
    ends = places.named(at) if at else places.balanced(parts)
    return _parts(data, model, places, [0, *ends, len(model.main.operators)])


class _Places:
    """The places between operators: place k is in front of operator k."""

    def __init__(self, model: Model) -> None:
        self._graph = graph = model.main
        self._written = {int(t): operator.index for operator in graph.operators for t in operator.outputs}
        self._written |= dict.fromkeys(graph.inputs, -1)
        self._last_use = dict.fromkeys(graph.outputs, len(graph.operators))
        for operator in reversed(graph.operators):
            for tensor in operator.inputs:
                if tensor >= 0 and graph.tensors[tensor].is_variable:  # a state is never handed over
                    self._written[tensor] = min(operator.index, self._written.get(tensor, operator.index))
                self._last_use.setdefault(tensor, operator.index)
        names = Counter(graph.tensors[index].name for index in self._written)
        self._clear = {
            index: names[tensor.name] == 1
            and bool(tensor.name)
            and tensor.dtype in _HANDED_OVER
            and not tensor.is_variable
            and 0 not in tensor.shape
            for index, tensor in ((index, graph.tensors[index]) for index in self._written)
        }

    def crossing(self, place: int) -> list[int]:
        """Return the tensors that are written before a place and read, or given to the caller, behind it."""
        return [t for t, writer in self._written.items() if writer < place <= self._last_use.get(t, -1)]

    def may_cut(self, place: int) -> bool:
        """Whether all that crosses can be handed over by its name."""
        return all(self._clear[tensor] for tensor in self.crossing(place))

    def crossing_bytes(self, place: int) -> int:
        """Return the bytes that cross."""
        return sum(self._graph.tensors[tensor].nbytes for tensor in self.crossing(place))

    def named(self, names: Sequence[str]) -> list[int]:
        """Return the places behind the operators that write tensors of these names.

        Raises:
            UsageError: There is none of a name, or the model cannot be cut there.
        """
        writers = {self._graph.tensors[t].name: at + 1 for t, at in self._written.items()}
        found = set()
        for name in names:
            if name not in writers:
                raise UsageError(f"No operator writes a tensor {name!r}{nearest(name, list(writers))}")
            place = writers[name]
            if not 0 < place < len(self._graph.operators) or not self.may_cut(place):
                raise UsageError(f"The model cannot be cut behind {name!r}; name another tensor, or a number of parts.")
            found.add(place)
        return sorted(found)

    def balanced(self, parts: int) -> list[int]:
        """Return the places that make so many parts of about equal work.

        Raises:
            ModelError: There are not so many places.
        """
        places = [0, *filter(self.may_cut, range(1, len(self._graph.operators))), len(self._graph.operators)]
        if len(places) <= parts:
            most = max(1, len(places) - 1)
            raise ModelError(f"The model cannot be cut into {parts} parts, but into {most} at most; ask for fewer.")
        work = [0]
        for operator in self._graph.operators:
            work.append(work[-1] + self._work(operator))
        spans = [work[place] for place in places]
        least = _best_cut(spans, [0] * len(places), parts, math.inf)
        limit = _SLACK * max(spans[b] - spans[a] for a, b in pairwise(least))
        chosen = _best_cut(spans, [self.crossing_bytes(place) for place in places], parts, limit)
        return [places[index] for index in chosen[1:-1]]

    def _work(self, operator: Operator) -> int:
        written = sum(self._graph.tensors[tensor].elements for tensor in operator.outputs)
        return (operator_macs(self._graph, operator) or 0) + written


def _best_cut(spans: Sequence[int], prices: Sequence[int], parts: int, limit: float) -> list[int]:
    """Return the indices, ends included, that cut `spans` (sums of work so far) into `parts` parts.

    Without a limit the dearest part is as cheap as can be; with one, no part exceeds it, and the prices of the places
    sum to the least. Dynamic programming over the number of parts and the place of the last cut.
    """
    last = len(spans) - 1
    best: list[tuple[float, list[int]]] = [(0.0, [0])] + [(math.inf, [])] * last
    for _ in range(parts):
        step: list[tuple[float, list[int]]] = [(math.inf, [])] * (last + 1)
        for end in range(1, last + 1):
            for start in range(end):
                work = spans[end] - spans[start]
                if best[start][0] == math.inf or work > limit:
                    continue
                cost = max(best[start][0], work) if limit == math.inf else best[start][0] + prices[end]
                if cost < step[end][0]:
                    step[end] = cost, [*best[start][1], end]
        best = step
    return best[last][1]


def _parts(data: bytes, model: Model, places: _Places, ends: Sequence[int]) -> tuple[Part, ...]:
    tree, graph = unpacked(data), model.main
    names = {tensor.index: tensor.name for tensor in graph.tensors}
    names |= {spec.index: spec.name for spec in (*output_specs(model), *input_specs(model))}
    found = []
    for start, end in pairwise(ends):
        inside = graph.operators[start:end]
        made = [t for operator in inside for t in operator.outputs]
        read = dict.fromkeys(t for operator in inside for t in operator.inputs if t >= 0)
        given = [t for t in (*graph.inputs, *places.crossing(start)) if t in read]
        behind = graph.outputs if end == len(graph.operators) else (*places.crossing(end), *graph.outputs)
        wanted = [t for t in dict.fromkeys(behind) if t in made]
        part = piece(tree, tree.subgraphs[0].operators[start:end], list(dict.fromkeys(given)), wanted, names)
        macs = sum(operator_macs(graph, operator) or 0 for operator in inside)
        over = 0 if end == len(graph.operators) else places.crossing_bytes(end)
        found.append(Part(part, (start, end), macs, over))
    return tuple(found)
