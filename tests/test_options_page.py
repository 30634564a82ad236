"""docs/options.md is what the command line says of itself."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts" / "options.py"


def test_the_page_of_options_is_current():
    made = runpy.run_path(str(SCRIPT))
    page = made["page"]()
    assert made["PAGE"].read_text("utf-8") == page, "run python scripts/options.py"
    assert "| `--sparse-weights` |" in page and "`edgeopt devices setup NAME`" in page


def test_the_tab_key_completes_verbs_and_options():
    for words, found in (("edgeopt conv", "convert"), ("edgeopt convert --calibration-s", "--calibration-samples")):
        count = str(len(words.split()) - 1)
        asked = {"COMP_WORDS": words, "COMP_CWORD": count, "_EDGEOPT_COMPLETE": "bash_complete"}
        code = "from edgeopt.cli.main import cli; cli(prog_name='edgeopt')"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
        assert done.stdout == f"plain,{found}\n"
