"""A model's flat graph while it is rewritten: steps go, settings and weights change, the model itself does not.

A tensor keeps its reference as long as its numbers are the same as in the model; one that comes to hold other numbers
gets a new reference. So wherever both graphs have a reference, its values can be compared.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from ..bridge.construct import standard_layer
from ..graph.read import Graph, Step
from ..graph.rebuild import read_native
from ..graph.structure import Ref, map_structure, refs_in
from .affine import WEIGHTED, Weights
from .changes import Change, ChangeRule, Left, NotExactError

_HALF = ("float16", "bfloat16")


class Draft:
    """The graph that the new model is built from.

    Attributes:
        before: The graph of the model.
        graph: The graph as it is now; both hold the model's own layer objects.
        settings: Changed configuration entries, by the id of the layer.
        weights: Changed weights, by the id of the layer.
        changes: What was done.
        left: What could not be done exactly.
    """

    def __init__(self, model: Any) -> None:
        self.before: Graph = read_native(model)
        self.graph = replace(self.before, steps=list(self.before.steps))
        self.settings: dict[int, dict[str, Any]] = {}
        self.weights: dict[int, list[Any]] = {}
        self.changes: list[Change] = []
        self.left: list[Left] = []
        self._held: list[Any] = []
        self._count = 1 + max(
            (ref.index for ref in (*self.graph.input_names, *(r for s in self.graph.steps for r in s.outputs))),
            default=0,
        )

    def change(self, step: Step, rule: ChangeRule, detail: str) -> None:
        """Note what was done."""
        self.changes.append(Change(step.name, rule, detail))

    def leave(self, step: Step, why: NotExactError) -> None:
        """Note what could not be done."""
        self.left.append(Left(step.name, why.rule, why.reason))

    def hold(self, layer: Any) -> Any:
        """Keep a new layer alive, so that its id stays its own; returns it."""
        self._held.append(layer)
        return layer

    def users(self, ref: Ref) -> list[Step]:
        """The steps that take a tensor."""
        return [step for step in self.graph.steps if ref in refs_in((step.args, step.kwargs))]

    def maker(self, ref: Ref) -> Step | None:
        """The step that computes a tensor; None for an input."""
        return next((step for step in self.graph.steps if ref in step.outputs), None)

    def is_output(self, ref: Ref) -> bool:
        """Whether the model returns a tensor."""
        return ref in refs_in(self.graph.outputs)

    def only_user(self, ref: Ref, owner: str) -> Step:
        """Return the one step that takes a tensor.

        Raises:
            NotExactError: There are several, or the model returns the tensor.
        """
        users = self.users(ref)
        if self.is_output(ref):
            raise NotExactError("several-users" if users else "no-neighbour", f"{owner} is an output of the model")
        if len(users) != 1:
            raise NotExactError("several-users", f"{owner} is used by {', '.join(step.name for step in users)}")
        return users[0]

    def check_called_once(self, *steps: Step) -> None:
        """Raise unless the layers of the steps are called nowhere else.

        Raises:
            NotExactError: One is.
        """
        calls = Counter(id(step.layer) for step in self.graph.steps if step.layer is not None)
        for step in steps:
            if calls[id(step.layer)] != 1:
                raise NotExactError("shared", f"{step.name!r} is called {calls[id(step.layer)]} times")

    def kind(self, step: Step | None) -> str:
        """The class of a step's layer if that is one of Keras' own; otherwise an empty string."""
        if step is None or step.layer is None or not standard_layer(step.layer, self.graph.flavour):
            return ""
        return type(step.layer).__name__

    def put(self, old: Step, new: Step) -> None:
        """Replace a step."""
        self.graph.steps[self._place(old)] = new

    def drop(self, step: Step) -> None:
        """Take out a step whose outputs nobody needs any more."""
        del self.graph.steps[self._place(step)]

    def rewire(self, step: Step, old: Ref, new: Ref) -> Step:
        """Let a step take another tensor; returns the new step."""
        args, kwargs = map_structure(lambda leaf: new if leaf == old else leaf, (step.args, step.kwargs))
        changed = replace(step, args=args, kwargs=kwargs)
        self.put(step, changed)
        return changed

    def fresh(self, like: Ref) -> Ref:
        """Return a reference for other numbers of the same shape."""
        self._count += 1
        return Ref(self._count, like.shape, like.dtype)

    def weights_of(self, step: Step) -> Weights:
        """Return kernels and bias of a layer of `WEIGHTED` as they are now, in float64; zeros for a missing bias.

        Raises:
            NotExactError: It has other weights than its class.
        """
        layer, kind = step.layer, type(step.layer).__name__
        found = self.weights.get(id(layer)) or [np.asarray(weight) for weight in layer.weights]
        has_bias = self.settings.get(id(layer), {}).get("use_bias", bool(layer.use_bias))
        expected = 1 + ("Separable" in kind) + has_bias
        if len(found) != expected or kind not in WEIGHTED:
            raise NotExactError("weights", f"{step.name!r} has {len(found)} weights, a plain {kind} {expected}")
        arrays = [np.asarray(array, np.float64) for array in found]
        return arrays if has_bias else [*arrays, np.zeros(_outputs(kind, arrays[-1]))]

    def set_weights(self, step: Step, weights: Weights) -> None:
        """Give a layer other weights, and a bias if it needs one now."""
        settings = self.settings.setdefault(id(step.layer), {})
        needs_bias = bool(step.layer.use_bias) or settings.get("use_bias", False) or bool(np.any(weights[-1]))
        settings["use_bias"] = needs_bias
        self.weights[id(step.layer)] = weights if needs_bias else weights[:-1]

    def check_single_precision(self, step: Step) -> None:
        """Raise where other arithmetic than float32's would round what is folded.

        Raises:
            NotExactError: The layer computes, or gives, half precision.
        """
        dtype = str(getattr(step.layer, "compute_dtype", None) or "float32")
        for name in (dtype, *(ref.dtype for ref in step.outputs)):
            if name in _HALF:
                raise NotExactError("half-precision", f"{step.name!r} computes in {name}")

    def _place(self, step: Step) -> int:
        return next(index for index, other in enumerate(self.graph.steps) if other is step)


def _outputs(kind: str, kernel: Any) -> int:
    if "Transpose" in kind:
        return int(kernel.shape[-2])
    return int(np.prod(kernel.shape[-2:])) if "Depthwise" in kind else int(kernel.shape[-1])
