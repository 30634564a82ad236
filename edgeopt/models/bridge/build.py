"""Rebuild a flattened graph in one of the flavours: each layer once, called as often as it was, weights copied."""

from __future__ import annotations

from typing import Any

from ...errors import EdgeoptError, ModelError, one_line
from ..detect import Flavour
from ..graph import operations
from ..graph.nodes import new_input
from ..graph.notes import BridgeNote
from ..graph.read import Graph, Step, read_graph
from ..graph.structure import Ref, flatten_structure, map_structure, refs_in
from ..graph.template import encode
from ..graph.weights import copy_weights, set_trainable
from ..load import import_keras
from .layers import LayerMapper
from .op_layers import as_layer


def rebuild(model: Any, target: Flavour) -> tuple[Any, list[BridgeNote]]:
    """Return `model`, flattened, as a float32 Functional model of the flavour `target`, and the notes on the way.

    Raises:
        ModelError: Something in the model has no counterpart.
        ConversionError: A layer and its counterpart have different weights.
    """
    graph = read_graph(model)
    builder = _Builder(graph, target)
    built = builder.build()
    return built, [*graph.notes, *builder.notes, *builder.mapper.notes]


class _Builder:
    def __init__(self, graph: Graph, target: Flavour) -> None:
        self.graph = graph
        self.target = target
        self.notes: list[BridgeNote] = []
        self.mapper = LayerMapper(graph.flavour, target, self._bridge_model)
        self._tensors: dict[Ref, Any] = {}
        self._chains: dict[int, list[Any]] = {}

    def build(self) -> Any:
        keras, graph = import_keras(self.target), self.graph
        for ref, name in graph.input_names.items():
            self._tensors[ref] = new_input(keras, self.target, ref.shape, ref.dtype, name)
        for step in graph.steps:
            try:
                outputs = self._layer_step(step) if step.layer is not None else self._operation_step(step)
            except EdgeoptError:
                raise
            except Exception as error:
                raise ModelError(
                    f"Layer {step.name!r} ({step.kind}) cannot be rebuilt in the other Keras ({one_line(error)}); "
                    "replace it."
                ) from error
            self._tensors.update(zip(step.outputs, flatten_structure(outputs), strict=True))
        model = keras.Model(self._resolve(graph.inputs), self._resolve(graph.outputs), name=graph.name)
        self._finish()
        return model

    def _layer_step(self, step: Step) -> Any:
        chain = self._chains.get(id(step.layer))
        if chain is None:
            chain = self._chains[id(step.layer)] = self.mapper.map(step.layer, step.name)
        args, kwargs = self._resolve(step.args), self._resolve(step.kwargs)
        if "initial_state" in kwargs and "mask" not in kwargs and getattr(args[0], "_keras_mask", None) is not None:
            kwargs["mask"] = self._mask_beside_state(step, args[0])
        outputs = chain[0](*args, **kwargs)
        for layer in chain[1:]:
            outputs = layer(outputs)
        return outputs

    def _mask_beside_state(self, step: Step, inputs: Any) -> Any:
        """tf_keras masks a recurrent layer that is called with an initial state; Keras 3 does not, unless told to."""
        if self.graph.flavour is self.target:
            return None
        if self.target is Flavour.KERAS3:
            return inputs._keras_mask
        raise ModelError(
            f"Layer {step.name!r} is called with initial_state on masked inputs, whose mask Keras 3 ignores and "
            "tf_keras obeys; pass mask= to the call, or make the Embedding without mask_zero."
        )

    def _operation_step(self, step: Step) -> Any:
        spec = None if self._drops_a_mask(step) else as_layer(step)
        if spec is not None:
            self.notes.append(BridgeNote(step.name, "operation to layer", f"{step.operation} became {spec.class_name}"))
            outputs = self._resolve(spec.inputs)
            for layer in self.mapper.build(spec.class_name, spec.config, step.name):
                outputs = layer(outputs)
            return outputs
        if self.target is Flavour.KERAS3:
            outputs = operations.run(step.operation, self._resolve(step.args), self._resolve(step.kwargs))
            flatten_structure(outputs)[0]._keras_history.operation.name = step.name
            return outputs
        self.notes.append(
            BridgeNote(step.name, "operation carried", f"keras.ops.{step.operation} as a KerasOperation layer")
        )
        from ..graph.tf_objects import KerasOperation

        template, refs = encode(step.args, step.kwargs)
        tensors = [self._tensors[ref] for ref in refs]
        return KerasOperation(step.operation, template, name=step.name)(tensors[0] if len(tensors) == 1 else tensors)

    def _drops_a_mask(self, step: Step) -> bool:
        """Whether a mask ends here: bare operations pass none on, and most of the layers that could replace them do."""
        tensors = [self._tensors[ref] for ref in refs_in((step.args, step.kwargs))]
        masked = any(getattr(tensor, "_keras_mask", None) is not None for tensor in tensors)
        return masked and step.operation != "activations.linear"

    def _finish(self) -> None:
        """Copy the weights and the frozen flags: last, since tf_keras orders a layer's weights by what is frozen."""
        done: set[int] = set()
        for step in self.graph.steps:
            if step.layer is not None and id(step.layer) not in done:
                done.add(id(step.layer))
                copied = self._chains[id(step.layer)][0]
                copy_weights(step.layer, copied)
                set_trainable(step.layer, copied, step.trainable)

    def _bridge_model(self, model: Any) -> Any:
        """Bridge a model that a wrapper (TimeDistributed) holds."""
        built, notes = rebuild(model, self.target)
        self.notes.extend(notes)
        return built

    def _resolve(self, structure: Any) -> Any:
        return map_structure(lambda leaf: self._tensors[leaf] if isinstance(leaf, Ref) else leaf, structure)
