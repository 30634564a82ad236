"""What makes two trainings equal to the bit: deterministic operators, and random numbers that depend on the epoch.

The numbers of an epoch follow from the seed and the epoch's number alone, not from those drawn before: so a run that
goes on from a checkpoint draws what an unbroken one draws. TensorFlow is imported inside the functions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..models.detect import Flavour
from ..models.load import flavour_of, import_keras

# Called with an epoch's number: sets every random state to what that epoch starts from.
Reseed = Callable[[int], None]


@contextmanager
def reproducible(model: Any, seed: int) -> Iterator[Reseed]:
    """Make operators deterministic and random layers reseedable inside the block; all is as it was behind it.

    Only Python's, NumPy's and TensorFlow's own generators stay seeded where they have no state to go back to.
    """
    import tensorflow as tf
    from tensorflow.python.framework import config  # the only way to ask for, and to end, op determinism

    before = random.getstate(), np.random.get_state()
    was_deterministic = config.is_op_determinism_enabled()
    tf.random.set_seed(seed)
    tf.config.experimental.enable_op_determinism()
    try:
        with _reseedable(model, seed) as reseed:
            yield reseed
    finally:
        if not was_deterministic:
            config.disable_op_determinism()
        random.setstate(before[0])
        np.random.set_state(before[1])


def derived(seed: int, epoch: int, place: int) -> int:
    """Return a 32-bit seed for a random layer in an epoch."""
    return int(np.random.SeedSequence([seed, epoch, place]).generate_state(1)[0])


@contextmanager
def _reseedable(model: Any, seed: int) -> Iterator[Reseed]:
    import tensorflow as tf

    flavour = flavour_of(model)
    if flavour is Flavour.KERAS3:
        states = [item for item in model.variables if item.path.split("/")[-1] == "seed_generator_state"]

        def reseed(epoch: int) -> None:
            _reseed_process(seed, epoch)
            for place, state in enumerate(states):
                state.assign(np.array([derived(seed, epoch, place), 0], dtype=np.uint32))

        yield reseed
        return
    if tf.distribute.has_strategy():  # each replica draws for itself
        yield lambda epoch: _reseed_process(seed, epoch)
        return
    with _stateful_generators(model, seed) as generators:

        def reseed_tf_keras(epoch: int) -> None:
            _reseed_process(seed, epoch)
            for place, generator in enumerate(generators):
                generator.reset_from_seed(derived(seed, epoch, place))

        yield reseed_tf_keras


def _reseed_process(seed: int, epoch: int) -> None:
    """Seed what the user's own data code may draw from."""
    value = derived(seed, epoch, 1 << 20)
    random.seed(value)
    np.random.seed(value)


@contextmanager
def _stateful_generators(model: Any, seed: int) -> Iterator[list[Any]]:
    """Give each random layer of a tf_keras model a generator whose state can be set.

    By default such layers draw from operators with a hidden state, which no checkpoint could hold.
    """
    import tensorflow as tf

    holders = [layer._random_generator for layer in model._flatten_layers() if hasattr(layer, "_random_generator")]
    holders = list({id(holder): holder for holder in holders}.values())
    before = [(holder._rng_type, getattr(holder, "_generator", None), holder._built) for holder in holders]
    generators = []
    for holder in holders:
        generator = tf.random.Generator.from_seed(seed, alg="philox")
        holder._rng_type, holder._generator, holder._built = holder.RNG_STATEFUL, generator, True
        generators.append(generator)
    try:
        yield generators
    finally:
        for holder, (kind, generator, built) in zip(holders, before, strict=True):
            holder._rng_type, holder._generator, holder._built = kind, generator, built


def seed_everything(flavour: Flavour, seed: int) -> None:
    """Seed Python, NumPy, TensorFlow and Keras: what makes new weights reproducible."""
    import_keras(flavour).utils.set_random_seed(seed)
