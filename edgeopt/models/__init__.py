"""Keras models of both flavours: load, trust, flat graph, bridge, rewrite, export.

This room imports the light rooms, flatbuffer, process and data.
"""
