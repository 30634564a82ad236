"""Every block of code on the pages is checked, and runs where no board and no long training is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import edgeopt
from edgeopt.cli.main import main

from .blocks import Block, blocks, check, commands, needs_a_board, python
from .conftest import photos, small

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks(page, str(page.relative_to(CHECKOUT)))]
RUN = [block for block in BLOCKS if block.language in ("sh", "python") and block.not_run is None]
# A test measures no longer than it must; what a page says stands.
_SHORT = {
    "validate": ["--seconds", "0.2", "--processes", "1"],
    "bench": ["--seconds", "0.2", "--processes", "1"],
    "optimize": ["--seconds", "0.2"],
    "compare": ["--seconds", "0.2"],
}


@pytest.fixture
def reader(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that a reader of a page has in Python, in a folder with all the files."""
    import keras

    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    # What the pages write is theirs, not what they found.
    (x, y), (x_val, y_val), (x_test, y_test) = photos(96, 0), photos(60, 1), photos(60, 2)
    names = {
        "x": x,
        "y": y,
        "x_train": x,
        "y_train": y,
        "x_val": x_val,
        "y_val": y_val,
        "x_test": x_test,
        "y_test": y_test,
    }
    given = {"edgeopt": edgeopt, "np": np, "keras": keras, "Budget": edgeopt.Budget}
    given |= {"model": keras.models.load_model("model.keras"), "loss": "sparse_categorical_crossentropy"}
    given["scores"] = (100 * np.eye(3)[y]).astype(np.int8)
    return {"__name__": "page", **names, **given, "build_small": lambda _: small(keras, 8)}


def run_shell(block: Block) -> None:
    for words in commands(block.text):
        if words[0] != "edgeopt":
            subprocess.run([sys.executable if words[0] == "python" else words[0], *words[1:]], check=True)
        elif not needs_a_board(words):
            short = [word for word in _SHORT.get(words[1], []) if "--seconds" not in words]
            forced = (
                ["--force"]
                if words[1] in ("convert", "optimize", "report", "bundle") and "--force" not in words
                else []
            )
            status = main([*words[1:], *short, *forced])
            assert status == 0, f"{block.where}: `{' '.join(words)}` ended with {status}"


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore::edgeopt.errors.EdgeoptWarning")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.smoke] if page == "README.md" else [])
        for page in sorted({block.page for block in RUN})
    ],
)
def test_the_blocks_of_a_page_run_in_order(page: str, reader: dict[str, Any]) -> None:
    for block in RUN:
        if block.page == page and block.language == "sh":
            run_shell(block)
        elif block.page == page:
            for written in re.findall(r'(?:save|bundle)\((?:"[^"]+", )?"([^"]+)"', block.text):
                Path(written).unlink(missing_ok=True)  # another page's, or the shell's before it
            for written in re.findall(r'output="([^"]+)"', block.text):
                shutil.rmtree(written, ignore_errors=True)
            exec(compile(python(block.text), block.where, "exec"), reader)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.where)
def test_each_block_is_whole(block: Block) -> None:
    assert block.language in ("sh", "python", "toml", "text"), "say the language"
    check(block)


def test_code_stands_in_fences() -> None:
    for page in PAGES:
        outside = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.M | re.S)
        assert re.findall(r"^ {4,}(?:edgeopt|pip|python|ssh|from|import|def) .*", outside, re.M) == [], page


@pytest.mark.parametrize(
    ("language", "text", "error"),
    [
        ("sh", "edgeopt convert model.keras --calibraton train.npz\n", click.NoSuchOption),
        ("sh", "edgeopt converse model.keras\n", click.UsageError),
        ("sh", "edgeopt devices add kitchen --profil rpi4\n", click.NoSuchOption),
        ("python", ">>> edgeopt.convert(\n", SyntaxError),
        ("toml", "[[pass]]\nkind = 'prune'\nsparsety = 0.5\n", edgeopt.errors.RecipeError),
    ],
)
def test_a_planted_mistake_is_found(language: str, text: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="."):
        check(Block("page", 1, language, text, "planted"))
