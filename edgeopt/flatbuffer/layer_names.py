"""Which layers of the Keras model the name of a tensor speaks of."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def paths_in(name: str) -> list[list[str]]:
    """Return the paths in the name of a tensor, which has one for each operation that was fused.

    Example:
        >>> paths_in("model/conv/Conv2D;model/relu/Relu")
        [['model', 'conv', 'Conv2D'], ['model', 'relu', 'Relu']]
    """
    return [path.split("/") for path in name.split(";")]


def layers_of(name: str, layers: Iterable[str]) -> list[str]:
    """Return those of `layers` that the name of a tensor speaks of, in their order: the innermost comes last.

    Example:
        >>> layers_of("model/gru_1/split;model/gru_1/concat", ["gru", "dense"])
        ['gru']
    """
    return layers_in({part for path in paths_in(name) for part in path}, layers)


def layers_in(parts: Collection[str], layers: Iterable[str]) -> list[str]:
    """Return those of `layers` that the parts of a tensor's paths name, in their order: the innermost comes last.

    Keras 3 appends ``_1`` to the name of a layer when it is traced; where another layer is called so, it is that one.
    """
    known = list(layers)
    return [layer for layer in known if layer in parts or (f"{layer}_1" in parts and f"{layer}_1" not in known)]
