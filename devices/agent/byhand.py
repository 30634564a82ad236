"""The agent without a host: ``python3 edgeopt-agent.pyz bench model.tflite``, and its tables."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Dict, List, Mapping, Optional

from .conditions import board, state
from .processes import measure
from .protocol import AgentError, Message
from .records import Evaluated
from .runtimes import AUTO, KERNELS, KNOWN
from .scratch import scratch
from .sidecar import read_ends
from .supervisor import Supervisor
from .tables import info_table, result_table

NONCE = "by-hand"

EPILOG = """\
Data are .npy files of real values, shape (samples, ...); they are quantised with the file's own scale and zero point.
Where MODEL.json lies beside MODEL.tflite and says how the model's data are prepared, or outputs joined, that is done,
too; --outputs then has the model's outputs as joined-0.npy, ...
For a model with several inputs give --inputs NAME=FILE for each. "auto" takes ai_edge_litert when it is installed,
then tflite_runtime; an .onnx file takes --runtime onnxruntime. Without a command the agent waits for a request of a
host on stdin; --detached makes it outlive the end of stdin.
"""


def main(arguments: List[str]) -> int:
    """Run ``bench``, ``eval`` or ``info``; return 0, or the exit status of the error."""
    options = _parser().parse_args(arguments)
    try:
        result = _info() if options.command == "info" else _measure(options)
    except AgentError as error:
        remedy = error.details.get("remedy")
        sys.stderr.write("edgeopt-agent: %s\n" % (error.message + ("; %s" % remedy if remedy else "")))
        return EXIT_CODES.get(error.kind, 1)
    except KeyboardInterrupt:
        return 130
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(info_table(result) if options.command == "info" else result_table(result))
    return 0


# As `edgeopt` itself exits: 2 for files and data, 3 for the model, 5 for the device.
EXIT_CODES = {
    "request": 2,
    "data": 2,
    "file": 2,
    "storage": 5,
    "unsupported": 3,
    "invoke": 3,
    "runtime_missing": 5,
    "delegate": 5,
    "memory": 5,
    "crashed": 5,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgeopt-agent.pyz",
        description="Measures a .tflite file on this device; needs NumPy and a TFLite runtime.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="bench | eval | info")
    commands.required = True
    bench = commands.add_parser("bench", help="time a model, and score it where --labels are given")
    bench.add_argument("--runs", type=int, metavar="N", help="at most this many timed runs")
    bench.add_argument("--seconds", type=float, metavar="S", help="at most this long")
    bench.add_argument("--processes", type=int, metavar="N", help="fresh processes to spread the timing over (9)")
    bench.add_argument("--op-profile", action="store_true", help="tell the time of each operator, too")
    evaluation = commands.add_parser("eval", help="run data through a model, and score it where --labels are given")
    evaluation.add_argument("--outputs", metavar="FOLDER", help="keep the outputs there, as .npy files")
    for command in (bench, evaluation):
        command.add_argument("model", metavar="MODEL.tflite")
        command.add_argument("--inputs", action="append", default=[], metavar="[NAME=]X.npy", help="the data")
        command.add_argument("--labels", metavar="Y.npy", help="class numbers, or the values to be predicted")
        command.add_argument("--runtime", choices=(AUTO, *KNOWN), default=AUTO)
        command.add_argument("--delegate", metavar="edgetpu|gpu|LIBRARY", help="run the model with it")
        command.add_argument("--threads", type=int, default=1, metavar="N", help="threads of one inference (1)")
        command.add_argument("--kernels", choices=sorted(KERNELS), default="default", help="as it says (default)")
    info = commands.add_parser("info", help="tell what this device is, and which runtimes load")
    for command in (bench, evaluation, info):
        command.add_argument("--json", action="store_true", help="print JSON, not a table")
    return parser


def _info() -> Message:
    return _envelope("info", {"board": board(), "state": state(), "runtimes": Supervisor().probe(NONCE)})


def _measure(options: argparse.Namespace) -> Message:
    if not options.inputs and (options.labels or options.command == "eval"):
        raise AgentError("request", "--inputs is missing: the data that the model is to be run on")
    folder = getattr(options, "outputs", None)
    if folder:
        os.makedirs(folder, exist_ok=True)
        return _measured(options, folder, [])
    with scratch() as own:
        return _measured(options, own.path, [own.lock])


def _measured(options: argparse.Namespace, folder: str, inherit: List[int]) -> Message:
    asked = bool(options.labels) or "" in _named(options.inputs)
    supervisor, ends = Supervisor(inherit), read_ends(options.model, asked)
    try:
        result = measure(supervisor, dict(_request(options, folder), front=ends.get("front")))
        return _report(options, result, ends.get("back"), folder)
    finally:
        supervisor.stop()


def _request(options: argparse.Namespace, folder: str) -> Message:
    request: Message = {
        "nonce": NONCE,
        "op": "measure",
        "quiet": True,
        "model": options.model,
        "runtime": options.runtime,
        "threads": options.threads,
        "kernels": options.kernels,
        "delegate": options.delegate,
        "folder": folder,
    }
    if options.inputs:
        request["inputs"] = _named(options.inputs)
    if options.command == "bench":
        request["bench"] = _bounds(options)
        request["op_profile"] = options.op_profile
    request["evaluate"] = options.command == "eval" or bool(options.labels)
    return request


def _named(inputs: List[str]) -> Dict[str, str]:
    """Return input name -> file; a single file without a name goes to the model's only input."""
    named: Dict[str, str] = {}
    for text in inputs:
        name, equals, path = text.partition("=")
        if not equals or os.path.exists(text):
            name, path = "", text
        if name in named:
            raise AgentError("request", "--inputs %s is there twice; name each of several inputs once" % text)
        named[name] = path
    return named


def _bounds(options: argparse.Namespace) -> Dict[str, float]:
    bounds: Dict[str, float] = {}
    if options.runs is not None:
        bounds.update(max_runs=options.runs, min_runs=min(50, options.runs))
    if options.seconds is not None:
        bounds.update(max_seconds=options.seconds, min_seconds=min(2.0, options.seconds))
    if options.processes is not None:
        bounds["processes"] = options.processes
    return bounds


def _report(options: argparse.Namespace, result: Message, back: Optional[Message], folder: str) -> Message:
    """Return the result as it is printed; NumPy is known to load by now."""
    from .ends import joined, save
    from .scores import read_outputs, score
    from .stats import latency_figures

    fields: Message = {"model": options.model, "kernel_profile": result["kernel_profile"]}
    fields["runtimes_skipped"] = result["runtimes_skipped"]
    if "latency" in result:
        fields.update(latency_figures(result["latency"]))
        fields["conditions"] = result["latency"]["conditions"]
        fields["emulated"] = fields["conditions"]["board"]["emulated"]
        if fields["emulated"]:
            fields["latency_note"] = "not a measurement: the board is emulated"
    if "op_profile" in result:
        fields["op_profile"] = result["op_profile"]
    if "evaluation" in result:
        found: Evaluated = result["evaluation"]
        fields["samples"] = found["samples"]
        fields["evaluation"] = {name: dict(found)[name] for name in ("batch", "workers", "reasons", "seconds")}
        outputs = read_outputs(found["outputs"]) if options.labels or back else []
        if back:
            outputs = joined(back, [item["name"] for item in found["outputs"]], outputs)
            save(outputs, folder)
        if options.labels:
            fields.update(score(outputs, options.labels))
    return _envelope(options.command, fields)


def _envelope(command: str, fields: Mapping[str, object]) -> Message:
    head = {"schema_version": 1, "tool": {"name": "edgeopt-agent"}, "kind": "agent-" + command, "verdict": "ok"}
    return dict(head, **fields)
