"""Node data of Model Explorer: the values, and the form that its own classes read and write."""

from __future__ import annotations

import json

import pytest

from edgeopt.cli.main import main
from edgeopt.errors import UsageError
from edgeopt.flatbuffer import load_model, read_model
from edgeopt.pages.model_explorer import as_node_data, latency_data, mapping_data

from ..flatbuffer.conftest import FileBuilder

# Of model_explorer.node_data_builder 0.1.34: the fields of each class, the ones without a default first.
PUBLISHED = {
    "result": (("value",), ("bgColor", "textColor")),
    "gradient": (("stop",), ("bgColor", "textColor")),
}


def read_back(data: bytes) -> dict:
    """Return node data as Model Explorer's own classes write it again; held against their fields where it is absent."""
    found = json.loads(data)
    assert set(found) == {"results", "gradient"}
    parts = {"result": list(found["results"].values()), "gradient": found["gradient"]}
    for kind, (needed, optional) in PUBLISHED.items():
        for part in parts[kind]:
            assert set(needed) <= set(part) <= {*needed, *optional}
    assert {stop["stop"] for stop in found["gradient"]} >= {0, 1}  # "stops for 0 and 1 should always be provided"
    try:
        from model_explorer import node_data_builder as builder
    except ImportError:
        return found
    results = {name: builder.NodeDataResult(**value) for name, value in found["results"].items()}
    gradient = [builder.GradientItem(**stop) for stop in found["gradient"]]
    again = json.loads(builder.GraphNodeData(results=results, gradient=gradient).to_json_string())
    assert {name: again[name] for name in found} == found
    return found


def model():
    file = FileBuilder()
    x, y, z = (file.tensor([1, 4], "float32", name=name) for name in "xyz")
    file.operator("ADD", [x, x], [y], options="AddOptions", fusedActivationFunction=1)
    file.operator("NEG", [y], [z], options="NegOptions")
    return read_model(file.build([x], [z]))


def test_the_time_of_an_operator_has_that_of_the_activation_fused_into_it():
    rows = [
        {"op": "Add (NC, F32)", "by": "delegate", "index": 0, "ms": 0.5, "share": 0.5},
        {"op": "Clamp (NC, F32)", "by": "delegate", "index": 1, "ms": 0.25, "share": 0.25},
        {"op": "NEG", "by": "builtin", "index": 1, "ms": 0.125, "share": 0.125},
    ]
    found = read_back(as_node_data(latency_data(model(), {"runs": 1, "operators": rows})))
    assert found["results"] == {"y": {"value": 0.75}, "z": {"value": 0.125}}


def test_what_runs_where_has_a_number_and_a_colour():
    found = read_back(as_node_data(mapping_data({"a": "ok", "b": "skipped", "c": "unsure"})))
    assert {name: value["value"] for name, value in found["results"].items()} == {"a": 1, "b": 0, "c": 0.5}
    assert len({value["bgColor"] for value in found["results"].values()}) == 3


def test_nothing_to_show_is_bad_usage():
    with pytest.raises(UsageError, match="no time of each operator .*tflite_runtime offers no per-operator profile"):
        latency_data(model(), {"problem": "tflite_runtime offers no per-operator profile"})
    with pytest.raises(UsageError, match="name an accelerator"):
        mapping_data({})


def test_a_check_writes_what_would_run_where(shared_data, tmp_path, capsys):
    path, file = tmp_path / "mapping.json", shared_data / "coral" / "split_concat.tflite"
    assert main(["check", str(file), "--for", "edgetpu", "--model-explorer", str(path)]) == 0
    found = read_back(path.read_bytes())
    written = {load_model(file).main.tensors[item.outputs[0]].name for item in load_model(file).main.operators}
    assert set(found["results"]) == written
    assert {value["value"] for value in found["results"].values()} == {1}


@pytest.mark.parametrize("words", [("--no-op-profile",), ("--device", "local,board")])
def test_a_bench_that_profiles_no_operators_refuses_to_write_them(shared_data, tmp_path, words, capsys):
    file = str(shared_data / "kws" / "ref_int8.tflite")
    assert main(["bench", file, *words, "--model-explorer", str(tmp_path / "times.json")]) == 2
    assert "needs the time of each operator" in " ".join(capsys.readouterr().err.split())
