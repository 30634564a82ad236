"""What a check says: one item a layer or operator, and a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OK, SKIPPED, REFUSED, UNSURE = "ok", "skipped", "refused", "unsure"
VERDICTS = (OK, SKIPPED, REFUSED, UNSURE)


@dataclass(frozen=True)
class CheckItem:
    """What a stage would do with one layer or operator.

    Attributes:
        name: The name of the layer, or of the tensor that the operator writes.
        kind: Its class or operator name.
        stage: What was checked for.
        verdict: "ok", "skipped" (left as it is; the rest goes on), "refused" (the stage fails) or "unsure".
        rule: Id of the rule that decided; None for "ok".
        reason: The rule as a sentence.
        remedy: What to do.
        details: More, by name.
    """

    name: str
    kind: str
    stage: str
    verdict: str
    rule: str | None = None
    reason: str = ""
    remedy: str = ""
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def advice(self) -> str:
        """Reason and remedy, once where the reason ends with the remedy."""
        return self.reason if self.reason.endswith(self.remedy) else f"{self.reason}; {self.remedy}"

    def to_dict(self) -> dict[str, object]:
        """Return the item as JSON holds it."""
        return {
            "name": self.name,
            "class": self.kind,
            "stage": self.stage,
            "verdict": self.verdict,
            "rule": self.rule,
            "reason": self.reason,
            "remedy": self.remedy,
            **self.details,
        }


@dataclass(frozen=True)
class CheckResult:
    """What one checker found.

    Attributes:
        items: In the order of the model.
        summary: The checker's own totals; counts of the verdicts are added to it.
    """

    items: tuple[CheckItem, ...]
    summary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdicts(self) -> dict[str, int]:
        """How many items have each verdict."""
        counts = Counter(item.verdict for item in self.items)
        return {verdict: counts.get(verdict, 0) for verdict in VERDICTS}

    @property
    def refusals(self) -> tuple[CheckItem, ...]:
        """The items that would make the stage fail."""
        return tuple(item for item in self.items if item.verdict == REFUSED)
