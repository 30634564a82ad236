"""From Keras to .tflite, and from there to an accelerator's file.

This room imports the light rooms, data, process, models and flatbuffer.
"""
