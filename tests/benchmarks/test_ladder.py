"""The tables of `benchmarks/ladder.py` say what its cells hold, beside what recipes written by hand have reached."""

from __future__ import annotations

from typing import Any

TITLES = {"resnet8": "ResNet-8", "vit": "small ViT"}
FINAL = {"accuracy": 0.8, "accuracy_drop": 0.0046, "accuracy_drop_ci95": [-0.002, 0.014], "size_bytes": 94032}
CELL: dict[str, Any] = {
    "model": "resnet8", "budget": "1%", "limits": ["--max-drop", "0.01"], "exit": 0, "cpu_s": 30.0,
    "plain_cpu_s": 24.0, "rungs": ["00-int8", "01-recover"], "lines": [{"verdict": "not proven"}],
    "ladder": {"recommended": "01-recover", "final": FINAL},
}  # fmt: skip


def by_hand(method: str, drop: float, model: str = "resnet8") -> dict[str, Any]:
    return {"model": model, "method": method, "drop": drop}


def compressed(row: str, accuracy: float, ratio: float, task: str = "cifar10") -> dict[str, Any]:
    latency = {"tflite_runtime": {"ratio_to_ptq": ratio}}
    return {"task": task, "row": row, "accuracy": accuracy, "latency": latency}


def test_a_cell_is_a_line_with_the_least_drop_of_our_own_options(benchmark_module: Any) -> None:
    others = [by_hand("edgeopt-best", 0.004), by_hand("edgeopt-recover", 0.001), by_hand("mct", 0.0)]
    others += [by_hand("edgeopt-best", -0.1, "vit"), {"model": "resnet8", "method": "edgeopt-minmax", "refused": "x"}]
    lines = benchmark_module("ladder_table").drops([{**CELL, "model": "vit"}, CELL], TITLES, others, []).splitlines()
    assert lines[2] == (
        "| ResNet-8 | `--max-drop 0.01` | 01-recover of 2 | 0.5 (-0.2 to 1.4) | 94,032 | not proven | 1.25 | recover 0.1 |"
    )
    assert lines[3].startswith("| small ViT |") and lines[3].endswith("| best -10.0 |")


def test_a_model_without_options_of_its_own_has_the_best_recipe_for_its_network_beside_it(
    benchmark_module: Any,
) -> None:
    cells = [{**compressed("ptq", 0.79, 1.0), "float": {"accuracy": 0.8}}, compressed("qat", 0.797, 1.0)]
    assert benchmark_module("ladder_table").drops([CELL], TITLES, [], cells).endswith("| qat 0.3 |")


def test_a_size_has_no_option_of_a_conversion_beside_it(benchmark_module: Any) -> None:
    cell = {**CELL, "limits": ["--max-size-bytes", "9"], "budget": "size"}
    assert (
        benchmark_module("ladder_table")
        .drops([cell], TITLES, [by_hand("edgeopt-best", 0.1)], [])
        .endswith("| 1.25 |  |")
    )


def test_a_time_stands_beside_the_fastest_recipe_that_is_as_accurate(benchmark_module: Any) -> None:
    table = benchmark_module("ladder_table")
    cell = {**CELL, "turns": {"ratio": 0.45, "ratio_ci95": [0.44, 0.46]}}
    cells = [
        compressed("mild", 0.85, 0.9), compressed("equal", 0.798, 0.6), compressed("worse", 0.796, 0.3),
        compressed("other", 0.9, 0.2, "wide"),
    ]  # fmt: skip
    assert table.times([CELL, cell], TITLES, cells).splitlines()[2:] == [
        "| ResNet-8 | 01-recover of 2 | 80.0 | 0.5 | 0.45 (0.44-0.46) | equal | 79.8 | 0.60 | 0.75 |"
    ]
    assert table.times([cell], TITLES, cells[2:]).endswith("| none as accurate | | | |")
    assert table.times([CELL], TITLES, cells) == ""
