"""The files that one calibrated float file gives with some operators left float, each held against the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..data.dataset import Array
from ..evaluation.fidelity import Fidelity, snr_db
from ..flatbuffer import read_model
from ..flatbuffer.layer_names import layers_of
from ..flatbuffer.macs import operator_macs
from ..flatbuffer.model import Operator, Subgraph, Tensor
from ..flatbuffer.tap import with_outputs
from .outputs import file_tensors
from .quantise import Quantise
from .range_choice import MINMAX, Names
from .reference import Reference
from .requantise import COPYING
from .rewrite import put_names

# Called while many files are tried: what is done, how many of them are, and of how many.
Tell = Callable[[str, int, int], None]

_VALUES = 1 << 25  # kept of all results together
_ROWS = (4, 50)
_STATES = 24  # inputs of an LSTM, whose variables stay as the converter made them
_WHOLE = frozenset({"CALL", "CALL_ONCE", "IF", "WHILE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})


@dataclass(frozen=True)
class Alone:
    """What it does that one operator is int8, and nothing else is.

    Attributes:
        snr_db: Signal to noise of the worst output.
        here_db: That of the operator's own result; None where it cannot be told.
    """

    snr_db: float
    here_db: float | None


@dataclass
class Trials:
    """Quantises an annotated float file again and again, and knows what came of it.

    Attributes:
        annotated: The float file with its ranges.
        quantise: See `Quantise`.
        names: Of the model's inputs and of its outputs.
        reference: What the files are held against.
        file: What `quantise` made, with the operators of the edges float.
        changes: What the quantiser is told because of these.
        ranges: By which method the ranges were found.
        folded: Whether a picture's normalisation was folded into the float file.
    """

    annotated: bytes = field(repr=False)
    quantise: Quantise
    names: Names
    reference: Reference
    file: bytes = field(repr=False)
    changes: Mapping[str, Any] = field(default_factory=dict)
    ranges: str = MINMAX
    folded: bool = False

    def __post_init__(self) -> None:
        self.graph = read_model(self.annotated).main
        # As the quantiser knows them: by the full names of what they give.
        self._edges: set[str] = set(self.changes.get("denylisted_nodes", ()))
        self._alone: dict[int, Alone] = {}

    @cached_property
    def operators(self) -> list[Operator]:
        """Those that can be float or int8 by themselves: what only moves values has no say."""
        names = Counter(tensor.name for tensor in self.graph.tensors)
        return [
            operator
            for operator in self.graph.operators
            if _may_be_float(operator)
            and operator.name not in COPYING
            and (tensor := self.result(operator)).dtype == "float32"
            and tensor.elements
            and names[tensor.name] == 1
            and tensor.name not in self._edges
        ]

    def result(self, operator: Operator) -> Tensor:
        """Return what an operator gives."""
        return self.graph.tensors[operator.outputs[0]]

    @cached_property
    def float_file(self) -> bytes:
        """The float file with the model's names, as it was calibrated."""
        return put_names(self.annotated, *self.names)

    @cached_property
    def _named(self) -> Subgraph:
        return read_model(self.float_file).main

    @property
    def outputs(self) -> tuple[int, ...]:
        """Indices of the output tensors, in the model's order."""
        return self._named.outputs

    @property
    def given(self) -> dict[int, Array]:
        """Index of an input tensor -> its values in `some_samples`."""
        return {index: self.some_samples[self._named.tensors[index].name] for index in self._named.inputs}

    def layer(self, operator: Operator, layers: Sequence[str]) -> str:
        """Return which of the model's layers an operator comes from; "" where its name does not tell."""
        index = operator.outputs[0]
        outputs = dict(zip(self.outputs, self.names[1], strict=True))
        known = layers_of(self.graph.tensors[index].name, layers) or layers_of(outputs.get(index, ""), layers)
        return known[-1] if known else ""

    @cached_property
    def macs_share(self) -> dict[int, float]:
        """Index of an operator -> its share of all multiply-accumulates, in [0, 1]."""
        return _shares({operator.index: operator_macs(self.graph, operator) or 0 for operator in self.graph.operators})

    @cached_property
    def bytes_share(self) -> dict[int, float]:
        """Index of an operator -> its share of the bytes of all constants that operators read, in [0, 1]."""
        constants = [tensor.nbytes if tensor.is_constant else 0 for tensor in self.graph.tensors]
        return _shares(
            {item.index: sum(constants[index] for index in item.inputs if index >= 0) for item in self.graph.operators}
        )

    def kept_float(self, operators: Collection[Operator]) -> set[str]:
        """Return the names of what is float when these operators are: with what only moves values between them."""
        floats = {index for operator in operators for index in operator.outputs}
        given = {index for operator in operators for index in operator.inputs}
        found = {self.result(operator).name for operator in operators}
        for mover in self.graph.operators:
            if mover.name in COPYING and mover.inputs[0] in floats and self._leads_to(mover, given):
                floats.update(mover.outputs)
                found.add(self.result(mover).name)
        return found

    def with_float(self, operators: Collection[Operator]) -> bytes:
        """Return the file in which these operators are float, besides the edges, and all others int8."""
        if not operators:
            return self.file
        return self.quantise(
            self.annotated, **{**self.changes, "denylisted_nodes": self._edges | self.kept_float(operators)}
        )

    def fidelity_of(self, file: bytes) -> Fidelity:
        """Return how near a file's outputs are to the model's."""
        return self.reference.fidelity_of(put_names(file, *self.names))

    def alone(self, operator: Operator) -> Alone:
        """Return what it does that only this operator is int8; inputs and outputs of the file are float then."""
        if operator.index not in self._alone:
            self._alone[operator.index] = self._tried_alone(operator)
        return self._alone[operator.index]

    def file_alone(self, operator: Operator) -> bytes:
        """Return the file in which only this operator is int8: all others, the inputs and outputs are float."""
        import tensorflow as tf

        others = {self.result(other).name for other in self.graph.operators if _may_be_float(other)}
        return self.quantise(
            self.annotated,
            denylisted_nodes=others - {self.result(operator).name},
            input_data_type=tf.float32,
            output_data_type=tf.float32,
        )

    def _tried_alone(self, operator: Operator) -> Alone:
        name = self.result(operator).name
        made = put_names(self.file_alone(operator), *self.names)
        graph = read_model(made).main
        outputs = [graph.tensors[index] for index in graph.outputs]
        inside = [tensor for tensor in graph.tensors if tensor.name == name and tensor.quantization is not None]
        tapped = with_outputs(made, [tensor.index for tensor in (*outputs, *inside)])
        found = file_tensors(tapped, [*outputs, *inside], self.reference.samples, inside=False)
        expected = self.reference.expected
        ratios = [
            snr_db(expected[key], found[tensor.index][: len(expected[key])])
            for key, tensor in zip(self.names[1], outputs, strict=True)
        ]
        here = self.float_results.get(name)
        if here is None or not inside:
            return Alone(min(ratios), min(ratios) if operator.outputs[0] in self.outputs else None)
        return Alone(min(ratios), snr_db(here, found[inside[0].index][: len(here)]))

    @cached_property
    def rows(self) -> int:
        """On how many samples, the first of those that judge, results inside are compared."""
        values = sum(self.result(operator).elements for operator in self.operators)
        count = len(next(iter(self.reference.samples.values())))
        low, high = _ROWS
        return min(count, high, max(low, _VALUES // max(1, values)))

    @property
    def some_samples(self) -> dict[str, Array]:
        """The samples that results inside are compared on."""
        return {name: np.asarray(array[: self.rows]) for name, array in self.reference.samples.items()}

    @cached_property
    def float_results(self) -> dict[str, Array]:
        """Name of a result -> its values in the float file, on `some_samples`."""
        tensors = [self.result(operator) for operator in self.operators]
        found = file_tensors(self.float_file, tensors, self.some_samples)
        return {tensor.name: found[tensor.index] for tensor in tensors}

    def _leads_to(self, mover: Operator, wanted: Collection[int]) -> bool:
        """Say whether what is moved ends in one of the wanted tensors, perhaps after it is moved again."""
        reached = set(mover.outputs)
        for operator in self.graph.operators[mover.index + 1 :]:
            if operator.name in COPYING and operator.inputs[0] in reached:
                reached.update(operator.outputs)
        return not reached.isdisjoint(wanted)


def _shares(counts: Mapping[int, int]) -> dict[int, float]:
    return {index: count / max(1, sum(counts.values())) for index, count in counts.items()}


def _may_be_float(operator: Operator) -> bool:
    return (
        not operator.custom
        and operator.name not in _WHOLE
        and len(operator.inputs) < _STATES
        and bool(operator.outputs)
        and operator.outputs[0] >= 0
    )
