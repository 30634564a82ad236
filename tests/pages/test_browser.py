"""Pages in a real browser: no error, no request, no sideways scrolling, light and dark. `scripts/browser` runs these."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import edgeopt

from ..browsing import DARK, measured, opened, run


@pytest.fixture(scope="module")
def pages(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with report.html, of all kinds of results, and compare.html."""
    folder = tmp_path_factory.mktemp("pages")
    names = ("m.tflite", "other.tflite", "validate.json", "bench.json", "parity.json")
    sources = [results / name for name in names]
    edgeopt.report(sources).save(folder / "report.html")
    edgeopt.compare(sources).save(folder / "compare.html")
    return folder


@pytest.mark.parametrize("name", ["report", "compare"])
def test_the_browser_has_nothing_to_complain_of_and_requests_nothing(
    browser: str, pages: Path, tmp_path: Path, name: str
) -> None:
    said, requested = opened(browser, pages / f"{name}.html", tmp_path)
    assert "CONSOLE" not in said and not requested


def test_a_planted_request_is_seen(browser: str, tmp_path: Path) -> None:
    (tmp_path / "planted.html").write_text('<!doctype html><html><img src="http://pictures.invalid/a.png"></html>')
    assert opened(browser, tmp_path / "planted.html", tmp_path)[1] == {"http://pictures.invalid/a.png"}


def test_a_planted_script_is_stopped(browser: str, pages: Path, tmp_path: Path) -> None:
    text = (pages / "report.html").read_text().replace("<footer>", "<script>document.title = 'ran'</script><footer>")
    (tmp_path / "planted.html").write_text(text)
    place = (tmp_path / "planted.html").as_uri()
    done = run(browser, tmp_path, "--enable-logging=stderr", "--dump-dom", place)
    assert "<title>ran" not in done.stdout and "Content Security Policy" in done.stderr


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["report", "compare"])
def test_the_page_does_not_scroll_sideways_and_its_links_are_large_enough(
    browser: str, pages: Path, tmp_path: Path, name: str, width: int
) -> None:
    """Wide tables scroll by themselves; a finger hits 24 pixels (WCAG 2.2, target size)."""
    heights = '[...page.querySelectorAll("nav a, summary")].map(e => e.getBoundingClientRect().height)'
    script = f"[page.documentElement.scrollWidth, ...{heights}]"
    wide, *sizes = measured(browser, pages / f"{name}.html", tmp_path, width, script)
    assert wide <= width and len(sizes) > 1 and min(sizes) >= 24


def test_the_page_is_light_or_dark_as_the_reader_has_it(browser: str, pages: Path, tmp_path: Path) -> None:
    brightness = []
    for words in ((), (DARK,)):
        shot = tmp_path / "shot.png"
        place = (pages / "report.html").as_uri()
        run(browser, tmp_path, *words, "--window-size=800,600", f"--screenshot={shot}", place)
        brightness.append(Image.open(shot).convert("L").resize((1, 1)).getpixel((0, 0)))
    light, dark = brightness
    assert light > 200 and dark < 60
