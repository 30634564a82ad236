"""What to do about an operator that stayed float in an integer file: one remedy for each cause that is known."""

from __future__ import annotations

from collections.abc import Sequence

from ..flatbuffer import Model
from ..flatbuffer.layer_names import layers_of
from ..flatbuffer.model import Operator, Subgraph

Layers = Sequence[tuple[str, str]]

REPLACE = "replace the layers that it comes from"
_EXPORTED = "convert the .keras or .h5 file of the model, whose layers can be traced another way, if you have it"
_PICTURES = "give the model float32 inputs (--input-type uint8 lets the file's be uint8)"
_IDS = "declare the input of the ids as integers: keras.Input(shape, dtype='int32')"
_CATEGORIES = (
    "encode the categories where the data is read: let the file begin with the layer behind the CategoryEncoding "
    "(--from-layer NAME)"
)
_MASKED_MEAN = (
    "pool without a mask, mask_zero=False in the Embedding (the mean is then over all steps, so train the model that "
    "way)"
)
_MASKING = f"{REPLACE} (a Masking layer compares floats; the mask of an Embedding compares integers)"


def remedy(model: Model, operators: Sequence[tuple[Subgraph, Operator]], layers: Layers) -> str:
    """Return what helps against float operators: a remedy for each cause, in order.

    Args:
        model: The file.
        operators: Those that stayed float, each with its subgraph.
        layers: Name and class of the Keras model's layers; none for an exported SavedModel.
    """
    if not layers:
        return _EXPORTED
    found = [_remedy(model, graph, operator, layers) for graph, operator in operators]
    known = list(dict.fromkeys(item for item in found if item != REPLACE))
    return "; ".join(known) or REPLACE


def layer_of(tensor: str, layers: Layers) -> str | None:
    """The innermost layer in a tensor name such as ``model/gru_1/split;model/gru_1/concat``."""
    named = layers_of(tensor, [name for name, _ in layers])
    return named[-1] if named else None


def _remedy(model: Model, graph: Subgraph, operator: Operator, layers: Layers) -> str:
    kinds = dict(layers)
    tensors = [graph.tensors[index] for index in (*operator.outputs, *operator.inputs) if index >= 0]
    owners = {kinds[name] for tensor in tensors if (name := layer_of(tensor.name, layers)) is not None}
    # What gives the model's output has its name, and no layer's.
    if operator.name in ("CAST", "DIV") and (owners or set(kinds.values())) & {
        "GlobalAveragePooling1D",
        "GlobalAvgPool1D",
    }:
        return _MASKED_MEAN
    if operator.name == "NOT_EQUAL":
        return _MASKING
    if operator.name != "CAST":
        return REPLACE
    if "CategoryEncoding" in kinds.values():
        return _CATEGORIES
    given = operator.inputs[0]
    if "Embedding" in kinds.values() and graph.tensors[given].is_float:
        return _IDS
    return _PICTURES if graph is model.main and given in graph.inputs else REPLACE
