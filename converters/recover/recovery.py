"""Take a finished int8 file through the methods of recovery, and keep what held-back samples are the better for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from ...flatbuffer import Model, read_model
from ..outputs import Samples, batch_of, count_of, groups, spread
from ..range_choice import LEAST_SAMPLES, Errors, better, judging_part
from ..ranges import measurable
from ..rewrite import packed
from ..weight_bias import WeightBias
from .biases import corrected_bias, kept_mean
from .editing import put_bias, put_weights
from .equalising import equalised
from .evidence import Evidence, Wanted, wanted_of
from .judging import Judge, compared, improved
from .kept import KeptSteps, State, Step
from .layers import Integers, Layer, Reals, find_layers
from .ranges import search_ranges
from .rounding import MOST_INPUTS, rounded
from .walk import Walk

_MEMORY = 1 << 30  # bytes that values inside the int8 file may take, over all samples
_SHOWING, _SEARCHING = 32, 32  # groups of samples that show how far channels reach; that ranges are searched by
OnLayer = Callable[[str, int, int], None]


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
        calibrated: The float file whose layers are those of the file; b"" for the one that was given.
    """

    model: bytes = field(repr=False)
    why: str = ""
    layers: int = 0
    samples: int = 0
    judges: int = 0
    held_back: bool = False
    snr_db: float | None = None
    steps: tuple[Step, ...] = ()
    calibrated: bytes = field(default=b"", repr=False)

    def to_dict(self) -> dict[str, object]:
        """Return what the sidecar says of it."""
        return {name: value for name, value in asdict(self).items() if name not in ("model", "calibrated")}


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
    file: bytes,
    floats: FloatFiles,
    samples: Samples,
    held_back: Samples | None,
    on_layer: OnLayer,
    folder: Path | None = None,
) -> Recovered:
    """Put an int8 file right: the spans of its channels, its ranges, biases and roundings.

    Args:
        file: The file: one subgraph, without variables and control flow.
        floats: What it was made from, with the same names.
        samples: Input name -> samples that fit, in real values.
        held_back: Others in the same form, which judge; None or few for every fifth of `samples`.
        on_layer: Told the method, and how many of how many layers, or ranges, were passed.
        folder: Where finished steps are kept, and those of an interrupted recovery looked for; None for nowhere.
    """
    model = read_model(file)
    layers = find_layers(model, read_model(floats.calibrated), but_first=floats.folded)
    split = _split(model, samples, held_back)
    if not measurable(model):
        return Recovered(file, "the file has a loop, a variable, a fused LSTM, a custom operator or an open dimension")
    if split is None:
        return Recovered(file, f"there are fewer than {LEAST_SAMPLES} samples")
    if not layers:
        return Recovered(file, "there are no int8 weights that can be put right")
    judge = Judge(floats.model, split.judging)
    errors = first = judge.errors(file)
    fit, kept = _Fit(split, floats), KeptSteps(folder, floats.model, (split.fitting, split.judging))
    state = State(file, floats.calibrated)
    steps = []
    for method, ways in METHODS.items():
        if (before := kept.find(method, state)) is not None:
            step, after = before
            found = judge.errors(after.file)
        else:
            tried = [apply(fit, state, lambda *at, name=method: on_layer(name, *at)) for apply in ways]
            of_each = [judge.errors(made.file) for made, _ in tried]
            best = min(range(len(tried)), key=lambda place: float(of_each[place].mean()))
            (made, changed), found = tried[best], of_each[best]
            step = _judged(method, changed, errors, found)
            after = made if step.kept else state
            kept.put(step, state, after)
        steps.append(step)
        if step.kept:
            state, errors = after, found
    snr_db = compared(first, first)[0].snr_db
    batch = batch_of(model)
    counts = len(layers), batch * len(split.fitting), batch * len(split.judging)
    return Recovered(state.file, "", *counts, split.held_back, snr_db, tuple(steps), state.calibrated)


def _judged(method: str, changed: int, errors: Errors, found: Errors) -> Step:
    before, after = compared(errors, found)
    # What was searched for among many is better by chance a little.
    kept = better(after, before) if method == "ranges" else improved(before, after)
    return Step(method, kept, changed, after.snr_db, after.gain_db, after.noise_db)


class _Fit:
    """What methods fit by."""

    def __init__(self, split: _Split, floats: FloatFiles) -> None:
        self.split, self.model, self.folded = split, floats.model, floats.folded
        self._wanted: tuple[bytes, Sequence[Wanted]] = (b"", ())

    def layers(self, state: State) -> list[Layer]:
        """Return the layers of a file."""
        return find_layers(read_model(state.file), read_model(state.calibrated), but_first=self.folded)

    def some(self, most: int) -> list[Samples]:
        """Return at most so many of the groups that fit, spread over them."""
        return [self.split.fitting[place] for place in spread(len(self.split.fitting), most)]

    def wanted(self, state: State) -> Sequence[Wanted]:
        """Return what the layers are to give; it is kept as long as the float file is the same."""
        if self._wanted[0] != state.calibrated:
            self._wanted = state.calibrated, wanted_of(state.calibrated, self.layers(state), self.split.all)
        return self._wanted[1]


Solution = tuple[Integers, Reals]
Tell = Callable[[int, int], None]


def _equalise(fit: _Fit, state: State, tell: Tell) -> tuple[State, int]:
    tell(0, 1)
    made, float_file, changed = equalised(state.file, state.calibrated, fit.split.fitting, but_first=fit.folded)
    return State(made, float_file), changed


def _equalise_with_biases(fit: _Fit, state: State, tell: Tell) -> tuple[State, int]:
    """Equalise, and take off the biases what rounding the weights, some of them anew, adds."""
    made, changed = _equalise(fit, state, tell)
    if not changed:
        return made, changed
    some = fit.some(_SHOWING)
    samples = {name: np.concatenate([group[name] for group in some]) for name in some[0]}
    return replace(made, file=WeightBias(made.calibrated, samples, but_first=fit.folded).taken_off(made.file)), changed


def _ranges(fit: _Fit, state: State, tell: Tell) -> tuple[State, int]:
    made, changed = search_ranges(state.file, Judge(fit.model, fit.some(_SEARCHING)), tell)
    return replace(state, file=made), changed


def _bias(evidence: Evidence) -> Solution:
    return evidence.layer.integers, corrected_bias(evidence, evidence.layer.integers)


def _rounding(evidence: Evidence) -> Solution:
    layer = evidence.layer
    if len(layer.integers) > MOST_INPUTS:
        return layer.integers, layer.stored_bias
    integers = rounded(evidence)
    return integers, layer.stored_bias if layer.bias is None else corrected_bias(evidence, integers)


def _rounding_of_weights(evidence: Evidence) -> Solution:
    layer = evidence.layer
    if len(layer.integers) > MOST_INPUTS:
        return layer.integers, layer.stored_bias
    integers = rounded(evidence, weights_only=True)
    return integers, layer.stored_bias if layer.bias is None else kept_mean(evidence, integers)


def _layer_by_layer(solve: Callable[[Evidence], Solution], fit: _Fit, state: State, tell: Tell) -> tuple[State, int]:
    """Solve layer after layer, each with what the ones before give now; say how many changed.

    What is found for a layer is taken where it brings the layer's own result, on the samples that judge, nearer to the
    float file's.
    """
    layers, wanted, every = fit.layers(state), fit.wanted(state), fit.split.all
    walk, changed, fitting = Walk(state.file, every), 0, len(fit.split.fitting)
    for place, layer in enumerate(layers):
        tell(place, len(layers))
        walk.forward(layer.operator.index)
        stored = walk.values(layer.input.index)
        integers, bias = solve(Evidence.of(layer, stored, wanted[place], range(fitting)))
        others = Evidence.of(layer, stored, wanted[place], range(fitting, len(every)))
        if others.error(integers, bias) >= others.error(layer.integers, layer.stored_bias):
            continue
        changed += 1
        if not np.array_equal(integers, layer.integers):
            put_weights(walk.tree, layer, integers)
        if layer.bias is not None:
            put_bias(walk.tree, layer, bias)
    return replace(state, file=packed(walk.tree)), changed


METHODS: dict[str, Sequence[Callable[[_Fit, State, Tell], tuple[State, int]]]] = {
    "equalise": (_equalise, _equalise_with_biases),
    "bias": (partial(_layer_by_layer, _bias),),
    "rounding": (partial(_layer_by_layer, _rounding), partial(_layer_by_layer, _rounding_of_weights)),
    "ranges": (_ranges,),
}


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
