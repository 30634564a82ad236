"""The rows of `compression.py`: what is done to a task's float model, each training for the same number of epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compression_tasks import TASKS

# Epochs that every row trains after the float model, all its passes together; the last `QUANTISING` of them with
# simulated quantisation, where another pass comes first.
EPOCHS = {"cifar10": 4, "fashion": 4, "watch": 12, "wide": 3}
QUANTISING = {"cifar10": 1, "fashion": 1, "watch": 4, "wide": 1}
# Learning rates: high where a pass has taken something away, low where weights only adapt. All fall to 0 (cosine).
RECOVER, ADAPT = 1e-3, 3e-4
BATCH = 64
# Tasks with rows cut to a latency: percentages of the int8 file's.
LATENCIES = {"cifar10": (60,), "wide": (48, 44, 40)}
TEACHER = {"temperature": 4.0, "alpha": 0.5}


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Attributes:
        task: Of `TASKS`.
        row: What is done.
        recipe: The tables of its `edgeopt.optimize` recipe.
        seed: Of everything random.
        epochs: Of all its passes.
    """

    task: str
    row: str
    recipe: Mapping[str, Any]
    seed: int
    epochs: int

    @property
    def name(self) -> str:
        """Name of the cell's file."""
        return f"{self.task}-{self.row}-s{self.seed}"


def base_recipe(task: str) -> dict[str, Any]:
    """How the float model that all rows begin with is trained."""
    return {"pass": [_step("finetune", TASKS[task].base_epochs, RECOVER)], "seed": 0}


def _step(kind: str, epochs: int, rate: float, **options: Any) -> dict[str, Any]:
    rates = {"learning_rate": rate, "learning_rate_schedule": "cosine"}
    return {"kind": kind, "epochs": epochs, "batch_size": BATCH, **rates, **options}


def _rows(task: str) -> dict[str, dict[str, Any]]:
    """Return the rows' recipes without their seeds."""
    whole, last = EPOCHS[task], QUANTISING[task]
    first = whole - last
    quantise = _step("qat", last, ADAPT)

    def channels(**target: Any) -> dict[str, Any]:
        return _step("channels", first, RECOVER, importance="taylor", **target)

    def prune(**target: Any) -> dict[str, Any]:
        return _step("prune", first, RECOVER, end=0.5, **target)

    def with_teacher(step: dict[str, Any]) -> dict[str, Any]:
        return {"pass": [step, quantise], "distillation": TEACHER}

    rows: dict[str, dict[str, Any]] = {
        "ptq": {"pass": [_step("finetune", whole, ADAPT)]},
        "qat": {"pass": [_step("qat", whole, ADAPT)]},
        "prune50-pqat": {"pass": [prune(sparsity=0.5), quantise]},
        "channels50-distil-qat": with_teacher(channels(fraction=0.5, of="macs")),
    }
    if task == "cifar10":
        cluster = _step("cluster", first, ADAPT, clusters=16)
        # Clustering does not train where pruning has, so that the row has as many epochs as the others.
        after_pruning = {**cluster, "epochs": 0, "preserve_sparsity": True}
        rows |= {
            "channels25-distil-qat": with_teacher(channels(fraction=0.25, of="macs")),
            "channels75-distil-qat": with_teacher(channels(fraction=0.75, of="macs")),
            "prune50-distil-pqat": with_teacher(prune(sparsity=0.5)),
            "prune80-pqat": {"pass": [prune(sparsity=0.8), quantise]},
            "prune2of4-pqat": {"pass": [prune(m_by_n=[2, 4]), quantise]},
            "cluster16-cqat": {"pass": [cluster, quantise]},
            "prune50-cluster16-pcqat": {"pass": [prune(sparsity=0.5), after_pruning, quantise]},
        }
        # Narrowed networks have no trained weights to begin with: they also get the float model's epochs.
        learn = _step("distil", TASKS[task].base_epochs + first, RECOVER)
        for share in (75, 50, 25):
            rows[f"narrow{share}-distil-qat"] = with_teacher({**learn, "student": f"compression_tasks:narrow_{share}"})
    for percent in LATENCIES.get(task, ()):
        rows[f"latency{percent}-distil-qat"] = with_teacher(channels(latency_share=percent / 100))
    return rows if task != "wide" else {name: rows[name] for name in rows if name == "ptq" or "latency" in name}


HEADLINE = ("ptq", "qat", "prune50-pqat", "channels50-distil-qat")


def all_cells() -> list[Cell]:
    """Return every cell: headline rows of CIFAR-10 with three seeds, the others with one; seed 0 comes first."""
    cells = []
    for seed in (0, 1, 2):
        for task in TASKS:
            for row, recipe in _rows(task).items():
                if seed == 0 or (task == "cifar10" and row in HEADLINE):
                    epochs = sum(table["epochs"] for table in recipe["pass"])
                    cells.append(Cell(task, row, {**recipe, "seed": seed}, seed, epochs))
    return cells
