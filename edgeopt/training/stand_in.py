"""Training on a stand-in: a copy whose variables belong to a distribution strategy, or that computes in half precision.

Both are decided when variables and layers are made, so the model is made again, trained, and its weights brought back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ModelError, UsageError, one_line
from ..models.bridge import to_tf_keras
from ..models.detect import Flavour
from ..models.graph.rebuild import read_native
from ..models.graph.weights import copy_weights, settle
from ..models.load import flavour_of, import_keras
from .context import PassContext
from .options import Training
from .report import Trained
from .strategies import devices_of, needs_tf_keras, strategy_of

Run = Callable[..., Trained]
# Packages whose layers wrap others and compute in float32 inside.
_WRAPPERS = ("tensorflow_model_optimization", "edgeopt.passes.qat")


@dataclass(frozen=True)
class StandIn:
    """A copy to train on, and how its weights come back.

    Attributes:
        model: The copy.
        twins: id of a variable of the original -> the copy's.
        bring_back: Gives the original the copy's weights.
    """

    model: Any
    twins: dict[int, Any]
    bring_back: Callable[[], None]


def run_elsewhere(
    run: Run,
    model: Any,
    context: PassContext,
    training: Training,
    name: str,
    callbacks: Sequence[Any],
    keep: Any,
) -> Trained:
    """Train a stand-in for `model` as `run` does, and give `model` the weights.

    Raises:
        UsageError: A strategy that cannot be made here, or options that do not go with each other.
        ModelError: Half precision for a model whose layers cannot have it.
    """
    strategy = strategy_of(training.strategy)
    plain = replace(training, strategy=None, mixed_precision=None)
    with ExitStack() as stack:
        stack.enter_context(_known_wrappers(model))
        source, back = _for_workers(model, strategy)
        if strategy is not None:
            stack.enter_context(strategy.scope())
        stand_in = _copied(source, training.mixed_precision, name)
        done = run(stand_in.model, context, plain, name, callbacks, _moved(keep, stand_in, source is model, name))
    stand_in.bring_back()
    back()
    return replace(done, model=model, devices=devices_of(strategy))


def _for_workers(model: Any, strategy: Any) -> tuple[Any, Callable[[], None]]:
    """Return the model in the flavour that the strategy can train, and what brings the weights back."""
    if flavour_of(model) is not Flavour.KERAS3 or not needs_tf_keras(strategy):
        return model, lambda: None
    bridged = to_tf_keras(model).model

    def back() -> None:
        for step in read_native(model).steps:
            if step.layer is not None and step.layer.weights:
                copy_weights(bridged.get_layer(step.name), step.layer)

    return bridged, back


def _copied(model: Any, policy: str | None, name: str) -> StandIn:
    flavour = flavour_of(model)
    keras = import_keras(flavour or Flavour.KERAS3)
    if policy is not None:
        _check_policy(model, policy, name)
    outputs = {id(layer) for layer in _output_layers(model)}

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if policy is not None and "dtype" in config and id(layer) not in outputs:
            config["dtype"] = policy
        return type(layer).from_config(config)

    try:
        copied = keras.models.clone_model(model, clone_function=clone)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"Pass {name!r} cannot copy the model {model.name!r} for a strategy or half precision ({one_line(error)}); "
            "train this pass without."
        ) from error
    for layer, twin in zip(_flat(model), _flat(copied), strict=True):
        twin.trainable = layer.trainable
    if len(copied.weights) != len(model.weights):
        raise ModelError(f"Pass {name!r}: the model {model.name!r} is not what its configuration makes.")
    copied.set_weights(model.get_weights())
    for twin in _flat(copied):
        settle(twin)
    twins = {id(one): other for one, other in zip(model.weights, copied.weights, strict=True)}
    return StandIn(copied, twins, lambda: model.set_weights(copied.get_weights()))


def _check_policy(model: Any, policy: str, name: str) -> None:
    for layer in _flat(model):
        if any(type(layer).__module__.startswith(package) for package in _WRAPPERS):
            raise ModelError(
                f"Pass {name!r} cannot train with {policy}: its layer {layer.name!r} ({type(layer).__name__}) computes "
                "in float32 only; leave mixed_precision out of this pass."
            )
        if layer is not model and flavour_of(layer) is not None:
            raise ModelError(
                f"Pass {name!r} cannot train with {policy}: the model {layer.name!r} is nested in it; flatten it first "
                "(edgeopt.bridge.flatten)."
            )


def _output_layers(model: Any) -> list[Any]:
    """Layers that make the outputs: they stay in float32, or the loss would be rounded."""
    found = []
    for tensor in getattr(model, "outputs", None) or ():
        history = tensor._keras_history
        found.append(history.operation if hasattr(history, "operation") else history.layer)
    return found


def _moved(keep: Any, stand_in: StandIn, same_flavour: bool, name: str) -> Any:
    """Return `keep` for the stand-in's variables."""
    if keep is None:
        return None
    if not same_flavour or not hasattr(keep, "moved"):
        raise UsageError(
            f"Pass {name!r} keeps weights as they are after each step, which does not go with this strategy; train "
            "without strategy, or with keep_zeros = false."
        )
    return keep.moved(stand_in.twins)


def _known_wrappers(model: Any) -> Any:
    """Return a context in which the model's wrappers can be made from their configurations."""
    keras = import_keras(flavour_of(model) or Flavour.KERAS3)
    classes = {
        type(layer).__name__: type(layer) for layer in _flat(model) if type(layer).__module__.startswith(_WRAPPERS)
    }
    return keras.utils.custom_object_scope(classes)


def _flat(model: Any) -> list[Any]:
    return list(model._flatten_layers(include_self=True, recursive=True))
