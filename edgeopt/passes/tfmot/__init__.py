"""TFMOT's wrappers: putting them on, taking them off, and the private parts that this relies on.

This room imports what a pass may.
"""
