"""The check for a pass, or for conversion: what it would do with each layer of a Keras model, before any training.

Nothing here guesses: the passes' own decisions are asked, on the model as they would see it. For `convert`, the model
is converted with made-up calibration data, and the file is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import DataError, EdgeoptError, ModelError, UsageError
from ..flatbuffer import Model, read_model
from ..flatbuffer.layer_names import layers_in, paths_in
from ..flatbuffer.model import Operator
from .apart import goes_apart, look_apart
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
    "unknown layer": "use layers that qat knows (docs/passes/qat.md), or accept float operators",
    "bridge": "replace it, or register a counterpart with edgeopt.bridge.register",
    "float": "replace it, or convert with --allow-float-ops",
    "lacking": "replace it with layers that TFLite knows",
    "conversion": "replace what it names, or convert with --quantize dynamic",
    "model": "build the model of layers, functional or sequential",
}


@dataclass(frozen=True)
class Finding:
    """What a stage would do with one layer that it does not simply take.

    Attributes:
        verdict: "skipped" or "refused".
        rule: A word from the stage's closed list.
        reason: The particulars, in words.
        remedy: What helps; "" for what the rule's remedy is.
    """

    verdict: str
    rule: str
    reason: str
    remedy: str = ""


@dataclass
class StageInspection:
    """A model under check.

    Attributes:
        model: A Keras model of either flavour.
        subject: Where it came from.
        findings: Layer name -> what was found.
        shared: What the stages need alike, made once: looks at one model by several stages share it.
    """

    model: Any
    subject: Subject
    findings: dict[str, Finding] = field(default_factory=dict)
    shared: dict[str, object] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what `make` gave at the first call of this name."""
        if name not in self.shared:
            self.shared[name] = make()
        return self.shared[name]


@dataclass(frozen=True)
class StageChecker:
    """Checks models for one pass, or for conversion."""

    stage: str

    def check(self, subject: Subject) -> CheckResult:
        """Ask the stage (see `Checker.check`)."""
        if subject.tflite is not None:
            raise UsageError(f"{subject.name} is a .tflite file; check for {self.stage!r} takes a Keras model.")
        if goes_apart(subject):
            return look_apart(self.stage, subject)
        return self.look(StageInspection(load(subject), subject))

    def look(self, look: StageInspection) -> CheckResult:
        """Ask the stage about a model that is loaded; `look` has no findings yet."""
        steps: list[tuple[str, str]] = []
        look.subject.on_event({"stage": f"checking for {self.stage}"})
        try:
            steps = _parts(look) if self.stage == "convert" else _steps(look)
            _STAGES[self.stage](look)
        except DataError:
            raise  # says nothing of the model
        except EdgeoptError as error:
            if not any(finding.verdict == REFUSED for finding in look.findings.values()):
                rule = "conversion" if self.stage == "convert" else "model"
                reason = str(error).rstrip(".")
                look.findings[look.subject.name] = Finding(REFUSED, rule, reason, reason.partition("; ")[2])
        others = [name for name in look.findings if name not in dict(steps)]
        items = [self._item(name, "model" if name == look.subject.name else "InputLayer", look) for name in others]
        items += [self._item(name, kind, look) for name, kind in steps]
        return CheckResult(tuple(items), {"layers": len(steps)})

    def _item(self, name: str, kind: str, look: StageInspection) -> CheckItem:
        found = look.findings.get(name)
        if found is None:
            return CheckItem(name, kind, self.stage, OK)
        remedy = found.remedy or _REMEDIES.get(found.rule, "leave it as it is")
        return CheckItem(name, kind, self.stage, found.verdict, found.rule, found.reason, remedy)


def checker(name: str, options: Mapping[str, object]) -> StageChecker:
    """Return the checker of the stage `name`.

    Raises:
        UsageError: An option was given; stages take none.
    """
    for key, value in options.items():
        if value is not None:
            raise UsageError(f"The option {key} does not go with the target {name!r}; it takes none.")
    return StageChecker(name)


def load(subject: Subject) -> Any:
    """Return the Keras model of a subject; None for a SavedModel, which holds no layers.

    Raises:
        UsageError: It cannot be read.
        ModelError: It needs custom objects, or holds Python code.
    """
    from ..models.detect import Flavour, detect
    from ..models.load import load_layers

    if not isinstance(subject.keras, (str, os.PathLike)):
        return subject.keras
    path = os.fsdecode(subject.keras)
    if detect(path).flavour is Flavour.SAVED_MODEL:
        return None
    return load_layers(path, custom_objects=subject.loading.custom_objects, unsafe_load=subject.loading.unsafe_load)


def _steps(look: StageInspection) -> list[tuple[str, str]]:
    """Return name and class of each layer and bare operation, in the order of the model."""
    return list({step.name: step.kind for step in _graph(look).steps}.items())


def _parts(look: StageInspection) -> list[tuple[str, str]]:
    """Return name and class of each layer, of a model that need not be a graph too; none of a SavedModel."""
    try:
        return _steps(look)
    except EdgeoptError:
        return [(str(layer.name), type(layer).__name__) for layer in getattr(look.model, "layers", ())]


def _graph(look: StageInspection) -> Any:
    from ..models.graph.rebuild import read_native

    if look.model is None:
        raise ModelError("A SavedModel holds no layers to work on; give the .keras or .h5 file of the model.")
    return look.once("graph", lambda: read_native(look.model))


def _bridge(look: StageInspection) -> None:
    """Find every layer that tf_keras has no counterpart of: one is enough for TFMOT's passes to refuse the model."""
    look.findings.update(look.once("bridge", lambda: _without_counterpart(_graph(look))))
    if look.findings:
        raise ModelError("A layer has no counterpart.")


def _without_counterpart(graph: Any) -> dict[str, Finding]:
    from ..models.bridge.build import rebuild
    from ..models.bridge.differences import LOOKUPS
    from ..models.bridge.layers import LayerMapper
    from ..models.detect import Flavour

    mapper = LayerMapper(graph.flavour, Flavour.TF_KERAS, lambda model: rebuild(model, Flavour.TF_KERAS)[0])
    found: dict[str, Finding] = {}
    for step in graph.steps:
        if step.layer is None or step.name in found:
            continue
        try:
            mapper.map(step.layer, step.name)
        except ModelError as error:
            reason = str(error).rstrip(".")
            remedy = reason.partition("; ")[2] if step.kind in LOOKUPS else ""
            found[step.name] = Finding(REFUSED, "bridge", reason, remedy)
    return found


def _wrappable(look: StageInspection) -> Any:
    """Return the flat tf_keras copy that TFMOT's passes work on; choosing layers leaves it as it is."""
    from ..passes.tfmot.wrapping import wrappable

    return look.once("wrappable", lambda: wrappable(look.model, 0))


def _prune(look: StageInspection) -> None:
    from ..passes.prune.prune import Prune
    from ..passes.prune.select import select
    from ..passes.tfmot.wrapping import check_any

    _bridge(look)
    source = _wrappable(look)
    selection = select(source, Prune(sparsity=0.5))
    _skips(look, selection.skipped)
    check_any(source, selection.targets, selection.skipped, "prune")


def _cluster(look: StageInspection) -> None:
    from ..passes.cluster.cluster import Cluster
    from ..passes.tfmot.wrapping import check_any

    _bridge(look)
    source = _wrappable(look)
    targets, skipped = Cluster(clusters=16).select(source)
    _skips(look, skipped)
    check_any(source, targets, skipped, "cluster")


def _channels(look: StageInspection) -> None:
    import numpy as np

    from ..passes.channels.dependencies import analyse
    from ..passes.channels.plan import candidates
    from ..passes.channels.pruning import ChannelPruning

    channel_map = analyse(_graph(look))
    options = ChannelPruning(fraction=0.5)
    scores = np.ones(channel_map.unit_count)
    for group in channel_map.groups:
        if group.block is not None:
            for name in group.layers:
                look.findings.setdefault(name, Finding(SKIPPED, group.block.reason.value, group.block.detail))
    _skips(look, candidates(channel_map, scores, (), options.multiple, options.minimum).skipped)


def _qat(look: StageInspection) -> None:
    from ..models.graph.rebuild import read_native
    from ..passes.qat.lowering import Choices, lower
    from ..passes.qat.refusals import NoFileError

    _bridge(look)
    try:
        _skips(look, lower(read_native(_wrappable(look).model), Choices()).skipped)
    except NoFileError as error:
        look.findings.update({name: Finding(REFUSED, "lacking", why) for name, why in error.lacking.items()})


def _convert(look: StageInspection) -> None:
    from ..api.float_remedies import REPLACE, remedy

    file, layers = read_model(_converted(look)), _parts(look)
    for name, operator in float_layers(file, [name for name, _ in layers]).items():
        reason, known = f"{operator.name} stays float in an int8 file", remedy(file, [(file.main, operator)], layers)
        look.findings.setdefault(name, Finding(REFUSED, "float", reason, "" if known == REPLACE else known))


def _converted(look: StageInspection) -> bytes:
    """Return the int8 file of the model, made now if it was not before."""
    from .accelerator import convert_for_check

    made = look.subject.conversion
    if made is None:
        return convert_for_check(look.subject, {}, look.model)
    if made.file is None:
        raise ModelError(made.refused)
    return made.file


def float_layers(file: Model, names: Collection[str]) -> dict[str, Operator]:
    """Return the first float operator of each layer in a file, by the layer's name (the tensor's, if no layer has it).

    Args:
        file: An int8 file.
        names: The layers of the model that it was made from.
    """
    found: dict[str, Operator] = {}
    for operator in file.main.operators:
        ends = (*operator.outputs, *(operator.inputs if operator.name == "CAST" else ()))  # of floats to integers too
        floats = [tensor for index in ends if (tensor := file.main.tensors[index]).is_float and tensor.elements]
        if not floats or operator.name == "DEQUANTIZE":
            continue
        # The first part of a tensor's name is the model's.
        parts = {part for path in paths_in(floats[0].name) for part in (path[1:] or path)}
        owner = next(iter(layers_in(parts, names)), floats[0].name)
        found.setdefault(owner, operator)
    return found


def _skips(look: StageInspection, skipped: Any) -> None:
    for entry in skipped:
        look.findings.setdefault(entry.subject, Finding(SKIPPED, entry.reason, entry.detail or entry.reason))


_STAGES: dict[str, Callable[[StageInspection], None]] = {
    "prune": _prune,
    "channels": _channels,
    "cluster": _cluster,
    "qat": _qat,
    "convert": _convert,
}
STAGES = tuple(_STAGES)
