"""What ``convert`` and ``inspect`` say of a file."""

from __future__ import annotations

from typing import Literal, TypedDict

from ..artifact import contract
from ..converters.base import Repair
from ..converters.range_choice import Candidate
from ..converters.recover.kept import Step
from ..converters.selective import Selection
from ..flatbuffer.integer import DynamicTensor, FloatOperator
from ..flatbuffer.memory import MemoryUse
from ..recipes.convert import ConvertRecipe
from .edgetpu import PackageRow
from .shared import CompiledFile, Counts, Faithful, Fidelity, Images, Number, Prediction, Tensor


class Calibration(TypedDict):
    """The samples that made the ranges; `hashes` are the SHA-256 of each, as float32."""

    count: int
    seed: int
    source: str | None
    hashes: list[str]


class Front(contract.Front):
    """What is done in front of the file, and on how many samples the steps were held against the model's layers."""

    tried_on_samples: int


class Biases(TypedDict):
    """What taking the shift of rounded weights off the biases was worth (as a `Candidate`), and whether it was kept."""

    kept: bool
    snr_db: float
    gain_db: float
    noise_db: float


class Ranges(TypedDict):
    """How the ranges of integers were found, and what each method was worth on held-back samples."""

    asked: str
    used: str
    why: str
    samples: int | None
    held_back: bool | None
    candidates: dict[str, Candidate]
    biases: Biases | None


class Recovery(TypedDict):
    """What ``--recover`` did; `why` says why nothing was tried, or is empty."""

    why: str
    layers: int
    samples: int
    judges: int
    held_back: bool
    snr_db: float | None
    steps: list[Step]


class Edge(TypedDict):
    """An operator that stayed float at an end of the file."""

    end: str
    op: str
    index: int
    layer: str | None


class _SourceModel(TypedDict, total=False):
    name: str


class SourceModel(_SourceModel):
    """The model that the file was made from: a file with its hash, or the name of an object."""

    path: str | None
    sha256: str | None
    flavour: str


class ConverterFacts(TypedDict):
    """What converted, with which flags."""

    name: str
    flags: dict[str, object]


class Compiled(CompiledFile):
    """What was compiled of the file, and the library that runs it, if one does."""

    path: str
    delegate: str | None


class LowBits(TypedDict):
    """Weights of one type of fewer than 8 bits.

    Attributes:
        dtype: "int4" or "int2".
        tensors: How many constants.
        weights: How many numbers in them.
        stored_bytes: What they take in the file.
        operators: How many operators read them, by kind.
        slow: Those among them that XNNPACK does not compute with such weights.
    """

    dtype: str
    tensors: int
    weights: int
    stored_bytes: int
    operators: Counts
    slow: Counts


class _Targeted(TypedDict, total=False):
    target: str
    prediction: Prediction
    compiled: Compiled | None
    snippet: str
    artifact: str


class OnnxFacts(TypedDict):
    """An .onnx file.

    Attributes:
        opset: Version of ONNX's own operators.
        ops: Histogram of its operators.
        quantized: How many tensors stand between QuantizeLinear and DequantizeLinear.
        converter: What made it of the .tflite file.
    """

    opset: int
    ops: Counts
    quantized: int
    converter: str


class Convert(_Targeted):
    """What ``edgeopt convert --json`` writes, and the sidecar beside the file.

    Attributes:
        verdict: "unfaithful" where the outputs are not the model's, "not proven" where they hardly move.
        artifact: The file.
        snippet: The lines of Python that run it on a board.
        target: With ``--target``: the accelerator.
        compiled: With ``--target``: the compiled file; null with ``--predict-only``.
        format: "tflite", "onnx" or "tensorrt".
        onnx: Of an .onnx file; null for a .tflite file.
        size_bytes: Raw.
        gzip_bytes: After gzip, level 9.
        fully_int8: Whether no float tensor is left and inputs and outputs have 8 bits.
        float_ops: The operators that read or write float tensors; for .onnx those of the .tflite file behind it.
        granularity: "per-channel" or "per-tensor", by kind of operator.
        low_bits: Weights of fewer than 8 bits, by type.
        ops: Histogram of the operators.
        macs: Multiply-accumulates of one inference.
        peak_activation_bytes: As TFLite places them; null for an .onnx file.
        expanded_weight_bytes: Likewise.
        binary_macs: Those of one bit, which are not in `macs`.
        stateful: Whether an inference depends on earlier ones.
        edges: Operators that stayed float at an input or output.
        selective: Operators that stayed float on request.
        seconds: How long each stage took.
        tools: Versions, by name of the package.
    """

    verdict: Faithful
    format: str
    onnx: OnnxFacts | None
    sha256: str
    size_bytes: int
    gzip_bytes: int
    quantize: str
    fully_int8: bool
    float_ops: list[FloatOperator]
    granularity: dict[str, str]
    low_bits: list[LowBits]
    inputs: list[Tensor]
    outputs: list[Tensor]
    ops: Counts
    macs: int
    binary_macs: int
    parameters: int
    stateful: bool
    peak_activation_bytes: int | None
    expanded_weight_bytes: int | None
    calibration: Calibration | None
    images: Images | None
    front: Front | None
    back: contract.Back | None
    preprocess: str
    ranges: Ranges | None
    repairs: list[Repair]
    recovery: Recovery | None
    edges: list[Edge]
    selective: Selection | None
    fidelity: Fidelity | None
    warnings: list[str]
    seconds: dict[str, float]
    recipe: ConvertRecipe
    source_model: SourceModel
    converter: ConverterFacts
    tools: dict[str, str | None]


class SubgraphRow(TypedDict):
    """A subgraph; inputs and outputs are indices of its tensors."""

    index: int
    name: str
    operators: int
    tensors: int
    inputs: list[int]
    outputs: list[int]


class SignatureRow(TypedDict):
    """A signature: names of arguments, and indices of their tensors."""

    key: str
    subgraph: int
    inputs: Counts
    outputs: Counts


class MetadataRow(TypedDict):
    """A metadata buffer; `text` is null where it is binary."""

    name: str
    size_bytes: int
    text: str | None


class Operand(TypedDict):
    """A tensor that an operator reads or writes."""

    tensor: int
    dtype: str
    shape: list[int]
    constant: bool


class OperatorRow(TypedDict):
    """An operator; an input that is null is absent. `macs` is null where it is not known."""

    subgraph: int
    index: int
    op: str
    version: int
    custom: bool
    inputs: list[Operand | None]
    outputs: list[Operand | None]
    macs: int | None
    weight_bytes: int
    options: dict[str, object]
    custom_options_bytes: int


class QuantizationRow(TypedDict):
    """The scales of a tensor."""

    granularity: Literal["per-channel", "per-tensor"]
    axis: int | None
    scales: int
    scale_min: Number
    scale_max: Number
    zero_point_min: int
    zero_point_max: int


class TensorRow(TypedDict):
    """A tensor: its bytes when in use, and in the file."""

    subgraph: int
    index: int
    name: str
    dtype: str
    shape: list[int]
    signature: list[int]
    constant: bool
    variable: bool
    sparse: bool
    nbytes: int
    stored_bytes: int
    quantization: QuantizationRow | None


class Inspect(TypedDict):
    """What ``edgeopt inspect --json`` writes.

    Attributes:
        file: Its path.
        dynamic_dimensions: Tensors whose shape is not fixed in the file.
        edgetpu: The packages of a file that was compiled for the Edge TPU.
        low_bits: Weights of fewer than 8 bits, by type.
        macs_unknown: Operators whose work is not known, and is not in `macs`.
        binary_macs: Multiply-accumulates of one bit, which are not in `macs`.
    """

    verdict: Literal["ok"]
    file: str | None
    size_bytes: int
    gzip_bytes: int
    fully_int8: bool
    float_ops: list[FloatOperator]
    dynamic_dimensions: list[DynamicTensor]
    granularity: dict[str, str]
    low_bits: list[LowBits]
    edgetpu: list[PackageRow]
    inputs: list[Tensor]
    outputs: list[Tensor]
    ops: Counts
    macs: int
    macs_unknown: list[str]
    binary_macs: int
    parameters: int
    peak_activation_bytes: int
    memory: MemoryUse
    description: str
    subgraphs: list[SubgraphRow]
    signatures: list[SignatureRow]
    metadata: list[MetadataRow]
    operators: list[OperatorRow]
    tensors: list[TensorRow]
