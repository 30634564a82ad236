"""Pages of the site that are made from other files: the start from README, a page a verb from the command line.

Links of pages go where a reader of the checkout goes, and are turned to the page that the site has of it.
"""

from __future__ import annotations

import inspect
import posixpath
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

CHECKOUT = Path(__file__).resolve().parents[2]
# Of the checkout -> of the site.
_TOP = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
_GUIDES = {
    "agent": "board.md",
    "bench": "board.md",
    "bundle": "report.md",
    "compare": "report.md",
    "devices": "board.md",
    "parity": "board.md",
    "report": "report.md",
    "verify": "report.md",
}
_LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")
_FILE_AS_TEXT = re.compile(r"\[(?:docs/)?([\w/-]+)\.md\]\(")  # a link that shows the name of a file of the checkout
_CELL_CODE = re.compile(r"(?<=`)[^`\n]*\\\|[^`\n]*(?=`)")
_OPTIONS: dict[str, Any] = runpy.run_path(str(CHECKOUT / "scripts" / "options.py"))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name the verbs' pages in the navigation, and leave out 404.html, which works at a host's root alone."""
    config.theme.static_templates.discard("404.html")
    _replace(config.nav, "VERBS", ["verbs/index.md", *(f"verbs/{name}.md" for name in _verbs())])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and the examples as they stand."""
    for source, made in _TOP.items():
        files.append(File.generated(config, made, content=(CHECKOUT / source).read_text("utf-8")))
    verbs = _verbs()
    files.append(File.generated(config, "verbs/index.md", content=_index(verbs)))
    for name, command in verbs.items():
        files.append(File.generated(config, f"verbs/{name}.md", content=_verb(name, command)))
    for path in _examples():
        files.append(File.generated(config, str(path.relative_to(CHECKOUT)), abs_src_path=str(path)))
    files.append(File.generated(config, "site.css", abs_src_path=str(Path(__file__).with_name("site.css"))))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a page from the checkout's folders to the site's."""
    made = page.file.src_uri
    stands = {value: key for key, value in _TOP.items()}.get(made, f"docs/{made}")

    def turned(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(stands), found[2]))
        there = _TOP.get(target, target.removeprefix("docs/"))
        return found[1] + posixpath.relpath(there, posixpath.dirname(made) or ".") + found[3]

    parts = re.split(r"(^ *```.*?^ *```$)", markdown, flags=re.M | re.S)
    return "".join(
        part if part.lstrip().startswith("```") else _FILE_AS_TEXT.sub(r"[\1](", _LINK.sub(turned, _cells(part)))
        for part in parts
    )


def on_page_content(html: str, **_: object) -> str:
    """Let the choices of an option in a table break where one ends."""
    return re.sub(r"(?<=<td><code>)[^<]*\|[^<]*(?=</code>)", lambda found: found[0].replace("|", "|<wbr>"), html)


def on_post_page(output: str, **_: object) -> str:
    """Name the theme's search to those who do not see it."""
    return output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )


def _cells(text: str) -> str:
    """Take the escape from bars in the code of tables, which this Markdown shows."""
    return _CELL_CODE.sub(lambda found: found[0].replace("\\|", "|"), text)


def _replace(nav: Any, name: str, pages: list[str]) -> None:
    """Put `pages` where the navigation has `name`."""
    for entry in nav if isinstance(nav, list) else []:
        for title, inside in entry.items() if isinstance(entry, dict) else ():
            if inside == name:
                entry[title] = pages
            _replace(inside, name, pages)


def _verbs() -> dict[str, click.Command]:
    from edgeopt.cli.main import cli

    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def _examples() -> Iterator[Path]:
    return (path for path in sorted((CHECKOUT / "examples").rglob("*")) if path.is_file() and "__" not in path.name)


def _index(verbs: dict[str, click.Command]) -> str:
    lines = [f"| [`{name}`]({name}.md) | {command.get_short_help_str(200)} |" for name, command in verbs.items()]
    return "\n".join(["# Verbs", "", "| | |", "|---|---|", *lines, "", *_EVERY_VERB])


_EVERY_VERB = (
    "Every verb has `--help`, and `--debug` for the traceback of an error; `edgeopt --version` tells the versions. "
    "Exit codes: 0 ok, 1 internal error, 2 bad usage, data or file, 3 a model that is not supported or fails, "
    "4 a budget missed or a promise not kept, 5 a device that failed, 6 an external compiler missing or failed, "
    "130 Ctrl-C.",
)


def _verb(name: str, command: click.Command) -> str:
    """Return the page of a verb: what its help says, and its options."""
    guide = _GUIDES.get(name, f"{name}.md")
    more = [f"Guide: [{guide.removesuffix('.md')}](../{guide})."] if (CHECKOUT / "docs" / guide).is_file() else []
    lines = [f"# edgeopt {name}", "", *more, ""]
    if isinstance(command, click.Group):
        lines += [_text(command), ""]
        lines += [_section(words, each) for words, each in _OPTIONS["verbs"](command, name)]
    else:
        lines.append(_section(name, command))
    return "\n".join(lines)


def _section(words: str, command: click.Command) -> str:
    return _OPTIONS["section"](words, command, _text(command))


def _text(command: click.Command) -> str:
    """Return the whole help of a command; its source is indented, which Markdown would take for code."""
    return inspect.cleandoc(command.help or "")
