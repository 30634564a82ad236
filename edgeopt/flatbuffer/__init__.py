"""A read-only view of a .tflite file; needs no TensorFlow."""
