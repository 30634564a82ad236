"""One stage: apply a pass, and the training behind it where it does not train by itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...models.load import load_model
from ...passes.base import PassResult
from ...passes.finetune import FineTune
from ...passes.registry import Planned
from ...training.context import PassContext
from ...training.distillation import Distillation
from .folder import read_record, save_model, write_record
from .workbench import Workbench

# A cut model that was not trained to the end yet, and its account, in the stage's work folder.
_CUT_MODEL, _CUT_ACCOUNT = "cut.keras", "cut.json"


@dataclass(frozen=True)
class Account:
    """What a pass says of its work, as JSON values.

    Attributes:
        report: The pass's report.
        skipped: What the pass left as it was: ``subject``, ``reason``, ``detail``.
        note: What the technique buys, in words.
    """

    report: Mapping[str, object]
    skipped: tuple[Mapping[str, str], ...]
    note: str

    @classmethod
    def of(cls, result: PassResult) -> Account:
        """Return the account of a pass's result."""
        report = result.report
        return cls(dict(report.to_dict()), tuple(entry.to_dict() for entry in report.skipped), report.note)


@dataclass(frozen=True)
class Applied:
    """What a pass made of a model.

    Attributes:
        model: The new model.
        exported: The model that its file is to be made of.
        account: What the pass says of its work, its training included.
        seconds: The time that it took.
    """

    model: Any
    exported: Any
    account: Account
    seconds: float


def taught(bench: Workbench, made: Sequence[Any]) -> Workbench:
    """Return the bench for a recipe's next pass: a `finetune` that comes first makes the teacher of the others.

    Args:
        bench: What all stages share, with the recipe.
        made: The models so far, the original first.
    """
    recipe = bench.recipe
    if recipe.distillation is None or not recipe.passes or recipe.passes[0]["kind"] != FineTune.name:
        return bench
    if len(made) == 1:
        return replace(bench, recipe=replace(recipe, distillation=None))
    return replace(bench, teacher=made[1])


def apply(planned: Planned, model: Any, bench: Workbench, checkpoints: Path | None, trusted: bool) -> Applied:
    """Apply a pass, and the training behind it where it does not train by itself.

    Args:
        planned: The pass.
        model: What it is applied to.
        bench: What all stages share.
        checkpoints: Folder for what a resumed run goes on from; None keeps nothing.
        trusted: Whether code that a model in that folder names may run.
    """
    started = time.monotonic()
    context = bench.context(checkpoints, planned.training)
    if planned.step.wants_teacher and context.distillation is None:
        context = replace(context, distillation=Distillation(teacher=bench.original))
    if planned.finetune is None:
        result = planned.step.apply(model, context)
        account = Account.of(result)
    else:
        cut, account = _untrained(planned, model, context, checkpoints, trusted)
        result = FineTune(training=planned.finetune).apply(cut, context)
        account = replace(account, report={**account.report, "finetune": dict(result.report.to_dict())})
    return Applied(result.model, result.exported, account, time.monotonic() - started)


def _untrained(
    planned: Planned, model: Any, context: PassContext, folder: Path | None, trusted: bool
) -> tuple[Any, Account]:
    """Return what the pass makes before its training, and its account, kept in `folder` for a resumed run.

    A cut to a latency goes by measurements, which come out otherwise the next time: the checkpoint of the training
    behind it is of this model and of no other.
    """
    if folder is not None and (folder / _CUT_ACCOUNT).is_file():
        account: Account = read_record(Account, folder / _CUT_ACCOUNT)
        return load_model(folder / _CUT_MODEL, unsafe_load=trusted).model, account
    result = planned.step.apply(model, context)
    account = Account.of(result)
    if folder is not None:
        save_model(result.model, folder / _CUT_MODEL)
        write_record(vars(account), folder / _CUT_ACCOUNT)
    return result.model, account
