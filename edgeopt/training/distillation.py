"""A teacher, and how much the students that are trained with it listen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..models.load import flavour_of
from ..recipes.distillation import DistillationOptions


@dataclass(frozen=True, kw_only=True)
class Distillation(DistillationOptions):
    """A teacher, and how much its students listen to it.

    The loss of a student is ``(1 - alpha) * hard + alpha * soft + feature_weight * features``. `hard` is the loss on
    the labels. `soft` is, for classes, ``T**2 * KL(softmax(z_teacher / T) || softmax(z_student / T))``, the mean over
    the batch; the factor keeps its gradient at the size of that of `hard` (Hinton, Vinyals and Dean 2015). For
    independent classes it is the same with sigmoids, for regression the mean squared difference. `features` is the mean
    squared difference of layers' outputs, through a learned linear map where the channels differ (Romero et al. 2015).

    Attributes:
        teacher: A Keras model of either flavour, with outputs of the student's shapes.
        temperature: T, above 0; 4 by default.
        alpha: Share of the soft part, in [0, 1]; 0.5 by default.
        features: Student's layer -> teacher's layer; none by default.
        feature_weight: Weight of the features in the loss, of at least 0; 1 by default.
        kind: ``softmax``, ``sigmoid``, ``mse``, or ``auto``, the default: by the loss that the student is trained with.

    Raises:
        RecipeError: An option is out of its range or unknown.
        UsageError: The teacher is no Keras model.

    Example:
        >>> context = PassContext(train=(x, y), distillation=Distillation(teacher=big, temperature=4))
    """

    teacher: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        if flavour_of(self.teacher) is None:
            raise UsageError(f"Received a teacher of type {type(self.teacher).__name__}; expected a Keras model.")

    def to_dict(self) -> dict[str, object]:
        """Return the options as JSON values, the teacher by its name."""
        return {**vars(self), "teacher": str(self.teacher.name), "features": dict(self.features)}
