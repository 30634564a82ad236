"""Repairs of a float .tflite file before its ranges are measured: known causes of ruined integer files, removed exactly."""
