"""A page says what was measured, needs nothing else, and takes no text of its sources for markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import edgeopt
from edgeopt.errors import DataError, FileFormatError, OutputError, UsageError

VOID = {"meta", "link", "line", "circle", "polyline", "br"}


class Reader(HTMLParser):
    """Tags and attributes of a page; fails on a tag that is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    assert not reader.open
    return reader


@pytest.fixture(scope="module")
def html(results: Path) -> str:
    names = ("m.tflite", "validate.json", "bench.json", "parity.json")
    return edgeopt.report([results / name for name in names]).html()


def test_results_of_one_file_are_told_together(html: str) -> None:
    assert "<h1>Report of m.tflite</h1>" in html and "1 file, from 4 sources" in html


def test_the_verdict_comes_first_with_each_limit(html: str) -> None:
    first = html[html.index("<h2") :][:3000]
    assert "Verdict" in first and "missed" in first
    assert re.search(r"Budget: size [\d,]+ B, at most 9 B: missed", first)
    assert "Budget: drop 0 &lt;= 0.5: met" in first


def test_a_metric_drops_or_rises_by_what_is_no_negative_number(results: Path, tmp_path: Path) -> None:
    told = json.loads((results / "validate.json").read_text())
    for drop, ends, better, said in (
        (0.016, [-0.004, 0.036], True, "drops by 1.6 points (-0.4 to +3.6)"),
        (-0.006, [-0.026, 0.014], True, "rises by 0.6 points (-1.4 to +2.6)"),
        (-0.006, [-0.026, 0.014], False, "drops by 0.6 points (-1.4 to +2.6)"),
    ):
        metric = {**told["metric"], "higher_is_better": better}
        told |= {"metric": metric, "drop": drop, "drop_ci95": ends, "accuracy_drop": drop, "accuracy_drop_ci95": ends}
        (tmp_path / "changed.json").write_text(json.dumps(told))
        assert f"Its accuracy {said} from" in edgeopt.report([tmp_path / "changed.json"]).html()


def test_the_page_tells_accuracy_classes_time_parity_conditions_and_how_it_was_made(html: str) -> None:
    for text in (
        "90.0 %", "Accuracy by class", "Confusion matrix", "ai_edge_litert", "Parity", "L1 holds", "Inside the file",
        "Conditions", "How it was made", "m.keras", "edgeopt report", "SHA-256",
    ):  # fmt: skip
        assert text in html, text


def test_the_confusion_matrix_counts_what_was_said(html: str) -> None:
    matrix = re.search(r'<table class="square">.*?</table>', html, re.S)
    assert matrix is not None
    counts = re.findall(r"<td[^>]*>\s*<span[^>]*>(\S+?)</span>", matrix[0])
    assert counts == ["18", "2", "·", "·", "18", "2", "2", "·", "18"]


def test_the_page_needs_no_other_file_and_runs_no_script(html: str) -> None:
    found = read(html)
    assert not {tag for tag, _ in found.tags} & {"script", "iframe", "object", "embed", "img", "form", "base"}
    places = [value for _, attrs in found.tags for name, value in attrs.items() if name in ("href", "src", "srcset")]
    assert all(place and (place.startswith("#") or place == "data:,") for place in places)
    assert "url(" not in html and "@import" not in html and "http:" not in html and "https:" not in html
    assert "default-src 'none'" in html and len(html.encode()) < 2_000_000


def test_the_page_is_labelled_for_keyboard_and_screen_reader(html: str) -> None:
    found = read(html)
    named = {attrs["id"] for _, attrs in found.tags if "id" in attrs}
    links = [attrs["href"] for tag, attrs in found.tags if tag == "a"]
    assert {str(link)[1:] for link in links} <= named and "#main" in links
    assert ("html", {"lang": "en"}) in found.tags
    assert html.count("<table") == html.count("<caption>") and '<th scope="row">' in html
    assert all(attrs.get("aria-label") for tag, attrs in found.tags if attrs.get("role") == "region")
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))


HOSTILE = "</td></svg><script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}\u202e\x1b[31m"


def hostile(value: Any) -> Any:
    """Put markup into every text of a result, and into the names of its tables."""
    if isinstance(value, dict):
        return {key: hostile(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [hostile(inner) for inner in value]
    return HOSTILE if isinstance(value, str) else value


def test_texts_from_outside_are_never_markup(results: Path, tmp_path: Path) -> None:
    for name in ("validate", "bench", "parity"):
        found = json.loads((results / f"{name}.json").read_text())
        kept = {key: found[key] for key in ("schema_version", "tool")}
        (tmp_path / f"{name}.json").write_text(json.dumps({**hostile(found), **kept}))
    side = json.loads((results / "m.json").read_text())
    kept = {key: side[key] for key in ("schema_version", "tool", "sha256") if key in side}
    (tmp_path / "m.json").write_text(json.dumps({**hostile(side), **kept}))
    (tmp_path / "m.tflite").write_bytes((results / "m.tflite").read_bytes())
    sources = [tmp_path / name for name in ("m.tflite", "validate.json", "bench.json", "parity.json")]
    html = edgeopt.report(sources, title=HOSTILE).html()
    assert "&lt;script&gt;" in html and "{{ 7*7 }}" in html
    found = read(html)
    assert not {tag for tag, _ in found.tags} & {"script", "img"}
    assert not [name for _, attrs in found.tags for name in attrs if name.startswith("on")]
    assert "\u202e" not in html and "\x1b" not in html


def test_a_result_finds_its_file_beside_it_by_hash(results: Path, tmp_path: Path) -> None:
    assert "Inside the file" in edgeopt.report(results / "validate.json").html()
    (tmp_path / "validate.json").write_bytes((results / "validate.json").read_bytes())
    (tmp_path / "m.tflite").write_bytes((results / "other.tflite").read_bytes())
    alone = edgeopt.report(tmp_path / "validate.json").html()
    assert "Inside the file" not in alone and "90.0 %" in alone


def test_a_page_is_not_overwritten(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    made = edgeopt.report(results / "m.tflite")
    assert made.save(page) == page and page.read_text().startswith("<!doctype html>")
    with pytest.raises(OutputError, match="exists"):
        made.save(page)
    made.save(page, force=True)


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("none.json", None, UsageError, "Cannot read"),
        ("text.json", "no", DataError, "not JSON that edgeopt wrote"),
        ("other.json", "{}", DataError, "not JSON that edgeopt wrote"),
        (
            "verb.json",
            '{"schema_version": 1, "tool": {"name": "edgeopt"}}',
            DataError,
            "not of a verb that a page shows",
        ),
        ("bad.tflite", "no", FileFormatError, "bad.tflite"),
        ("none.tflite", None, UsageError, "Cannot read"),
    ],
)
def test_what_is_no_result_is_refused(
    tmp_path: Path, name: str, content: str | None, error: type[Exception], words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(error, match=words):
        edgeopt.report(tmp_path / name)


def test_a_result_with_a_field_of_another_type_names_it(results: Path, tmp_path: Path) -> None:
    found = json.loads((results / "validate.json").read_text())
    found["latency_ms"]["p50"] = "quick"
    (tmp_path / "v.json").write_text(json.dumps(found))
    with pytest.raises(DataError, match="latency_ms.p50 is 'quick', expected a finite number"):
        edgeopt.report(tmp_path / "v.json")


def test_nothing_is_nothing_to_show_and_a_folder_must_be_of_a_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to show"):
        edgeopt.report([])
    with pytest.raises(UsageError, match=r"has no result\.json"):
        edgeopt.report(tmp_path)


def run_folder(folder: Path, results: Path) -> Path:
    """A folder as optimize leaves it, of two stages, the second without its file."""
    validated = json.loads((results / "validate.json").read_text())
    taken = ("metric", "samples", "latency_ms", "kernel_profile", "device", "emulated", "unmeasured", "size_bytes")
    figures = {name: validated[name] for name in taken}
    turns = {"ratio": 0.5, "ratio_ci95": [0.4, 0.6], "verdict": "faster", "unmeasured": []}
    stages = [
        {"name": "00-original", "kind": "original", "artifact": "00-original.tflite", **figures},
        {"name": "01-prune", "kind": "prune", "artifact": "../01-prune.tflite", **figures, "against_original": turns},
    ]
    gain = {"stage": "01-prune", "summary": "changed the zipped size to 0.50x", "note": "Zeros zip well."}
    tool = {"name": "edgeopt", "version": "1"}
    fields = {"stages": stages, "skipped": [], "compression": [gain], "overall": None, "budget": [], "warnings": []}
    folder.mkdir()
    (folder / "00-original.tflite").write_bytes((results / "m.tflite").read_bytes())
    (folder / "result.json").write_text(json.dumps({"schema_version": 1, "tool": tool, "verdict": "ok", **fields}))
    return folder


def test_a_run_shows_its_stages_and_what_each_technique_bought(results: Path, tmp_path: Path) -> None:
    html = edgeopt.report(run_folder(tmp_path / "run", results)).html()
    assert "Changed the zipped size to 0.50x" in html and "Zeros zip well." in html
    assert "00-original.tflite" in html and "01-prune" in html
    assert "<svg" in html and "not beaten in both by any other" in html


def test_how_a_file_was_made_is_a_command_with_the_recipe_that_is_not_as_by_default(
    results: Path, tmp_path: Path
) -> None:
    side = json.loads((results / "m.json").read_text())
    (tmp_path / "m.tflite").write_bytes((results / "m.tflite").read_bytes())
    for recipe, said in (
        (
            {"quantize": "int8", "seed": 7},
            "--recipe convert.toml --calibration DATA\n\n# convert.toml\n[convert]\nseed = 7\n",
        ),
        ({"quantize": "int8"}, "<code>edgeopt convert MODEL --calibration DATA</code>"),
        ({"input_shapes": {"x": [None]}}, "with input_shapes, which TOML cannot hold"),
    ):
        (tmp_path / "m.json").write_text(json.dumps({**side, "recipe": recipe}))
        assert said in edgeopt.report(tmp_path / "m.tflite").html()


def test_a_result_of_several_devices_counts_for_each(results: Path, tmp_path: Path) -> None:
    found = json.loads((results / "validate.json").read_text())
    head = {key: found[key] for key in ("schema_version", "tool", "verdict")}
    parts = [{**found, "device": name} for name in ("kitchen", "cellar")]
    (tmp_path / "both.json").write_text(json.dumps({**head, "devices": parts}))
    html = edgeopt.report([results / "m.tflite", tmp_path / "both.json"]).html()
    columns = re.findall(r'<th scope="col">(kitchen|cellar): ', html)
    assert sorted(columns) == ["cellar", "kitchen"] and "1 file, from 3 sources" in html
