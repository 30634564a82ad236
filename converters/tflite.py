"""TensorFlow's own TFLiteConverter, fed with a lean SavedModel."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from ..data.dataset import Array
from ..errors import ConversionError, EdgeoptError, one_line
from ..evaluation.fidelity import Fidelity
from ..flatbuffer.layer_names import layers_in, layers_of
from ..models.export.export import LeanModel, input_key
from ..recipes.convert import ConvertRecipe
from .base import ConvertedFile, Repair
from .lowbit.litert import quantise_dynamic, quantise_static, require_litert
from .lowbit.packing import narrowed
from .narrow import narrow_branches
from .quantise import Quantise
from .range_choice import Names, RangeChoice, choosing_ranges, plan_ranges
from .reloading import without_reloading
from .repairs.change import Change
from .repairs.edges import settle_edges
from .repairs.repairing import REPAIRS
from .rewrite import put_names
from .trials import Trials

_SIGNATURE = "serving_default"
_PER_TENSOR_DENSE = "_experimental_disable_per_channel_quantization_for_dense_layers"


class TFLiteBackend:
    """`Converter` over ``tf.lite.TFLiteConverter.from_saved_model``.

    Attributes:
        follow: Gets the calibrated float file and what makes int8 files of it; returns the file to go on with.
    """

    def __init__(self, follow: Callable[[Trials], bytes] | None = None) -> None:
        self.follow = follow

    @property
    def name(self) -> str:
        """Name and version of the converter."""
        import tensorflow as tf

        return f"TFLiteConverter of TensorFlow {tf.__version__}"

    def convert(
        self,
        lean: LeanModel,
        recipe: ConvertRecipe,
        samples: Mapping[str, Array] | None,
        held_back: Mapping[str, Array] | None = None,
        on_sample: Callable[[int, int], None] | None = None,
    ) -> ConvertedFile:
        """Convert; see `edgeopt.converters.base.Converter`."""
        import tensorflow as tf

        started = time.monotonic()
        own = recipe.low_bit and (samples is not None or not recipe.needs_calibration)
        weights = {"weights_by": require_litert()} if own else {}
        with without_reloading(_SIGNATURE):
            converter = tf.lite.TFLiteConverter.from_saved_model(str(lean.folder), signature_keys=[_SIGNATURE])
        flags = {**_configure(converter, recipe, calibrated=samples is not None), **weights}
        clock = _Clock()
        names = [item.name for item in lean.inputs], lean.output_names
        edges = _EdgeJudge(recipe, names, self.follow)
        ranges: AbstractContextManager[RangeChoice | None] = nullcontext()
        if samples is not None:
            plan = plan_ranges(recipe.range_method, samples, held_back, lean.inputs[0].shape[0] or 1)
            converter.representative_dataset = _representative_dataset(lean, samples, plan.order, clock, on_sample)
            repairs = REPAIRS[recipe.activations] if recipe.repair else ()
            ranges = choosing_ranges(plan, names, edges.finish, repairs, quantise_static if own else None)
        try:
            with ranges as choice, without_reloading(_SIGNATURE), warnings.catch_warnings():
                # Its own calibrator uses an interpreter of its own that it calls deprecated.
                warnings.filterwarnings("ignore", message=r"\s*Warning: tf\.lite\.Interpreter is deprecated")
                model = converter.convert()
        except EdgeoptError:
            raise
        except Exception as error:
            raise explain(error, lean) from error
        seconds = {"convert": time.monotonic() - started - clock.seconds, "calibrate": clock.seconds}
        if choice is None:
            model = _with_few_bits(model, recipe)
            return ConvertedFile(put_names(model, *names), {**flags, "calibrator": None}, seconds)
        if choice.seconds:
            seconds = {**seconds, "convert": seconds["convert"] - choice.seconds, "ranges": choice.seconds}
        flags["calibrator"] = choice.calibration.engine
        return ConvertedFile(
            put_names(model, *names),
            flags,
            seconds,
            choice.reference,
            choice.calibrated_file,
            choice.to_dict(),
            edges.ends,
            _repairs(choice.calibration.changes, lean.layer_names),
            tuple(narrow_branches(choice.annotated, choice.float_file, lean.layer_names) if choice.annotated else ()),
        )


def _with_few_bits(model: bytes, recipe: ConvertRecipe) -> bytes:
    """Return a file that needed no calibration, with 4-bit weights where they were asked for."""
    if not recipe.low_bit:
        return model
    return narrowed(model) if recipe.needs_calibration else quantise_dynamic(model)


class _EdgeJudge:
    """Lets operators at the edges stay float where the outputs would not be the model's otherwise."""

    def __init__(
        self,
        recipe: ConvertRecipe,
        names: Names,
        follow: Callable[[Trials], bytes] | None,
    ) -> None:
        self.ends: tuple[str, ...] = ()
        self._names, self._follow = names, follow
        asked = {"input": recipe.input_type, "output": recipe.output_type}
        may = recipe.edges == "auto" and recipe.fidelity
        # A type that was asked for is kept.
        self._open = tuple(end for end, kind in asked.items() if may and kind in (None, "float32"))

    def finish(self, choice: RangeChoice, file: bytes, quantise: Quantise) -> bytes:
        """Return the file to go on with, which has the edges `ends`."""

        def fidelity_of(made: bytes) -> Fidelity:
            return choice.reference.fidelity_of(put_names(made, *self._names))

        try:
            settled = settle_edges(file, choice.annotated, quantise, fidelity_of, self._open)
        except (RuntimeError, ValueError):  # it does not run here, and nothing can be said of its outputs
            return file
        self.ends = settled.ends
        if self._follow is None:
            return settled.file
        return self._follow(
            Trials(
                choice.annotated,
                quantise,
                self._names,
                choice.reference,
                settled.file,
                settled.changes,
                choice.used,
                folded=choice.folded,
            )
        )


def _repairs(changes: Sequence[Change], layers: Sequence[str]) -> tuple[Repair, ...]:
    return tuple(
        Repair(change.kind, tuple(layers_of(";".join(change.tensors), layers)) or change.tensors, change.detail)
        for change in changes
    )


class _Clock:
    """Time from the first calibration sample asked for to the end of the last."""

    seconds = 0.0


def _configure(converter: Any, recipe: ConvertRecipe, *, calibrated: bool) -> dict[str, object]:
    """Set the converter up; return the settings by their public names, for the sidecar.

    Without samples, the model holds its ranges. The converter then demands that float operators be allowed, but leaves
    none where it has ranges; the file is checked afterwards.
    """
    import tensorflow as tf

    ops = tf.lite.OpsSet
    # litert-quantizer starts from a float file.
    optimizations = ["DEFAULT"] if recipe.quantize not in ("float32", "dynamic4") else []
    optimizations += ["EXPERIMENTAL_SPARSITY"] if recipe.sparse_weights else []
    converter.optimizations = [getattr(tf.lite.Optimize, name) for name in optimizations]
    flags: dict[str, object] = {"optimizations": optimizations, "supported_ops": ["TFLITE_BUILTINS"]}
    if recipe.quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
        flags["supported_types"] = ["float16"]
    if recipe.needs_calibration:
        integer = {
            "int8": ops.TFLITE_BUILTINS_INT8,
            "int16": ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        }[recipe.activations]
        allowed = [integer, ops.TFLITE_BUILTINS] if recipe.allow_float_ops else [integer]
        allowed = allowed if calibrated else [ops.TFLITE_BUILTINS]
        converter.target_spec.supported_ops = allowed
        converter.inference_input_type = getattr(tf, recipe.file_input_type)
        converter.inference_output_type = getattr(tf, recipe.file_output_type)
        flags["supported_ops"] = [item.name for item in allowed]
        flags["inference_input_type"] = recipe.file_input_type
        flags["inference_output_type"] = recipe.file_output_type
    if recipe.per_tensor_dense:
        if not hasattr(converter, _PER_TENSOR_DENSE):
            raise ConversionError(
                f"TensorFlow {tf.__version__} cannot quantise Dense per tensor; install TensorFlow 2.17 or later."
            )
        setattr(converter, _PER_TENSOR_DENSE, True)
        flags["disable_per_channel_quantization_for_dense_layers"] = True
    return flags


def _representative_dataset(
    lean: LeanModel,
    samples: Mapping[str, Array],
    order: Sequence[int],
    clock: _Clock,
    on_sample: Callable[[int, int], None] | None,
) -> Callable[[], Iterator[dict[str, Array]]]:
    """Yield the samples by signature key, in groups of the file's batch size (the last one filled from the start)."""
    batch = lean.inputs[0].shape[0] or 1
    count = len(next(iter(samples.values())))
    tell = on_sample or (lambda _done, _total: None)

    def generate() -> Iterator[dict[str, Array]]:
        started = time.monotonic()
        for done, group in enumerate(order):
            tell(done * batch, count)
            rows = np.arange(group * batch, (group + 1) * batch) % count
            yield {
                input_key(i): np.ascontiguousarray(samples[item.name][rows], dtype=item.dtype)
                for i, item in enumerate(lean.inputs)
            }
        clock.seconds += time.monotonic() - started
        tell(count, count)

    return generate


def explain(error: Exception, lean: LeanModel) -> ConversionError:
    """Say in one sentence which operator of which layer the converter refused.

    TensorFlow reports through MLIR: ``'tf.Foo' op is neither a custom op nor a flex op`` behind a location that holds
    the names of the layers; the kernels' own complaints name tensors.
    """
    text = str(error)
    for i, item in enumerate(lean.inputs):
        text = text.replace(f"serving_default_{input_key(i)}:0", f"input {item.name!r}")
    where = _where(text, lean.layer_names)
    refused = {f"tf.{name}" for name in re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex op", text)}
    refused |= {f"tf.{name}" for name in re.findall(r"^\s*tf\.(\w+)\(", text, re.M)}
    if refused:
        return ConversionError(
            f"TFLite has no operator for {', '.join(sorted(refused))}{where}; replace it with layers that TFLite knows "
            "(running it needs the Flex delegate, which boards lack)."
        )
    found = re.search(r"[Qq]uantization (?:to 16x8-bit )?not yet supported for op: '?(\w+)", text)
    if found:
        return ConversionError(
            f"The converter cannot quantise the operator {found.group(1)}{where}; "
            "pass --allow-float-ops to leave it float, or replace it."
        )
    if "requires element_shape to be static" in text:
        return ConversionError(
            f"The recurrent part{where} was saved with an open batch dimension, which TFLite cannot loop over; "
            "convert the .keras or .h5 file of the model instead, or save it again with a static batch."
        )
    found = re.search(r"Empty min/max for tensor (.+)", text)
    if found:
        return ConversionError(
            f"The converter wants a range for {one_line(found.group(1))}, although the model computes "
            "with integers there; convert with --quantize int8 or dynamic, or replace what computes with it."
        )
    return ConversionError(f"The converter failed{where}: {one_line(text, 400)}")


def _where(text: str, layer_names: Sequence[str]) -> str:
    """The layers in MLIR locations such as ``loc(fused["Det:", "model/det/MatrixDeterminant@__inference_inf_9"])``."""
    paths = [path.split("/") for path in re.findall(r'"([\w./ ;:-]+)@__inference', text)]
    parts = {part for path in paths for part in path}
    known = layers_in(parts, dict.fromkeys(layer_names))
    scopes = {path[-2] for path in paths if len(path) > 1} - {"PartitionedCall", "StatefulPartitionedCall"}
    found = known or sorted(scopes)
    return f" in layer(s) {', '.join(map(repr, found[:5]))}" if found else ""
