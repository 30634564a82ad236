"""The check for a pass, or for conversion: what it would do with each layer of a Keras model, before any training.

Nothing here guesses: the passes' own decisions are asked, on the model as they would see it. For `convert`, the model
is converted with made-up calibration data, and the file is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import EdgeoptError, UsageError
from .items import OK, REFUSED, SKIPPED, CheckItem, CheckResult
from .registry import Subject

_REMEDIES = {
    "in-skip-list": "nothing",
    "depthwise": "leave it; channels makes it smaller",
    "layer-not-supported": "leave it as it is, or write it with layers that the pass knows",
    "operation-not-supported": "write the operation with layers",
    "masked": "drop mask_zero, and handle the padding in the data",
    "frozen": "set trainable = True",
    "too-few-weights": "leave it as it is",
    "too-narrow": "lower multiple and minimum",
    "model-input": "nothing: the inputs are given",
    "model-output": "nothing: the outputs are given",
    "channels-first": "rebuild the model with data_format='channels_last'",
    "recurrent": "convert the model with calibration data instead of QAT",
    "no int8 operator": "use what the reason names, or accept a float operator",
    "operation": "write it with layers",
    "unknown layer": "build it of Keras' own layers",
    "bridge": "replace it, or register a counterpart with edgeopt.bridge.register",
    "float": "replace it, or convert with --allow-float-ops",
    "model": "build the model of layers, functional or sequential",
}


@dataclass(frozen=True)
class Finding:
    """What a stage would do with one layer that it does not simply take.

    Attributes:
        verdict: "skipped" or "refused".
        rule: Of the stage's closed list.
        reason: The particulars.
    """

    verdict: str
    rule: str
    reason: str


@dataclass
class Look:
    """A model under check.

    Attributes:
        model: A Keras model of either flavour.
        subject: Where it came from.
        findings: Layer name -> what was found.
    """

    model: Any
    subject: Subject
    findings: dict[str, Finding] = field(default_factory=dict)


@dataclass(frozen=True)
class StageChecker:
    """Checks models for one pass, or for conversion."""

    stage: str

    def check(self, subject: Subject) -> CheckResult:
        """Ask the stage (see `Checker.check`)."""
        if subject.tflite is not None:
            raise UsageError(f"{subject.name} is a .tflite file; check for {self.stage!r} takes a Keras model.")
        look = Look(_loaded(subject), subject)
        steps: list[tuple[str, str]] = []
        try:
            steps = _steps(look.model)
            _STAGES[self.stage](look)
        except EdgeoptError as error:
            if not any(finding.verdict == REFUSED for finding in look.findings.values()):
                look.findings[subject.name] = Finding(REFUSED, "model", str(error).rstrip("."))
        items = [self._item(name, "model", look) for name in look.findings if name not in dict(steps)]
        items += [self._item(name, kind, look) for name, kind in steps]
        return CheckResult(tuple(items), {"layers": len(steps)})

    def _item(self, name: str, kind: str, look: Look) -> CheckItem:
        found = look.findings.get(name)
        if found is None:
            return CheckItem(name, kind, self.stage, OK)
        remedy = _REMEDIES.get(found.rule, "leave it as it is")
        return CheckItem(name, kind, self.stage, found.verdict, found.rule, found.reason, remedy)


def checker(name: str, options: Mapping[str, Any]) -> StageChecker:
    """Return the checker of the stage `name`.

    Raises:
        UsageError: An option was given; stages take none.
    """
    for key, value in options.items():
        if value is not None:
            raise UsageError(f"The option {key} does not go with the target {name!r}; it takes none.")
    return StageChecker(name)


def _loaded(subject: Subject) -> Any:
    from ..models.load import load_model

    if not isinstance(subject.keras, (str, os.PathLike)):
        return subject.keras
    keys = ("custom_objects", "unsafe_load")
    return load_model(
        os.fsdecode(subject.keras), **{key: subject.loading[key] for key in keys if key in subject.loading}
    ).model


def _steps(model: Any) -> list[tuple[str, str]]:
    """Return name and class of each layer and bare operation, in the order of the model."""
    from ..models.graph import read_native

    found = {
        step.name: type(step.layer).__name__ if step.layer is not None else step.operation
        for step in read_native(model).steps
    }
    return list(found.items())


def _bridge(look: Look) -> None:
    """Find every layer that tf_keras has no counterpart of: one is enough for TFMOT's passes to refuse the model."""
    from ..errors import ModelError
    from ..models.bridge.build import rebuild
    from ..models.bridge.layers import LayerMapper
    from ..models.detect import Flavour
    from ..models.graph import read_native

    graph = read_native(look.model)
    mapper = LayerMapper(graph.flavour, Flavour.TF_KERAS, lambda model: rebuild(model, Flavour.TF_KERAS)[0])
    for step in graph.steps:
        if step.layer is None or step.name in look.findings:
            continue
        try:
            mapper.map(step.layer, step.name)
        except ModelError as error:
            look.findings[step.name] = Finding(REFUSED, "bridge", str(error).rstrip("."))
    if look.findings:
        raise ModelError("A layer has no counterpart.")


def _prune(look: Look) -> None:
    from ..passes.prune import Prune
    from ..passes.prune_select import select
    from ..passes.wrapping import check_any, wrappable

    _bridge(look)
    source = wrappable(look.model, 0)
    selection = select(source, Prune(sparsity=0.5))
    _skips(look, selection.skipped)
    check_any(source, selection.targets, selection.skipped, "prune")


def _cluster(look: Look) -> None:
    from ..passes.cluster import Cluster
    from ..passes.wrapping import check_any, wrappable

    _bridge(look)
    source = wrappable(look.model, 0)
    targets, skipped = Cluster(clusters=16).select(source)
    _skips(look, skipped)
    check_any(source, targets, skipped, "cluster")


def _channels(look: Look) -> None:
    import numpy as np

    from ..models.graph import read_native
    from ..passes.channels.dependencies import analyse
    from ..passes.channels.plan import candidates
    from ..passes.channels.pruning import ChannelPruning

    channel_map = analyse(read_native(look.model))
    options = ChannelPruning(fraction=0.5)
    scores = np.ones(channel_map.unit_count)
    blocked = {group.name: group for group in channel_map.groups if group.block is not None}
    for group in blocked.values():
        if group.block is not None:
            for name in group.layers:
                look.findings.setdefault(name, Finding(SKIPPED, group.block.reason.value, group.block.detail))
    _skips(look, candidates(channel_map, scores, (), options.multiple, options.minimum).skipped)


def _qat(look: Look) -> None:
    from ..models.graph import read_native
    from ..passes.qat.lowering import Choices, lower
    from ..passes.wrapping import wrappable

    _bridge(look)
    _skips(look, lower(read_native(wrappable(look.model, 0).model), Choices()).skipped)


def _convert(look: Look) -> None:
    from ..flatbuffer import read_model
    from .accelerator import throwaway

    model = read_model(throwaway(look.subject, {}))
    names = [name for name, _ in _steps(look.model)]
    for operator in model.main.operators:
        outputs = [model.main.tensors[index] for index in operator.outputs]
        floats = [tensor for tensor in outputs if tensor.is_float and tensor.elements]
        if not floats or operator.name == "DEQUANTIZE":
            continue
        # The first part of a tensor's name is the model's.
        paths = [path.split("/") for path in floats[0].name.split(";")]
        parts = {part for path in paths for part in (path[1:] or path)}
        owner = next((name for name in names if parts & {name, f"{name}_1"}), floats[0].name)
        look.findings.setdefault(owner, Finding(REFUSED, "float", f"{operator.name} stays float in an int8 file"))


def _skips(look: Look, skipped: Any) -> None:
    for entry in skipped:
        look.findings.setdefault(entry.subject, Finding(SKIPPED, entry.reason, entry.detail or entry.reason))


_STAGES: dict[str, Callable[[Look], None]] = {
    "prune": _prune,
    "channels": _channels,
    "cluster": _cluster,
    "qat": _qat,
    "convert": _convert,
}
STAGES = tuple(_STAGES)
