"""Accuracy recovered without training: finished int8 files whose biases and roundings are put right from samples.

Each method is a module; `recovery` takes them in turn and keeps what brings samples nearer that fitted nothing. It may
import what the rest of the converters may.
"""
