"""What LiteRT's GPU accelerator takes of a .tflite file, told without a GPU.

There is no compiler to ask: the accelerator looks at each operator when a model is loaded on a board. The lists and
rules are what it said of some 160 small files on a Vulkan in software (ai-edge-litert 2.3.0); they follow
``lite/tools/versioning/gpu_compatibility.cc`` of TensorFlow, which is older. The analyzers of TensorFlow 2.19 and of
ai-edge-litert 2.3 are no help: they call every file compatible, those that the accelerator refuses, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..flatbuffer import Model, Operator, Subgraph
from ..flatbuffer.macs import operator_macs
from .accelerator import CPU, MAPPED, UNSURE, OpMapping, Prediction, Refusal
from .edgetpu.context import EIGHT_BITS, OpContext
from .edgetpu.partition import node_subsets

GPU = "gpu"
# What the accelerator wants of a conversion.
RECIPE = {"quantize": "float16"}
SOURCE = "ai-edge-litert 2.3.0 on a Vulkan in software"

_MAPPED, _LEFT = "Runs on the GPU", "Runs on the CPU"
_TAKEN = """
ABS ADD ADD_N ARG_MAX ATAN2 AVERAGE_POOL_2D BATCH_MATMUL CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D
DEPTH_TO_SPACE DEQUANTIZE DIV ELU EQUAL EXP FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GELU GREATER
GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_OR LOGISTIC MAXIMUM MAX_POOL_2D MEAN
MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD PADV2 POW PRELU QUANTIZE REDUCE_ANY REDUCE_MAX REDUCE_MIN
REDUCE_PROD RELU RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT
SELECT_V2 SIGN SIN SOFTMAX SPACE_TO_DEPTH SPLIT SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TILE TOPK_V2
TRANSPOSE TRANSPOSE_CONV UNPACK
"""
_REFUSED = """
ARG_MIN BATCH_TO_SPACE_ND COMPLEX_ABS CONV_3D GATHER_ND L2_NORMALIZATION LOCAL_RESPONSE_NORMALIZATION LOG_SOFTMAX
NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 RFFT2D SCATTER_ND SPACE_TO_BATCH_ND WHILE
"""
_TYPES = ("float32", "float16", "int32", "bool", *EIGHT_BITS)
_MOST_DIMENSIONS = 4
_NOTHING = "nothing-mapped"
_ELSEWHERE = "write the layer with other operators, or move it to the end of the model"


@dataclass(frozen=True)
class _Rule:
    """Why an operator that is taken otherwise is not: `check` returns the reason, or None.

    Attributes:
        id: The rule's name.
        ops: Operators it speaks of; none for all.
        check: Looks at one operator.
        remedy: What to do.
    """

    id: str
    ops: Collection[str]
    check: Callable[[OpContext], str | None]
    remedy: str


def _type(context: OpContext) -> str | None:
    odd = [tensor for tensor in context.activations() if tensor.dtype not in _TYPES]
    return f"tensor {odd[0].name!r} has the type {odd[0].dtype}" if odd else None


def _rank(context: OpContext) -> str | None:
    deep = [tensor for tensor in context.activations() if len(tensor.shape) > _MOST_DIMENSIONS]
    return f"tensor {deep[0].name!r} has {len(deep[0].shape)} dimensions, and 4 are the most" if deep else None


def _strided(context: OpContext) -> str | None:
    masks = [mask for mask in ("shrink_axis_mask", "new_axis_mask", "ellipsis_mask") if context.number(mask)]
    if masks:
        return f"it has a {masks[0]}: it removes or adds a dimension"
    return "it has a negative stride" if any(step < 0 for step in context.integers(3) or ()) else None


def _padding(context: OpContext) -> str | None:
    rank = len(context.shape())
    return None if rank in (3, 4) else f"it pads {rank} dimensions, and 3 or 4 are taken"


def _mirror(context: OpContext) -> str | None:
    return (
        None if context.option("mode") == "REFLECT" else "it repeats the edge (SYMMETRIC), and REFLECT alone is taken"
    )


def _indices(context: OpContext) -> str | None:
    rank = len(context.shape(1))
    return None if rank == 1 else f"its indices have {rank} dimensions, and 1 is taken"


def _addends(context: OpContext) -> str | None:
    count = len(context.operator.inputs)
    return None if count == 2 else f"it adds {count} tensors, and 2 are taken"


_RULES = (
    _Rule("type", (), _type, "compute with float32 or int32 (argmax with output_type=int32)"),
    _Rule("rank", (), _rank, "reshape to 4 dimensions or fewer, or move it to the end of the model"),
    _Rule(
        "slice", ("STRIDED_SLICE",), _strided, "slice with ranges (x[:, 0:1]) and steps above 0, and reshape after it"
    ),
    _Rule("padding", ("PAD", "PADV2", "MIRROR_PAD"), _padding, "reshape to 3 or 4 dimensions before it"),
    _Rule("mirror", ("MIRROR_PAD",), _mirror, "pad with mode REFLECT"),
    _Rule("indices", ("GATHER",), _indices, "look up one row of indices, without a batch dimension"),
    _Rule("addends", ("ADD_N",), _addends, "add two at a time"),
)


@dataclass(frozen=True)
class GpuPredictor:
    """Applies the rules to each operator, and keeps the largest part of the graph, as the accelerator does.

    Example:
        >>> GpuPredictor().predict(read_model(data), data).cpu_ops
        {'L2_NORMALIZATION': 1, 'SIN': 1}
    """

    target: str = GPU

    def predict(self, model: Model, data: bytes = b"") -> Prediction:
        """Predict the mapping (see `Predictor.predict`)."""
        graph = model.main
        own = {operator.index: _judge(OpContext(graph, operator)) for operator in graph.operators}
        possible = {index for index, found in own.items() if found.verdict != CPU}
        parts = [nodes for on_gpu, nodes in node_subsets(graph, possible) if on_gpu]
        kept = set(max(parts, key=len, default=()))
        placed = tuple(_stranded(found) if index in possible - kept else found for index, found in own.items())
        refusal = _refusal(model, placed)
        if refusal is not None and refusal.rule != _NOTHING:
            placed = tuple(_left(item, CPU, refusal.rule, refusal.why, refusal.remedy) for item in graph.operators)
        return Prediction(GPU, placed, 0 if refusal else 1, refusal=refusal, figures=_figures(model, placed))


def _judge(context: OpContext) -> OpMapping:
    """Return the verdict on one operator by itself."""
    operator = context.operator
    if operator.custom or operator.name in _REFUSED.split():
        return _left(operator, CPU, "operator", "the accelerator does not have this operator", _ELSEWHERE)
    for rule in _RULES:
        why = rule.check(context) if not rule.ops or operator.name in rule.ops else None
        if why is not None:
            return _left(operator, CPU, rule.id, why, rule.remedy)
    if operator.name not in _TAKEN.split():
        return _left(operator, UNSURE, "not-tried", "it was not tried on the accelerator", "run it on the board")
    return OpMapping(operator.index, operator.name, MAPPED, _MAPPED)


def _left(operator: Operator, verdict: str, rule: str, why: str, remedy: str) -> OpMapping:
    return OpMapping(operator.index, operator.name, verdict, _LEFT, rule, why, f"{remedy}, or accept it", SOURCE)


def _stranded(found: OpMapping) -> OpMapping:
    why = "it is taken, but the accelerator runs one part of the graph, and another part is larger"
    remedy = "make the operators between the parts fit for the GPU, or accept it"
    return OpMapping(found.index, found.op, CPU, _LEFT, "one-part", why, remedy, SOURCE)


def _refusal(model: Model, operators: Collection[OpMapping]) -> Refusal | None:
    """Return why nothing of the file runs on the GPU, or None."""
    graph = model.main
    if any(tensor.is_variable for tensor in graph.tensors):
        why = "the file keeps state between operators (variable tensors), and the accelerator does not load such files"
        return Refusal("state", why, "unroll the recurrent layers (unroll=True), or run it on the CPU", SOURCE)
    eight_bits = [item.name for item in graph.operators if item.name != "DEQUANTIZE" and _in_integers(graph, item)]
    if eight_bits:
        why = f"the file computes with integers ({eight_bits[0]}), for which the accelerator has other answers"
        return Refusal("integers", why, "convert it with --quantize float16", SOURCE)
    if not any(found.verdict != CPU for found in operators):
        first = next(iter(operators), None)
        why = (
            "the file holds no operators" if first is None else f"no operator runs on the GPU ({first.op}: {first.why})"
        )
        return Refusal(_NOTHING, why, "run it on the CPU" if first is None else first.remedy, SOURCE)
    return None


def _in_integers(graph: Subgraph, operator: Operator) -> bool:
    flowing = OpContext(graph, operator).activations()
    return any(tensor.dtype in EIGHT_BITS and tensor.quantization is not None for tensor in flowing)


def _figures(model: Model, operators: Collection[OpMapping]) -> dict[str, object]:
    macs = {MAPPED: 0, CPU: 0, UNSURE: 0}
    for found, operator in zip(operators, model.main.operators, strict=True):
        macs[found.verdict] += operator_macs(model.main, operator) or 0
    return {f"macs_{verdict}": count for verdict, count in macs.items()}
