"""Operators that TFLite lacks are found in a layer; the converter lacks what the list says."""

from __future__ import annotations

import re

import pytest

from edgeopt.models.export.operators import LACKING, lacking
from edgeopt.models.graph.rebuild import read_native

UNARY = {
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BesselI0", "Cholesky", "Cosh", "Digamma", "Erfinv"),
    *("MatrixDeterminant", "MatrixInverse", "Sinh", "Softsign", "Tan"),
}
POOLS = {"AvgPool3D", "MaxPool3D"}
RESIZES = {"ResizeArea", "ResizeBicubic"}


@pytest.mark.heavy
def test_the_converter_lacks_them():
    """Of the list those that take a tensor and no more, or a size: one conversion names them all."""
    import tensorflow as tf

    def every(x):
        square, image, volume = x[0, 0, :4, :4], x[0], x
        results = [next(iter(_tuple(_raw(name, square)))) for name in sorted(UNARY)]
        results += [getattr(tf.raw_ops, name)(images=image, size=[5, 5]) for name in sorted(RESIZES)]
        pool = {"ksize": [1, 2, 2, 2, 1], "strides": [1, 2, 2, 2, 1], "padding": "VALID"}
        results += [getattr(tf.raw_ops, name)(input=volume, **pool) for name in sorted(POOLS)]
        return results

    signature = [tf.TensorSpec((1, 4, 4, 4, 4))]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([tf.function(every, signature).get_concrete_function()])
    with pytest.raises(Exception, match="neither a custom op nor a flex op") as failure:
        converter.convert()
    refused = set(re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex op", str(failure.value)))
    assert refused == UNARY | POOLS | RESIZES
    assert refused <= LACKING


def _raw(name, tensor):
    import tensorflow as tf

    operation = getattr(tf.raw_ops, name)
    argument = next(key for key in ("x", "features", "input") if key in operation.__signature__.parameters)
    return operation(**{argument: tensor})


def _tuple(value):
    return value if isinstance(value, (list, tuple)) else (value,)


def test_a_step_names_what_it_needs_and_what_is_known_needs_nothing(any_keras):
    layers = any_keras.layers
    given = any_keras.Input((8, 8, 2))
    x = layers.UpSampling2D(2, interpolation="bicubic", name="enlarged")(given)
    model = any_keras.Model(given, layers.Conv2D(2, 3, activation="gelu", name="known")(x))
    found = {step.name: lacking(step) for step in read_native(model).steps}
    assert found["known"] == ()
    # Keras 3 scales and translates instead.
    assert found["enlarged"] in (("ResizeBicubic",), ("ScaleAndTranslate",))
