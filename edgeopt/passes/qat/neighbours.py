"""What stands behind a layer, and becomes part of its integer operator."""

from __future__ import annotations

from collections import Counter, defaultdict

from ...models.graph.read import Graph, Step
from ...models.graph.structure import Ref, refs_in
from . import rules


class Neighbours:
    """Finds the BatchNormalization and the ReLU that a layer's operator can take in.

    Args:
        graph: The float model.
        skip: Layers that stay by themselves.
    """

    def __init__(self, graph: Graph, skip: frozenset[str]) -> None:
        self._skip = skip
        self._users: dict[Ref, list[Step]] = defaultdict(list)
        for step in graph.steps:
            for ref in refs_in((step.args, step.kwargs)):
                self._users[ref].append(step)
        self._ends = set(refs_in(graph.outputs))
        self._calls = Counter(id(step.layer) for step in graph.steps if step.layer is not None)

    def norm_behind(self, step: Step) -> Step | None:
        """Return a BatchNormalization over the channels that is the only one to use the step's output, or None."""
        follower = self._only_user(step)
        if follower is None or type(follower.layer).__name__ != "BatchNormalization":
            return None
        return None if rules.objection(follower.layer, [step.outputs[0].shape]) else follower

    def relu_behind(self, step: Step) -> tuple[str, Step]:
        """Return ``relu`` or ``relu6`` with the step that alone uses the output, or ``linear`` with `step` itself."""
        follower = self._only_user(step)
        if follower is None or type(follower.layer).__name__ not in ("Activation", "ReLU"):
            return "linear", step
        name = rules.function_name(follower.layer)
        if name not in ("relu", "relu6"):
            return "linear", step
        return name, follower

    def ends_at(self, step: Step) -> bool:
        """Return whether a step gives an output of the model."""
        return any(ref in self._ends for ref in step.outputs)

    def only_user(self, ref: Ref) -> Step | None:
        """Return the step that alone uses a tensor, of a layer that is called once and not skipped, or None."""
        users = self._users[ref]
        if len(users) != 1 or ref in self._ends or users[0].layer is None or users[0].name in self._skip:
            return None
        return users[0] if self._calls[id(users[0].layer)] == 1 and len(users[0].outputs) == 1 else None

    def _only_user(self, step: Step) -> Step | None:
        """The step that alone uses the output of a layer that is called once, and is itself called once."""
        return None if self._calls[id(step.layer)] > 1 else self.only_user(step.outputs[0])
