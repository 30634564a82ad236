"""Data of every kind as one `Dataset`: labels, images, streams, calibration samples.

This room imports the light rooms, TensorFlow lazily.
"""

from __future__ import annotations

from .dataset import Dataset, load_dataset

__all__ = ["Dataset", "load_dataset"]
