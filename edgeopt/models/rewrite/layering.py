"""Bare operations (`x * 2.`, `tf.reduce_mean(x, (1, 2))`) become the standard layers that compute the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...errors import ModelError
from ..bridge import activations
from ..bridge.layers import LayerMapper
from ..bridge.op_layers import as_layer
from ..detect import Flavour
from ..graph.read import Step
from ..graph.structure import map_structure, refs_in
from .changes import NotExactError
from .draft import Draft


def operations_to_layers(draft: Draft) -> None:
    """Replace each operation for which there is a layer; note the others, and Lambda layers.

    Args:
        draft: Changed in place.
    """
    masks = _makes_masks(draft)
    for step in list(draft.graph.steps):
        kind = draft.kind(step)
        if kind == "Lambda":
            draft.leave(step, NotExactError("python", "a Lambda layer: what it computes is Python code"))
        elif kind == "TimeDistributed" and hasattr(step.layer.layer, "layers"):
            draft.leave(step, NotExactError("wrapped", f"TimeDistributed holds the model {step.layer.layer.name!r}"))
        if step.layer is not None or step.operation == "activations.linear":
            continue  # the identity carries the name of an output
        try:
            _replace(draft, step, masks)
        except NotExactError as error:
            draft.leave(step, error)


def _makes_masks(draft: Draft) -> bool:
    """Whether the model has masks, which end at bare operations, and which most layers pass on."""
    return any(
        getattr(step.layer, "mask_zero", False) or type(step.layer).__name__ == "Masking" for step in draft.graph.steps
    )


def _replace(draft: Draft, step: Step, masks: bool) -> None:
    spec = as_layer(step)
    name = f"keras.ops.{step.operation}"
    if spec is None:
        raise NotExactError("operation", f"no single layer computes this {name}")
    if masks:
        raise NotExactError("masked", f"a mask would pass a layer in the place of {name}")
    if any(ref.dtype in ("float16", "bfloat16", "float64") for ref in (*refs_in(spec.inputs), *step.outputs)):
        raise NotExactError("half-precision", f"{name} computes in another precision than float32")
    layer = draft.hold(_made(draft.graph.flavour, spec.class_name, spec.config, step.name))
    inputs = map_structure(lambda leaf: leaf, spec.inputs)
    draft.put(step, replace(step, layer=layer, operation="", args=(inputs,), kwargs={}))
    draft.change(step, "operation to layer", f"{name} became {type(layer).__name__}")


def _made(flavour: Flavour, class_name: str, config: dict[str, Any], name: str) -> Any:
    """Return a layer of the flavour that needs nothing but Keras to be loaded.

    Raises:
        NotExactError: There is none.
    """

    def no_model(model: Any) -> Any:
        raise ModelError("An operation holds no model.")

    activation = config.get("activation")
    missing = flavour is Flavour.TF_KERAS and activation is not None and activations.is_carried(activation)
    if missing and activation not in ("relu6", "leaky_relu"):  # these two become layers
        raise NotExactError("operation", f"tf_keras has no activation {activation!r}")
    try:
        made = LayerMapper(flavour, flavour, no_model).build(class_name, dict(config), name)
    except ModelError as error:
        raise NotExactError("operation", f"no layer is made of it ({str(error).rstrip('.')})") from error
    if len(made) != 1:
        raise NotExactError("operation", "no single layer computes it")
    return made[0]
