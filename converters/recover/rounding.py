"""Round weights so that what comes out of a layer is nearest to the model's, instead of each weight by itself.

The problem is AdaRound's (Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization", section 3:
the local loss of a layer, its input taken from the quantised network): for the weights ``w`` of a channel, in steps,
find integers ``q``, each of them ``floor(w)`` or ``ceil(w)``, with the least

    E[(x (q - w) - r)^2] = (q - w)' G (q - w) - 2 (q - w)' p + const,    G = E[x x'],  p = E[x r]

where ``x`` is what the layer reads in the quantised network and ``r`` what is wanting there with the float weights. As
this is a quadratic in few moments of the samples, it needs no training: each weight in turn takes its best integer, all
others being as they are, until none moves (coordinate descent, as in Behdin et al. 2023, "QuantEase").
"""

from __future__ import annotations

import numpy as np

from .evidence import Evidence
from .layers import Integers, Reals

# More inputs of a channel than that are left alone: the memory grows with their square.
MOST_INPUTS = 6144
_SWEEPS = 20
_BLOCK = 64  # rows of weights, after which what moved is told to the rest
# Weights also stay near their own values, so much as if noise of this share of the inputs' energy were added to them.
_NOISE = 0.01


def rounded(evidence: Evidence, *, weights_only: bool = False) -> Integers:
    """Return the stored weights rounded for the layer's result: (K, channels).

    Args:
        evidence: What the layer reads, and what the float file has there.
        weights_only: Let them make up for their own rounding alone (``r = 0``), and not for what the layer reads.
    """
    layer = evidence.layer
    gram, pull = evidence.moments()
    size = gram.shape[-1]
    energy = np.trace(gram, axis1=-2, axis2=-1)[..., None, None] / size
    gram = gram + _NOISE * energy * np.eye(size)
    pull = np.zeros_like(pull) if weights_only else pull
    return descend(gram, pull / layer.steps, layer.real_weights / layer.steps, layer.integers, layer.most)


def descend(gram: Reals, pull: Reals, weights: Reals, start: Integers, most: int = 127) -> Integers:
    """Return the integers that coordinate descent finds.

    Args:
        gram: ``G``, (K, K); or one for each channel, (channels, K, K).
        pull: ``p``, (K, channels), in steps.
        weights: ``w``, (K, channels), in steps.
        start: Where to begin; these integers are allowed, too.
        most: The greatest integer, and the negative of the least.
    """
    chosen = start.astype(np.float64)
    low = np.clip(np.minimum(np.floor(weights), start), -most, most)
    high = np.clip(np.maximum(np.ceil(weights), start), -most, most)
    own = np.maximum(np.diagonal(gram, axis1=-2, axis2=-1).T, np.finfo(np.float64).tiny)
    own = own if gram.ndim == 3 else own[:, None]
    slope = _product(gram, chosen - weights) - pull  # half the derivative
    for _ in range(_SWEEPS):
        moved_any = False
        for start_row in range(0, len(chosen), _BLOCK):
            block = slice(start_row, start_row + _BLOCK)
            inner, here, moved = gram[..., block, block], slope[block].copy(), np.zeros_like(chosen[block])
            for row in range(len(here)):
                place = start_row + row
                best = np.clip(np.rint(chosen[place] - here[row] / own[place]), low[place], high[place])
                moved[row] = best - chosen[place]
                if moved[row].any():
                    here += (inner[:, :, row].T if gram.ndim == 3 else inner[:, row, None]) * moved[row]
            chosen[block] += moved
            if moved.any():
                moved_any = True
                slope += _product(gram[..., :, block], moved)
        if not moved_any:
            break
    return chosen.astype(np.int64)


def _product(gram: Reals, matrix: Reals) -> Reals:
    """Return (K, J) times (J, channels), or (channels, K, J) channel by channel: (K, channels)."""
    return gram @ matrix if gram.ndim == 2 else np.einsum("ckj,jc->kc", gram, matrix)
