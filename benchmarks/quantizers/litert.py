"""litert-quantizer's static int8 of a float file: python litert.py FLOAT.tflite SAMPLES OUTPUT."""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from litert_quantizer import quantizer, recipe

source, samples, output = sys.argv[1:]
((signature, given),) = Interpreter(source).get_signature_list().items()
(name,) = given["inputs"]
x = np.load(samples)["x"]
quantizing = quantizer.Quantizer(source)
quantizing.load_quantization_recipe(recipe.static_wi8_ai8())
ranges = quantizing.calibrate({signature: [{name: sample[None]} for sample in x]})
quantizing.quantize(ranges).export_model(output, overwrite=True)
