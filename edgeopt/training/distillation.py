"""A teacher, and how much the students that are trained with it listen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import RecipeError, UsageError, nearest
from ..models.load import flavour_of
from ..recipes.optimize import DISTILLATION

KINDS = ("auto", "softmax", "sigmoid", "mse")


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """A teacher, and how much its students listen to it.

    The loss of a student is ``(1 - alpha) * hard + alpha * soft + feature_weight * features``. `hard` is the loss on
    the labels. `soft` is, for classes, ``T**2 * KL(softmax(z_teacher / T) || softmax(z_student / T))``, the mean over
    the batch; the factor keeps its gradient at the size of that of `hard` (Hinton, Vinyals and Dean 2015). For
    independent classes it is the same with sigmoids, for regression the mean squared difference. `features` is the mean
    squared difference of layers' outputs, through a learned linear map where the channels differ (Romero et al. 2015).

    Attributes:
        teacher: A Keras model of either flavour, with outputs of the student's shapes.
        temperature: T.
        alpha: Share of the soft part, in [0, 1].
        features: Student's layer -> teacher's layer.
        feature_weight: Of the features.
        kind: ``softmax``, ``sigmoid``, ``mse``, or ``auto``: by the loss that the student is trained with.

    Raises:
        RecipeError: An option is out of its range or unknown.
        UsageError: The teacher is no Keras model.

    Example:
        >>> context = PassContext(train=(x, y), distillation=Distillation(teacher=big, temperature=4))
    """

    teacher: Any
    temperature: float = 4.0
    alpha: float = 0.5
    features: Mapping[str, str] = field(default_factory=dict)
    feature_weight: float = 1.0
    kind: str = "auto"

    def __post_init__(self) -> None:
        check_options(shallow(self))
        if flavour_of(self.teacher) is None:
            raise UsageError(f"Received a teacher of type {type(self.teacher).__name__}; expected a Keras model.")

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON values, the teacher by its name."""
        return {"teacher": str(self.teacher.name), **shallow(self), "features": dict(self.features)}


def shallow(distillation: Distillation) -> dict[str, Any]:
    """Return the options, the teacher left out, as they are."""
    return {name: getattr(distillation, name) for name in DISTILLATION}


def check_options(options: Mapping[str, Any]) -> None:
    """Raise unless what is given of `DISTILLATION` is in its range.

    Raises:
        RecipeError: A number is not, the kind is unknown, or the features are no table.
    """
    infinity = float("inf")
    ranges: dict[str, tuple[str, Callable[[float], bool]]] = {
        "temperature": ("a number above 0", lambda value: 0.0 < value < infinity),
        "alpha": ("the share of the teacher, in [0, 1]", lambda value: 0.0 <= value <= 1.0),
        "feature_weight": ("a number of at least 0", lambda value: 0.0 <= value < infinity),
    }
    for name, (expected, fits) in ranges.items():
        value = options.get(name, 1.0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not fits(value):
            raise RecipeError(f"Received {name}={value!r}; expected {expected}.")
    if not isinstance(options.get("features", {}), Mapping):
        raise RecipeError(
            f"Received features={options['features']!r}; expected a table: the student's layer = the teacher's."
        )
    kind = options.get("kind", "auto")
    if kind not in KINDS:
        raise RecipeError(f"Received kind={kind!r} of distillation{nearest(str(kind), KINDS)}")
