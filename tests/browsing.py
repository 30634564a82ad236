"""Pages in a real browser, which tells what it thinks of them."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
DARK = "--blink-settings=preferredColorScheme=0"


def found_browser() -> str | None:
    """The browser that is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


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


def measured(browser: str, page: Path, scratch: Path, width: int, script: str) -> Any:
    """What `script` makes of the `page`, a document in a window `width` pixels wide, as JSON."""
    place = html.escape(page.as_uri())
    (scratch / "frame.html").write_text(
        f"""<!doctype html><iframe style="width:{width}px;height:800px;border:0" src="{place}"></iframe><p></p><script>
        onload = () => {{ const page = document.querySelector("iframe").contentDocument;
          document.querySelector("p").textContent = JSON.stringify({script}); }}</script>"""
    )
    words = ("--allow-file-access-from-files", "--virtual-time-budget=3000", "--dump-dom")
    done = run(browser, scratch, f"--window-size={width + 40},900", *words, (scratch / "frame.html").as_uri())
    found = re.search(r"<p>(.+?)</p>", done.stdout)
    assert found is not None, done.stdout
    return json.loads(html.unescape(found[1]))
