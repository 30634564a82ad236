"""Operators of TensorFlow that TFLite lacks, found in a step before anything is converted."""

from __future__ import annotations

from typing import Any

from ..graph.read import Step, run_step
from ..graph.structure import Ref, refs_in

# Those that Keras' layers, keras.ops and common code come to; TensorFlow 2.19's converter refuses each. Erf and Erfc
# are not among them: inside a GELU they are one operator of the file.
LACKING = frozenset(
    {
        "Acos", "Acosh", "AsString", "Asin", "Asinh", "Atan", "Atanh", "AvgPool3D", "BesselI0", "Betainc", "BitwiseAnd",
        "CTCGreedyDecoder", "Cholesky", "Cosh", "CropAndResize", "Cumprod", "DenseBincount", "Digamma", "Dilation2D",
        "Erfinv", "ExtractImagePatches", "FractionalMaxPool", "HistogramFixedWidth", "IFFT", "IRFFT", "Igamma",
        "InTopKV2", "LowerBound", "MatrixDeterminant", "MatrixInverse", "MatrixSolve", "MatrixTriangularSolve",
        "MaxPool3D", "MaxPoolWithArgmax", "NextAfter", "Polygamma", "Qr", "ResizeArea", "ResizeBicubic",
        "ScaleAndTranslate", "SelfAdjointEigV2", "Sinh", "Softsign", "SparseTensorDenseMatMul", "Svd", "Tan", "Zeta",
    }
)  # fmt: skip


def lacking(step: Step) -> tuple[str, ...]:
    """Return the operators of a step, as at inference, that TFLite is known to lack; () where it cannot be traced."""
    import tensorflow as tf

    refs = list(dict.fromkeys(refs_in((step.args, step.kwargs))))

    def compute(*tensors: Any) -> Any:
        given: dict[Ref, Any] = dict(zip(refs, tensors, strict=True))
        return run_step(step, given.__getitem__)

    try:
        specs = [tf.TensorSpec((1, *ref.shape[1:]), ref.dtype) for ref in refs]
        graph = tf.function(compute, autograph=False).get_concrete_function(*specs).graph.as_graph_def()
    except Exception:  # the user's own layers may raise anything, and the conversion will tell
        return ()
    return tuple(sorted({node.op for node in nodes_of(graph)} & LACKING))


def nodes_of(graph: Any) -> list[Any]:
    """Return the nodes of a graph definition and of its functions."""
    return [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
