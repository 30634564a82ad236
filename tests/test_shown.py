"""Results at a prompt and in a notebook: short, and never bytes."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from pathlib import Path

import edgeopt
import edgeopt.devices
from edgeopt.artifact.shown import Shown
from edgeopt.evaluation.metrics import load_metric
from edgeopt.evaluation.report import Scores, ValidationReport
from edgeopt.evaluation.scoring import Score

CHECKOUT = Path(__file__).parents[1]


@dataclass(frozen=True, repr=False)
class Odd(Shown):
    name: str

    def shown(self):
        return {"name": self.name, "score": 0.123456789, "size_bytes": 91234, "nothing": None, "right": True}


def test_numbers_are_short_and_what_is_none_is_left_out():
    assert repr(Odd("a")) == "Odd(name=a, score=0.12346, size_bytes=91,234, right=True)"


def test_a_name_can_neither_steer_the_terminal_nor_be_markup():
    assert "\x1b" not in repr(Odd("\x1b[2J"))
    table = Odd("<script>")._repr_html_()
    assert table.startswith("<table><caption>Odd</caption><tr><th>name</th><td>&lt;script&gt;</td></tr>")
    assert "<th>size bytes</th><td>91,234</td>" in table


def test_an_artifact_and_its_inspection_show_no_bytes(shared_data):
    artifact = edgeopt.Artifact.load(shared_data / "kws/ref_int8.tflite")
    assert repr(artifact) == f"Artifact(size_bytes={artifact.size_bytes:,}, fully_int8=False)"
    found = edgeopt.inspect(artifact)
    assert "ops=5 CONV_2D, 4 DEPTHWISE_CONV_2D" in repr(found)
    assert len(repr(found)) < 300
    assert "<caption>Inspection</caption>" in found._repr_html_()


def test_reports_have_attributes_beside_their_dict():
    measured = {"device": "this machine", "latency_ms": {"p50": 1.25}}
    scores = Scores(10, load_metric("accuracy"), Score(0.9, (0.6, 1.0), "agresti-coull"))
    report = ValidationReport(scores, None, measured, (), {})
    assert (report.score, report.drop, report.device) == (0.9, None, "this machine")
    assert repr(report) == ("ValidationReport(verdict=ok, accuracy=0.9, samples=10, p50_ms=1.25, device=this machine)")


def kinds(base: type = Shown) -> dict[str, type]:
    """All classes of results, by name; the modules of public names are loaded."""
    found = {kind.__name__: kind for kind in base.__subclasses__() if kind.__module__.startswith("edgeopt")}
    return found | {name: deeper for kind in found.values() for name, deeper in kinds(kind).items()}


def test_whatever_a_public_function_returns_is_shown():
    functions = [value for name in edgeopt.__all__ if inspect.isfunction(value := getattr(edgeopt, name))]
    loaded = [getattr(edgeopt.devices, name) for name in edgeopt.devices.__all__]
    functions += [getattr(edgeopt.devices.Device, name) for name in ("bench", "measure", "parity", "validate")]
    known = kinds()
    assert loaded and len(functions) > 12 and len(known) > 12
    answers = {function.__annotations__["return"] for function in functions}
    assert answers - known.keys() == {"Path", "Any"}  # of bundle and of qat_scope


def test_no_result_has_the_repr_that_dataclasses_are_given():
    assert [name for name, kind in kinds().items() if kind.__repr__ is not Shown.__repr__] == []


def test_pages_and_archives_are_short_at_a_prompt(shared_data, tmp_path):
    files = [shared_data / "coral/split_concat.tflite", shared_data / "kws/ref_int8.tflite"]
    archive = edgeopt.bundle(files[0], tmp_path / "b.zip")
    for result in (edgeopt.report(files), edgeopt.compare(files), edgeopt.verify(archive)):
        assert len(repr(result)) < 300
        assert result._repr_html_().startswith(f"<table><caption>{type(result).__name__}</caption>")
    assert repr(edgeopt.compare(files)) == "Compared(reference=split_concat.tflite, files=ref_int8.tflite)"


def dataclasses(path: Path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef):
            for decorator in map(ast.unparse, node.decorator_list):
                if decorator.startswith("dataclass"):
                    yield node, decorator


def test_no_dataclass_prints_its_bytes():
    printed = [
        f"{path.name}: {node.name}.{ast.unparse(item.target)}"
        for room in ("edgeopt", "converters", "devices")
        for path in sorted((CHECKOUT / room).rglob("*.py"))
        for node, decorator in dataclasses(path)
        for item in node.body
        if isinstance(item, ast.AnnAssign) and "bytes" in ast.unparse(item.annotation).replace("_bytes", "")
        and "Callable" not in ast.unparse(item.annotation)
        and "repr=False" not in decorator + (ast.unparse(item.value) if item.value else "")
    ]  # fmt: skip
    assert printed == []
