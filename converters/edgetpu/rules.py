"""The rules of what the Edge TPU compiler maps, read from TOML and checked before any of them is used."""

from __future__ import annotations

import functools
import inspect
import string
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from ...artifact.outside import loads_toml, read_text
from ...artifact.typed import Unfit, fitted
from ...errors import FileFormatError, UsageError, nearest
from ..accelerator import CPU, UNSURE
from .constraints import OP_CHECKS
from .file_checks import FILE_CHECKS

SCHEMA = 1
_TABLES = ("meta", "memory", "supported", "rule", "versions")


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        id: The rule's name, unique in the file.
        check: Name of the check that finds it broken.
        verdict: "cpu" or "unsure".
        status: The compiler's own words for it.
        why: A sentence; words in braces are filled in by the check.
        remedy: What to do, likewise.
        source: Where it is known from.
        compiler: The versions it is known to hold for.
        scope: "op", or "file" for a rule that refuses a file as a whole.
        ops: The operators it speaks of; "*" for all.
        numbers: The check's numbers (``with`` in the file).
    """

    id: str
    check: str
    verdict: str
    status: str
    why: str
    remedy: str
    source: str
    compiler: str
    scope: str = "op"
    ops: tuple[str, ...] = ()
    numbers: Mapping[str, object] = field(default_factory=dict)

    def speaks_of(self, op: str) -> bool:
        """Return whether the rule is for this operator."""
        return "*" in self.ops or op in self.ops

    def said(self, found: Mapping[str, object]) -> tuple[str, str]:
        """Return why and the remedy, with what the check has found filled in.

        Raises:
            FileFormatError: A word in braces is none that the check gives.
        """
        try:
            return self.why.format(**found), self.remedy.format(**found)
        except KeyError as error:
            given = ", ".join(sorted(found))
            raise FileFormatError(
                f"The rule {self.id!r} says {{{error.args[0]}}}, which its check does not give; expected {given}."
            ) from error


@dataclass(frozen=True)
class Memory:
    """The chip's room for weights, in bytes, and where a prediction becomes doubtful."""

    capacity_bytes: int
    doubtful_above_bytes: int
    source: str


@dataclass(frozen=True)
class Rules:
    """A whole rules file.

    Attributes:
        compiler: The compiler version it describes.
        minimum_runtime: The runtime version it compiles for by default.
        memory: Room for weights.
        supported: Operator to (runtime version it needs, source).
        file_rules: Those that refuse a file, in order.
        op_rules: Those for operators, in order.
        versions: Operator to the newest version that the compiler reads.
    """

    compiler: str
    minimum_runtime: int
    memory: Memory
    supported: Mapping[str, tuple[int, str]]
    file_rules: tuple[Rule, ...]
    op_rules: tuple[Rule, ...]
    versions: Mapping[str, int]


class _Wrong(Exception):
    """What is wrong with a rules file, as a clause."""


@functools.cache
def default_rules() -> Rules:
    """Return the rules that come with edgeopt."""
    text = (resources.files(__package__) / "rules.toml").read_text("utf-8")
    return parse_rules(text, "rules.toml")


def load_rules(path: str | Path) -> Rules:
    """Read a rules file.

    Raises:
        UsageError: It cannot be read.
        FileFormatError: It is not a valid rules file; the message names the table and the key.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise UsageError(f"Cannot read the rules {path}: {error.strerror}.") from error
    except ValueError as error:
        raise FileFormatError(f"The rules {path} are no TOML file: {error}; save them as TOML.") from error
    return parse_rules(text, str(path))


def parse_rules(text: str, name: str) -> Rules:
    """Return the rules in a TOML text.

    Raises:
        FileFormatError: It is not a valid rules file.
    """
    try:
        tables = loads_toml(text)
    except ValueError as error:
        raise FileFormatError(f"The rules {name} are not valid TOML: {error}.") from error
    try:
        return _rules(tables)
    except _Wrong as error:
        raise FileFormatError(f"The rules {name} are wrong: {error}; start from the rules.toml of edgeopt.") from error


def _rules(tables: Mapping[str, object]) -> Rules:
    for table in tables:
        if table not in _TABLES:
            raise _Wrong(f"unknown table [{table}]{nearest(table, _TABLES)}")
    meta = _keys(tables, "meta", {"schema": int, "compiler": str, "minimum_runtime": int})
    if meta["schema"] != SCHEMA:
        raise _Wrong(f"[meta] has schema {meta['schema']}, expected {SCHEMA}")
    memory = _keys(tables, "memory", {"capacity_bytes": int, "doubtful_above_bytes": int, "source": str})
    rules = [_rule(table, position) for position, table in enumerate(_list(tables, "rule"))]
    ids = [rule.id for rule in rules]
    for twice in {name for name in ids if ids.count(name) > 1}:
        raise _Wrong(f"two rules have the id {twice!r}")
    return Rules(
        compiler=meta["compiler"],
        minimum_runtime=meta["minimum_runtime"],
        memory=Memory(**memory),
        supported=_supported(_list(tables, "supported")),
        file_rules=tuple(rule for rule in rules if rule.scope == "file"),
        op_rules=tuple(rule for rule in rules if rule.scope == "op"),
        versions=_versions(tables.get("versions", {})),
    )


def _keys(tables: Mapping[str, object], name: str, types: Mapping[str, type]) -> dict[str, Any]:
    """Return the table `name` after checking that it has exactly these keys, of these types."""
    table = tables.get(name)
    if not isinstance(table, dict):
        raise _Wrong(f"the table [{name}] is missing")
    return _checked(table, f"[{name}]", types, types)


def _checked(
    table: Mapping[str, object], where: str, types: Mapping[str, type], needed: Mapping[str, type]
) -> dict[str, Any]:
    for key, value in table.items():
        if key not in types:
            raise _Wrong(f"{where} has the unknown key {key!r}{nearest(key, types)}")
        if not isinstance(value, types[key]) or isinstance(value, bool):
            raise _Wrong(f"{where} has {key} = {value!r}, expected {types[key].__name__}")
    for key in needed:
        if key not in table:
            raise _Wrong(f"{where} lacks the key {key!r}")
    return dict(table)


def _list(tables: Mapping[str, object], name: str) -> list[dict[str, object]]:
    found = tables.get(name)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise _Wrong(f"it has no [[{name}]]")
    return found


def _rule(table: dict[str, object], position: int) -> Rule:
    where = f"[[rule]] {table.get('id', f'number {position + 1}')!r}"
    words = {item.name: str for item in fields(Rule) if item.name not in ("ops", "numbers")}
    types: dict[str, type] = {**words, "ops": list, "with": dict}
    values = _checked(table, where, types, {key: str for key in words if key != "scope"})
    numbers = {key: tuple(value) if isinstance(value, list) else value for key, value in values.pop("with", {}).items()}
    rule = Rule(**{**values, "ops": tuple(values.get("ops", ()))}, numbers=numbers)
    if rule.verdict not in (CPU, UNSURE):
        raise _Wrong(f"{where} has the verdict {rule.verdict!r}, expected 'cpu' or 'unsure'")
    if rule.scope not in ("op", "file"):
        raise _Wrong(f"{where} has the scope {rule.scope!r}, expected 'op' or 'file'")
    if rule.scope == "op" and not rule.ops:
        raise _Wrong(f"{where} names no ops")
    _check_check(rule, where)
    return rule


def _check_check(rule: Rule, where: str) -> None:
    """Raise unless the rule's check exists, takes its numbers, and its sentences can be filled in."""
    checks: Mapping[str, Any] = FILE_CHECKS if rule.scope == "file" else {**OP_CHECKS, **dict.fromkeys(SPECIAL_CHECKS)}
    if rule.check not in checks:
        raise _Wrong(f"{where} has the unknown check {rule.check!r}{nearest(rule.check, checks)}")
    function = checks[rule.check]
    context = 2 if rule.scope == "file" else 1
    wanted = [] if function is None else list(inspect.signature(function).parameters)[context:]
    if sorted(wanted) != sorted(rule.numbers):
        raise _Wrong(f"{where} gives its check {sorted(rule.numbers)}, expected {sorted(wanted)}")
    hints = {} if function is None else typing.get_type_hints(function)
    for key, value in rule.numbers.items():
        try:
            fitted(hints[key], value, f"{where} with {key}")
        except Unfit as error:
            raise _Wrong(str(error)) from error
    for sentence in (rule.why, rule.remedy):
        try:
            braces = [part[1:] for part in string.Formatter().parse(sentence) if part[1] is not None]
        except ValueError as error:
            raise _Wrong(f"{where} has the sentence {sentence!r}, whose braces do not match") from error
        for name, form, conversion in braces:
            if not str(name).isidentifier() or form or conversion:
                raise _Wrong(f"{where} has the sentence {sentence!r}, expected single words in braces")


# Checks that `predict` answers itself, from the table of supported operators.
SPECIAL_CHECKS = ("not_listed", "needs_newer_runtime")


def _supported(tables: list[dict[str, object]]) -> dict[str, tuple[int, str]]:
    types: dict[str, type] = {"ops": list, "runtime": int, "source": str}
    found: dict[str, tuple[int, str]] = {}
    for table in tables:
        values = _checked(table, "[[supported]]", types, types)
        found.update({str(op): (values["runtime"], values["source"]) for op in values["ops"]})
    return found


def _versions(table: Any) -> dict[str, int]:
    if not isinstance(table, dict) or not all(isinstance(value, int) for value in table.values()):
        raise _Wrong("[versions] must give each operator a number")
    return {str(op): int(value) for op, value in table.items()}
