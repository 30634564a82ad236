"""The demo does the whole job on data that installed packages carry."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.api.demo import VARIANTS, demo
from edgeopt.artifact.artifact import Artifact
from edgeopt.errors import OutputError, UsageError


@pytest.mark.heavy
@pytest.mark.smoke
def test_it_trains_prunes_trains_quantised_converts_and_validates_each_file(tmp_path: Path) -> None:
    steps: list[str] = []
    stages: list[str] = []
    result = demo(tmp_path / "demo", on_step=steps.append, on_stage=stages.append)
    rows = {row.variant: row for row in result.rows}
    assert list(rows) == list(VARIANTS.values())
    plain, qat, pruned = "int8", "int8, QAT", "int8, prune 50 % + QAT"
    assert [name for name, row in rows.items() if row.fully_int8] == [plain, qat, pruned]
    assert rows[plain].size_bytes < rows["float32"].size_bytes / 2
    # Half of the weights are zero in the file's integers; few are without pruning. Only the zip gets smaller for it.
    # A kernel of an odd number of weights is pruned to the number below its half.
    assert rows[pruned].sparsity >= 0.4995 > 0.1 > rows[qat].sparsity
    assert rows[pruned].gzip_bytes < 0.85 * rows[qat].gzip_bytes
    assert rows[pruned].size_bytes == rows[qat].size_bytes
    assert rows[pruned].epochs > rows[qat].epochs > rows[plain].epochs
    # 450 test digits; chance is 0.1, and a CNN that learnt nothing of use stays far below 0.9.
    assert all(row.accuracy > 0.9 for row in rows.values())
    # A loss of more than that would be a fault of the passes, or of BatchNormalization left behind.
    assert min(rows[name].accuracy for name in (plain, qat, pruned)) > rows["float32"].accuracy - 0.02
    assert all(row.latency_ms["p50"] > 0 for row in rows.values())
    assert result.best.artifact.fully_int8 and result.best.stages[0].kind == "int8" and result.best.budget
    for row in rows.values():
        assert Artifact.load(tmp_path / "demo" / row.file).size_bytes == row.size_bytes
    assert any("epoch" in step for step in steps)
    words = ["training", "converting", "training", "pruning", "validating", "looking"]
    assert [stage.split()[0] for stage in stages] == words


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
