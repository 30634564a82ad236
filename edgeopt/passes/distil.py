"""Distillation: a student learns from a teacher's outputs, and from its features, besides the labels.

`Distillation` is put into `PassContext.distillation`, and then every training of the run listens to the teacher. The
pass `Distil` is a training of its own, of the model or of a new and smaller student.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..errors import RecipeError, UsageError
from ..models.copying import copy_model
from ..models.load import flavour_of
from ..process.user_code import import_user_object
from ..recipes.distillation import DistillationOptions
from ..training.context import PassContext
from ..training.distillation import Distillation
from ..training.loop import train
from ..training.losses import with_loss_of
from ..training.options import Training
from ..training.zero_keeper import zero_keeper
from .base import Pass, PassResult, check_needs
from .finetune import FineTuneReport


@dataclass(frozen=True)
class DistilReport(FineTuneReport):
    """What a distillation did.

    Attributes:
        distillation: The options of the distillation, the teacher by its name.
        student: Name of the new model, or None where the model itself was trained.
    """

    distillation: Mapping[str, object] = field(default_factory=dict)
    student: str | None = None

    note = "Distillation changes the accuracy of a model, not its cost; a student costs what its shape costs."

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return {**super().to_dict(), "distillation": dict(self.distillation), "student": self.student}


@dataclass(frozen=True, kw_only=True)
class Distil(Pass):
    """Train the model, or a new student, with a teacher.

    What is not given of the distillation is that of the context, where there is one.

    Attributes:
        training: How long and how; one epoch by default.
        teacher: Whom to listen to; None takes the context's teacher, or, with `student`, the model that is given.
        student: A function that is called with the given model and returns the new, untrained one; or its
            ``module:function``. None trains a copy of the given model.
        temperature: `Distillation.temperature`, above 0; None, as in the following, takes that of the context, or
            `Distillation`'s default.
        alpha: `Distillation.alpha`, the share of the soft part, in [0, 1].
        features: `Distillation.features`, student's layer -> teacher's layer.
        feature_weight: `Distillation.feature_weight`, of at least 0.
        loss_kind: `Distillation.kind`: ``softmax``, ``sigmoid``, ``mse`` or ``auto``.
        keep_zeros: Keep, by default, at zero what an earlier pass has pruned.

    Raises:
        RecipeError: An option is out of its range, or there are no epochs.

    Example:
        >>> Distil(student=build_small, training=Training(epochs=20)).apply(big, context).model
    """

    training: Training = field(default_factory=Training)
    teacher: Any = None
    student: Callable[[Any], Any] | str | None = None
    temperature: float | None = None
    alpha: float | None = None
    features: Mapping[str, str] | None = None
    feature_weight: float | None = None
    loss_kind: str | None = None
    keep_zeros: bool = True

    name = "distil"
    wants_teacher = True

    def __post_init__(self) -> None:
        DistillationOptions(**self._given())
        if self.training.epochs == 0:
            raise RecipeError("Received epochs=0 for the pass 'distil'; expected at least 1.")

    def check(self) -> None:
        """Import the student builder, where it is given as ``module:function``.

        Raises:
            UsageError: It cannot be imported, or is no function.
        """
        if self.student is not None:
            builder(self.student)

    def apply(self, model: Any, context: PassContext) -> PassResult:
        """Return the trained student, of the flavour of `model`, and a `DistilReport`; `model` is not changed.

        Raises:
            UsageError: No teacher, a layer that does not exist, or a student whose outputs are not the teacher's.
            DataError: Data that do not fit.
            TrainingDivergedError: The loss became NaN or infinite.
        """
        check_needs(self, context)
        distillation = self._distillation(model, context)
        student = self._student(model, context)
        keep, kept = zero_keeper(student) if self.keep_zeros else (None, {})
        context = replace(with_loss_of(model, context, self.name), distillation=distillation)
        done = train(student, context, self.training, name=self.name, keep=keep)
        name = None if self.student is None else str(student.name)
        report = DistilReport.of(
            self.training, done, kept_zeros=kept, distillation=distillation.to_dict(), student=name
        )
        return PassResult(done.model, report)

    def _distillation(self, model: Any, context: PassContext) -> Distillation:
        given, own = context.distillation, self._given()
        if self.teacher is not None:
            own["teacher"] = self.teacher
        if given is not None:
            return replace(given, **own)
        if self.student is not None:
            own.setdefault("teacher", model)
        if "teacher" not in own:
            raise UsageError("Pass 'distil' has no teacher; give teacher=..., a student=..., or one in the context.")
        return Distillation(**own)

    def _given(self) -> dict[str, Any]:
        """Return the options of `Distillation` that were given to the pass."""
        values = {**vars(self), "kind": self.loss_kind}
        names = [item.name for item in fields(DistillationOptions)]
        return {name: values[name] for name in names if values[name] is not None}

    def _student(self, model: Any, context: PassContext) -> Any:
        if self.student is None:
            return copy_model(model)
        from ..training.determinism import seed_everything

        flavour = flavour_of(model)
        if flavour is not None:
            seed_everything(flavour, context.seed)
        student = builder(self.student)(model)
        if flavour_of(student) is not flavour:
            raise UsageError(
                f"The student builder returned {type(student).__module__.split('.')[0]}.{type(student).__name__}; "
                f"expected a {'Keras' if flavour is None else flavour.value} model like the one that it was given."
            )
        return student


def builder(student: Callable[[Any], Any] | str) -> Callable[[Any], Any]:
    """Return the student builder, imported where it is given as ``module:function``.

    Raises:
        UsageError: It cannot be imported, or is no function.
    """
    if not isinstance(student, str):
        return student
    found: Callable[[Any], Any] = import_user_object(student, "the student builder")
    if not callable(found):
        raise UsageError(f"Received student={student!r}, a {type(found).__name__}; expected a function.")
    return found
