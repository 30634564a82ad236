"""Export the leanest SavedModel that holds one inference function, with its inputs and outputs in a known order.

A `tf.Module` with the variables and one `tf.function` of fixed input signature, without debug info, converts several
times faster than what ``TFLiteConverter.from_keras_model`` saves for itself, to the same bytes of weights and ops.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConversionError, EdgeoptError
from ...flatbuffer.layer_names import layers_in
from ..detect import Flavour
from ..keras_spec import tree_of, unique
from ..larq import is_binary
from ..spec import InputSpec, LoadedModel
from .lookups import refuse_tables
from .normalized import centred
from .operators import nodes_of
from .precision import full_precision
from .recurrent import refuse_stateful, unrolled
from .scopes import named

_CONTROL_FLOW = ("While", "StatelessWhile", "If", "StatelessIf")


@dataclass(frozen=True)
class LeanModel:
    """A SavedModel folder whose signature keys are ``in000``... and ``out000``... in the Keras model's order.

    Attributes:
        folder: Where it lies.
        inputs: The inputs, with the shapes of the file.
        output_names: Names of the outputs.
        layer_names: Names of the model's layers, for messages.
        loops: Names of the layers, or scopes, that have a loop or a branch in the graph.
        warnings: What was done another way than the model does it.
        binary: Whether it has Larq's binary layers.
    """

    folder: Path
    inputs: tuple[InputSpec, ...]
    output_names: tuple[str, ...]
    layer_names: tuple[str, ...] = ()
    loops: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    binary: bool = False


def input_key(index: int) -> str:
    """Return the signature key of the input at `index`."""
    return f"in{index:03d}"


def output_key(index: int) -> str:
    """Return the signature key of the output at `index`."""
    return f"out{index:03d}"


def export_lean(
    loaded: LoadedModel, inputs: Sequence[InputSpec], folder: Path, *, activations: str = "float32"
) -> LeanModel:
    """Trace the model in inference mode with the shapes of `inputs` and save it to `folder`.

    Args:
        loaded: The model.
        inputs: Its inputs in order, with the batch dimension fixed, or None for a dynamic batch.
        folder: Where the SavedModel goes.
        activations: What the file will compute in (int8, int16, float32): decides which recurrent layers are unrolled.

    Raises:
        ConversionError: The model cannot be traced with these shapes.
    """
    import tensorflow as tf

    names: list[str] = []
    flatten = tf.autograph.experimental.do_not_convert(flat_outputs)
    signature = [tf.TensorSpec(item.shape, item.dtype, name=input_key(i)) for i, item in enumerate(inputs)]

    def infer(*tensors: Any) -> dict[str, object]:
        found, flat = flatten(loaded.call(list(tensors)), loaded)
        names[:] = found
        # Identity keeps an output that is an input, or that is returned twice, a tensor of its own.
        return {output_key(i): tf.identity(tensor) for i, tensor in enumerate(flat)}

    refuse_stateful(loaded)
    open_batch = any(item.shape[:1] == (None,) for item in inputs)
    unrolling = unrolled(loaded, activations, open_batch=open_batch)
    with unrolling as unrolled_names, full_precision(loaded) as raised_names, centred(loaded), named(loaded):
        try:
            graph = _save(tf.function(infer, input_signature=signature), loaded, folder)
        except EdgeoptError as error:
            raise type(error)(_reason(error)) from error
        except Exception as error:  # the user's own layers may raise anything
            shapes = {item.name: item.shape for item in inputs}
            raise ConversionError(f"The model cannot be traced with inputs {shapes}: {_reason(error)}") from error
    warnings = []
    if unrolled_names:
        layers = ", ".join(map(repr, unrolled_names))
        warnings.append(
            f"unrolled: the recurrent layer(s) {layers} were unrolled: their loop does not fit into such a file"
        )
    if raised_names:
        warnings.append(f"precision: {len(raised_names)} layer(s) trained in mixed precision compute in float32 here")
    layer_names = tuple(name for name, _ in loaded.layers)
    loops = _loops(graph, layer_names)
    binary = is_binary(loaded.layers)
    return LeanModel(folder, tuple(inputs), tuple(names), layer_names, loops, tuple(warnings), binary)


def _save(function: Any, loaded: LoadedModel, folder: Path) -> Any:
    """Save the function; return its graph."""
    import tensorflow as tf

    concrete = function.get_concrete_function()
    graph = concrete.graph.as_graph_def()
    refuse_tables(nodes_of(graph), loaded)
    module = tf.Module()  # the function itself stays out: as an attribute it would be traced again
    # A subclassed model has its variables only now that it was traced.
    module.kept = loaded.model if loaded.flavour is Flavour.SAVED_MODEL else list(concrete.variables)
    options = tf.saved_model.SaveOptions(save_debug_info=False)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": concrete}, options=options)
    return graph


def _loops(graph: Any, layer_names: Sequence[str]) -> tuple[str, ...]:
    """Where the graph and its functions have control flow: the name of the layer, else the scope, else the function."""
    bodies = [("", graph.node), *((function.signature.name, function.node_def) for function in graph.library.function)]
    found = []
    for function, nodes in bodies:
        for scope in (node.name.split("/") for node in nodes if node.op in _CONTROL_FLOW):
            known = layers_in(scope, layer_names)
            found.append(known[-1] if known else "/".join(scope[:-1]) or re.sub(r"^__inference_|_\d+$", "", function))
    return tuple(dict.fromkeys(filter(None, found)))


def flat_outputs(outputs: Any, loaded: LoadedModel) -> tuple[list[str], list[Any]]:
    """Return the names and tensors of whatever structure a model returned, in the model's order."""
    known = loaded.spec.output_names
    if loaded.flavour is Flavour.SAVED_MODEL:
        return list(known), [outputs[name] for name in known]
    flat = tree_of(loaded.flavour).flatten(outputs)
    if len(known) == len(flat):
        return list(known), flat
    if isinstance(outputs, Mapping) and len(outputs) == len(flat):
        return sorted(map(str, outputs)), [outputs[name] for name in sorted(outputs)]
    return (["output"] if len(flat) == 1 else unique([f"output_{i}" for i in range(len(flat))])), flat


def _reason(error: Exception) -> str:
    """The message itself, out of the source lines and argument lists that AutoGraph and Keras put around it."""
    text = " ".join(re.sub(r"\x1b\[\d+m", "", str(error)).split())
    layer = re.search(r"when calling (?:layer )?('?[\w.]+'?(?: \(type \w+\))?)", text)
    text = re.split(r"(?:Call arguments|Arguments) received by", text, maxsplit=1)[0].strip()
    if "in user code:" in text:
        text = re.split(r"(?=\b\w*(?:Error|Exception): )", text)[-1]
    where = f" (in {layer.group(1)})" if layer and layer.group(1) not in text else ""
    return f"{text[:400]}{where}"
