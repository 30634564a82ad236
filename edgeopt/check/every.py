"""The check of a Keras model for all stages: which of them would refuse or skip each layer, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import EdgeoptError, UsageError
from .apart import ALL, goes_apart, look_apart
from .items import OK, CheckItem, CheckResult
from .registry import Subject
from .stages import STAGES, StageChecker, StageInspection, load

# Changes after which a layer is gone, or is another one, so that what was found of it is void.
_CURES = ("operation to layer", "folded", "merged")


@dataclass(frozen=True)
class EveryStageChecker:
    """Checks models for all passes, and for conversion."""

    stage: str = "all"

    def check(self, subject: Subject) -> CheckResult:
        """Ask every stage (see `Checker.check`); items stand by layer, then by stage."""
        if subject.tflite is not None:
            raise UsageError(
                f"{subject.name} is a .tflite file, which is checked for an accelerator; give --for edgetpu "
                "(target='edgetpu'), or a Keras model."
            )
        if goes_apart(subject):
            return look_apart(ALL, subject)
        model = load(subject)
        shared: dict[str, object] = {}
        found = {stage: StageChecker(stage).look(StageInspection(model, subject, shared=shared)) for stage in STAGES}
        fixes = _fixes(model)
        order = {name: index for index, name in enumerate(_names(found))}
        items = sorted((item for result in found.values() for item in result.items), key=lambda item: order[item.name])
        cures = {fix["layer"] for fix in fixes if fix["rule"] in _CURES}
        return CheckResult(
            tuple(_with_cure(item, cures) for item in items),
            {
                "layers": max(int(result.summary["layers"]) for result in found.values()),
                "stages": {stage: result.verdicts for stage, result in found.items()},
                "fixes": fixes,
            },
        )


def checker(name: str, options: Mapping[str, object]) -> EveryStageChecker:
    """Return the checker of all stages.

    Raises:
        UsageError: An option was given that goes with an accelerator.
    """
    for key in options:
        raise UsageError(f"The option {key} goes with a target; name one with --for (target=...).")
    return EveryStageChecker(name)


def _names(found: Mapping[str, CheckResult]) -> list[str]:
    """The model's own name first, which some stages refuse; then the layers in the order in which they run."""
    items = [item for result in found.values() for item in result.items]
    whole = [item.name for item in items if item.kind == "model"]
    return list(dict.fromkeys([*whole, *(item.name for item in items)]))


def _fixes(model: Any) -> list[dict[str, str]]:
    """Return what `edgeopt.fix_model` would do; nothing for a model that it would refuse."""
    from ..models.rewrite import plan

    if model is None:
        return []
    try:
        changes, _ = plan(model)
    except EdgeoptError:
        return []
    return [change.to_dict() for change in changes]


def _with_cure(item: CheckItem, cures: set[str]) -> CheckItem:
    return (
        replace(item, remedy="edgeopt check --fix rewrites it") if item.verdict != OK and item.name in cures else item
    )
