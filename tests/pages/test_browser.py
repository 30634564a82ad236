"""Pages in a real browser: no error, no request, no sideways scrolling, light and dark. `scripts/browser` runs these."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

import edgeopt

NAMES = ("chromium", "chromium-browser", "google-chrome")
DARK = "--blink-settings=preferredColorScheme=0"


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get("EDGEOPT_REQUIRE_BROWSER"):
            pytest.fail("no browser: install chromium, or run scripts/browser as root")
        pytest.skip("no browser: chromium was not found")
    return found


@pytest.fixture(scope="module")
def pages(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with report.html, of all kinds of results, and compare.html."""
    folder = tmp_path_factory.mktemp("pages")
    names = ("m.tflite", "other.tflite", "validate.json", "bench.json", "parity.json")
    sources = [results / name for name in names]
    edgeopt.report(sources).save(folder / "report.html")
    edgeopt.compare(sources).save(folder / "compare.html")
    return folder


def run(browser: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking"]
    fixed += ["--disable-component-update", "--no-first-run", f"--user-data-dir={folder / 'profile'}"]
    return subprocess.run([browser, *fixed, *words], capture_output=True, text=True, check=True, timeout=60)


def opened(browser: str, page: Path, scratch: Path) -> tuple[str, set[str]]:
    """What the browser says when it opens a page, and what the page requests; the browser's own requests go nowhere."""
    log = scratch / "net.json"
    words = ("--enable-logging=stderr", f"--log-net-log={log}", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom")
    done = run(browser, scratch, *words, page.as_uri())
    assert "</html>" in done.stdout
    told = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    return done.stderr, {item["url"] for item in told if item.get("initiator") in ("file://", "null") and "url" in item}


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
    place = html.escape((pages / f"{name}.html").as_uri())
    (tmp_path / "frame.html").write_text(
        f"""<!doctype html><iframe style="width:{width}px;height:800px;border:0" src="{place}"></iframe><p></p><script>
        onload = () => {{ const page = document.querySelector("iframe").contentDocument;
          const heights = [...page.querySelectorAll("nav a, summary")].map(e => e.getBoundingClientRect().height);
          document.querySelector("p").textContent =
            JSON.stringify([page.documentElement.scrollWidth, heights.length, Math.min(...heights)]); }}</script>"""
    )
    words = ("--allow-file-access-from-files", "--virtual-time-budget=3000", "--dump-dom")
    done = run(browser, tmp_path, f"--window-size={width + 40},900", *words, (tmp_path / "frame.html").as_uri())
    found = re.search(r"<p>(\[.*?\])</p>", done.stdout)
    assert found is not None, done.stdout
    wide, count, least = json.loads(found[1])
    assert wide <= width and count > 1 and least >= 24


def test_the_page_is_light_or_dark_as_the_reader_has_it(browser: str, pages: Path, tmp_path: Path) -> None:
    brightness = []
    for words in ((), (DARK,)):
        shot = tmp_path / "shot.png"
        place = (pages / "report.html").as_uri()
        run(browser, tmp_path, *words, "--window-size=800,600", f"--screenshot={shot}", place)
        brightness.append(Image.open(shot).convert("L").resize((1, 1)).getpixel((0, 0)))
    light, dark = brightness
    assert light > 200 and dark < 60
