"""The ``edgeopt`` group: verbs by name, errors to exit codes, and nothing heavy imported for ``--help``."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import click

from .._version import __version__
from ..errors import INTERRUPTED_EXIT_CODE, EdgeoptError, EdgeoptWarning, nearest

# verb -> (module that defines `command`, its line in --help)
VERBS: dict[str, tuple[str, str]] = {
    "convert": ("edgeopt.cli.convert", "Turn a Keras model into a .tflite file, full int8 by default."),
    "inspect": ("edgeopt.cli.inspect", "Show what is inside a .tflite file: ops, tensors, sizes, MACs, memory."),
    "validate": (
        "edgeopt.cli.validate",
        "Measure accuracy and latency of a .tflite file on a device, against a budget.",
    ),
    "optimize": ("edgeopt.cli.optimize", "Run a recipe of compression passes; export and measure after each."),
    "check": (
        "edgeopt.cli.check",
        "Say what passes, conversion or an accelerator take of a model; rewrite it exactly.",
    ),
    "sensitivity": (
        "edgeopt.cli.sensitivity",
        "Say which operators lose the accuracy of an int8 file, and what would help each.",
    ),
    "edgetpu": ("edgeopt.cli.edgetpu", "Compile for the Coral Edge TPU; list pipeline segments; compare files."),
    "bench": ("edgeopt.cli.bench", "Time a .tflite file on a device; say whether it is faster than another."),
    "parity": ("edgeopt.cli.parity", "Compare a file on two devices, down to the first operator that differs."),
    "report": ("edgeopt.cli.report", "Make one HTML page of what was measured of files and runs."),
    "compare": ("edgeopt.cli.compare", "Put files side by side; say what is better or worse beyond doubt."),
    "bundle": ("edgeopt.cli.bundle", "Put a file into an archive with all that proves it."),
    "verify": ("edgeopt.cli.verify", "Check an archive of bundle, and replay its golden vectors on a device."),
    "devices": ("edgeopt.cli.devices", "Name boards, check them, and make them ready."),
    "agent": ("edgeopt.cli.agent", "Write the on-device benchmark script, one .pyz file."),
    "demo": ("edgeopt.cli.demo", "Train a small model, prune it, train it quantised, and compare the files here."),
}


class LazyGroup(click.Group):
    """A click group whose commands are imported only when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one verb and return its command."""
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(VERBS[cmd_name][0]).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{VERBS[cmd_name][0]}.command is {type(command)}, expected a click.Command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; of a word that is none, name the nearest."""
        if args[0] not in VERBS and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}{nearest(args[0], VERBS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs from the table, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in VERBS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="edgeopt")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("-v", "--verbose", is_flag=True, help="Let TensorFlow and the runtimes log.")
def cli(debug: bool, verbose: bool) -> None:
    """Take a Keras model to a Raspberry Pi or a Coral board, and prove that it still works there."""
    if verbose:
        os.environ["EDGEOPT_VERBOSE"] = "1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or the code of the error's branch (see `edgeopt.errors`)."""
    given = _flags_first(list(sys.argv[1:] if arguments is None else arguments))
    debug = "--debug" in given
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", EdgeoptWarning)
            warnings.showwarning = _shown(warnings.showwarning)
            result = cli.main(given, prog_name="edgeopt", standalone_mode=False, obj=given)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        print("Interrupted; nothing was left half-written.", file=sys.stderr)
        return INTERRUPTED_EXIT_CODE
    except EdgeoptError as error:
        if debug:
            sys.excepthook(type(error), error, error.__traceback__)
        print(f"edgeopt: {_tame(error)}", file=sys.stderr)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            print(f"::error title=edgeopt::{_one_line(_tame(error))}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        if debug:
            sys.excepthook(type(error), error, error.__traceback__)
        print(
            f"edgeopt: internal error: {type(error).__name__}: {_tame(error)}; run again with --debug and report it.",
            file=sys.stderr,
        )
        return 1
    return result if isinstance(result, int) else 0


def _shown(others: Callable[..., None]) -> Callable[..., None]:
    """Return what shows a warning: edgeopt's own as a sentence, the rest as `others` does."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, EdgeoptWarning):
            print(f"edgeopt: {message}", file=sys.stderr)
        else:
            others(message, category, *place, **more)

    return show


def _tame(error: Exception) -> str:
    """Return what an error says without what could steer the terminal: it may quote a file, or a board."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in str(error))


def _one_line(text: str) -> str:
    """Return a text as the message of a command to GitHub's runner, which reads it line by line."""
    return text.replace("%", "%25").replace("\n", "%0A")


def _flags_first(words: list[str]) -> list[str]:
    """Move --debug and -v to the front: they may stand anywhere, but click knows them as options of the group."""
    end = words.index("--") if "--" in words else len(words)
    flags = [word for word in words[:end] if word in ("--debug", "-v", "--verbose")]
    return [*flags, *(word for word in words[:end] if word not in flags), *words[end:]]
