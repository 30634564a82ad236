"""Write docs/options.md, every option of every verb, from the command line itself: `python scripts/options.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from edgeopt.cli.main import cli

PAGE = Path(__file__).parents[1] / "docs" / "options.md"
_HEAD = """# Every option

Made from the command line by `python scripts/options.py`; the verbs' pages say more of what they mean.

The Tab key completes verbs, options, and the paths of models and data in bash, zsh and fish, once the shell's own file
has its line of these:

    eval "$(_EDGEOPT_COMPLETE=bash_source edgeopt)"         # ~/.bashrc
    eval "$(_EDGEOPT_COMPLETE=zsh_source edgeopt)"          # ~/.zshrc
    _EDGEOPT_COMPLETE=fish_source edgeopt | source          # ~/.config/fish/config.fish
"""


def verbs(group: click.Group, *words: str) -> Iterator[tuple[str, click.Command]]:
    """Yield each verb that does something, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from verbs(command, *words, name)
        elif command is not None:
            yield " ".join((*words, name)), command


def page() -> str:
    """Return the page."""
    made = (section(words, command, command.get_short_help_str(200)) for words, command in verbs(cli))
    return "\n".join([_HEAD, *made])


def section(words: str, command: click.Command, text: str) -> str:
    """Return a verb's line, `text` about it, and the table of its options."""
    context = click.Context(command, max_content_width=10_000)
    arguments = " ".join(item.make_metavar(context) for item in command.params if isinstance(item, click.Argument))
    rows = [item.get_help_record(context) for item in command.params if isinstance(item, click.Option)]
    lines = [f"| `{_cell(option)}` | {_cell(told)} |" for option, told in filter(None, rows)]
    table = ["| option | |", "|---|---|", *lines] if lines else []
    return "\n".join([f"## `edgeopt {words} {arguments}".rstrip() + "`", "", text, "", *table, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("  ", " ")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
