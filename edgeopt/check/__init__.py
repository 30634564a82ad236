"""The static lint: what each stage, or each accelerator, would do with each part of a model.

This room imports the workflows of `edgeopt.api` and what those may.
"""

from __future__ import annotations

from .items import CheckItem, CheckResult
from .registry import CHECKERS, Checker, Loading, Subject, checker

__all__ = ["CHECKERS", "CheckItem", "CheckResult", "Checker", "Loading", "Subject", "checker"]
