"""Layers of Keras whose configuration names something more: a function or operator of TensorFlow, a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .tables import PURE_FUNCTIONS, PURE_OPERATORS, RAGGED_ATTRIBUTES


def fault(kind: str, config: Any) -> str:
    """Return what a layer of this class and configuration does that no layer should; empty if nothing.

    Example:
        >>> fault("TFOpLambda", {"function": "io.write_file"})
        "calls the TensorFlow function 'io.write_file', which is not known to only compute"
    """
    judge = _JUDGES.get(kind)
    if judge is None:
        return ""
    return judge(config) if isinstance(config, Mapping) else "has no configuration"


def _function(config: Mapping[str, Any]) -> str:
    name = config.get("function")
    if isinstance(name, str) and name.removeprefix("compat.v1.") in PURE_FUNCTIONS:
        return ""
    return f"calls the TensorFlow function {str(name)[:100]!r}, which is not known to only compute"


def _operator(config: Mapping[str, Any]) -> str:
    name = _operator_of(config.get("node_def"))
    return "" if name in PURE_OPERATORS else f"runs the operator {name[:100]!r}, which is not known to only compute"


def _operator_of(node: Any) -> str:
    """The operator of a node, read as tf_keras reads it."""
    if isinstance(node, Mapping):
        return str(node.get("op"))
    import tensorflow as tf

    try:
        return str(tf.compat.v1.NodeDef.FromString(str(node).encode()).op)
    except Exception:  # protobuf's errors have no common base; whatever this node is, it names no known operator
        return "?"


def _method(config: Mapping[str, Any]) -> str:
    symbol, name = config.get("cls_symbol"), config.get("method_name")
    return "" if symbol == "RaggedTensor" and name in RAGGED_ATTRIBUTES else f"calls the method {symbol}.{name}"


def _attribute(config: Mapping[str, Any]) -> str:
    names = [config[key] for key in ("attr_name", "method_name") if key in config]
    known = names and all(isinstance(name, str) and name in RAGGED_ATTRIBUTES for name in names)
    return "" if known else f"takes the attribute {str(names)[:100]} of a tensor"


def _vocabulary(config: Mapping[str, Any]) -> str:
    value = config.get("vocabulary")
    return f"reads the file {value[:100]!r} as its vocabulary" if isinstance(value, str) else ""


_JUDGES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "TFOpLambda": _function,
    "SlicingOpLambda": _function,
    "TensorFlowOpLayer": _operator,
    "ClassMethod": _method,
    "InstanceMethod": _attribute,
    "InstanceProperty": _attribute,
    "IndexLookup": _vocabulary,
    "IntegerLookup": _vocabulary,
    "StringLookup": _vocabulary,
    "TextVectorization": _vocabulary,
}
