"""Files whose outputs are other tensors than the model's: what is inside, computed by the kernels of a board."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..data.dataset import Array
from ..flatbuffer import read_model
from ..flatbuffer.tap import with_outputs
from .outputs import Samples, feed, interpreter_of


class Tapped:
    """Runs a file for what some of its tensors hold."""

    def __init__(self, content: bytes, tensors: Sequence[int]) -> None:
        """Prepare.

        Args:
            content: The file.
            tensors: Indices in its main graph, none of them constant.
        """
        self._model = read_model(content)  # what is tapped has no signature, which names the inputs
        graph = self._model.main
        self._tensors = list(dict.fromkeys(tensors))
        # An input cannot be an output, too: the delegate aborts. It is there to be read anyway.
        made = [tensor for tensor in self._tensors if tensor not in graph.inputs]
        # The file's own outputs stay: the delegate aborts on operators whose result nobody wants.
        tapped = with_outputs(content, list(dict.fromkeys([*made, *graph.outputs])))
        self._interpreter = interpreter_of(tapped)

    def each(self, groups: Sequence[Samples]) -> Iterator[dict[int, Array]]:
        """Yield the stored values of the tensors, by index, for each group of samples."""
        for group in groups:
            feed(self._interpreter, self._model, group)
            yield {tensor: self._interpreter.get_tensor(tensor) for tensor in self._tensors}
