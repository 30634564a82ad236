"""What messages and documentation tell a person to type exists: verbs, options, files; planted ones are found."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import click
import pytest

from edgeopt.cli.main import cli

CHECKOUT = Path(__file__).parents[1]
ROOMS = ("edgeopt", "converters", "devices")
TEXTS = [CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")] + sorted(
    (CHECKOUT / "docs").rglob("*.md")
)
EXAMPLES = {"tests/passes/test_clip.py"}  # of CONTRIBUTING.md
# A line about one of these may name its options, which are not edgeopt's.
OTHER_PROGRAMS = re.compile(
    r"pip |scripts/|\.py\b|edgeopt-agent\.pyz|pytest|systemctl|docker|uv |git |benchmark_app|venv|Vela|vela|litert-benchmark|trtexec"
)


def commands(group: click.Group, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every verb with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield (*words, name), found
            yield from commands(found, *words, name)
        elif found is not None:
            yield (*words, name), found


VERBS = dict(commands(cli))
FORMS = {word + end for (word, *_) in VERBS for end in ("", "s")}
EVERYWHERE = {"--help", "--version", "--debug", "--verbose", "-v", "-h"}


def options_of(command: click.Command) -> set[str]:
    return {text for option in command.params for text in (*option.opts, *option.secondary_opts)}


# The agent by hand and the pytest plugin have options of their own; pip's is in a message as a whole line of commands.
OWN = {"--edgeopt-device", "--edgeopt-devices", "--platform"} | {
    word
    for file in ("devices/agent/byhand.py", "devices/agent/main.py")
    for word in re.findall(r'"(--[a-z-]+)"', (CHECKOUT / file).read_text("utf-8"))
}
OPTIONS = EVERYWHERE.union(OWN, *map(options_of, VERBS.values()))


def strings(path: Path) -> Iterator[str]:
    """The texts in a source: what it may say, and its docstrings; the parts of an f-string as one, its fields as X."""
    tree = ast.parse(path.read_text("utf-8"))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def sources() -> list[Path]:
    return [file for room in ROOMS for file in sorted((CHECKOUT / room).rglob("*.py"))]


def said() -> Iterator[tuple[str, str]]:
    """Every text, with where it stands."""
    for path in TEXTS:
        yield path.name, path.read_text("utf-8")
    for path in sources():
        for text in strings(path):
            yield str(path.relative_to(CHECKOUT)), text
    for path in (path for room in ROOMS for path in sorted((CHECKOUT / room).rglob("*.toml"))):
        yield path.name, path.read_text("utf-8")


def option_faults(text: str) -> Iterator[str]:
    """The options in a text that no verb has; a text without a blank is an argument of some program, and no message."""
    for line in text.replace("\\\n", " ").splitlines():
        if " " in line.strip() and not OTHER_PROGRAMS.search(line):
            yield from (word for word in re.findall(r"(?<![\w-])--[a-z][\w-]+", line) if word not in OPTIONS)


def misspelt(word: str) -> bool:
    """Whether a word behind "edgeopt" is nearly a verb, and no form of it, as in "edgeopt checks"."""
    return word not in FORMS and bool(get_close_matches(word, [*cli.list_commands(click.Context(cli))], cutoff=0.8))


def command_faults(text: str) -> Iterator[str]:
    """What command lines in a text name that does not exist: a verb, where it is marked as code, or an option."""
    for mark, line in re.findall(r"(`|^ {4}|^)?(?:\$ )?\bedgeopt ([a-z][^`\n]*)", text.replace("\\\n", " "), re.M):
        words = [word.strip("()[],.;:'\"") for word in re.split(r"[\s|]+", line.split("#")[0])]
        command = next((VERBS[tuple(words[:n])] for n in (2, 1) if tuple(words[:n]) in VERBS), None)
        if command is None:
            if (mark and not line.startswith("is ")) or misspelt(words[0]):
                yield f"edgeopt {line}: no such verb"
        elif not isinstance(command, click.Group):
            known = options_of(command) | EVERYWHERE
            given = (re.split(r"[=\]]", word)[0] for word in words)
            wrong = (word for word in given if re.match(r"--[a-z]|-[a-z]$", word) and word not in known)
            yield from (f"edgeopt {line}: {word}" for word in wrong)


def path_faults(text: str, folder: Path | None = None) -> Iterator[str]:
    """Files of this project that a text names and that are not there; of a page in `folder`, what it links, too."""
    for name in re.findall(
        r"(?<![\w/.:-])(?:docs|tests|benchmarks|scripts|edgeopt|converters|devices)/[\w./-]+\w", text
    ):
        if not (CHECKOUT / name).exists() and "NAME" not in name and name not in EXAMPLES:
            yield name
    for name in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        if folder is not None and not (folder / name).exists():
            yield name


def test_what_is_said_exists():
    options = [(place, fault) for place, text in said() for fault in option_faults(text)]
    commands = [(place, fault) for place, text in said() for fault in command_faults(text)]
    assert (options, commands) == ([], [])


def test_files_that_texts_name_are_there():
    found = [(path.name, fault) for path in TEXTS for fault in path_faults(path.read_text("utf-8"), path.parent)]
    found += [(str(path), fault) for path in sources() for text in strings(path) for fault in path_faults(text)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("pass --forse to replace it", ["--forse"]),
        ("pass `--force` (force=True)", []),
        ("run `edgeopt convrt m.keras`", ["edgeopt convrt m.keras: no such verb"]),
        ("use edgeopt inspect --min-runtime 13.", ["edgeopt inspect --min-runtime 13.: --min-runtime"]),
        ("run edgeopt optimise m.h5", ["edgeopt optimise m.h5: no such verb"]),
        ("    $ edgeopt convrt m.h5", ["edgeopt convrt m.h5: no such verb"]),
        ("`edgeopt convert m.h5 -z 3`", ["edgeopt convert m.h5 -z 3: -z"]),
        ("edgeopt reads the file, and edgeopt converts it", []),
        ("see docs/nowhere.md", ["docs/nowhere.md"]),
    ],
)
def test_planted_faults_are_found(text, faults):
    assert [*option_faults(text), *command_faults(text), *path_faults(text)] == faults


@pytest.mark.parametrize(
    ("room", "name", "text"),
    [
        ("edgeopt", "api/reading.py", 'raise UsageError(f"{path} is there; " f"pass --forse for {path}.")'),
        ("converters", "edgetpu/rules.toml", 'remedy = "convert with --forse"'),
        ("docs", "convert.md", "Replace it with `--forse`."),
    ],
)
def test_faults_planted_in_a_message_in_a_table_and_on_a_page_are_found(monkeypatch, tmp_path, room, name, text):
    """The walk reaches all three."""
    planted = tmp_path / room / name
    planted.parent.mkdir(parents=True)
    planted.write_text(text)
    here = sys.modules[__name__]
    pages = [tmp_path / path.relative_to(CHECKOUT) for path in TEXTS]
    monkeypatch.setattr(here, "CHECKOUT", tmp_path)
    monkeypatch.setattr(here, "TEXTS", [path for path in pages if path.exists()])
    assert [fault for _, text in said() for fault in option_faults(text)] == ["--forse"]
