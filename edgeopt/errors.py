"""The exceptions edgeopt raises, and the exit code that each branch means on the command line.

    EdgeoptError                       1  internal error
    ├── UsageError (ValueError)        2  bad option or argument
    │   ├── RecipeError                2  unknown or contradictory recipe key
    │   ├── DataError                  2  data that is missing, of the wrong shape, or not finite
    │   ├── FileFormatError            2  a file that is corrupt, or is not what its name says
    │   ├── UnsafeModelError           2  a model file that names code, and was not said to be trusted
    │   └── OutputError                2  an output that exists already or cannot be written
    ├── ModelError                     3  a model that is not supported
    │   ├── ConversionError            3  the converter refused the model, or died of it
    │   ├── NotFullyIntegerError       3  float tensors or dynamic shapes in a file that must have none
    │   └── InvokeError                3  the file loads and then fails when it is run
    ├── PromiseError                   4  something that was asked for does not hold
    │   ├── BudgetError                4  a budget line was missed
    │   ├── CheckError                 4  `check` found a refusal
    │   ├── PropertyLostError          4  sparsity or clusters did not survive
    │   └── TrainingDivergedError      4  the loss became NaN
    ├── DeviceError                    5  the device could not do the job
    │   ├── DeviceLostError            5  the agent or the link ended before the reply
    │   ├── RuntimeMissingError        5  no TFLite runtime there, or it does not load
    │   └── InvalidRunError            5  throttled or busy, under --strict
    └── CompilerError                  6  external compiler missing or failed

Every message is one sentence that says what was received, what was expected, and the remedy. Exceptions of other
libraries are mapped to these once, where they enter edgeopt, with ``from``.
"""

from __future__ import annotations

from collections.abc import Iterable

INTERRUPTED_EXIT_CODE = 130
_LONGEST, _LAST = 2000, 500  # characters of a message, and how many of them are its end, where the remedy is


class EdgeoptError(Exception):
    """Root of all edgeopt errors; ``exit_code`` is what the command line returns for it.

    A message that quotes too much, such as the value of a damaged file, loses its middle.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        if len(message) > _LONGEST:
            message = f"{message[: _LONGEST - _LAST - 5]} ... {message[-_LAST:]}"
        super().__init__(message)


class EdgeoptWarning(UserWarning):
    """Root of what edgeopt says without an error; the command line prints it as a sentence."""


class UsageError(EdgeoptError, ValueError):
    """A bad option, argument or path."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe key that is unknown, or that contradicts another."""


class DataError(UsageError):
    """Data that is missing, of the wrong shape or type, or not finite."""


class FileFormatError(UsageError):
    """A file that is corrupt, or is not what its name says."""


class UnsafeModelError(UsageError):
    """A model file that holds or names code other than Keras's own, and was not said to be trusted."""


class OutputError(UsageError):
    """An output that exists already or that cannot be written."""


class ModelError(EdgeoptError):
    """A model that is not supported."""

    exit_code = 3


class ConversionError(ModelError):
    """The converter refused the model, or died of it."""


class NotFullyIntegerError(ModelError):
    """Float tensors or dynamic shapes in a file that must have none."""


class InvokeError(ModelError):
    """A file that loads, and then fails when it is run."""


class PromiseError(EdgeoptError):
    """Something that was asked for does not hold."""

    exit_code = 4


class BudgetError(PromiseError):
    """A budget line was missed."""


class CheckError(PromiseError):
    """``check`` found a refusal."""


class PropertyLostError(PromiseError):
    """Sparsity or clusters that an earlier pass won did not survive."""


class TrainingDivergedError(PromiseError):
    """The loss became NaN or infinite."""


class DeviceError(EdgeoptError):
    """The device could not do the job."""

    exit_code = 5


class DeviceLostError(DeviceError):
    """The agent or the link to it ended before the reply came."""


class RuntimeMissingError(DeviceError):
    """No TFLite runtime on the device, or one that does not load."""


class InvalidRunError(DeviceError):
    """A measurement that cannot be trusted (throttled or busy device), under ``strict``."""


class CompilerError(EdgeoptError):
    """An external compiler that is missing or failed."""

    exit_code = 6


def refuse_windows(what: str) -> None:
    """Raise a `UsageError` on Windows, where `what` would miss process groups, file locks and users' numbers."""
    import platform

    if platform.system() == "Windows":
        raise UsageError(f"{what} does not work on Windows; expected Linux or macOS: run edgeopt in WSL 2.")


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return the end of a sentence: ``"; did you mean 'x'?"`` for the valid name closest to `name`, or the choices.

    Example:
        >>> nearest("sparsty", ["sparsity", "epochs"])
        "; did you mean 'sparsity'?"
    """
    from difflib import get_close_matches  # takes a tenth of the time of `edgeopt --help`

    choices = sorted(valid)
    close = get_close_matches(name, choices, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; expected one of {', '.join(choices)}."


def one_line(error: object, length: int = 200) -> str:
    """Return an exception's text without line breaks, cut to `length` characters."""
    return " ".join(str(error).split())[:length]


def printable(text: str) -> str:
    """Return text of a file, a program or a board without what could steer the terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
