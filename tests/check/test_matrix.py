"""What can be pruned, clustered, trained quantised and converted: said beforehand by the check, then really done.

First what TFMOT alone takes (tf_keras, functional), layer by layer; then the same layers in one model, in each stage.
"""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.check.model import check_model
from edgeopt.check.stages import float_layers
from edgeopt.flatbuffer import read_model
from edgeopt.passes.channels import ChannelPruning
from edgeopt.passes.cluster.cluster import Cluster
from edgeopt.passes.prune.prune import Prune
from edgeopt.passes.qat import Qat
from edgeopt.training.context import PassContext
from edgeopt.training.options import Training

STEP = Training(epochs=1, steps_per_epoch=1, batch_size=4)
PASSES = {
    "prune": Prune(sparsity=0.5, training=STEP),
    "cluster": Cluster(clusters=16, training=STEP),
    "qat": Qat(training=STEP),
}

# row -> (TFMOT's quantize_model takes it, its prune_low_magnitude takes it)
TFMOT_ALONE = {
    "Conv2D, BatchNormalization, ReLU": (True, True),
    "SeparableConv2D, BatchNormalization": (True, True),
    "Conv2DTranspose, BatchNormalization": (True, True),
    "swish": (True, True),
    "gelu": (True, True),
    "MaxPooling2D": (True, True),
    "nested model": (False, True),
    "Multiply": (False, True),
    "Subtract": (False, True),
    "Average": (False, True),
    "Rescaling": (False, False),
    "Resizing": (False, False),
    "PReLU": (False, False),
    "LayerNormalization": (False, True),
    "BatchNormalization alone": (False, True),
    "Conv1D": (False, True),
    "LSTM": (False, True),
    "Lambda": (False, True),
    "hard_sigmoid": (False, True),
    "x * 2.": (False, False),
    "x[..., :4]": (False, False),
}


def rows(layers, nested):
    """Row -> what it puts on a tensor of shape (batch, 4, 4, 8)."""

    def two(merge):
        return lambda x: merge()([layers.Conv2D(4, 1)(x), layers.Conv2D(4, 1)(x)])

    def sequence(layer):
        return lambda x: layer(layers.Reshape((16, 8))(x))

    return {
        "Conv2D, BatchNormalization, ReLU": [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()],
        "SeparableConv2D, BatchNormalization": [layers.SeparableConv2D(4, 3), layers.BatchNormalization()],
        "Conv2DTranspose, BatchNormalization": [layers.Conv2DTranspose(4, 3), layers.BatchNormalization()],
        "swish": [layers.Conv2D(4, 1), layers.Activation("swish")],
        "gelu": [layers.Conv2D(4, 1), layers.Activation("gelu")],
        "MaxPooling2D": [layers.MaxPooling2D()],
        "nested model": [nested],
        "Multiply": [two(layers.Multiply)],
        "Subtract": [two(layers.Subtract)],
        "Average": [two(layers.Average)],
        "Rescaling": [layers.Rescaling(0.5)],
        "Resizing": [layers.Resizing(2, 2)],
        "PReLU": [layers.PReLU()],
        "LayerNormalization": [layers.LayerNormalization()],
        "BatchNormalization alone": [layers.BatchNormalization()],
        "Conv1D": [sequence(layers.Conv1D(4, 3))],
        "LSTM": [sequence(layers.LSTM(4))],
        "Lambda": [layers.Lambda(lambda value: value + 1.0)],
        "hard_sigmoid": [layers.Activation("hard_sigmoid")],
        "x * 2.": [lambda x: x * 2.0],
        "x[..., :4]": [lambda x: x[..., :4]],
    }


def takes(wrap, model):
    try:
        wrap(model)
    except (ValueError, RuntimeError):
        return False
    return True


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.filterwarnings("ignore:Lambda layers are not supported:UserWarning")
def test_what_tfmot_alone_takes():
    import tensorflow_model_optimization as tfmot
    import tf_keras

    found = {}
    for wrap in (tfmot.quantization.keras.quantize_model, tfmot.sparsity.keras.prune_low_magnitude):
        nested = tf_keras.Sequential([tf_keras.Input((4, 4, 8)), tf_keras.layers.Conv2D(4, 1)], name="nested")
        for row, steps in rows(tf_keras.layers, nested).items():
            x = image = tf_keras.Input((4, 4, 8))
            for step in steps:
                x = step(x)
            model = tf_keras.Model(image, tf_keras.layers.Dense(2)(tf_keras.layers.Flatten()(x)))
            found.setdefault(row, []).append(takes(wrap, model))
    assert {row: tuple(taken) for row, taken in found.items()} == TFMOT_ALONE


def every_layer(keras):
    """The rows above in one model."""
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Identity(name="same")(layers.RandomFlip(name="flip")(image))
    x = layers.Rescaling(1 / 255.0, name="scale")(x)
    x = layers.BatchNormalization(name="norm_first")(x)
    x = layers.Conv2D(16, 3, padding="same", name="conv")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="conv_norm")(x))
    x = layers.BatchNormalization(name="separable_norm")(layers.SeparableConv2D(8, 3, name="separable")(x))
    x = layers.BatchNormalization(name="up_norm")(layers.Conv2DTranspose(8, 3, name="up")(x))
    x = layers.Activation("swish", name="swish")(x)
    x = layers.MaxPooling2D(name="pool")(layers.Activation("gelu", name="gelu")(x))
    y = layers.PReLU(shared_axes=[1, 2], name="prelu")(layers.DepthwiseConv2D(3, padding="same", name="spatial")(x))
    x = layers.Subtract(name="difference")(
        [layers.Multiply(name="product")([x, y]), layers.Average(name="mean")([x, y])]
    )
    x = layers.Activation("hard_sigmoid", name="hard")(layers.LayerNormalization(name="layer_norm")(x * 2.0))
    inner = keras.Sequential([keras.Input((4, 4, 4)), layers.Conv2D(8, 1, name="inside")], name="nested")
    x = layers.Resizing(2, 2, name="resized")(inner(x[..., :4]))
    x = layers.Lambda(lambda value: value + 1.0, output_shape=(2, 2, 8), name="python")(x)
    x = layers.Conv1D(8, 3, padding="same", name="conv_1d")(layers.Reshape((4, 8), name="signal")(x))
    x = layers.LSTM(6, name="memory")(x)
    return keras.Model(image, layers.Dense(4, name="classes")(x), name="images")


# Stage -> what is not simply taken, and by which rule; all other layers are "ok".
EXPECTED = {
    "prune": {"spatial": "depthwise"},
    "channels": {
        "separable": "too-narrow",
        "up": "normalised-across-channels",  # by layer_norm
        "spatial": "normalised-across-channels",
        "inside": "layer-not-supported",  # python, behind it
        "conv_1d": "layer-not-supported",  # memory
        "classes": "model-output",
    },
    "cluster": {"spatial": "depthwise"},
    "qat": {
        **{"layer_norm": "unknown layer", "resized": "unknown layer", "python": "unknown layer"},
        "memory": "recurrent",
    },
    "convert": {},
}


def data(model):
    generator = np.random.default_rng(0)
    return 255 * generator.random((8, *model.input_shape[1:]), np.float32), generator.random((8, 4), np.float32)


@pytest.mark.heavy
@pytest.mark.smoke
def test_what_the_check_says_is_what_a_step_of_training_and_the_conversion_do():
    import keras

    model = every_layer(keras)
    x, y = data(model)
    said = {stage: {} for stage in EXPECTED}
    for item in check_model(model).items:
        if item.verdict != "ok" and item.kind not in ("model", "InputLayer"):
            said[item.stage][item.name] = item.rule
    assert said == EXPECTED
    done = {}
    for stage, technique in PASSES.items():
        done[stage] = technique.apply(model, PassContext(train=(x, y), loss="mse"))
        assert {entry.subject: entry.reason for entry in done[stage].report.skipped} == said[stage], stage
    names = [layer.name for layer in done["prune"].model.layers]
    options = {"allow_float_ops": True, "isolate": False}
    pruned = edgeopt.convert(done["prune"].model, calibration=x, calibration_samples=8, **options)
    assert set(float_layers(read_model(pruned.model, "pruned"), names)) == set(said["convert"])
    trained = edgeopt.convert(done["qat"].exported, **options)
    left = float_layers(read_model(trained.model, "trained"), [f"{name}_float" for name in names])
    # The file has int8 operators for the others that qat leaves float: their ranges come from their neighbours.
    assert {name.removesuffix("_float") for name in left} == {"layer_norm", "memory"} < set(said["qat"])


@pytest.mark.heavy
def test_channels_go_where_the_check_says_and_nowhere_else():
    import keras

    report = ChannelPruning(fraction=0.01).apply(every_layer(keras), PassContext()).report
    # A group is reported by its first layer: "up" stands for "spatial" as well.
    told = {entry.subject: entry.reason for entry in report.skipped}
    assert {"spatial": told["up"], **told} == EXPECTED["channels"]
