"""Say of each operator what it costs as int8, and what would help it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..devices.agent.arith import real_range
from ..evaluation.fidelity import snr_db
from ..evaluation.sensitivity import REPAIR, MetricEffect, MetricValues, OperatorSensitivity, SensitivityReport
from ..flatbuffer import read_model
from ..flatbuffer.model import Model, Operator, Tensor
from .cause import masked_scales
from .outputs import file_tensors
from .remedies import WEIGHTED, Found, advise, outlier_ratio
from .rewrite import put_names
from .scored import Scored
from .trials import Tell, Trials


def sensitivity(trials: Trials, layers: Sequence[str], tell: Tell, scored: Scored | None = None) -> SensitivityReport:
    """Return what each operator of an int8 file costs, what is to be repaired and then the worst first.

    Args:
        trials: The file, and what makes others like it.
        layers: Names of the model's layers.
        tell: Told how far it is.
        scored: Samples with labels, and the metric.
    """
    whole = trials.fidelity_of(trials.file)
    inside = _Inside(trials)
    rows, count = [], len(trials.operators)
    for number, operator in enumerate(trials.operators):
        tell("sensitivity", number, count)
        rows.append(_row(trials, operator, layers, inside, scored))
    noise = sum(_power(row.only_int8_db) for row in rows) or 1.0
    rows = [replace(row, noise_share=_power(row.only_int8_db) / noise) for row in rows]
    rows = [
        replace(row, **advise(row, inside.found(operator), trials.ranges)._asdict())
        for row, operator in zip(rows, trials.operators, strict=True)
    ]
    return SensitivityReport(
        snr_db=whole.snr_db,
        verdict=whole.verdict,
        samples=whole.samples,
        held_back=whole.held_back,
        ranges=trials.ranges,
        operators=tuple(sorted(rows, key=lambda row: (row.remedy != REPAIR, row.only_int8_db, row.index))),
        metric=None if scored is None else _values(trials, scored),
    )


def _power(decibels: float) -> float:
    return float(10 ** (-decibels / 10))


def _values(trials: Trials, scored: Scored) -> MetricValues:
    return MetricValues(
        scored.metric.name,
        scored.metric.higher_is_better,
        scored.of(trials.reference.float_file),
        scored.of(put_names(trials.file, *trials.names)),
        scored.count,
    )


def _row(
    trials: Trials, operator: Operator, layers: Sequence[str], inside: _Inside, scored: Scored | None
) -> OperatorSensitivity:
    tensor = trials.result(operator)
    alone = trials.alone(operator)
    floating = trials.with_float([operator])
    effect = None
    if scored is not None:
        files = floating, trials.file_alone(operator)
        effect = MetricEffect(*(scored.of(put_names(file, *trials.names)) for file in files))
    values = trials.float_results[tensor.name]
    return OperatorSensitivity(
        op=operator.name,
        index=operator.index,
        layer=trials.layer(operator, layers),
        tensor=tensor.name,
        macs_share=trials.macs_share[operator.index],
        noise_share=0.0,
        snr_db=inside.snr_db(operator),
        here_db=alone.here_db,
        only_int8_db=alone.snr_db,
        only_float_db=trials.fidelity_of(floating).snr_db,
        low=float(values.min(initial=0.0)),
        high=float(values.max(initial=0.0)),
        outliers=outlier_ratio(values),
        saturated=inside.saturated(operator),
        metric=effect,
    )


class _Inside:
    """The results inside of the int8 file beside those of the float file."""

    def __init__(self, trials: Trials) -> None:
        self._trials = trials
        file = put_names(trials.file, *trials.names)
        self._model: Model = read_model(file)
        graph = self._model.main
        computed = {index for operator in graph.operators for index in operator.outputs if index >= 0}
        by_name: dict[str, list[Tensor]] = {}
        for index in sorted(computed):
            by_name.setdefault(graph.tensors[index].name, []).append(graph.tensors[index])
        outputs = dict(zip(trials.outputs, graph.outputs, strict=True))
        self._tensors: dict[int, Tensor] = {}
        for operator in trials.operators:
            same = by_name.get(trials.result(operator).name, [])
            if operator.outputs[0] in outputs:
                same = [graph.tensors[outputs[operator.outputs[0]]]]
            if len(same) == 1:
                self._tensors[operator.index] = same[0]
        found = file_tensors(file, list(self._tensors.values()), trials.some_samples)
        self._values = {index: found[tensor.index] for index, tensor in self._tensors.items()}
        self._masked = {item.tensor.name: item for item in masked_scales(self._model)}

    def snr_db(self, operator: Operator) -> float | None:
        """Return the ratio of an operator's result in the int8 file."""
        if operator.index not in self._values:
            return None
        return snr_db(self._trials.float_results[self._trials.result(operator).name], self._values[operator.index])

    def saturated(self, operator: Operator) -> float:
        """Return the share of the float values that the result's int8 range does not hold."""
        tensor = self._tensors.get(operator.index)
        if tensor is None or tensor.quantization is None:
            return 0.0
        scale, zero = float(tensor.quantization.scales[0]), int(tensor.quantization.zero_points[0])
        low, high = real_range(scale, zero, tensor.dtype)
        values = self._trials.float_results[self._trials.result(operator).name]
        return float(np.mean((values < low - scale) | (values > high + scale))) if values.size else 0.0

    def found(self, operator: Operator) -> Found:
        """Return what the remedies are chosen by."""
        trials = self._trials
        graph, results, given = trials.graph, trials.float_results, trials.given
        makers = {index: maker for maker in graph.operators for index in maker.outputs}
        read = [index for index in operator.inputs if index in given or graph.tensors[index].name in results]
        masked = self._masked.get(trials.result(operator).name)
        return Found(
            result=results[trials.result(operator).name],
            inputs=[given[index] if index in given else results[graph.tensors[index].name] for index in read],
            weighted=[index in makers and makers[index].name in WEIGHTED for index in read],
            mask=None if masked is None else masked.constant,
        )
