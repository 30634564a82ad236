"""The documentation's site: built without TensorFlow and without a warning, complete, and sufficient to itself."""

from __future__ import annotations

import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

import edgeopt
import edgeopt.devices
import edgeopt.training
from edgeopt.cli.main import VERBS
from edgeopt.recipes.optimize import PASSES

from ..browsing import measured, opened

pytest.importorskip("mkdocs", reason="the site is built where the extra `docs` is installed")


@pytest.fixture(scope="module")
def site(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built where `import tensorflow` fails."""
    folder, poison = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("poison")
    for name in ("tensorflow", "keras", "tf_keras"):
        (poison / f"{name}.py").write_text("raise RuntimeError('the site needs no TensorFlow')")
    command = [checkout / "scripts" / "docs", "-d", folder]
    environment = {**os.environ, "PYTHONPATH": str(poison)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


class Loaded(HTMLParser):
    """What a page loads by itself: scripts, pictures, stylesheets; links are for the reader."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        if tag == "link" and held.get("rel") not in ("prev", "next", "canonical", "alternate"):
            self.found.add(held.get("href") or "")
        if tag in ("script", "img", "iframe", "source"):
            self.found.add(held.get("src") or "")


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    loaded = {place for page in pages for place in Loaded(page).found}
    assert any(place.endswith(".css") for place in loaded)
    assert [place for place in loaded if re.match(r"(\w+:)?//", place)] == []
    styles = "".join(path.read_text("utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"@import|url\(['\"]?(?!data:|#)\w*:?//", styles) == []


def test_every_public_name_has_its_reference(site: Path) -> None:
    text = "".join(page.read_text("utf-8") for page in (site / "api").glob("*.html"))
    told = set(re.findall(r'id="(edgeopt[\w.]+)"', text))
    names = {f"edgeopt.{name}" for name in edgeopt.__all__ if name != "__version__"}
    names |= {f"edgeopt.devices.{name}" for name in edgeopt.devices.__all__}
    names |= {f"edgeopt.training.{name}" for name in edgeopt.training.__all__}
    names |= {"edgeopt.passes." + place.replace(":", ".") for place in PASSES.values()}
    assert len(names) > 50 and names - told == set()


def test_every_verb_has_its_page_with_its_options(site: Path) -> None:
    for verb in VERBS:
        assert f"edgeopt {verb}" in (site / "verbs" / f"{verb}.html").read_text("utf-8")
    assert "--calibration-samples N" in (site / "verbs" / "convert.html").read_text("utf-8")


@pytest.mark.parametrize("name", ["index.html", "api/workflows.html"])
def test_the_browser_has_nothing_to_complain_of_and_requests_nothing_from_elsewhere(
    browser: str, site: Path, tmp_path: Path, name: str
) -> None:
    said, requested = opened(browser, site / name, tmp_path)
    assert "CONSOLE" not in said, said
    assert {place for place in requested if not place.startswith("file://")} == set()


@pytest.mark.parametrize("name", ["api/devices.html", "quantization.html"])
def test_on_a_telephone_nothing_scrolls_sideways_but_tables_and_code(
    browser: str, site: Path, tmp_path: Path, name: str
) -> None:
    assert measured(browser, site / name, tmp_path, 390, "page.documentElement.scrollWidth") <= 390
