"""Strings and tables: what the layers that read raw categories and text compute with, and a .tflite file cannot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...errors import ConversionError
from ...flatbuffer.layer_names import layers_in
from ..detect import Flavour
from ..spec import InputSpec, LoadedModel

# Layer -> the operator of TensorFlow that it needs.
_OPERATORS = {
    "StringLookup": "HashTableV2",
    "IntegerLookup": "HashTableV2",
    "TextVectorization": "HashTableV2",
    "Hashing": "StringToHashBucketFast",
}
# How an operator's name begins -> what it does.
_LACKING = {
    **dict.fromkeys(("HashTable", "MutableHashTable", "LookupTable"), "reads a table (HashTableV2)"),
    "DenseBincount": "counts categories",
}


def refuse_strings(loaded: LoadedModel, inputs: Sequence[InputSpec]) -> None:
    """Refuse inputs of strings, and layers that look values up in a table.

    Raises:
        ConversionError: There are some; the layers and the operators of TensorFlow that they need are named.
    """
    found = {name: kind for name, kind in loaded.layers if kind in _OPERATORS}
    if found:
        named = ", ".join(f"{name!r} ({kind})" for name, kind in found.items())
        operators = ", ".join(sorted({_OPERATORS[kind] for kind in found.values()}))
        raise _refusal(f"The layer(s) {named} need the operator {operators}, which TFLite lacks", loaded, list(found))
    strings = [item.name for item in inputs if item.dtype == "string"]
    if strings:
        raise _refusal(f"The input(s) {', '.join(map(repr, strings))} take strings, which an edge file cannot", loaded)


def refuse_tables(nodes: Iterable[Any], loaded: LoadedModel) -> None:
    """Refuse a traced graph that looks values up in a table, or counts categories.

    Raises:
        ConversionError: It does; the operator and the layer, if it is known, are named.
    """
    for node in nodes:
        what = next((what for start, what in _LACKING.items() if node.op.startswith(start)), None)
        if what is not None:
            layers = layers_in(node.name.split("/"), [name for name, _ in loaded.layers])
            where = f" of layer {layers[-1]!r}" if layers else ""
            raise _refusal(f"The operator {node.op}{where} {what}, which TFLite lacks", loaded, layers[-1:])


def _refusal(what: str, loaded: LoadedModel, layers: Sequence[str] = ()) -> ConversionError:
    """Say which layers the file could begin with instead: those behind the refused ones and all that prepare values."""
    from ..rewrite.front import beginnings

    saved = loaded.flavour is Flavour.SAVED_MODEL
    found = () if saved else beginnings(loaded.model, layers)
    names = " ".join(f"--from-layer {name}" for name in found) or "--from-layer NAME, the first layer behind it"
    how = "convert the .keras or .h5 file of the model, which has layers, and let" if saved else "let"
    return ConversionError(
        f"{what}; {how} the file begin behind: {names}, and that part is done where the data is read."
    )
