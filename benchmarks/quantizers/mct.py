"""Model Compression Toolkit's int8 for TFLite, with TensorFlow 2.15: python mct.py MODEL SAMPLES OUTPUT."""

import sys

import model_compression_toolkit as mct
import numpy as np
import tensorflow as tf
from model_compression_toolkit.exporter import KerasExportSerializationFormat, QuantizationFormat

path, samples, output = sys.argv[1:]
x = np.load(samples)["x"]
quantized, _ = mct.ptq.keras_post_training_quantization(
    tf.keras.models.load_model(path, compile=False),
    lambda: ([sample[None]] for sample in x),
    target_platform_capabilities=mct.get_target_platform_capabilities("1.0", "tflite"),
)
mct.exporter.keras_export_model(
    quantized,
    output,
    serialization_format=KerasExportSerializationFormat.TFLITE,
    quantization_format=QuantizationFormat.INT8,
)
