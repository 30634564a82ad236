"""A separable convolution as the two convolutions that TFLite makes of it; imports TensorFlow."""

from __future__ import annotations

from typing import Any

import tf_keras

from ...models.graph.read import Step


def split(layer: Any, step: Step) -> tuple[Any, Any]:
    """Return a SeparableConv layer as depthwise and pointwise layers, unbuilt, with linear activations."""
    config = layer.get_config()
    one_dimensional = type(layer).__name__ == "SeparableConv1D"
    depthwise_class = tf_keras.layers.DepthwiseConv1D if one_dimensional else tf_keras.layers.DepthwiseConv2D
    pointwise_class = tf_keras.layers.Conv1D if one_dimensional else tf_keras.layers.Conv2D
    depthwise = depthwise_class(
        kernel_size=config["kernel_size"],
        strides=config["strides"],
        padding=config["padding"],
        dilation_rate=config["dilation_rate"],
        depth_multiplier=config["depth_multiplier"],
        use_bias=False,
        name=f"{step.name}_depthwise",
    )
    pointwise = pointwise_class(config["filters"], 1, use_bias=config["use_bias"], name=step.name)
    depthwise.trainable = pointwise.trainable = step.trainable
    return depthwise, pointwise
