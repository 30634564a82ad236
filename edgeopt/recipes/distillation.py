"""How much a student listens to its teacher: the options of a ``[distillation]`` table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import RecipeError
from .values import require_choice, require_number

KINDS = ("auto", "softmax", "sigmoid", "mse")


@dataclass(frozen=True, kw_only=True)
class DistillationOptions:
    """The weights of a distillation's loss; `edgeopt.training.Distillation` says what they mean.

    Attributes:
        temperature: What the outputs are divided by before they are compared, above 0; 4 by default.
        alpha: Share of the teacher in the loss, in [0, 1]; 0.5 by default.
        features: Student's layer -> teacher's layer whose outputs are compared as well; none by default.
        feature_weight: Weight of the features in the loss, of at least 0; 1 by default.
        kind: How outputs are compared: ``softmax``, ``sigmoid``, ``mse``, or, by default, ``auto``: as the loss that
            the student is trained with suggests.

    Raises:
        RecipeError: An option is out of its range or unknown.
    """

    temperature: float = 4.0
    alpha: float = 0.5
    features: Mapping[str, str] = field(default_factory=dict)
    feature_weight: float = 1.0
    kind: str = "auto"

    def __post_init__(self) -> None:
        require_number("temperature", self.temperature, "a number above 0", lambda value: value > 0.0)
        require_number("alpha", self.alpha, "the share of the teacher, in [0, 1]", lambda value: 0.0 <= value <= 1.0)
        require_number("feature_weight", self.feature_weight, "a number of at least 0", lambda value: value >= 0.0)
        if not isinstance(self.features, Mapping):
            raise RecipeError(
                f"Received features={self.features!r}; expected a table: the student's layer = the teacher's."
            )
        require_choice("kind", self.kind, KINDS)
