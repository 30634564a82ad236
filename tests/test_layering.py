"""The architecture is a test: which part of edgeopt may import which."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

HEAVY = ("tensorflow", "keras", "tf_keras", "tensorflow_model_optimization")
ROOTS = {"edgeopt": "edgeopt", "converters": "edgeopt.converters", "devices": "edgeopt.devices"}
LOOSE = {"__init__", "__main__", "_version", "bridge", "callbacks", "errors"}

# Each room, and the rooms that it may import besides itself; a module is of the longest name that it begins with.
ERRORS = ("edgeopt.errors", "edgeopt._version")
ARITHMETIC = tuple(f"edgeopt.devices.agent.{name}" for name in ("arith", "stats", "npy", "outside", "front"))
LIGHT = (*ERRORS, "edgeopt.recipes", "edgeopt.artifact", "edgeopt.evaluation")
SHARED = (
    *LIGHT,
    *ARITHMETIC,
    "edgeopt.flatbuffer",
    "edgeopt.onnxfile",
)  # what both TensorFlow's side and the devices' side know
MODELS = (*SHARED, "edgeopt.process", "edgeopt.data")
PASSES = (*MODELS, "edgeopt.models", "edgeopt.training")
WORKFLOWS = (*PASSES, "edgeopt.passes", "edgeopt.converters", "edgeopt.devices")
ALLOWED: dict[str, tuple[str, ...]] = {
    "edgeopt.errors": (),
    "edgeopt._version": (),
    "edgeopt.devices.agent": (),
    "edgeopt.flatbuffer": ERRORS,
    "edgeopt.onnxfile": (*ERRORS, "edgeopt.flatbuffer"),
    "edgeopt.recipes": (*LIGHT, *ARITHMETIC),
    "edgeopt.artifact": (*LIGHT, *ARITHMETIC),
    "edgeopt.evaluation": (*LIGHT, *ARITHMETIC, "edgeopt.process.user_code"),
    "edgeopt.process": SHARED,
    "edgeopt.process.user_code": ERRORS,
    "edgeopt.data": (*SHARED, "edgeopt.process"),
    "edgeopt.models": MODELS,
    "edgeopt.training": (*MODELS, "edgeopt.models"),
    "edgeopt.passes": PASSES,
    "edgeopt.converters": (*MODELS, "edgeopt.models"),
    "edgeopt.devices": (*SHARED, "edgeopt.devices.agent"),
    "edgeopt.api": WORKFLOWS,
    "edgeopt.check": (*WORKFLOWS, "edgeopt.api"),
    "edgeopt.pages": (*WORKFLOWS, "edgeopt.api"),
    "edgeopt.schemas": (*SHARED, "edgeopt.converters", "edgeopt.devices"),
    "edgeopt.bridge": (*LIGHT, "edgeopt.models"),
    "edgeopt.callbacks": (*WORKFLOWS, "edgeopt.api"),
    "edgeopt.cli": ("edgeopt",),  # but for what `NEVER` says
    "edgeopt.__main__": ("edgeopt.cli",),
    "edgeopt": (*ERRORS, "edgeopt.bridge", "edgeopt.callbacks"),  # its names are loaded when they are asked for
}
NEVER = {"edgeopt.cli": ("edgeopt.passes", "edgeopt.training")}  # through `edgeopt.api` only
TENSORFLOW_FREE = (
    "edgeopt.devices",
    "edgeopt.flatbuffer",
    "edgeopt.onnxfile",
    "edgeopt.schemas",
    "edgeopt.cli",
    *LIGHT,
)


def modules(checkout: Path) -> dict[str, Path]:
    found = {}
    for folder, package in ROOTS.items():
        for file in sorted((checkout / folder).rglob("*.py")):
            parts = file.relative_to(checkout / folder).with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = file
    return found


def imports(name: str, file: Path) -> list[str]:
    """Absolute names of what `file` imports when it runs, anywhere in it: what only a type checker reads is left out."""
    return imported(ast.parse(file.read_text("utf-8")), name if file.name == "__init__.py" else name.rpartition(".")[0])


def imported(tree: ast.AST, package: str) -> list[str]:
    """Absolute names of what `tree`, a module of `package`, imports when it runs."""
    found: list[str] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            found += [name for branch in node.orelse for name in imported(branch, package)]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            found += [f"{base}.{alias.name}" for alias in node.names]
        else:
            found += imported(node, package)
    return found


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def room_of(name: str) -> str:
    return next(room for room in sorted(ALLOWED, key=len, reverse=True) if within(name, room))


def forbidden(name: str, imported: list[str]) -> list[str]:
    """Return the imports that the module `name` must not have."""
    room = room_of(name)
    bad = [target for target in imported if target.split(".")[0] in ("converters", "devices")]
    if within(name, *TENSORFLOW_FREE):
        bad += [target for target in imported if target.split(".")[0] in HEAVY]
    own = [target for target in imported if within(target, "edgeopt")]
    bad += [target for target in own if not (within(target, *ALLOWED[room]) or room_of(target) == room)]
    return bad + [target for target in own if within(target, *NEVER.get(room, ()))]


def cycles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the groups of modules that reach each other, each as a path back to its beginning."""
    found, done = [], set()

    def walk(path: list[str]) -> None:
        for target in sorted(graph.get(path[-1], ())):
            if target in path:
                found.append([*path[path.index(target) :], target])
            elif target not in done:
                walk([*path, target])
        done.add(path[-1])

    for name in sorted(graph):
        if name not in done:
            walk([name])
    return found


def arrows(checkout: Path) -> dict[str, set[str]]:
    """Which module imports which."""
    files = modules(checkout)

    def module(target: str) -> str:
        return target if target in files else target.rpartition(".")[0]

    return {
        name: {module(target) for target in imports(name, file) if module(target) in files} - {name}
        for name, file in files.items()
    }


def test_no_module_imports_itself_by_way_of_others(checkout: Path) -> None:
    graph = arrows(checkout)
    assert sum(map(len, graph.values())) > len(graph), "the walk found next to nothing"
    assert not cycles(graph)


def test_a_planted_cycle_is_found(checkout: Path) -> None:
    graph = arrows(checkout)
    graph["edgeopt.errors"] = {"edgeopt.devices.runner"}
    assert ["edgeopt.devices.runner", "edgeopt.errors", "edgeopt.devices.runner"] in [
        path if path[0] == "edgeopt.devices.runner" else [*path[1:], path[1]] for path in cycles(graph)
    ]


def test_an_import_inside_a_function_counts_and_one_for_type_checkers_does_not() -> None:
    code = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from .a import A
def late():
    from ..b import c
"""
    assert imported(ast.parse(code), "edgeopt.room") == ["typing.TYPE_CHECKING", "edgeopt.b.c"]


def test_every_room_says_what_it_is_and_few_modules_lie_loose(checkout: Path) -> None:
    files = modules(checkout)
    assert {file.stem for file in (checkout / "edgeopt").glob("*.py")} == LOOSE
    rooms = {name for name, file in files.items() if file.name == "__init__.py"}
    assert {name for name in rooms if name.count(".") == 1} <= set(ALLOWED), "a room without a row"
    said = {name: ast.get_docstring(ast.parse(files[name].read_text("utf-8"))) or "" for name in rooms}
    silent = [name for name, text in said.items() if len(text) < 30 or "import" not in text.lower()]
    assert not silent


def test_no_module_imports_what_its_room_must_not_know(checkout: Path) -> None:
    found = {name: bad for name, file in modules(checkout).items() if (bad := forbidden(name, imports(name, file)))}
    assert not found


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("edgeopt.devices.runner", "edgeopt.data.load_dataset"),
        ("edgeopt.devices.agent.arith", "edgeopt.errors.DataError"),
        ("edgeopt.devices.runner", "tensorflow"),
        ("edgeopt.converters.tflite", "edgeopt.passes.prune"),
        ("edgeopt.models.load", "edgeopt.converters.tflite"),
        ("edgeopt.training.loop", "edgeopt.passes.base"),
        ("edgeopt.api.convert", "edgeopt.check.model"),
        ("edgeopt.api.convert", "edgeopt.cli.output"),
        ("edgeopt.cli.optimize", "edgeopt.passes.registry"),
        ("edgeopt.flatbuffer.reader", "edgeopt.artifact"),
        ("edgeopt.evaluation.scoring", "edgeopt.flatbuffer"),
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
