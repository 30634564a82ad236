"""What is inside a compiled file: the ``DWN1`` package of each ``edgetpu-custom-op``, read without hardware.

The options of the custom operator are a FlexBuffer map; its entry "4" is a FlatBuffer `Package`, which holds a
`MultiExecutable`, which holds the executables. Schema and field numbers: ``executable/executable.fbs`` of
google-coral/libedgetpu (Apache-2.0).
"""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import FileFormatError
from ...flatbuffer import Model
from ...flatbuffer.wire import Broken
from .walk import Table, flex_map

CUSTOM_OP = "edgetpu-custom-op"
IDENTIFIER = b"DWN1"
EXECUTABLE_TYPES = {0: "STAND_ALONE", 1: "PARAMETER_CACHING", 2: "EXECUTION_ONLY"}
_DATA_TYPES = {0: "uint8", 1: "uint16", 2: "int32", 3: "bfloat16", 4: "float16", 5: "float32", 8: "int8", 9: "int16"}


@dataclass(frozen=True)
class Layer:
    """An input or output of an executable.

    Attributes:
        name: The tensor's name in the source model.
        size_bytes: With the padding that the chip wants.
        shape: (y, x, z).
        dtype: As the chip sees it: int8 models run as uint8, shifted by 128.
    """

    name: str
    size_bytes: int
    shape: tuple[int, int, int]
    dtype: str

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON holds them."""
        return {**vars(self), "shape": list(self.shape)}


@dataclass(frozen=True)
class Executable:
    """One program for the chip.

    Attributes:
        kind: "STAND_ALONE", "PARAMETER_CACHING" (loads weights once) or "EXECUTION_ONLY" (runs on loaded weights).
        chip: "beagle" for the Coral products.
        parameter_bytes: Weights it carries.
        caching_token: Executables with the same token keep their weights on the chip together.
        narrow_memory_bytes: Activation memory used on each tile.
        scratch_bytes: Host memory for intermediate results.
        estimated_cycles: The compiler's estimate; 0 where it made none.
        inputs: The tensors that it reads.
        outputs: The tensors that it writes.
        size_bytes: Size of the executable in the file, in bytes.
    """

    kind: str
    chip: str
    parameter_bytes: int
    caching_token: int
    narrow_memory_bytes: int
    scratch_bytes: int
    estimated_cycles: int
    inputs: tuple[Layer, ...]
    outputs: tuple[Layer, ...]
    size_bytes: int

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON holds them; the token as hexadecimal text, since JSON numbers are too short."""
        return {
            **vars(self),
            "caching_token": f"{self.caching_token:016x}",
            "inputs": [layer.to_dict() for layer in self.inputs],
            "outputs": [layer.to_dict() for layer in self.outputs],
        }


@dataclass(frozen=True)
class Package:
    """The package of one custom operator.

    Attributes:
        operator: Index of the custom operator in the main subgraph.
        minimum_runtime: Oldest Edge TPU runtime that can run it.
        compiler_version: As the compiler stated it; often no more than "cl/".
        model_identifier: A user's own mark; usually empty.
        executables: In file order.
    """

    operator: int
    minimum_runtime: int
    compiler_version: str
    model_identifier: str
    executables: tuple[Executable, ...]

    @property
    def cached_bytes(self) -> int:
        """Weights that are loaded once and stay on the chip."""
        return sum(found.parameter_bytes for found in self.executables if found.kind == "PARAMETER_CACHING")

    @property
    def streamed_bytes(self) -> int:
        """Weights that are sent with every inference."""
        return sum(found.parameter_bytes for found in self.executables if found.kind != "PARAMETER_CACHING")

    @property
    def chip(self) -> str:
        """What it was compiled for."""
        return ", ".join(dict.fromkeys(found.chip for found in self.executables))

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON holds them."""
        return {
            "operator": self.operator,
            "minimum_runtime": self.minimum_runtime,
            "compiler_version": self.compiler_version,
            "model_identifier": self.model_identifier,
            "chip": self.chip,
            "cached_bytes": self.cached_bytes,
            "streamed_bytes": self.streamed_bytes,
            "executables": [found.to_dict() for found in self.executables],
        }


def is_compiled(model: Model) -> bool:
    """Return whether any subgraph holds an operator for the Edge TPU."""
    return any(operator.name == CUSTOM_OP for graph in model.subgraphs for operator in graph.operators)


def packages(model: Model, name: str = "The model") -> tuple[Package, ...]:
    """Return the packages of a compiled file, one a custom operator; none for a file that is not compiled.

    Args:
        model: The file.
        name: What to call it in errors.

    Raises:
        FileFormatError: A package is corrupt.

    Example:
        >>> packages(load_model("model_edgetpu.tflite"))[0].cached_bytes
        2777600
    """
    return tuple(
        read_package(operator.custom_options, operator.index, name)
        for operator in model.main.operators
        if operator.name == CUSTOM_OP
    )


def read_package(options: bytes, operator: int = 0, name: str = "The model") -> Package:
    """Return the package in the options of a custom operator.

    Raises:
        FileFormatError: The bytes are corrupt.
    """
    try:
        blob = flex_map(options).get("4")
        if not isinstance(blob, bytes):
            raise Broken("it has no entry '4'")
        return _package(Table.root(blob, IDENTIFIER), operator)
    except Broken as error:
        raise FileFormatError(
            f"The Edge TPU package in operator {operator} of {name} is corrupt ({error}); compile the model again."
        ) from error


def _package(root: Table, operator: int) -> Package:
    nested = root.blob(1)
    if nested is None:
        raise Broken("it holds no executables")
    blobs = list(Table.root(nested).blobs(0))
    if sum(map(len, blobs)) > len(nested):
        raise Broken("its executables overlap")
    executables = tuple(_executable(blob) for blob in blobs)
    if not executables:
        raise Broken("it holds no executables")
    return Package(
        operator=operator,
        minimum_runtime=root.number(0, 4),
        compiler_version=root.text(4),
        model_identifier=root.text(7),
        executables=executables,
    )


def _executable(blob: memoryview) -> Executable:
    root = Table.root(blob)
    kind = root.number(13, 2)
    parameters = root.blob(6)
    return Executable(
        kind=EXECUTABLE_TYPES.get(kind, f"unknown({kind})"),
        chip=root.text(10),
        parameter_bytes=0 if parameters is None else len(parameters),
        caching_token=root.number(14, 8, signed=False),
        narrow_memory_bytes=root.number(12, 4),
        scratch_bytes=root.number(4, 4),
        estimated_cycles=root.number(16, 8) or root.number(11, 4),
        inputs=tuple(_layer(table) for table in root.tables(8)),
        outputs=tuple(_layer(table) for table in root.tables(9)),
        size_bytes=len(blob),
    )


def _layer(table: Table) -> Layer:
    dtype = table.number(6, 2)
    return Layer(
        name=table.text(0),
        size_bytes=table.number(1, 4),
        shape=(table.number(2, 4), table.number(3, 4), table.number(4, 4)),
        dtype=_DATA_TYPES.get(dtype, f"unknown({dtype})"),
    )
