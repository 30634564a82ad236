"""JSON Schema of what every verb, and the agent, writes with ``--json``, made from types: one a kind of result.

A result says which it is in its field ``kind``. A new field of a result is a line in its type. This room may import
what the values are declared in (converters, devices, evaluation), and no TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal

from ..artifact.envelope import SCHEMA_VERSION
from ..errors import UsageError, nearest
from .derive import Definitions, Schema, object_schema, schema_of

# kind of result -> "module:type"
KINDS: dict[str, str] = {
    "convert": "files:Convert",
    "inspect": "files:Inspect",
    "validate": "measured:Validate",
    "validate-devices": "measured:ValidateDevices",
    "optimize": "runs:Optimize",
    "optimize-plan": "runs:OptimizePlan",
    "check": "checked:Check",
    "sensitivity": "runs:Sensitivity",
    "edgetpu-compile": "edgetpu:EdgetpuCompile",
    "edgetpu-predict": "edgetpu:EdgetpuPredict",
    "edgetpu-segments": "edgetpu:EdgetpuSegments",
    "edgetpu-diff": "edgetpu:EdgetpuDiff",
    "bench": "measured:Bench",
    "bench-devices": "measured:BenchDevices",
    "bench-pipeline": "pipelines:Pipeline",
    "bench-pipeline-devices": "pipelines:PipelineDevices",
    "parity": "measured:Parity",
    "parity-golden": "measured:ParityGolden",
    "compare": "measured:Compare",
    "bundle": "measured:Bundle",
    "verify": "measured:Verify",
    "devices-add": "boards:DevicesAdd",
    "devices-list": "boards:DevicesList",
    "devices-show": "boards:DevicesShow",
    "devices-remove": "boards:DevicesRemove",
    "devices-check": "boards:DevicesCheck",
    "devices-setup": "boards:DevicesSetup",
    "devices-clean": "boards:DevicesClean",
    "agent": "boards:Agent",
    "agent-bench": "byhand:AgentBench",
    "agent-eval": "byhand:AgentEval",
    "agent-info": "byhand:AgentInfo",
    "demo": "runs:Demo",
}


def schema(kind: str) -> Schema:
    """Return the JSON Schema (draft 2020-12) of one kind of result; it needs no other document.

    Args:
        kind: A key of `KINDS`: what the result's field ``kind`` says.

    Raises:
        UsageError: There is no such kind.

    Example:
        >>> jsonschema.validate(json.load(open("report.json")), schema("validate"))
    """
    if kind not in KINDS:
        raise UsageError(f"Unknown kind of result {kind!r}{nearest(kind, KINDS)}")
    module, name = KINDS[kind].split(":")
    known = Definitions()
    found = object_schema(getattr(importlib.import_module(f".{module}", __name__), name), known)
    properties: dict[str, Any] = {
        "schema_version": {"const": SCHEMA_VERSION},
        "tool": schema_of(importlib.import_module(".shared", __name__).Tool, known),
        "kind": schema_of(Literal[kind], known),
        **found["properties"],
    }
    required = list(dict.fromkeys(["schema_version", "tool", "kind", *found["required"]]))
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"edgeopt: {kind}"}
    return {
        **head,
        **found,
        "properties": properties,
        "required": required,
        "$defs": dict(sorted(known.schemas.items())),
    }
