"""What edgetpu_compiler would map of a .tflite file, without the compiler."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from ...errors import UsageError
from ...flatbuffer import Model, Operator
from ...flatbuffer.macs import operator_macs
from ...flatbuffer.memory import live_bytes
from ..accelerator import CPU, MAPPED, UNSURE, OpMapping, Prediction, Refusal
from .constraints import OP_CHECKS
from .context import OpContext
from .file_checks import FILE_CHECKS
from .package import is_compiled
from .parameters import Fit, fit
from .partition import delegated, waits_for
from .rules import Rule, Rules, default_rules

STATUS_MAPPED = "Mapped to Edge TPU"
STATUS_STRANDED = "More than one subgraph is not supported"
_STRANDED_SOURCE = "edgetpu#461, edgetpu#317; tensorflow/lite/graph_info.cc"

_MOVE, _LEAVE = ", or move it to the end of the model", ", or leave it: it stands at the end, and the CPU runs it"


@dataclass(frozen=True)
class EdgeTpuPredictor:
    """Applies the rules to each operator, and the one-subgraph rule to the graph.

    Attributes:
        rules: What is known of the compiler.
        minimum_runtime: Edge TPU runtime to compile for; None takes the newest.
        intermediate_tensors: Names of the tensors that the mapped part ends at, as the compiler's option.

    Example:
        >>> EdgeTpuPredictor().predict(read_model(data), data).cpu_ops
        {'RESIZE_BILINEAR': 3, 'CONV_2D': 2, 'ARG_MAX': 1, 'CONCATENATION': 1, 'QUANTIZE': 1}
    """

    rules: Rules = field(default_factory=default_rules)
    minimum_runtime: int | None = None
    intermediate_tensors: tuple[str, ...] = ()
    target: str = "edgetpu"

    def predict(self, model: Model, data: bytes = b"") -> Prediction:
        """Predict the mapping (see `Predictor.predict`)."""
        refuse_compiled(model)
        refusal = self.refusal(model)
        if refusal is not None:
            return _refused(model, refusal)
        live = live_bytes(model.main)
        own = {operator.index: self._judge(model, operator, live[operator.index]) for operator in model.main.operators}
        operators = _costed(model, _at_the_end(model, _placed(model, own)))
        mapped = {found.index for found in operators if found.verdict == MAPPED}
        if not mapped and not any(found.verdict == UNSURE for found in operators):
            return _refused(model, _nothing(operators), operators)
        weights = fit(model, mapped, self.rules.memory)
        return Prediction(
            target=self.target,
            operators=operators,
            delegated_subgraphs=1 if mapped else 0,
            parameters_cached_bytes=weights.cached_bytes,
            parameters_streamed_bytes=weights.streamed_bytes,
            figures=_figures(model, operators, weights),
            notes=_notes(weights),
        )

    def refusal(self, model: Model) -> Refusal | None:
        """Return the rule that refuses the whole file, or None."""
        for rule in self.rules.file_rules:
            found = FILE_CHECKS[rule.check](model, self.rules.versions, **rule.numbers)
            if found is not None:
                return Refusal(rule.id, *rule.said(found), rule.source)
        return None

    def _judge(self, model: Model, operator: Operator, live: int) -> OpMapping:
        """Return the verdict on one operator by itself: the first "cpu" rule, else the first "unsure" one."""
        runtime = self.rules.minimum_runtime if self.minimum_runtime is None else self.minimum_runtime
        context = OpContext(model.main, operator, runtime, live)
        cut = next((name for name in self.intermediate_tensors if name in _read(context)), None)
        if cut is not None:
            why = f"the mapped part was asked to end at {cut!r}"
            remedy = "drop that intermediate tensor"
            return OpMapping(operator.index, operator.name, CPU, STATUS_STRANDED, "intermediate-tensor", why, remedy)
        doubt: OpMapping | None = None
        for rule in self.rules.op_rules:
            found = self._check(rule, context) if rule.speaks_of(operator.name) else None
            if found is not None and (rule.verdict == CPU or doubt is None):
                # An operator of the "unsure" kind is in no list, which must not settle it.
                if rule.check == "not_listed" and doubt is not None:
                    continue
                verdict = _verdict(operator, rule, found)
                if rule.verdict == CPU:
                    return verdict
                doubt = verdict
        return doubt or OpMapping(operator.index, operator.name, MAPPED, STATUS_MAPPED)

    def _check(self, rule: Rule, context: OpContext) -> dict[str, object] | None:
        name = context.operator.name
        listed = self.rules.supported.get(name)
        if rule.check == "not_listed":
            return {"op": name} if listed is None else None
        if rule.check == "needs_newer_runtime":
            if listed is None or listed[0] <= context.minimum_runtime:
                return None
            return {"op": name, "runtime": listed[0], "minimum": context.minimum_runtime}
        return OP_CHECKS[rule.check](context, **rule.numbers)


def _read(context: OpContext) -> set[str]:
    return {context.graph.tensors[index].name for index in context.operator.inputs if index >= 0}


def refuse_compiled(model: Model) -> None:
    """Raise when the file is compiled for the Edge TPU already.

    Raises:
        UsageError: It is.
    """
    if is_compiled(model):
        raise UsageError(
            "The model is compiled for the Edge TPU already (it holds an edgetpu-custom-op), expected the file it was "
            "compiled from; see what is inside with edgeopt inspect."
        )


def _verdict(operator: Operator, rule: Rule, found: dict[str, object]) -> OpMapping:
    words = {"op": operator.name, **found}
    why, remedy = rule.said(words)
    return OpMapping(operator.index, operator.name, rule.verdict, rule.status, rule.id, why, remedy, rule.source)


def _placed(model: Model, own: dict[int, OpMapping]) -> tuple[OpMapping, ...]:
    """Apply the one-subgraph rule, once with every doubtful operator mapped and once with none."""
    graph = model.main
    certain = {index for index, found in own.items() if found.verdict == MAPPED}
    possible = {index for index, found in own.items() if found.verdict != CPU}
    at_best, at_worst = delegated(graph, possible), delegated(graph, certain)
    surely, perhaps = at_best & at_worst, at_best | at_worst
    refused = waits_for(graph, own.keys() - possible)
    doubted = waits_for(graph, own.keys() - certain)
    placed = []
    for index, found in own.items():
        if found.verdict == CPU or index in surely:
            placed.append(found)
        elif index in perhaps:
            placed.append(_stranded(found, UNSURE, own, doubted))
        else:
            placed.append(_stranded(found, CPU, own, refused))
    return tuple(placed)


def _stranded(found: OpMapping, verdict: str, own: dict[int, OpMapping], cause: dict[int, int]) -> OpMapping:
    """Return the verdict on an operator that is supported, but not where it stands."""
    if found.verdict == UNSURE and verdict == UNSURE:
        return found
    blame = own.get(cause.get(found.index, -1))
    what = "an operator before it" if blame is None else f"{blame.op} (operator {blame.index})"
    moved = "that" if blame is None else blame.op
    doubt = "may run" if verdict == UNSURE else "runs"
    return OpMapping(
        index=found.index,
        op=found.op,
        verdict=verdict,
        status=STATUS_STRANDED,
        rule="one-subgraph",
        why=f"{found.op} itself is supported, but it needs the result of {what}, which {doubt} on the CPU",
        remedy=f"make {what} fit for the Edge TPU, or move {moved} to the end of the model",
        source=_STRANDED_SOURCE,
    )


def _at_the_end(model: Model, operators: tuple[OpMapping, ...]) -> tuple[OpMapping, ...]:
    """Let no remedy say that an operator which nothing follows is to be moved to the end."""
    followed = {index for operator in model.main.operators for index in operator.inputs}
    last = {item.index for item in model.main.operators if not followed.intersection(item.outputs)}
    return tuple(
        replace(found, remedy=found.remedy.replace(_MOVE, _LEAVE)) if found.index in last else found
        for found in operators
    )


def _costed(model: Model, operators: tuple[OpMapping, ...]) -> tuple[OpMapping, ...]:
    """Add to each remedy what it costs to leave the operator on the CPU."""
    graph = model.main
    macs = {operator.index: operator_macs(graph, operator) or 0 for operator in graph.operators}
    whole = sum(macs.values())
    found = []
    for place, operator in zip(operators, graph.operators, strict=True):
        if place.verdict != MAPPED and not place.remedy.startswith("accept"):
            values = sum(graph.tensors[index].elements for index in operator.outputs)
            cost = f"{100 * macs[place.index] / whole:.1f} % of the MACs" if macs[place.index] else f"{values:,} values"
            place = replace(place, remedy=f"{place.remedy}, or accept it ({cost})")
        found.append(place)
    return tuple(found)


def _refused(model: Model, refusal: Refusal, operators: Collection[OpMapping] = ()) -> Prediction:
    """Return the prediction for a file of which nothing is mapped."""
    found = tuple(operators) or tuple(
        OpMapping(operator.index, operator.name, CPU, "", refusal.rule, refusal.why, refusal.remedy, refusal.source)
        for operator in model.main.operators
    )
    return Prediction("edgetpu", found, 0, 0, 0, refusal)


def _nothing(operators: Collection[OpMapping]) -> Refusal:
    first = next(iter(operators), None)
    if first is None:
        return Refusal("nothing-mapped", "the file holds no operators", "convert a model that computes something")
    return Refusal("nothing-mapped", f"no operator is mapped: {first.why}", first.remedy, first.source)


def _figures(model: Model, operators: Collection[OpMapping], weights: Fit) -> dict[str, object]:
    """Return MACs on either side and the memory use."""
    macs = {MAPPED: 0, CPU: 0, UNSURE: 0}
    for found, operator in zip(operators, model.main.operators, strict=True):
        macs[found.verdict] += operator_macs(model.main, operator) or 0
    return {
        "macs_mapped": macs[MAPPED],
        "macs_cpu": macs[CPU],
        "macs_unsure": macs[UNSURE],
        "capacity_bytes": weights.capacity_bytes,
        "fit_doubtful": weights.doubtful,
        "layers": [layer.to_dict() for layer in weights.layers],
    }


def _notes(weights: Fit) -> tuple[str, ...]:
    if weights.doubtful:
        total = weights.cached_bytes + weights.streamed_bytes
        return (
            f"{total:,} B of parameters may or may not fit: the room is 6.1 to 7.7 MiB, less with large activations",
        )
    return tuple(filter(None, [weights.advice()]))
