"""The architecture is a test: which part of edgeopt may import which."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("tensorflow", "keras", "tf_keras", "tensorflow_model_optimization")
ROOTS = {"edgeopt": "edgeopt", "converters": "edgeopt.converters", "devices": "edgeopt.devices"}

# The first matching group is a module's own. `None` as its allowance: it may import anything but the CLI.
LIGHT = ("edgeopt.errors", "edgeopt.recipes.convert", "edgeopt.recipes.optimize", "edgeopt.artifact.envelope", "edgeopt.artifact.artifact", "edgeopt.artifact.atomic", "edgeopt._version",
         "edgeopt.evaluation.budget", "edgeopt.evaluation.metrics", "edgeopt.artifact.provenance", "edgeopt.evaluation.scoring", "edgeopt.artifact.snippet", "edgeopt.evaluation.report")  # fmt: skip
ARITHMETIC = ("edgeopt.devices.agent.arith", "edgeopt.devices.agent.stats")
DATA = ("edgeopt.data.dataset", "edgeopt.data.labels", "edgeopt.data.streams", "edgeopt.data.images", "edgeopt.data.calibration",
        "edgeopt.process.isolation", "edgeopt.process.fork_server")  # fmt: skip
ALLOWED: dict[str, tuple[str, ...] | None] = {
    "edgeopt.devices.agent": ("edgeopt.devices.agent",),
    "edgeopt.devices": (*LIGHT, "edgeopt.flatbuffer", "edgeopt.devices"),
    "edgeopt.flatbuffer": ("edgeopt.errors", "edgeopt.flatbuffer"),
    "edgeopt.converters": (*LIGHT, *ARITHMETIC, *DATA, "edgeopt.models", "edgeopt.flatbuffer", "edgeopt.converters"),
    "edgeopt.models": (*LIGHT, *ARITHMETIC, *DATA, "edgeopt.flatbuffer", "edgeopt.models"),
    "edgeopt.passes": (*LIGHT, *ARITHMETIC, *DATA, "edgeopt.flatbuffer", "edgeopt.models", "edgeopt.passes"),
    **{name: (*LIGHT, *ARITHMETIC) for name in LIGHT},
    **{name: (*LIGHT, *ARITHMETIC, *DATA) for name in DATA},
    "edgeopt": None,
}
TENSORFLOW_FREE = ("edgeopt.devices", "edgeopt.flatbuffer", "edgeopt.cli", *LIGHT)


def modules(checkout: Path) -> dict[str, Path]:
    found = {}
    for folder, package in ROOTS.items():
        for file in sorted((checkout / folder).rglob("*.py")):
            parts = file.relative_to(checkout / folder).with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = file
    return found


def imports(name: str, file: Path) -> list[str]:
    """Absolute names of what `file` imports, anywhere in it."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            found += [f"{base}.{alias.name}" for alias in node.names]
    return found


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def group_of(name: str) -> str:
    return next(group for group in sorted(ALLOWED, key=len, reverse=True) if within(name, group))


def forbidden(name: str, imported: list[str]) -> list[str]:
    """Return the imports that the module `name` must not have."""
    bad = [
        target
        for target in imported
        if within(target, "edgeopt.cli") and not within(name, "edgeopt.cli") and name != "edgeopt.__main__"
    ]
    bad += [target for target in imported if target.split(".")[0] in ("converters", "devices")]
    if any(within(name, free) for free in TENSORFLOW_FREE):
        bad += [target for target in imported if target.split(".")[0] in HEAVY]
    if within(name, "edgeopt.cli"):
        bad += [target for target in imported if within(target, "edgeopt.passes")]
    allowance = ALLOWED[group_of(name)]
    if allowance is not None:
        own = [target for target in imported if within(target, "edgeopt")]
        bad += [target for target in own if not any(within(target, package) for package in allowance)]
    return bad


def test_no_module_imports_what_its_room_must_not_know(checkout: Path) -> None:
    found = {name: bad for name, file in modules(checkout).items() if (bad := forbidden(name, imports(name, file)))}
    assert not found


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("edgeopt.devices.runner", "edgeopt.data.load_dataset"),
        ("edgeopt.devices.agent.arith", "edgeopt.errors.DataError"),
        ("edgeopt.devices.runner", "tensorflow"),
        ("edgeopt.converters.tflite", "edgeopt.passes.prune.prune"),
        ("edgeopt.models.load", "edgeopt.converters.tflite"),
        ("edgeopt.api.convert", "edgeopt.cli.output"),
        ("edgeopt.flatbuffer.reader", "edgeopt.artifact.artifact"),
        ("edgeopt.converters.tflite", "converters.base"),
    ],
)
def test_a_planted_forbidden_import_is_found(name: str, target: str) -> None:
    assert forbidden(name, [target])


def test_importing_edgeopt_imports_neither_tensorflow_nor_numpy() -> None:
    code = "import edgeopt, sys; print([m for m in ('numpy', *sys.argv[1:]) if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_the_command_line_answers_help_without_numpy_or_tensorflow(arguments: list[str]) -> None:
    code = (
        "import sys; from edgeopt.cli import main; code = main(sys.argv[1:]);"
        "print([m for m in ('numpy', 'rich', 'tensorflow', 'keras') if m in sys.modules], code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[] 0")
