"""Readers of TOML, JSON and other text that comes as a file: recipes, inventories, rules, sidecars, reports, logs."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from edgeopt.api.pictures import image_options, sidecar_table
from edgeopt.api.validate import _seen
from edgeopt.artifact import Artifact
from edgeopt.artifact.outside import loads
from edgeopt.converters.edgetpu.log import parse_log
from edgeopt.converters.edgetpu.predict import EdgeTpuPredictor
from edgeopt.converters.edgetpu.rules import load_rules
from edgeopt.converters.ethosu.summary import read_reasons, read_summary
from edgeopt.devices.boards.inventory import Inventory
from edgeopt.errors import BudgetError, FileFormatError, InvalidRunError
from edgeopt.evaluation.budget import Budget
from edgeopt.evaluation.fidelity import Cause, compare_outputs
from edgeopt.evaluation.metrics import load_metric
from edgeopt.evaluation.report import Answers, ValidationReport, build_report
from edgeopt.flatbuffer import read_model
from edgeopt.passes.registry import plan
from edgeopt.recipes.convert import convert_recipe_from_file
from edgeopt.recipes.optimize import BUILT_IN, OptimizeRecipe, built_in_text

from ...flatbuffer.conftest import build_small_file
from ..lines import CHECKOUT
from ..mutator import mutate_json, mutate_lines, mutate_toml
from ..readers import Reader


@cache
def _folder() -> Path:
    """Return a folder of this process."""
    return Path(tempfile.mkdtemp())


def _file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


def _recipes() -> Mapping[str, bytes]:
    many = '[convert]\nquantize = "int8"\nimage_size = [96, 96]\ninput_shapes = {a = [1, 8], "b c" = [1, 4, 4]}\nseed = 3\n'
    distil = '[[pass]]\nkind = "finetune"\nepochs = 2\nearly_stop = {metric = "val_loss", patience = 1}\nskip = ["a"]\n'
    prune = (
        '[[pass]]\nkind = "prune"\nsparsity = 0.5\nlayers = {dense = 0.9}\n[[pass]]\nkind = "cluster"\nclusters = 16\n'
    )
    budget = "[budget]\nmax_drop = 0.01\nmax_p95_ms = 20\nmax_size_bytes = 1000000\nproven = true\n"
    made = {"convert": many, "passes": prune + budget, "distil": distil + budget}
    return {name: text.encode() for name, text in {**made, **{name: built_in_text(name) for name in BUILT_IN}}.items()}


def _recipe(data: bytes) -> None:
    path = _file("recipe.toml", data)
    if data.lstrip().startswith(b"[convert]"):
        json.dumps(convert_recipe_from_file(path).to_dict(), allow_nan=False)
    found = OptimizeRecipe.load(path)
    for table in found.passes:
        plan(table)
    again = _file("again.toml", found.to_toml().encode())
    assert OptimizeRecipe.load(again).to_tables() == found.to_tables()


def _inventories() -> Mapping[str, bytes]:
    both = (
        '[devices.kitchen]\nprofile = "rpi4"\nhost = "pi@kitchen.local"\nport = 2222\npython = "~/venv/bin/python"\n'
        'workdir = ".cache/x"\nssh_config = "~/config"\n\n# another\n[devices."a b"]\nprofile = "coral-usb"\nhost = "::1"\n'
    )
    return {"both": both.encode(), "inline": b'devices = {x = {profile = "generic-arm64", host = "h"}}\n'}


def _inventory(data: bytes) -> None:
    user = _file("devices.toml", b'[devices.kitchen]\nprofile = "rpi4"\nhost = "pi@kitchen.local"\npython = "/p"\n')
    path = _file("edgeopt-devices.toml", data)
    found = Inventory([path, user], project=path)
    for board in found.boards():
        found.notes(board.name), board.transport(), board.to_dict()
        found.add(board, replace=True)
        found.remove(board.name)


def _rules() -> Mapping[str, bytes]:
    whole = (CHECKOUT / "converters" / "edgetpu" / "rules.toml").read_bytes()
    parts = whole.split(b"[[rule]]")
    few = [part for part in parts[1:] if b"with" in part][:4] + parts[1:4]
    return {"whole": whole, "few": b"[[rule]]".join([parts[0], *few])}


@cache
def _small() -> bytes:
    return build_small_file()


def _rules_read(data: bytes) -> None:
    rules = load_rules(_file("rules.toml", data))
    EdgeTpuPredictor(rules).predict(read_model(_small()), _small())


def _fidelity() -> dict[str, object]:
    """Of a file whose outputs are not the model's."""
    found = compare_outputs({"y": np.eye(9)}, {"y": np.ones((9, 9))}, [0.5], held_back=True)
    cause = Cause("ADD", 3, "mask", "t", 1e7, -2.0, "mask", "mask with a value such as -100")
    return dataclasses.replace(found, cause=cause).to_dict()


def _sidecars() -> Mapping[str, bytes]:
    tensor = {"name": "x", "shape": [1, 4], "dtype": "int8", "scale": 0.5, "zero_point": 0}
    head = {"schema_version": 1, "tool": {"name": "edgeopt", "version": "0"}, "verdict": "ok"}
    made = {
        **head,
        "sha256": hashlib.sha256(_small()).hexdigest(),
        "size_bytes": len(_small()),
        "warnings": ["a"],
        "fully_int8": True,
        "calibration": {"samples": 2, "hashes": ["0" * 64, "1" * 64]},
        "images": {"size": [8, 8], "scaling": "0..1", "resize": "bilinear", "classes": ["cat", "dog"]},
        "recipe": {
            "quantize": "int8",
            "image_size": [8, 8],
            "image_scaling": "0..1",
            "image_resize": "nearest",
            "min_fidelity": 20,
        },
        "ops": {"CONV_2D": 1},
        "fidelity": _fidelity(),
        "inputs": [tensor],
        "outputs": [tensor],
    }
    return {"whole": json.dumps(made).encode(), "bare": json.dumps(head).encode()}


def _sidecar(data: bytes) -> None:
    side, model = _folder() / "model.json", _folder() / "model.tflite"
    side.write_bytes(data)
    if not model.exists():
        model.write_bytes(_small())
    found = Artifact.load(model)
    assert all(isinstance(text, str) for text in found.warnings)
    image_options(found), sidecar_table(found, "images").get("classes", ()), found.fully_int8
    with contextlib.suppress(BudgetError):  # what a good sidecar may say
        found.raise_for_fidelity()
    _seen(found, {"x": np.zeros((2, 4), np.float32)})
    json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False).encode()


def _reports() -> Mapping[str, bytes]:
    labels = np.arange(10) % 2
    right, half = np.eye(2)[labels], np.eye(2)[np.where(np.arange(10) < 5, labels, 1 - labels)]
    flaw = [{"reason": "busy", "detail": "before the run: x (1 cores)"}]
    measured = {"device": "d", "kernel_profile": {"runtime": "x"}, "latency_ms": {"p95": 2.0}, "conditions": {}}
    budget = Budget(max_drop=0.01, min_metric=0.9, max_p95_ms=20, max_size_bytes=2000)
    made = {}
    for name, flaws in (("accuracy", []), ("mse", flaw)):
        answers = Answers(labels if name == "accuracy" else right, half, right)
        record = {**measured, "unmeasured": flaws}
        wanted = budget if name == "accuracy" else Budget(max_p95_ms=1, proven=True)
        facts = {"size_bytes": 1000, "fidelity": _fidelity(), "baseline_fidelity": None}
        found = build_report(
            load_metric(name), answers, record, facts, budget=wanted, seen=[True, *[False] * 9], warnings=["w"]
        )
        made[name] = json.dumps(found.to_dict()).encode()
    bare = build_report(load_metric("accuracy"), Answers(labels, half), measured, {"size_bytes": 1}, budget=Budget())
    return {**made, "bare": json.dumps(bare.to_dict()).encode()}


def _report(data: bytes) -> None:
    try:
        values = loads(data.decode())
    except ValueError as error:
        raise FileFormatError(f"no JSON: {error}") from error
    found = ValidationReport.from_dict(values)
    json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False).encode()
    assert all(str(line) for line in found.budget)
    assert found.latency_ms is None or isinstance(found.latency_ms, Mapping)
    assert ValidationReport.from_dict(found.to_dict()) is not None
    try:
        found.raise_for_invalid()
        found.raise_for_budget()
    except (BudgetError, InvalidRunError):
        pass  # what a good report may say


def _logs() -> Mapping[str, bytes]:
    folder = CHECKOUT / "tests" / "converters" / "edgetpu" / "logs"
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.txt"))}


def _log(data: bytes) -> None:
    found = parse_log(data.decode("utf-8", "replace"))
    for model in found.models:
        json.dumps({**model.to_dict(), "mapped": model.mapped_ops, "cpu": model.cpu_ops}, allow_nan=False)
    assert all(line.isprintable() for line in found.errors)
    if not found.succeeded:
        raise FileFormatError("no model was compiled")


_SUMMARY = (
    "experiment,network,system_config,memory_mode,core_clock,inferences_per_second,inference_time,sram_memory_used,"
    "dram_memory_used,on_chip_flash_memory_used,off_chip_flash_memory_used,nn_macs,cycles_npu,cycles_total\n"
    "default,kws,Ethos_U55_High_End_Embedded,Shared_Sram,500000000.0,5561.7,0.0001798,21.67,0.0,0.0,30.3,266,88,89\n"
)
_REASONS = "Warning (supported operators) operator: CUSTOM, ofm: 'poses'\nReason: Unsupported opType\n"


def _vela(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    reasons = read_reasons(text)
    assert all(words.isprintable() for words in reasons.values())
    json.dumps({**read_summary(text), "reasons": reasons}, allow_nan=False)


READERS = {
    "recipe": Reader(_recipe, _recipes, ("edgeopt/recipes/*.py",), ("repro/hostile/recipe/*",), mutate_toml),
    "inventory": Reader(
        _inventory, _inventories, ("devices/boards/inventory.py",), ("repro/hostile/inventory/*",), mutate_toml
    ),
    "rules": Reader(_rules_read, _rules, ("converters/edgetpu/rules.py",), (), mutate_toml, cases=300),
    "sidecar": Reader(
        _sidecar, _sidecars, ("edgeopt/artifact/artifact.py",), ("repro/hostile/sidecar/*",), mutate_json
    ),
    "report": Reader(
        _report,
        _reports,
        ("edgeopt/evaluation/report.py", "edgeopt/evaluation/budget.py"),
        ("repro/hostile/report/*",),
        mutate_json,
    ),
    "edgetpu-log": Reader(_log, _logs, ("converters/edgetpu/log.py",), ("repro/hostile/log/*",), mutate_lines),
    "vela": Reader(
        _vela,
        lambda: {"summary": _SUMMARY.encode(), "reasons": (_SUMMARY + _REASONS).encode()},
        ("converters/ethosu/summary.py",),
        (),
        mutate_lines,
    ),
}
