"""``edgeopt.fix_model``: the exact rewrites of what `edgeopt.check_model` finds, proven on samples."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifact.atomic import refuse_to_overwrite, replacing
from ..artifact.shown import Shown
from ..errors import ModelError, OutputError, UsageError, one_line

if TYPE_CHECKING:
    from ..models.rewrite import Change, Left, Proof, Rewritten

_SUFFIXES = (".keras", ".h5")
_SAMPLES = 64  # of the user's own, at most


@dataclass(frozen=True, repr=False)
class FixResult(Shown):
    """What `fix_model` did.

    Attributes:
        model: The new model, of the flavour that was given, uncompiled.
        changes: What is otherwise in it: `layer`, `rule`, `detail`.
        left: What could not be done exactly: `layer`, `rule`, `reason`, `remedy`.
        max_difference: Largest absolute difference of an output from the original's.
        relative_difference: That, relative to the largest absolute value of the output.
        samples: On how many samples both ran.
        layers: How many layers and bare operations there were, nested ones included, and how many there are.
        output: The file that was written, if any.
    """

    model: Any = field(repr=False)
    changes: tuple[Change, ...]
    left: tuple[Left, ...]
    max_difference: float
    relative_difference: float
    samples: int
    layers: tuple[int, int]
    output: str | None = None

    def shown(self) -> Mapping[str, object]:
        """Return what a prompt or a notebook shows."""
        return {
            "output": self.output,
            "changes": len(self.changes),
            "left": len(self.left),
            "layers": f"{self.layers[0]} before, {self.layers[1]} after",
            "max_difference": self.max_difference,
        }

    @property
    def rounding_added_up(self) -> bool:
        """Whether the outputs are further apart than a layer may be: rounding, since each layer by itself agrees."""
        from ..models.graph.compare import RELATIVE_LIMIT

        return self.relative_difference > RELATIVE_LIMIT

    def to_dict(self) -> dict[str, object]:
        """Return all but the model as JSON holds it."""
        return {
            "output": self.output,
            "changes": [change.to_dict() for change in self.changes],
            "left": [entry.to_dict() for entry in self.left],
            "max_difference": self.max_difference,
            "relative_difference": self.relative_difference,
            "samples": self.samples,
            "layers": {"before": self.layers[0], "after": self.layers[1]},
        }


def fix_model(
    model: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    batch_size: int | None = None,
    calibration: Any = None,
    custom_objects: Sequence[str] = (),
    unsafe_load: bool = False,
    force: bool = False,
    seed: int = 0,
) -> FixResult:
    """Rewrite a Keras model exactly, and prove on samples that the new one computes the same.

    Nested models become their layers; bare operations (``x * 2.``) become layers; BatchNormalization, Normalization
    and Rescaling are folded into a convolution or Dense layer beside them where that is exact at inference. Fold last:
    a BatchNormalization that is folded does not learn any more.

    Args:
        model: A Keras model of either flavour, or the path of one; it is not changed.
        output: Where to save the new model (.keras or .h5); it is read back before it takes its place.
        batch_size: Give the inputs this static batch size; None leaves the batch as it is.
        calibration: Samples of your own to compare on, beside random ones (as `edgeopt.convert` takes them).
        custom_objects: ``module:NAME`` for what a model file needs.
        unsafe_load: Allow Python code stored in a model file to run.
        force: Replace `output` if it exists.
        seed: Seed of the random samples, 0 by default.

    Raises:
        UsageError: The model or the data cannot be read, or the output cannot be written (OutputError).
        ModelError: The model is no graph of layers; the message says what can still be done with it.
        ConversionError: The two models differ; the message names the first layer that does. Nothing is written.

    Example:
        >>> edgeopt.fix_model("model.keras", "fixed.keras").max_difference
        5.96e-08
    """
    check_batch_size(batch_size)
    target = None if output is None else check_output(output, model, force)
    from ..models.rewrite import check_reloaded, prove, rewrite

    original = _loaded(model, custom_objects, unsafe_load)
    rewritten = rewrite(original, batch_size=batch_size)
    data = _samples(original, calibration, seed)
    proof = prove(original, rewritten, seed=seed, data=data)
    if target is not None:
        trusted = unsafe_load or not isinstance(model, (str, os.PathLike))
        with _saved(rewritten, target, custom_objects, trusted) as again:
            check_reloaded(rewritten, again, seed=seed, data=data)
    return _result(rewritten, proof, None if target is None else str(target))


def _result(rewritten: Rewritten, proof: Proof, output: str | None) -> FixResult:
    return FixResult(
        rewritten.model,
        rewritten.changes,
        rewritten.left,
        proof.max_difference,
        proof.relative_difference,
        proof.samples,
        (len(rewritten.before.steps), len(rewritten.after.steps)),
        output,
    )


def check_batch_size(batch_size: int | None) -> None:
    """Refuse a batch of no samples.

    Raises:
        UsageError: It is one.
    """
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}; expected at least 1.")


def check_output(output: str | os.PathLike[str], model: Any, force: bool) -> Path:
    """Refuse, before anything slow runs, what could not be written in the end.

    Raises:
        OutputError: Another suffix than .keras and .h5, the model itself, a file that exists, a folder that does not.
    """
    path = Path(output)
    if path.suffix not in _SUFFIXES:
        raise OutputError(f"The output {path} ends in {path.suffix or 'nothing'}; expected a name in .keras or .h5.")
    if isinstance(model, (str, os.PathLike)) and os.path.realpath(path) == os.path.realpath(model):
        raise OutputError(f"The output {path} is the model itself; choose another name.")
    refuse_to_overwrite(path, force)
    return path


def _loaded(model: Any, custom_objects: Sequence[str], unsafe_load: bool) -> Any:
    from ..models.load import flavour_of, load_layers

    if isinstance(model, (str, os.PathLike)):
        return load_layers(os.fsdecode(model), custom_objects=custom_objects, unsafe_load=unsafe_load)
    if flavour_of(model) is None:
        kind = f"{type(model).__module__}.{type(model).__name__}"
        raise UsageError(f"Received a model of type {kind}; expected a Keras model, or the path of one.")
    return model


def _samples(model: Any, calibration: Any, seed: int) -> list[Any]:
    """Return the user's samples, an array for each input, in the order of the inputs."""
    if calibration is None:
        return []
    from ..data.calibration import calibration_set
    from ..models.load import describe

    inputs = describe(model).spec.inputs
    shape = inputs[0].shape
    size = (shape[1], shape[2]) if len(shape) == 4 and shape[1] and shape[2] else None
    chosen = calibration_set(calibration, _SAMPLES, seed, image_size=size)
    bound = chosen.data.bind([item.name for item in inputs], [item.shape for item in inputs])
    return list(bound.values())


@contextlib.contextmanager
def _saved(rewritten: Rewritten, path: Path, custom_objects: Sequence[str], trusted: bool) -> Iterator[Any]:
    """Save the new model, hand out what is read back, and put the file into its place when nothing was raised."""
    with replacing(path) as made:
        try:
            rewritten.model.save(made)
            again = _read_back(rewritten, made, custom_objects, trusted)
        except OSError:
            raise
        except Exception as error:
            gist = one_line(error, 300).replace(str(made), path.name)
            other = ".h5" if path.suffix == ".keras" else ".keras"
            raise ModelError(
                f"{rewritten.after.flavour.value} cannot save the new model as {path.suffix} and load it back "
                f"({gist}); choose a name in {other}, or write the layer that it names otherwise."
            ) from error
        yield again


def _read_back(rewritten: Rewritten, path: Path, custom_objects: Sequence[str], trusted: bool) -> Any:
    """Load what was just saved; code that was in this process before may run here again."""
    from ..models.detect import detect
    from ..models.graph.rebuild import own_objects
    from ..models.load import load_checked, resolve_custom_objects

    layers = [step.layer for step in rewritten.after.steps if step.layer is not None]
    known = {name: value for layer in layers for name, value in own_objects(layer).items()}
    return load_checked(detect(path), {**known, **resolve_custom_objects(custom_objects)}, trusted)
