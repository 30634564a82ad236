"""The blocks of code of a Markdown page, and what it takes to run or to check one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import click
import tomllib

from edgeopt.cli.main import cli
from edgeopt.cli.paths import Given
from edgeopt.passes import registry
from edgeopt.recipes.optimize import OptimizeRecipe

# In the page's source, above a block: why no test runs it. It is checked all the same.
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)
_OPTIONS_OF_A_BOARD = ("--device", "--delegate")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language, its text, and why it is not run, if it is not."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path, name: str) -> list[Block]:
    """The blocks of a page, in order."""
    text, found = page.read_text("utf-8"), []
    for match in _FENCE.finditer(text):
        before = text[: match.start()].rstrip().rpartition("\n")[2]
        mark = NOT_RUN.fullmatch(before.strip())
        body = "".join(line.removeprefix(match[1]) for line in match[3].splitlines(keepends=True))
        line = text.count("\n", 0, match.start()) + 2
        found.append(Block(name, line, match[2], body, mark[1] if mark else None))
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a block of shell, without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def python(text: str) -> str:
    """The code of a block, without the prompts that it may have."""
    lines = text.splitlines()
    if any(line.startswith(">>> ") for line in lines):
        lines = [line[4:] for line in lines if line.startswith((">>> ", "... "))]
    return "\n".join(lines) + "\n"


def needs_a_board(words: list[str]) -> bool:
    """Whether a command of edgeopt is about a board, which a test has not."""
    given = [words[words.index(option) + 1] for option in _OPTIONS_OF_A_BOARD if option in words]
    return words[1] == "devices" or any(place != "local" for place in given)


def parse(words: list[str]) -> None:
    """Read a command of edgeopt as the command line does, and do nothing; the files that it names need not be there.

    Raises:
        click.UsageError: A verb, an option or a value that it would refuse.
    """
    group, rest = cli, words[1:]
    context = click.Context(group)
    while isinstance(group, click.Group):
        name, command, rest = group.resolve_command(context, rest)
        assert command is not None and name is not None
        with patch.object(Given, "convert", lambda _, value, *_place: value):
            context = command.make_context(name, list(rest), parent=context)
        group, rest = command, context.protected_args + context.args if isinstance(command, click.Group) else []


def check(block: Block) -> None:
    """Check a block that is not run, or before it is: every block is whole in its language."""
    if block.language == "python":
        compile(python(block.text), block.where, "exec")
    elif block.language == "toml":
        tables = tomllib.loads(block.text)
        if "pass" in tables:
            for table in OptimizeRecipe.from_tables(tables).passes:
                registry.plan(table)
    elif block.language == "sh":
        for words in commands(block.text):
            if words[0] == "edgeopt":
                parse(words)
