"""A float tf_keras model becomes a QAT model: each layer the quantised layer that stands for it; imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import tf_keras

from ...errors import ModelError
from ...models.detect import Flavour
from ...models.graph.nodes import new_input
from ...models.graph.read import Graph, Step
from ...models.graph.rebuild import copy_layer
from ...models.graph.structure import Ref, flatten_structure, map_structure, refs_in
from ...models.graph.template import encode
from ...models.graph.tf_objects import KerasOperation
from ...models.graph.weights import settle
from ...training.context import Skipped
from . import attention, rules
from .activations import FUSED
from .choices import Choices, grid_of
from .kernels import bits_of
from .layers import QuantizedActivation, QuantizedLayer, QuantizedMerge, QuantizedTensor
from .neighbours import Neighbours
from .preparation import preparations
from .refusals import NoFileError, refuse_long_sequences, refuse_masks, why_no_file
from .report import QuantizedLayerReport, Reason
from .separable import split
from .weighted import QuantizedAffine, QuantizedWeights

__all__ = ["Choices", "Lowered", "lower"]

Weights = list[npt.NDArray[Any]]
_FLEXIBLE = frozenset({"training", "mask"})


@dataclass
class Lowered:
    """A QAT model and where everything went.

    Attributes:
        model: The tf_keras model.
        layers: What was quantised.
        skipped: What stays float.
        sources: Gives the trained weights of each layer of the float model, by its name.
    """

    model: Any = None
    layers: list[QuantizedLayerReport] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    sources: dict[str, Callable[[], Weights]] = field(default_factory=dict)


def lower(graph: Graph, choices: Choices) -> Lowered:
    """Return the QAT model of a flattened tf_keras model, with its weights.

    Args:
        graph: `read_native` of the model.
        choices: What the options say.

    Raises:
        ModelError: No layer can be quantised, or there is one that the conversion could not handle (`NoFileError` where
            TFLite lacks an operator).
    """
    lowered = _Lowering(graph, choices).run()
    if not lowered.layers:
        raise ModelError(
            f"Model {graph.name!r} has no layer that can be trained quantised: "
            f"{lowered.skipped[0].detail if lowered.skipped else 'it computes nothing'}."
        )
    return lowered


class _Lowering:
    """Walks the steps; a step may take in the BatchNormalization and the ReLU behind it."""

    def __init__(self, graph: Graph, choices: Choices) -> None:
        self.graph = graph
        self.choices = choices
        self.result = Lowered()
        self.tensors: dict[Ref, Any] = {}
        self.neighbours = Neighbours(graph, choices.skip)
        self.names = {step.name for step in graph.steps} | set(graph.input_names.values())
        self.absorbed: set[int] = set()
        self.ended: set[str] = set()
        self.made: dict[int, Callable[[Any], Any]] = {}
        self.after: list[Callable[[], None]] = []
        self.lacking: dict[str, str] = {}
        self.prepared = preparations(graph, self.neighbours, choices)
        self.folded = {id(step) for found in self.prepared.values() for step in found.steps}

    def run(self) -> Lowered:
        inputs = {
            ref: new_input(tf_keras, Flavour.TF_KERAS, ref.shape, ref.dtype, name)
            for ref, name in self.graph.input_names.items()
        }
        for ref, tensor in inputs.items():
            name = self._free(f"{self.graph.input_names[ref]}_quantized")
            self.tensors[ref] = QuantizedTensor(name=name)(tensor) if ref.is_float else tensor
        for step in self.graph.steps:
            if id(step) not in self.absorbed:
                self._step(step)
        if self.lacking:
            raise NoFileError(self.lacking)
        given = map_structure(inputs.__getitem__, self.graph.inputs)
        self.result.model = tf_keras.Model(given, self._resolve(self.graph.outputs), name=self.graph.name)
        for action in self.after:
            action()
        order = {step.name: index for index, step in enumerate(self.graph.steps)}
        self.result.layers.sort(key=lambda layer: order[layer.name])
        return self.result

    def _step(self, step: Step) -> None:
        end = step
        if id(step) in self.folded:
            outputs = self._folded(step)
        elif step.layer is None:
            outputs = self._operation(step)
        else:
            function = self.made.get(id(step.layer))
            if function is None:
                function, end = self._make(step)
                self.made[id(step.layer)] = function
            outputs = function(step)
        self.tensors.update(zip(end.outputs, flatten_structure(outputs), strict=True))

    def _folded(self, step: Step) -> Any:
        """A layer that one behind it computes: its values are passed on as they are."""
        self._note(step, type(step.layer).__name__)
        self._as_it_was(step)
        return self._resolve(refs_in(step.args)[0])

    def _as_it_was(self, step: Step) -> None:
        """Let a layer whose numbers are in another one's keep its weights."""
        if step.layer.weights:
            self.result.sources[step.name] = lambda: _arrays(step.layer)

    def _make(self, step: Step) -> tuple[Callable[[Step], Any], Step]:
        """Return what computes a step, and the last step that it computes."""
        layer, kind = step.layer, type(step.layer).__name__
        found: rules.Objection | None = ("in-skip-list", "named in skip") if step.name in self.choices.skip else None
        if found is None and kind == rules.ATTENTION:
            found = attention.objection(step)
        elif found is None and any(value is not None for key, value in step.kwargs.items() if key not in _FLEXIBLE):
            found = ("unknown layer", f"{kind} is called with {', '.join(step.kwargs)}")
        found = found or rules.objection(layer, [ref.shape for ref in refs_in(step.args)])
        if found is not None:
            return self._float(step, *found), step
        if kind in rules.PASSING:
            return self._plain(copy_layer(layer, step, {}), step), step
        if kind in rules.WEIGHTED:
            return self._weighted(step)
        if kind in rules.SEPARABLE:
            return self._separable(step)
        if kind == rules.ATTENTION:
            return self._attention(step), step
        self._note(step, kind)
        if kind in rules.AFFINE:
            return self._affine(step)
        if kind in rules.MERGES:
            return self._merge(step)
        name = rules.function_name(layer) if kind in rules.ACTIVATIONS else None
        if name is not None:
            return self._call(self._function(step, name)), step
        copied = copy_layer(layer, step, {})
        self._keep(step.name, copied, layer)
        return self._call(QuantizedLayer(copied, name=step.name)), step

    def _weighted(self, step: Step) -> tuple[Callable[[Step], Any], Step]:
        layer = step.layer
        copied = copy_layer(layer, step, {"activation": "linear"})
        return self._kernel(step, copied, _arrays(layer), type(layer).__name__)

    def _separable(self, step: Step) -> tuple[Callable[[Step], Any], Step]:
        layer = step.layer
        depthwise, pointwise = split(layer, step)
        kernel, *rest = _arrays(layer)
        grid, masked, clusters = grid_of(self.choices, depthwise, kernel, has_norm=False)
        first = QuantizedWeights(
            depthwise, grid=grid, masked=masked, clusters=clusters, name=self._free(f"{step.name}_depthwise")
        )
        self.after.append(lambda: _load(first, [kernel]))
        self._note(step, "depthwise part", grid, "", _words(masked, clusters))
        second, end = self._kernel(step, pointwise, rest, type(layer).__name__)
        pointwise_weights = self.result.sources.pop(step.name)
        self.result.sources[step.name] = lambda: [first.weight.numpy(), *pointwise_weights()]

        def both(called: Step) -> Any:
            middle = first(self._resolve(called.args)[0])
            return second(_Given((middle,)))

        return both, end

    def _attention(self, step: Step) -> Callable[[Step], Any]:
        layer, given = step.layer, attention.arguments(step)
        core = attention.QuantizedAttention(
            layer._num_heads,
            dropout=layer._dropout,
            causal=bool(given["use_causal_mask"]),
            name=self._free(f"{step.name}_scores"),
        )
        parts, trained = {}, []
        for part in attention.projections(layer, step):
            grid, masked, clusters = grid_of(self.choices, part.dense, part.weights[0], has_norm=False)
            parts[part.role] = quantized = QuantizedWeights(
                part.dense,
                grid=grid,
                masked=masked,
                clusters=clusters,
                gain=layer._key_dim**-0.5 if part.role == "query" else 1.0,
                bits=bits_of(part.dense, self.choices.weight_bits),
                name=step.name if part.role == "attention_output" else self._free(f"{step.name}_{part.role}"),
            )
            self.after.append(partial(_load, quantized, part.weights))
            trained.append((part, quantized))
            self._note(step, f"{part.role} part", grid, "", _words(masked, clusters))
        self.result.sources[step.name] = lambda: [
            weight
            for part, quantized in trained
            for weight in part.as_given(quantized.float_weights()[part.dense.name])
        ]

        def called(one: Step) -> Any:
            tensors = attention.arguments(one)
            projected = [parts[role](self._resolve(tensors[role])) for role in ("query", "key", "value")]
            return parts["attention_output"](core(projected))

        return called

    def _kernel(self, step: Step, copied: Any, weights: Weights, kind: str) -> tuple[Callable[[Any], Any], Step]:
        """A convolution or Dense layer with what can be taken in behind it."""
        function = rules.function_name(step.layer)
        norm_step = self.neighbours.norm_behind(step) if function == "linear" else None
        norm = frozen = None
        end = step
        if norm_step is not None:
            self.absorbed.add(id(norm_step))
            norm, end = copy_layer(norm_step.layer, norm_step, {}), norm_step
            frozen = not norm_step.trainable or norm_step.kwargs.get("training") is False
        if function == "linear":
            function, end = self._relu_behind(end)
        grid, masked, clusters = grid_of(self.choices, copied, weights[0], has_norm=norm is not None)
        split_off = function not in FUSED
        quantized = QuantizedWeights(
            copied,
            norm=norm,
            norm_frozen=bool(frozen),
            grid=grid,
            masked=masked,
            clusters=clusters,
            before=None if (found := self.prepared.get(id(step))) is None else (found.scale, found.offset),
            bits=bits_of(copied, self.choices.weight_bits),
            activation="linear" if split_off else str(function),
            name=self._free(f"{end.name}_linear") if split_off else end.name,
        )
        norm_weights = None if norm_step is None else _arrays(norm_step.layer)
        self.after.append(lambda: _load(quantized, weights, norm_weights))
        self.result.sources[step.name] = lambda: quantized.float_weights()[copied.name]
        if norm_step is not None:
            norm_name = norm_step.name
            self.result.sources[norm_name] = lambda: quantized.float_weights()[norm_name]
        self._note(step, kind, grid, "" if norm_step is None else norm_step.name, _words(masked, clusters))
        if not split_off:
            return self._call(quantized), end
        activation = self._activation(step, function)
        return (lambda called: activation(quantized(self._resolve(called.args)[0]))), end

    def _function(self, step: Step, function: str) -> Callable[[Any], Any]:
        layer: Callable[[Any], Any] = QuantizedActivation(function, last=self.neighbours.ends_at(step), name=step.name)
        return layer

    def _activation(self, step: Step, function: str | None) -> Callable[[Any], Any]:
        """The activation of a convolution or Dense layer, as a layer of its own."""
        if function is not None:
            return self._function(step, function)
        reason, detail = rules.activation_objection(step.layer) or ("no int8 operator", "")
        self._stays_float(step, reason, detail)
        plain = tf_keras.layers.Activation(step.layer.activation, name=self._free(f"{step.name}_float"))
        return lambda tensor: self._back_to_integers(step, plain(tensor))

    def _affine(self, step: Step) -> tuple[Callable[[Step], Any], Step]:
        whole = self.prepared.get(id(step))
        if whole is not None:
            copied = tf_keras.layers.Rescaling(list(whole.scale), list(whole.offset), name=step.name)
            self._as_it_was(step)
        else:
            copied = copy_layer(step.layer, step, {})
            self._keep(step.name, copied, step.layer)
        function, end = self._relu_behind(step)
        frozen = not step.trainable or step.kwargs.get("training") is False
        return self._call(QuantizedAffine(copied, frozen=frozen, activation=function, name=end.name)), end

    def _merge(self, step: Step) -> tuple[Callable[[Step], Any], Step]:
        kind, count = type(step.layer).__name__, len(refs_in(step.args))
        function, end = self._relu_behind(step) if kind in ("Add", "Multiply", "Subtract") else ("linear", step)
        return self._call(QuantizedMerge(kind, count, activation=function, name=end.name)), end

    def _float(self, step: Step, reason: Reason, detail: str) -> Callable[[Step], Any]:
        """A copy of the layer, and a range for what goes back into integers."""
        refuse_long_sequences(step)
        self._stays_float(step, reason, detail)
        copied = copy_layer(step.layer, step, {})
        compute = self._plain(copied, step)

        def called(one: Step) -> Any:
            outputs = compute(one)
            refuse_masks(one, outputs)
            return self._back_to_integers(one, outputs)

        if step.outputs[0].is_float and len(step.outputs) == 1:
            copied._name = self._free(f"{step.name}_float")
        return called

    def _stays_float(self, step: Step, reason: Reason, detail: str) -> None:
        self.result.skipped.append(Skipped(step.name, reason, detail))
        why = why_no_file(step)
        if why:
            self.lacking[step.name] = why

    def _back_to_integers(self, step: Step, outputs: Any) -> Any:
        flat = flatten_structure(outputs)
        first = step.name not in self.ended and len(flat) == 1
        self.ended.add(step.name)
        names = [step.name] if first else [self._free(f"{step.name}_{i}") for i in range(len(flat))]
        quantized = [
            QuantizedTensor(name=name)(tensor) if ref.is_float else tensor
            for name, tensor, ref in zip(names, flat, step.outputs, strict=True)
        ]
        return quantized[0] if len(quantized) == 1 else quantized

    def _operation(self, step: Step) -> Any:
        template, refs = encode(step.args, step.kwargs)
        tensors = [self.tensors[ref] for ref in refs]
        given = tensors[0] if len(tensors) == 1 else tensors
        if step.operation in rules.PASSING_OPERATIONS:
            return KerasOperation(step.operation, template, name=step.name)(given)
        self._stays_float(step, "operation", f"keras.ops.{step.operation}; write it with layers")
        outputs = KerasOperation(step.operation, template, name=self._free(f"{step.name}_float"))(given)
        return self._back_to_integers(step, outputs)

    def _plain(self, copied: Any, step: Step) -> Callable[[Step], Any]:
        self._keep(step.name, copied, step.layer)
        return lambda called: copied(*self._resolve(called.args), **self._resolve(called.kwargs))

    def _call(self, layer: Any) -> Callable[[Any], Any]:
        return lambda called: layer(*self._resolve(called.args))

    def _keep(self, name: str, copied: Any, layer: Any) -> None:
        """Give the copy its weights at the end, and remember that it has them."""
        if layer.weights:
            self.after.append(lambda: _assign(copied, _arrays(layer)))
            self.result.sources[name] = lambda: _arrays(copied)

    def _relu_behind(self, step: Step) -> tuple[str, Step]:
        """Take in a ReLU that is the only one to use the step's output."""
        name, end = self.neighbours.relu_behind(step)
        if end is not step:
            self.absorbed.add(id(end))
            self._note(end, type(end.layer).__name__)
        return name, end

    def _note(self, step: Step, kind: str, grid: str = "", norm: str = "", preserved: tuple[str, ...] = ()) -> None:
        self.result.layers.append(QuantizedLayerReport(step.name, kind, grid, norm, preserved))

    def _free(self, name: str) -> str:
        while name in self.names:
            name += "_"
        self.names.add(name)
        return name

    def _resolve(self, structure: Any) -> Any:
        if isinstance(structure, Ref):
            return self.tensors[structure]
        return map_structure(lambda leaf: self.tensors[leaf] if isinstance(leaf, Ref) else leaf, structure)


@dataclass(frozen=True)
class _Given:
    """Arguments that are tensors already, in the place of a step's."""

    args: tuple[Any, ...]


def _words(masked: bool, clusters: int) -> tuple[str, ...]:
    return (*(("sparsity",) if masked else ()), *(("clusters",) if clusters else ()))


def _arrays(layer: Any) -> Weights:
    return [np.asarray(weight) for weight in layer.weights]


def _assign(layer: Any, arrays: Weights) -> None:
    for weight, array in zip(layer.weights, arrays, strict=True):
        weight.assign(array)
    settle(layer)


def _load(quantized: QuantizedWeights, weights: Weights, norm: Weights | None = None) -> None:
    _assign(quantized.layer, weights)
    if norm is not None:
        _assign(quantized.norm, norm)
    quantized.weight.remember()
