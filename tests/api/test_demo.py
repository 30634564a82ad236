"""The demo does the whole job on data that installed packages carry."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.api.demo import MODES, demo
from edgeopt.artifact import Artifact
from edgeopt.errors import OutputError, UsageError


@pytest.mark.heavy
@pytest.mark.smoke
def test_it_trains_converts_four_ways_and_validates_each_file(tmp_path: Path) -> None:
    steps: list[str] = []
    result = demo(tmp_path / "demo", on_step=steps.append)
    rows = {row["quantize"]: row for row in result["rows"]}
    assert list(rows) == list(MODES)
    assert [mode for mode, row in rows.items() if row["fully_int8"]] == ["int8"]
    assert rows["int8"]["size_bytes"] < rows["float32"]["size_bytes"] / 2
    # 450 test digits; chance is 0.1, and a CNN that learnt nothing of use stays far below 0.9.
    assert all(row["accuracy"] > 0.9 for row in rows.values())
    assert all(row["latency_ms"]["p50"] > 0 for row in rows.values())
    for row in rows.values():
        assert Artifact.load(tmp_path / "demo" / row["file"]).size_bytes == row["size_bytes"]
    assert any("epoch" in step for step in steps)


def test_an_unknown_data_set_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Unknown demo data set 'digit'; did you mean 'digits'"):
        demo(tmp_path / "demo", dataset="digit")


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(OutputError, match=r"is not empty; pass --force"):
        demo(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"Cannot make the folder .*file/demo"):
        demo(tmp_path / "file" / "demo")
