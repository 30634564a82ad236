"""What a folder's classes say about a score: whether they are those of the output, and what guessing would reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from .metrics import Metric, class_labels, class_scores, predicted_classes

if TYPE_CHECKING:
    from .report import Answers, Scores

_SHOWN = 5


def fits_output(class_names: Sequence[str], shape: Sequence[int | None]) -> bool:
    """Whether an output of this full shape has a score for each class; a single score tells two classes apart.

    Outputs of an open size, and those with a score for each place of an image, are not judged.

    Example:
        >>> fits_output(("cat", "dog"), (1, 10)), fits_output(("cat", "dog"), (1, 1))
        (False, True)
    """
    size = shape[-1] if len(shape) > 1 else 1
    if size in (None, -1) or any(length != 1 for length in shape[1:-1]):
        return True
    return len(class_names) == (2 if size == 1 else size)


def check_classes(class_names: Sequence[str], shape: Sequence[int | None], output: str, source: str) -> None:
    """Raise unless the sub-folders of a folder of images are the classes of the output that is scored.

    Args:
        class_names: Names of the sub-folders; none for other data, which are not judged.
        shape: The output's full shape.
        output: Its name.
        source: The folder.

    Raises:
        DataError: They are more or fewer.
    """
    if not class_names or fits_output(class_names, shape):
        return
    raise DataError(
        f"{source} has {len(class_names)} classes ({_listed(class_names)}), and the output {output!r} has {shape[-1]}; "
        "give the folder a sub-folder for each class of the model, in alphabetical order, an empty one where there are "
        "no images."
    )


def other_classes(class_names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Warn when a folder's classes are not those that the file's sidecar names, in their order."""
    if not class_names or not known or list(class_names) == list(known):
        return []
    return [
        f"classes: the data's classes are {_listed(class_names)}, those of the file's sidecar {_listed(known)}; "
        "labels count by their place in alphabetical order"
    ]


def chance_warnings(scores: Scores, answers: Answers) -> list[str]:
    """Point out a score, of the file or of the baseline, that guessing could have reached.

    For accuracy, guessing is always giving the most frequent class; for the area under the ROC curve it is 0.5. "Could
    have" means that the score's 95 % interval reaches down to it.
    """
    chance = _chance(scores.metric.name, answers)
    if chance is None:
        return []
    level, guess = chance
    found = [("the file", scores.candidate)] + ([] if scores.baseline is None else [("the baseline", scores.baseline)])
    return [
        f"chance: {scores.metric.name} {score.value:.4f} of {what} on {scores.samples} samples cannot be told from "
        f"{guess} ({level:.4f}); are the pictures, their scaling and the labels those of the training?"
        for what, score in found
        if score.ci95[0] <= level
    ]


def class_record(metric: Metric, answers: Answers) -> dict[str, object] | None:
    """Return what is told right of each class, and what is said instead; None for what is not one class a sample.

    Returns:
        "names" of the classes, or None; "samples" and "right" of each class; "confused": [class, said, how often], the
        most frequent first.
    """
    labels, output = answers.labels, answers.candidate
    if not metric.of_classes or labels is None or isinstance(labels, Mapping) or isinstance(output, Mapping):
        return None
    scores, said = class_scores(output), predicted_classes(output)
    if said.ndim != 1:
        return None
    true, count = class_labels(labels, scores), max(2, scores.shape[-1] if scores.ndim > 1 else 1)
    wrong = true != said
    pairs, times = np.unique(np.stack([true[wrong], said[wrong]], axis=1), axis=0, return_counts=True)
    found = [[*map(int, pair), int(times)] for pair, times in zip(pairs, times, strict=True)]
    return {
        "names": list(answers.class_names) or None,
        "samples": np.bincount(true, minlength=count).tolist(),
        "right": np.bincount(true[~wrong], minlength=count).tolist(),
        "confused": sorted(found, key=lambda item: -item[2]),
    }


def _chance(metric: str, answers: Answers) -> tuple[float, str] | None:
    """Return the score of guessing, and how it guesses; None where that is not known."""
    if metric == "auc":
        return 0.5, "that of random scores"
    labels = answers.labels
    if metric != "accuracy" or labels is None or isinstance(labels, Mapping) or isinstance(answers.candidate, Mapping):
        return None
    if labels.ndim > 1 and labels.shape == answers.candidate.shape and labels.shape[-1] > 1:
        labels = labels.argmax(axis=-1)
    _, counts = np.unique(labels, return_counts=True)
    if len(counts) < 2:
        return None  # of a single class nothing is to be told
    return float(counts.max() / counts.sum()), "that of always giving the most frequent class"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
