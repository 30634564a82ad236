"""Recurrent layers, traced step by step where the converter's loop cannot be quantised, or the batch stays open.

TFLite's calibrator crashes on the WHILE loop that a rolled-out-at-run-time LSTM, GRU or SimpleRNN becomes, and the
SPLIT of the gates can stay float. While the model is traced inside `unrolled`, those layers are unrolled, and LSTM and
GRU cells compute each gate with its own slice of the weights: the same sums, so equal outputs up to float rounding.

In a model that was trained quantised those layers stay float, and no calibrator runs: only those that return sequences
are unrolled, since the length of what a loop collects is lost in the file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import ConversionError
from ..detect import carries_ranges
from ..spec import LoadedModel
from .patching import replace_attribute

MAX_UNROLLED_STEPS = 256


def recurrent_layers(loaded: LoadedModel) -> list[Any]:
    """Return the layers, nested ones and those inside Bidirectional included, that loop over time."""
    return [layer for layer in loaded.layer_objects if hasattr(layer, "unroll") and hasattr(layer, "cell")]


def refuse_stateful(loaded: LoadedModel) -> None:
    """Refuse layers that keep state from one call to the next.

    Raises:
        ConversionError: There are some; they are named.
    """
    names = [repr(layer.name) for layer in recurrent_layers(loaded) if getattr(layer, "stateful", False)]
    if names:
        raise ConversionError(
            f"The recurrent layer(s) {', '.join(names)} keep state between calls (stateful=True), which a .tflite file "
            "of one function cannot; rebuild them with stateful=False and copy the weights."
        )


def fuses(layer: Any) -> bool:
    """Say whether `layer` becomes TFLite's fused LSTM, and whether that is right in 8 bits.

    tf_keras' standard LSTM does. Quantised, the fused operator crashes the calibrator when it has a mask or gives its
    states away, ignores an initial state, and is wrong where its output must share another tensor's scale (behind
    Concatenate), because its state keeps its own: so only a layer in a chain of layers is left to it.
    """
    if type(layer).__name__ != "LSTM" or not getattr(layer, "_could_use_gpu_kernel", False) or layer.return_state:
        return False
    nodes = getattr(layer, "_inbound_nodes", [])
    if len(nodes) != 1 or isinstance(layer.input, (list, tuple)):
        return False
    return getattr(layer.input, "_keras_mask", None) is None


@contextmanager
def unrolled(loaded: LoadedModel, activations: str, *, open_batch: bool = False) -> Iterator[list[str]]:
    """Unroll the recurrent layers that need it for as long as the context lasts; yields their names.

    Args:
        loaded: The model.
        activations: What the file computes in: int8, int16 or float32, for which loops stay loops.
        open_batch: The batch dimension stays open: TFLite cannot loop over that, nor run its fused LSTM.

    Raises:
        ConversionError: A layer was called, inside the context, on more than `MAX_UNROLLED_STEPS` steps, or on an
            unknown number.
    """
    trained = carries_ranges(loaded.layers)
    layers = recurrent_layers(loaded) if open_batch or activations != "float32" else []
    if trained:
        layers = [layer for layer in layers if layer.return_sequences]
    elif activations == "int8" and not open_batch and _is_chain(loaded.model):
        layers = [layer for layer in layers if not fuses(layer)]
    rolled = [layer for layer in layers if not layer.unroll]
    refusals: list[ConversionError] = []
    undo = _unfused(recurrent_layers(loaded)) if trained else []
    instead = "convert with a static batch" if open_batch else "use --quantize dynamic"
    try:
        for layer in rolled:
            undo += _unroll(layer, refusals, instead)
        for layer in layers:
            undo += _split_gates(layer)
        yield [layer.name for layer in rolled]
    except Exception:
        if refusals:  # as it was raised, without what Keras and AutoGraph put around it
            raise refusals[0] from None
        raise
    finally:
        for restore in reversed(undo):
            restore()


def _is_chain(model: Any) -> bool:
    """Whether each layer of a Functional or Sequential model has one input and one consumer."""
    layers = getattr(model, "layers", [])
    nodes = [(getattr(layer, "_inbound_nodes", []), getattr(layer, "_outbound_nodes", [])) for layer in layers]
    return all(len(before) == 1 and len(after) <= 1 for before, after in nodes) and not any(
        isinstance(layer.input, (list, tuple)) or hasattr(layer, "layers") for layer in layers
    )


def _unroll(layer: Any, refusals: list[ConversionError], instead: str) -> list[Callable[[], None]]:
    call = layer.call
    if any(base.__name__ == "ConvRNN" for base in type(layer).__mro__):  # tf_keras' takes no notice of `unroll`
        call = _unrolling_backend(call)
    undo = [replace_attribute(layer, "call", _counting_steps(layer, call, refusals, instead))]
    undo.append(replace_attribute(layer, "unroll", True))
    return undo + _unfused([layer])


def _unfused(layers: list[Any]) -> list[Callable[[], None]]:
    """Keep tf_keras' LSTM from becoming the fused operator, on which the converter fails beside trained ranges."""
    fusing = [layer for layer in layers if hasattr(layer, "_could_use_gpu_kernel")]
    return [replace_attribute(layer, "_could_use_gpu_kernel", False) for layer in fusing]


def _counting_steps(
    layer: Any, call: Callable[..., Any], refusals: list[ConversionError], instead: str
) -> Callable[..., Any]:
    """Refuse sequences that are too long to unroll, before the steps are traced."""

    def counting(sequences: Any, *args: Any, **kwargs: Any) -> Any:
        first = sequences[0] if isinstance(sequences, (list, tuple)) else sequences
        steps = first.shape[0 if getattr(layer, "time_major", False) else 1]
        if steps is None or steps > MAX_UNROLLED_STEPS:
            length = "an unknown number of" if steps is None else str(steps)
            refusals.append(
                ConversionError(
                    f"{type(layer).__name__} layer {layer.name!r} runs over {length} time steps, and such a file "
                    f"needs it unrolled, which is done up to {MAX_UNROLLED_STEPS}; shorten the sequence "
                    f"(--input-shape) or {instead}."
                )
            )
            raise refusals[-1]
        return call(sequences, *args, **kwargs)

    return counting


def _unrolling_backend(call: Callable[..., Any]) -> Callable[..., Any]:
    """Let the loop that `call` asks tf_keras' backend for be unrolled."""

    def unrolling(*args: Any, **kwargs: Any) -> Any:
        from tf_keras.src import backend

        restore = replace_attribute(backend, "rnn", functools.partial(backend.rnn, unroll=True))
        try:
            return call(*args, **kwargs)
        finally:
            restore()

    return unrolling


def _split_gates(layer: Any) -> list[Callable[[], None]]:
    """Let LSTM and GRU cells compute gate by gate."""
    undo = []
    for cell in getattr(layer.cell, "cells", [layer.cell]):  # StackedRNNCells has several
        per_gate = _PER_GATE.get(type(cell).__name__)
        if per_gate is not None and type(cell).__module__.startswith(("keras.", "tf_keras.")):
            undo.append(replace_attribute(cell, "call", _bind(per_gate, cell)))
    return undo


def _bind(function: Callable[..., Any], cell: Any) -> Callable[..., Any]:
    def call(inputs: Any, states: Any, training: Any = None, **_: Any) -> Any:
        return function(cell, inputs, list(states) if isinstance(states, (list, tuple)) else [states])

    return call


def _gates(weights: Any, count: int) -> list[Any]:
    import tensorflow as tf

    return list(tf.split(tf.convert_to_tensor(weights), count, axis=-1))


def _lstm_step(cell: Any, inputs: Any, states: list[Any]) -> tuple[Any, list[Any]]:
    """One step as Keras computes it (gate order i, f, c, o), gate by gate."""
    import tensorflow as tf

    hidden, carry = states
    kernels, recurrent = _gates(cell.kernel, 4), _gates(cell.recurrent_kernel, 4)
    biases = _gates(cell.bias, 4) if cell.use_bias else [0.0] * 4
    sums = [
        tf.matmul(inputs, kernel) + tf.matmul(hidden, again) + bias
        for kernel, again, bias in zip(kernels, recurrent, biases, strict=True)
    ]
    update, forget, output = (cell.recurrent_activation(sums[gate]) for gate in (0, 1, 3))
    carry = forget * carry + update * cell.activation(sums[2])
    hidden = output * cell.activation(carry)
    return hidden, [hidden, carry]


def _gru_step(cell: Any, inputs: Any, states: list[Any]) -> tuple[Any, list[Any]]:
    """One step as Keras computes it (gate order z, r, h; `reset_after` as in cuDNN or as in the paper)."""
    import tensorflow as tf

    hidden = states[0]
    kernels, recurrent = _gates(cell.kernel, 3), _gates(cell.recurrent_kernel, 3)
    input_bias: list[Any] = [0.0] * 3
    recurrent_bias: list[Any] = [0.0] * 3
    if cell.use_bias:
        bias = tf.convert_to_tensor(cell.bias)
        input_bias = _gates(bias[0] if cell.reset_after else bias, 3)
        recurrent_bias = _gates(bias[1], 3) if cell.reset_after else recurrent_bias
    ahead = [tf.matmul(inputs, kernel) + bias for kernel, bias in zip(kernels, input_bias, strict=True)]
    again = [tf.matmul(hidden, recurrent[gate]) + recurrent_bias[gate] for gate in (0, 1)]
    update = cell.recurrent_activation(ahead[0] + again[0])
    reset = cell.recurrent_activation(ahead[1] + again[1])
    if cell.reset_after:
        candidate = cell.activation(ahead[2] + reset * (tf.matmul(hidden, recurrent[2]) + recurrent_bias[2]))
    else:
        candidate = cell.activation(ahead[2] + tf.matmul(reset * hidden, recurrent[2]))
    hidden = update * hidden + (1.0 - update) * candidate
    return hidden, [hidden]


_PER_GATE: dict[str, Callable[..., tuple[Any, list[Any]]]] = {"LSTMCell": _lstm_step, "GRUCell": _gru_step}
