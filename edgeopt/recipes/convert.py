"""What the user asked for, as frozen dataclasses that check themselves and go to and from TOML without loss."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..artifact.outside import loads_toml, read_text
from ..errors import RecipeError, UsageError, nearest
from .values import as_whole, require_choice, require_number

QUANTIZE_MODES = ("int8", "int8w4", "int16x8", "float16", "dynamic", "dynamic4", "float32")
LOW_BIT_MODES = ("int8w4", "dynamic4")
# name -> which values the steps of an int8 activation span
RANGES = {
    "minmax": "from the least to the greatest, as TensorFlow does",
    "percentile": "all but the outermost 0.01 % at each end",
    "mse": "those with the least expected squared error",
    "best": "those of the three whose file gives the outputs nearest to the model's",
}
_DEFAULT_RANGES = "best"
EDGES = ("auto", "int8", "prepared")
# format -> what becomes of the .tflite file in the end
FORMATS = {
    "tflite": "it is the result",
    "onnx": "an .onnx file with its numbers, for onnxruntime: QDQ where it is int8",
    "tensorrt": "the same with zero points of 0 and float biases, as TensorRT reads it",
}
_ONNX_MODES = {"onnx": ("int8", "float32"), "tensorrt": ("int8",)}
# quantize mode -> the input and output types the converter can give, the default first
IO_TYPES: dict[str, tuple[str, ...]] = {
    "int8": ("int8", "uint8", "float32"),
    "int8w4": ("int8", "float32"),
    "int16x8": ("int16", "float32"),
    "float16": ("float32",),
    "dynamic": ("float32",),
    "dynamic4": ("float32",),
    "float32": ("float32",),
}
# name -> (scale, offset): what a pixel of 0 to 255 becomes is pixel * scale + offset
IMAGE_SCALINGS = {"0..255": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}
# name -> how it resizes; `edgeopt.data.resizing` does it
IMAGE_RESIZES = {
    "bilinear": "bilinear without antialiasing, as Keras' image_dataset_from_directory does by default",
    "bilinear-antialias": "bilinear with antialiasing, as Pillow and tf.image.resize(antialias=True) do",
    "nearest": "the nearest pixel",
    "bicubic": "bicubic without antialiasing",
    "area": "the mean of the area",
    "lanczos": "Lanczos of radius 3 without antialiasing (Keras' lanczos3)",
    "crop": "bilinear, what is too long cropped on both sides (Keras' crop_to_aspect_ratio)",
    "letterbox": "bilinear, black bars on both sides (Keras' pad_to_aspect_ratio)",
}


@dataclass(frozen=True)
class ConvertRecipe:
    """How a Keras model becomes a .tflite file.

    Attributes:
        quantize: int8 (the default), int8w4 (8-bit activations, 4-bit weights), int16x8 (16-bit activations, 8-bit
            weights), float16, dynamic (8-bit weights), dynamic4 (4-bit weights) or float32.
        calibration_samples: On how many samples the ranges are measured, at least 1; 200 by default.
        seed: Picks those samples, a whole number of at least 0, which is the default.
        input_type: Type of the file's inputs; None takes the mode's default (int8 for int8).
        output_type: Type of the file's outputs; None takes the mode's default.
        batch_size: Static batch dimension of the file, at least 1, which is the default.
        dynamic_batch: Leave the batch dimension open instead; by default it is static.
        input_shapes: Input name -> full shape, for models that do not state one.
        per_tensor_dense: One scale for all of a Dense layer's weights instead of one per output, the default.
        allow_float_ops: Accept a file in which some operators stay float; by default it is refused.
        preprocess: The user's own note on how inputs are prepared, kept in the sidecar.
        image_size: (height, width) that the images of a folder get; None takes the size of the first.
        image_scaling: What the pixels of a folder of images become: ``0..255``, the default, ``0..1`` or ``-1..1``.
        image_resize: How the images of a folder are resized: one of `IMAGE_RESIZES`, by default ``bilinear``.
        sparse_weights: Store kernels with many zeros in TFLite's sparse format, which DENSIFY operators expand.
        ranges: How the ranges of int8 activations are found: one of `RANGES`; None takes ``best``, and
            minimum and maximum for 16 bits.
        repair: Remove known causes of ruined integer files, where that is proven to change nothing; the default.
        recover: Put channels, biases, roundings and ranges of an int8 file right from the calibration samples, without
            training; what does not bring held-back samples nearer to the model is not kept. Off by default.
        edges: ``auto``: the few operators at an input or output that one integer scale cannot serve stay float, where
            the outputs would not be the model's otherwise; ``int8``: none does; ``prepared``: none does, and where it
            helps, the file takes normalised values and gives the parts of a joined output, which its user (validate,
            bench, the snippet) makes of and into the model's own.
        fidelity: Compare the file's outputs with the model's on some samples, the default.
        min_fidelity: The least signal-to-noise ratio of the worst output, in dB, that is promised
            (`Artifact.raise_for_fidelity`); None promises nothing.
        float_ops: Which operators of an int8 file stay float on request: ``auto``, the fewest that reach
            `min_fidelity` or `max_drop` (outputs that are the model's, without either); a number, at most so many,
            those that bring the outputs nearest; or names of layers. None, the default, asks for none.
        max_drop: How much the metric may get worse than the float file's, with ``float_ops="auto"``; None for no such
            goal.
        from_layer: Names of the layers with which the file begins; what is in front of them goes to the sidecar, and is
            done in Python where the data are read. Empty, the default, for the whole model.
        to: The format of the file, one of `FORMATS`: ``tflite``, the default, ``onnx`` or ``tensorrt``.
    """

    quantize: str = "int8"
    calibration_samples: int = 200
    seed: int = 0
    input_type: str | None = None
    output_type: str | None = None
    batch_size: int = 1
    dynamic_batch: bool = False
    input_shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    per_tensor_dense: bool = False
    allow_float_ops: bool = False
    preprocess: str = ""
    image_size: tuple[int, int] | None = None
    image_scaling: str = "0..255"
    image_resize: str = "bilinear"
    sparse_weights: bool = False
    ranges: str | None = None
    repair: bool = True
    recover: bool = False
    edges: str = "auto"
    fidelity: bool = True
    min_fidelity: float | None = None
    float_ops: str | int | tuple[str, ...] | None = None
    max_drop: float | None = None
    from_layer: tuple[str, ...] = ()
    to: str = "tflite"

    def __post_init__(self) -> None:
        for name in ("dynamic_batch", "per_tensor_dense", "allow_float_ops", "sparse_weights"):
            _require(name, getattr(self, name), bool, "true or false")
        for name in ("repair", "recover", "fidelity"):
            _require(name, getattr(self, name), bool, "true or false")
        for name in ("quantize", "preprocess", "edges", "image_scaling", "image_resize"):
            _require(name, getattr(self, name), str, "text")
        for name, least in (("calibration_samples", 1), ("batch_size", 1), ("seed", 0)):
            object.__setattr__(self, name, _whole(name, getattr(self, name), least))
        object.__setattr__(self, "input_shapes", _shapes(self.input_shapes))
        object.__setattr__(self, "from_layer", _layer_names(self.from_layer))
        if self.image_size is not None:
            object.__setattr__(self, "image_size", _height_width(self.image_size))
        self._check_combination()
        self._check_fidelity()
        self._check_ranges()
        self._check_float_ops()
        self._check_format()

    def _check_format(self) -> None:
        _require("to", self.to, str, "text")
        if self.to not in FORMATS:
            raise RecipeError(f"Unknown format to={self.to!r}{nearest(self.to, FORMATS)}")
        if not self.is_onnx:
            return
        modes = _ONNX_MODES[self.to]
        if self.quantize not in modes:
            raise RecipeError(f"to={self.to!r} goes with quantize={' or '.join(modes)}, not {self.quantize!r}.")
        for name, value in (("input_type", self.input_type), ("output_type", self.output_type)):
            if value not in (None, "float32"):
                raise RecipeError(f"{name}={value!r} does not go with to={self.to!r}, whose ends are float32; drop it.")
        asked = {"dynamic_batch": self.dynamic_batch, "sparse_weights": self.sparse_weights}
        for name, given in {**asked, "edges='prepared'": self.edges == "prepared"}.items():
            if given:
                raise RecipeError(f"{name} does not go with to={self.to!r}; drop one of them.")

    def _check_float_ops(self) -> None:
        if self.max_drop is not None:
            require_number("max_drop", self.max_drop, "a number such as 0.01", lambda value: True)
            if self.float_ops != "auto":
                raise RecipeError("max_drop is a goal of float_ops='auto'; add that, or judge the file with validate.")
            if self.min_fidelity is not None:
                raise RecipeError("min_fidelity and max_drop are two goals of float_ops='auto'; give one of them.")
        if self.float_ops is None:
            return
        object.__setattr__(self, "float_ops", _float_ops(self.float_ops))
        if self.quantize != "int8":
            raise RecipeError(f"float_ops goes with quantize='int8', not {self.quantize!r}; drop one of them.")
        if not self.fidelity:
            raise RecipeError("float_ops needs the comparison that fidelity=False leaves out; drop one of them.")

    def _check_ranges(self) -> None:
        if self.ranges is None:
            return
        _require("ranges", self.ranges, str, "text")
        if self.ranges not in RANGES:
            raise RecipeError(f"Unknown ranges {self.ranges!r}{nearest(self.ranges, RANGES)}")
        if self.ranges != "minmax" and self.activations != "int8":
            asked = f"ranges {self.ranges!r} goes"
            raise RecipeError(f"{asked} with quantize='int8' or 'int8w4', not {self.quantize!r}; drop one of them.")

    def _check_fidelity(self) -> None:
        if self.min_fidelity is None:
            return
        require_number("min_fidelity", self.min_fidelity, "decibels, such as 20", lambda value: True)
        if not self.fidelity:
            raise RecipeError("min_fidelity needs the comparison that fidelity=False leaves out; drop one of them.")

    def _check_combination(self) -> None:
        require_choice("edges", self.edges, EDGES)
        if self.quantize not in QUANTIZE_MODES:
            raise RecipeError(f"Unknown quantize mode {self.quantize!r}{nearest(self.quantize, QUANTIZE_MODES)}")
        for option, value in (("input_type", self.input_type), ("output_type", self.output_type)):
            if value is not None and value not in IO_TYPES[self.quantize]:
                choices = ", ".join(IO_TYPES[self.quantize])
                raise RecipeError(
                    f"{option} {value!r} does not go with quantize={self.quantize!r}; expected one of {choices}."
                )
        if self.dynamic_batch and self.batch_size != 1:
            raise RecipeError("batch_size and dynamic_batch exclude each other; give one of them.")
        if self.per_tensor_dense and self.quantize != "int8":
            raise RecipeError(f"per_tensor_dense goes with quantize='int8', not {self.quantize!r}; drop one of them.")
        if self.edges == "prepared" and (self.quantize != "int8" or self.from_layer):
            other = "from_layer, which begins where you say" if self.from_layer else f"quantize={self.quantize!r}"
            raise RecipeError(f"edges='prepared' does not go with {other}; drop one of them.")
        if self.edges == "prepared" and self.max_drop is not None:
            raise RecipeError("max_drop scores a file that gives the model's outputs, not edges='prepared'; drop one.")
        if self.recover and self.activations != "int8":
            raise RecipeError(f"recover goes with quantize='int8' or 'int8w4', not {self.quantize!r}; drop it.")
        if self.sparse_weights and self.low_bit:
            raise RecipeError(f"sparse_weights have 8 bits, and quantize={self.quantize!r} asks for 4; drop one.")
        if self.image_scaling not in IMAGE_SCALINGS:
            raise RecipeError(
                f"Unknown image_scaling {self.image_scaling!r}{nearest(self.image_scaling, IMAGE_SCALINGS)}"
            )
        if self.image_resize not in IMAGE_RESIZES:
            raise RecipeError(f"Unknown image_resize {self.image_resize!r}{nearest(self.image_resize, IMAGE_RESIZES)}")

    @property
    def range_method(self) -> str:
        """How the ranges are found, the default put in."""
        return self.ranges or (_DEFAULT_RANGES if self.activations == "int8" else "minmax")

    @property
    def is_onnx(self) -> bool:
        """Whether the result is an .onnx file."""
        return self.to != "tflite"

    @property
    def file_input_type(self) -> str:
        """The type of the file's inputs, the default put in."""
        return self.input_type or self._end_type

    @property
    def file_output_type(self) -> str:
        """The type of the file's outputs, the default put in."""
        return self.output_type or self._end_type

    @property
    def _end_type(self) -> str:
        return "float32" if self.is_onnx else IO_TYPES[self.quantize][0]

    @property
    def activations(self) -> str:
        """The type that the file computes in: int8, int16 or float32."""
        return {"int8": "int8", "int8w4": "int8", "int16x8": "int16"}.get(self.quantize, "float32")

    @property
    def low_bit(self) -> bool:
        """Whether convolutions and fully connected layers get 4-bit weights."""
        return self.quantize in LOW_BIT_MODES

    @property
    def needs_calibration(self) -> bool:
        """Whether activations are quantised, which takes samples."""
        return self.activations != "float32"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON and TOML hold them."""
        result = asdict(self)
        result["input_shapes"] = {name: list(shape) for name, shape in self.input_shapes.items()}
        result["float_ops"] = list(self.float_ops) if isinstance(self.float_ops, tuple) else self.float_ops
        result["from_layer"] = list(self.from_layer)
        result["image_size"] = None if self.image_size is None else list(self.image_size)
        return result

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ConvertRecipe:
        """Return the recipe of a ``[convert]`` table.

        Raises:
            RecipeError: An unknown key (the nearest valid one is named), or a value that is not allowed.
        """
        valid = [item.name for item in fields(cls)]
        for key in values:
            if key not in valid:
                raise RecipeError(f"Unknown convert option {key!r}{nearest(key, valid)}")
        return cls(**values)


def _layer_names(value: Any) -> tuple[str, ...]:
    """Return one name, or a list of them, as a tuple."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not all(isinstance(name, str) and name for name in names):
        raise RecipeError(f"from_layer is {value!r}; expected the name of a layer, or a list of names.")
    return tuple(names)


def _require(name: str, value: object, kind: type, words: str) -> None:
    if not isinstance(value, kind):
        raise RecipeError(f"{name} is {value!r}; expected {words}.")


def _whole(name: str, value: Any, least: int) -> int:
    number = as_whole(value)
    if number is None or number < least:
        raise RecipeError(f"{name} is {value!r}; expected a whole number of at least {least}.")
    return number


def _float_ops(value: Any) -> str | int | tuple[str, ...]:
    if value == "auto":
        return "auto"
    if isinstance(value, (list, tuple)) and value and all(isinstance(name, str) and name for name in value):
        return tuple(value)
    number = as_whole(value)
    if number is None or number < 1:
        raise RecipeError(f"float_ops is {value!r}; expected 'auto', a number of at least 1, or a list of layers.")
    return number


def _shapes(value: Any) -> dict[str, tuple[int | None, ...]]:
    _require("input_shapes", value, Mapping, "a table of input name and shape")
    shapes: dict[str, tuple[int | None, ...]] = {}
    for name, shape in value.items():
        _require(f"The shape of input {name!r}", shape, Sequence, "a list such as [1, 96, 96, 3]")
        shapes[str(name)] = tuple(
            None if size is None else _whole(f"A size in the shape of input {name!r}", size, 1) for size in shape
        )
    return shapes


def _height_width(value: Any) -> tuple[int, int]:
    if not isinstance(value, Sequence) or len(value) != 2:
        raise RecipeError(f"image_size is {value!r}; expected height and width.")
    return _whole("image_size's height", value[0], 1), _whole("image_size's width", value[1], 1)


def load_tables(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML recipe file as plain tables.

    Raises:
        UsageError: The file does not exist.
        RecipeError: It is not TOML.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise UsageError(f"Cannot read the recipe {path}: {error.strerror}.") from error
    except ValueError as error:
        raise RecipeError(f"The recipe {path} is no TOML file: {error}; save it as TOML.") from error
    return parse_toml(text, f"The recipe {path}")


def parse_toml(text: str, what: str) -> dict[str, Any]:
    """Return the tables of TOML text; `what` is what messages call it.

    Raises:
        RecipeError: It is not TOML.
    """
    try:
        return loads_toml(text)
    except ValueError as error:
        raise RecipeError(f"{what} is not valid TOML: {error}.") from error


def convert_recipe_from_file(path: str | Path) -> ConvertRecipe:
    """Return the recipe in the ``[convert]`` table of a TOML file.

    Raises:
        UsageError: The file does not exist.
        RecipeError: It is not TOML, says nothing, or has an unknown table, key or value.
    """
    tables = load_tables(path)
    for table in tables:
        if table != "convert":
            raise RecipeError(f"Unknown table [{table}] in {path}{nearest(table, ['convert'])}")
    values = tables.get("convert", {})
    if values == {}:
        raise RecipeError(f"The recipe {path} has nothing under [convert] and would do nothing; fill it, or drop it.")
    if not isinstance(values, dict):
        raise RecipeError(f"'convert' in {path} is a {type(values).__name__}; expected a [convert] table.")
    return ConvertRecipe.from_dict(values)
