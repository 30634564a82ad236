"""Take a finished int8 file through the methods of recovery, and keep what held-back samples are the better for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from ...flatbuffer import Model, read_model
from ..outputs import Samples, batch_of, count_of, groups
from ..range_choice import LEAST_SAMPLES, judging_part
from ..ranges import measurable
from ..rewrite import packed
from .biases import corrected_bias
from .editing import put_bias, put_weights
from .evidence import Evidence, Wanted, wanted_of
from .judging import Judge, compared, improved
from .layers import Integers, Layer, Reals, find_layers
from .rounding import MOST_INPUTS, rounded
from .walk import Walk

_MEMORY = 1 << 30  # bytes that values inside the int8 file may take, over all samples
OnLayer = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Step:
    """A method that was tried.

    Attributes:
        method: ``bias`` or ``rounding``.
        kept: Whether held-back samples are the better for it; the file stays as it was otherwise.
        layers: How many layers it changed.
        snr_db: Signal to noise of the held-back samples' results (scores before a softmax) after it.
        gain_db: How many dB more than before, in the mean over the samples.
        noise_db: The standard error of that.
    """

    method: str
    kept: bool
    layers: int
    snr_db: float
    gain_db: float
    noise_db: float


@dataclass(frozen=True)
class Recovered:
    """A file, and how it came to be.

    Attributes:
        model: The file; the one that was given where nothing was kept.
        why: Why nothing was tried; "" where something was.
        layers: How many layers can be put right.
        samples: How many samples fitted.
        judges: How many others judged.
        held_back: Whether these made no ranges, either.
        snr_db: Signal to noise of the held-back samples' results before all steps; None where nothing was tried.
        steps: What was tried, in this order.
    """

    model: bytes = field(repr=False)
    why: str = ""
    layers: int = 0
    samples: int = 0
    judges: int = 0
    held_back: bool = False
    snr_db: float | None = None
    steps: tuple[Step, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return what the sidecar says of it."""
        return {name: value for name, value in asdict(self).items() if name != "model"}


@dataclass(frozen=True)
class FloatFiles:
    """What an int8 file was made from.

    Attributes:
        model: The float file as the model was converted: what results are to be near.
        calibrated: The same with what was repaired in it, whose layers are those of the int8 file.
        folded: Whether a picture's normalisation was folded into it, see `find_layers`.
    """

    model: bytes = field(repr=False)
    calibrated: bytes = field(repr=False)
    folded: bool = False


def recover(
    file: bytes, floats: FloatFiles, samples: Samples, held_back: Samples | None, on_layer: OnLayer
) -> Recovered:
    """Put biases and roundings of an int8 file right.

    Args:
        file: The file: one subgraph, without variables and control flow.
        float_file: The one that it was made from, with the same names.
        samples: Input name -> samples that fit, in real values.
        held_back: Others in the same form, which judge; None or few for every fifth of `samples`.
        on_layer: Told the method, and how many of how many layers were passed.
    """
    model, float_model = read_model(file), read_model(floats.calibrated)
    layers = find_layers(model, float_model, but_first=floats.folded)
    split = _split(model, samples, held_back)
    if not measurable(model):
        return Recovered(file, "the file has a loop, a variable, a fused LSTM, a custom operator or an open dimension")
    if split is None:
        return Recovered(file, f"there are fewer than {LEAST_SAMPLES} samples")
    if not layers:
        return Recovered(file, "there are no int8 weights that can be put right")
    judge = Judge(floats.model, split.judging)
    errors = first = judge.errors(file)
    wanted = wanted_of(floats.calibrated, layers, split.all)
    steps = []
    for method, solve in METHODS.items():
        layers = find_layers(read_model(file), float_model, but_first=floats.folded)
        made, changed = _passed(file, layers, wanted, split, solve, lambda *at, name=method: on_layer(name, *at))
        found = judge.errors(made)
        before, after = compared(errors, found)
        kept = improved(before, after)
        steps.append(Step(method, kept, changed, after.snr_db, after.gain_db, after.noise_db))
        if kept:
            file, errors = made, found
    snr_db = compared(first, first)[0].snr_db
    batch = batch_of(model)
    counts = len(layers), batch * len(split.fitting), batch * len(split.judging)
    return Recovered(file, "", *counts, split.held_back, snr_db, tuple(steps))


Solution = tuple[Integers, Reals]


def _bias(evidence: Evidence) -> Solution:
    return evidence.layer.integers, corrected_bias(evidence, evidence.layer.integers)


def _rounding(evidence: Evidence) -> Solution:
    layer = evidence.layer
    if len(layer.integers) > MOST_INPUTS:
        return layer.integers, layer.stored_bias
    integers = rounded(evidence)
    return integers, layer.stored_bias if layer.bias is None else corrected_bias(evidence, integers)


METHODS: dict[str, Callable[[Evidence], Solution]] = {"bias": _bias, "rounding": _rounding}


@dataclass(frozen=True)
class _Split:
    """Groups of samples, as many in each as the file takes at a time: some that fit, and others that judge."""

    fitting: Sequence[Samples]
    judging: Sequence[Samples]
    held_back: bool

    @property
    def all(self) -> list[Samples]:
        return [*self.fitting, *self.judging]


def _split(model: Model, samples: Samples, held_back: Samples | None) -> _Split | None:
    """Say which samples fit and which judge, no more than there is memory for; None where they are too few."""
    batch = batch_of(model)
    largest = max(tensor.nbytes for tensor in model.main.tensors if not tensor.is_constant)
    most = max(1, _MEMORY // (2 * largest))
    given = list(groups(samples, batch))
    if held_back is not None and count_of(held_back) >= LEAST_SAMPLES:
        judging = list(groups(held_back, batch))[:most]
        return _Split(given[:most], judging, True)
    given = given[:most]
    judges = set(judging_part(len(given)))
    if count_of(samples) < LEAST_SAMPLES or not judges:
        return None
    fitting = [group for place, group in enumerate(given) if place not in judges]
    return _Split(fitting, [given[place] for place in sorted(judges)], False)


def _passed(
    file: bytes,
    layers: Sequence[Layer],
    wanted: Sequence[Wanted],
    split: _Split,
    solve: Callable[[Evidence], Solution],
    on_layer: Callable[[int, int], None],
) -> tuple[bytes, int]:
    """Solve layer after layer, each with what the ones before give now; return the file and how many changed.

    What is found for a layer is taken where it brings the layer's own result, on the samples that judge, nearer to the
    float file's.
    """
    walk, changed, fitting = Walk(file, split.all), 0, len(split.fitting)
    for place, layer in enumerate(layers):
        on_layer(place, len(layers))
        walk.forward(layer.operator.index)
        stored = walk.values(layer.input.index)
        integers, bias = solve(Evidence.of(layer, stored, wanted[place], range(fitting)))
        others = Evidence.of(layer, stored, wanted[place], range(fitting, len(split.all)))
        if others.error(integers, bias) >= others.error(layer.integers, layer.stored_bias):
            continue
        changed += 1
        if not np.array_equal(integers, layer.integers):
            put_weights(walk.tree, layer, integers)
        if layer.bias is not None:
            put_bias(walk.tree, layer, bias)
    return packed(walk.tree), changed
