"""What was measured of each operator, as node data of Model Explorer: colours on its graph of the .tflite file.

The form is that of ``model_explorer.node_data_builder.GraphNodeData``: ``results`` by the name of a tensor that the
operator writes, each with a ``value`` and perhaps a colour, and a ``gradient`` from the least value to the greatest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import UsageError
from ..evaluation.sensitivity import OperatorSensitivity
from ..flatbuffer import Model
from ..flatbuffer.profiled import profiled_operators

# White to red: what costs most stands out. For a verdict: green on the accelerator, red on the CPU, yellow unsure.
_GRADIENT = [{"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#e34a33"}]
_VERDICTS = {"ok": (1, "#a1d99b"), "skipped": (0, "#fc9272"), "unsure": (0.5, "#ffeda0")}


def latency_data(model: Model, profile: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the milliseconds of each operator of an inference; what a kernel fused is told of its first operator.

    Args:
        model: The file that was timed.
        profile: The ``op_profile`` of a bench.

    Raises:
        UsageError: There is no profile, or no operator of the file is known in it.
    """
    rows = (profile or {}).get("operators", [])
    values: dict[str, float] = {}
    for row, operator in zip(rows, profiled_operators(model, rows), strict=True):
        if operator is not None and operator.outputs:
            name = model.main.tensors[operator.outputs[0]].name
            values[name] = values.get(name, 0.0) + row["ms"]
    if not values:
        why = (profile or {}).get("problem", "no operator of the file can be told in the profile")
        raise UsageError(f"There is no time of each operator for Model Explorer: {why}; run it with ai_edge_litert.")
    return _graph({name: {"value": value} for name, value in values.items()})


def noise_data(operators: Iterable[OperatorSensitivity]) -> dict[str, Any]:
    """Return each operator's share of the noise that int8 puts into the outputs, in [0, 1]."""
    return _graph({row.tensor: {"value": row.noise_share} for row in operators})


def mapping_data(verdicts: Mapping[str, str]) -> dict[str, Any]:
    """Return 1 for each operator that an accelerator would run, 0 for what stays on the CPU, and 0.5 for unsure.

    Args:
        verdicts: Of the operators that write these tensors: "ok", "skipped" or "unsure", as a check's items have it.

    Raises:
        UsageError: There are none.
    """
    if not verdicts:
        raise UsageError("There is no mapping of operators for Model Explorer; name an accelerator (--for edgetpu).")
    found = {name: _VERDICTS[verdict] for name, verdict in verdicts.items()}
    return _graph({name: {"value": value, "bgColor": colour} for name, (value, colour) in found.items()})


def _graph(results: Mapping[str, Mapping[str, object]]) -> dict[str, Any]:
    return {"results": dict(results), "gradient": _GRADIENT}


def as_node_data(data: Mapping[str, Any]) -> bytes:
    """Return node data as the file that Model Explorer takes ("Add per-node data")."""
    return (json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
