"""A model of either flavour as one flat list of steps: nested models are replaced by their layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...errors import ModelError
from ..detect import Flavour
from ..load import flavour_of
from . import operations
from .names import Namer, legal
from .nodes import Layout, Node, is_graph, is_symbolic, layout
from .notes import BridgeNote
from .structure import Ref, flatten_structure, map_structure, refs_in
from .trace import trace


@dataclass(frozen=True)
class Step:
    """One call of a layer (`layer`), or of a `keras.ops` function (`operation`), on the tensors of the graph.

    Attributes:
        name: The name of the layer or operation in the flat graph, unique to it.
        layer: The source's layer object, the same one in each of its calls; None for an operation.
        operation: Name of the function as `operations.function_of` takes it; empty for a layer.
        args, kwargs: Arguments with a `Ref` where a tensor stood.
        outputs: The references that the call defines.
        trainable: Whether the layer and every model around it are trainable.
    """

    name: str
    layer: Any
    operation: str
    args: tuple[Any, ...]
    kwargs: dict[str, object]
    outputs: tuple[Ref, ...]
    trainable: bool = True

    @property
    def kind(self) -> str:
        """The class of the layer, or the name of the operation."""
        return self.operation if self.layer is None else type(self.layer).__name__


@dataclass
class Graph:
    """The steps of a model in the order in which they run, and its inputs and outputs as the user nested them."""

    name: str
    flavour: Flavour
    input_names: dict[Ref, str]
    inputs: Any
    outputs: Any
    steps: list[Step]
    notes: list[BridgeNote] = field(default_factory=list)


def read_graph(model: Any) -> Graph:
    """Flatten a Keras model; subclassed models are traced first.

    Raises:
        ModelError: The model is no graph and cannot be traced, or holds something that no graph can carry.
    """
    flavour = flavour_of(model)
    if flavour is None:
        raise ModelError(f"Received {type(model).__name__}; expected a Keras model, of Keras 3 or of tf_keras.")
    return _Reader(flavour).read(model)


def takes_training(layer: Any) -> bool:
    """Whether the layer behaves otherwise in training."""
    return "training" in inspect.signature(type(layer).call).parameters


def run_step(step: Step, value: Callable[[Ref], Any]) -> list[Any]:
    """Compute a step's outputs, as at inference, from the values of the tensors that it is given."""
    args, kwargs = map_structure(lambda leaf: value(leaf) if isinstance(leaf, Ref) else leaf, (step.args, step.kwargs))
    if step.layer is None:
        return flatten_structure(operations.run(step.operation, args, kwargs))
    if takes_training(step.layer):  # Keras 3's augmenting layers augment unless they are told not to
        kwargs.setdefault("training", False)
    return flatten_structure(step.layer(*args, **kwargs))


class _Reader:
    """Walks a model and the models nested in it; one reader a graph."""

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.namer = Namer()
        self.steps: list[Step] = []
        self.notes: list[BridgeNote] = []
        self._count = 0

    def read(self, model: Any) -> Graph:
        plan = self._layout(model, None)
        input_tensors = flatten_structure(plan.inputs)
        refs = [self._new_ref(tensor) for tensor in input_tensors]
        names = {ref: self.namer.name_of(_producer(tensor)) for ref, tensor in zip(refs, input_tensors, strict=True)}
        self.namer.reserve([node.operation for node in plan.nodes])
        lookup = {id(tensor): ref for tensor, ref in zip(input_tensors, refs, strict=True)}
        self._walk(plan, lookup, trainable=bool(model.trainable), training=None, parent=None)
        outputs = self._named_outputs(plan, lookup)
        inputs = map_structure(lambda tensor: lookup[id(tensor)], plan.inputs)
        graph = Graph(legal(str(model.name)), self.flavour, names, inputs, outputs, self.steps)
        graph.steps = _live(graph)
        graph.notes = [*self.notes, *self.namer.notes]
        return graph

    def _layout(self, model: Any, args: Any) -> Layout:
        if not is_graph(model):
            model = trace(model, self.flavour, args)
            self.notes.append(
                BridgeNote(model.name, "traced", "the call of a subclassed model was replayed on symbolic inputs")
            )
        return layout(model, self.flavour)

    def _walk(self, plan: Layout, lookup: dict[int, Ref], *, trainable: bool, training: Any, parent: Any) -> None:
        for node in plan.nodes:
            if any(
                is_symbolic(leaf) and id(leaf) not in lookup for leaf in flatten_structure((node.args, node.kwargs))
            ):
                continue  # hangs on a tensor from outside of the model: Keras skips it as well
            if _is_model(node.operation):
                self._inline(node, lookup, trainable, training)
            else:
                self._add_step(node, lookup, trainable, training, parent)

    def _inline(self, node: Node, lookup: dict[int, Ref], trainable: bool, training: Any) -> None:
        model = node.operation
        args, kwargs = _arguments(node, lookup, model.name)
        if refs_in(kwargs):
            raise ModelError(
                f"Nested model {model.name!r} is called with tensors as keyword arguments; pass them as inputs."
            )
        plan = self._layout(model, node.args)
        expected = flatten_structure(plan.inputs)
        refs = _matching(plan.inputs, args[0] if len(args) == 1 else list(args), model.name)
        inner = {id(tensor): self._conform(tensor, ref, model) for tensor, ref in zip(expected, refs, strict=True)}
        inner_training = node.kwargs.get("training", training)
        self._walk(plan, inner, trainable=trainable and bool(model.trainable), training=inner_training, parent=model)
        for outer, tensor in zip(node.outputs, flatten_structure(plan.outputs), strict=True):
            lookup[id(outer)] = inner[id(tensor)]
        self.notes.append(
            BridgeNote(model.name, "flattened", f"replaced by the {len(plan.nodes)} layers and operations in it")
        )

    def _conform(self, tensor: Any, ref: Ref, model: Any) -> Ref:
        """Keras casts what it hands to a nested model to the type of that model's input."""
        dtype, rank = _dtype(tensor), len(tensor.shape)
        if rank != len(ref.shape):
            raise ModelError(
                f"Nested model {model.name!r} expects inputs of rank {rank} and gets shape {ref.shape}; "
                "reshape them explicitly."
            )
        if dtype == ref.dtype:
            return ref
        cast = Ref(self._next(), ref.shape, dtype)
        self.steps.append(Step(self.namer.fresh(f"{model.name}_cast"), None, "cast", (ref,), {"dtype": dtype}, (cast,)))
        return cast

    def _add_step(self, node: Node, lookup: dict[int, Ref], trainable: bool, training: Any, parent: Any) -> None:
        owner = node.operation
        outputs = tuple(self._new_ref(tensor) for tensor in node.outputs)
        name = self.namer.name_of(owner, parent)
        args, kwargs = _arguments(node, lookup, owner.name)
        if training is not None and "training" not in kwargs and takes_training(owner):
            kwargs["training"] = training
        layer, operation = owner, ""
        if type(owner).__name__ == "KerasOperation":
            layer, operation = None, owner.operation
            args, kwargs = owner.arguments(flatten_structure(args))
        elif operations.is_tf_operation(owner):
            layer = None
            operation, args, kwargs = operations.read_tf(owner, args, kwargs)
        elif not hasattr(owner, "trainable"):
            layer = None
            operation, args, kwargs = operations.read_keras(owner, args, kwargs)
        effective = trainable and bool(getattr(owner, "trainable", True))
        self.steps.append(Step(name, layer, operation, args, kwargs, outputs, effective))
        lookup.update({id(tensor): ref for tensor, ref in zip(node.outputs, outputs, strict=True)})

    def _named_outputs(self, plan: Layout, lookup: dict[int, Ref]) -> Any:
        """Give an output that a nested model makes the name of that model, by an identity at the end."""
        renamed: dict[int, Ref] = {}
        for tensor in flatten_structure(plan.outputs):
            if _is_model(_producer(tensor)):
                source = lookup[id(tensor)]
                alias = Ref(self._next(), source.shape, source.dtype)
                name = self.namer.output_of(_producer(tensor))
                self.steps.append(Step(name, None, "activations.linear", (source,), {}, (alias,)))
                renamed[id(tensor)] = alias
        return map_structure(lambda tensor: renamed.get(id(tensor), lookup[id(tensor)]), plan.outputs)

    def _new_ref(self, tensor: Any) -> Ref:
        return Ref(self._next(), tuple(tensor.shape), _dtype(tensor))

    def _next(self) -> int:
        self._count += 1
        return self._count


def _is_model(operation: Any) -> bool:
    return flavour_of(operation) is not None


def _producer(tensor: Any) -> Any:
    history = tensor._keras_history
    return history.operation if hasattr(history, "operation") else history.layer


def _dtype(tensor: Any) -> str:
    return str(getattr(tensor.dtype, "name", tensor.dtype))


def _arguments(node: Node, lookup: dict[int, Ref], owner: str) -> tuple[tuple[Any, ...], dict[str, object]]:
    def resolve(leaf: Any) -> Any:
        return lookup[id(leaf)] if is_symbolic(leaf) else operations.constant(leaf, owner)

    return map_structure(resolve, node.args), map_structure(resolve, node.kwargs)


def _matching(expected: Any, given: Any, name: str) -> list[Ref]:
    """Return what a nested model was called with, in the order of its inputs."""
    flat = flatten_structure(expected)
    if isinstance(given, dict) and not isinstance(expected, dict):
        names = [_producer(tensor).name for tensor in flat]
        if set(names) <= set(given):
            return [given[item] for item in names]
    refs = flatten_structure(given)
    if len(refs) != len(flat) or not all(isinstance(ref, Ref) for ref in refs):
        raise ModelError(
            f"Nested model {name!r} has {len(flat)} inputs and is called with {len(refs)}; "
            "call it with one tensor for each."
        )
    return refs


def _live(graph: Graph) -> list[Step]:
    """Return the steps that an output depends on (not, say, the computation of a mask that is not carried)."""
    wanted = set(refs_in(graph.outputs))
    kept = []
    for step in reversed(graph.steps):
        if wanted.intersection(step.outputs):
            kept.append(step)
            wanted.update(refs_in((step.args, step.kwargs)))
    return kept[::-1]
