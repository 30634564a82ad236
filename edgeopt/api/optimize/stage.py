"""One stage: apply a pass, export the model, measure the file."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...artifact.envelope import write_json
from ...models.load import load_model
from ...passes.base import PassResult
from ...passes.finetune import FineTune
from ...passes.registry import Planned
from ...training.context import PassContext
from ...training.options import Training
from .folder import save_model
from .workbench import Bench

if TYPE_CHECKING:
    pass

# A cut model that was not trained to the end yet, and its record, in the stage's work folder.
_CUT_MODEL, _CUT_RECORD = "cut.keras", "cut.json"


@dataclass(frozen=True)
class Applied:
    """What a pass made of a model."""

    model: Any
    exported: Any
    report: Mapping[str, Any]
    skipped: tuple[Mapping[str, str], ...]
    seconds: float


def apply(planned: Planned, model: Any, bench: Bench, stage: str, checkpoints: Path | None) -> Applied:
    """Apply a pass, and the training behind it where it does not train by itself."""
    started = time.monotonic()
    own: Training = getattr(planned.step, "training", Training(epochs=0))
    training = planned.finetune or own
    context = bench.context(checkpoints, training)
    if planned.step.name == "distil" and context.distillation is None:
        from ...training.distillation import Distillation

        context = replace(context, distillation=Distillation(teacher=bench.original))
    if planned.finetune is not None:
        after, report, skipped = _untrained(planned, model, context, checkpoints)
        tuned = FineTune(training=planned.finetune).apply(after, context)
        after, exported = tuned.model, None
        report["finetune"] = dict(tuned.report.to_dict())
    else:
        result = planned.step.apply(model, context)
        after, report, skipped = result.model, dict(result.report.to_dict()), _entries(result)
        exported = getattr(result, "qat_model", None)
    told = tuple({"stage": stage, **entry} for entry in skipped)
    return Applied(after, after if exported is None else exported, report, told, time.monotonic() - started)


def _untrained(
    planned: Planned, model: Any, context: PassContext, folder: Path | None
) -> tuple[Any, dict[str, Any], list[dict[str, str]]]:
    """Return what the pass makes before its training, its report and what it left, kept in `folder` for a resumed run.

    A cut to a latency goes by measurements, which come out otherwise the next time: the checkpoint of the training
    behind it is of this model and of no other.
    """
    if folder is not None and (folder / _CUT_RECORD).is_file():
        record = json.loads((folder / _CUT_RECORD).read_text("utf-8"))
        return load_model(folder / _CUT_MODEL).model, record["report"], record["skipped"]
    result = planned.step.apply(model, context)
    report, skipped = dict(result.report.to_dict()), _entries(result)
    if folder is not None:
        save_model(result.model, folder / _CUT_MODEL)
        write_json({"report": report, "skipped": skipped}, str(folder / _CUT_RECORD))
    return result.model, report, skipped


def _entries(result: PassResult) -> list[dict[str, str]]:
    return [entry.to_dict() for entry in result.report.skipped]
