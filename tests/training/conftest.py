"""Trainings are tried on the networks that the passes are tried on."""

from ..passes.conftest import build, keras, randomise

__all__ = ["build", "keras", "randomise"]
