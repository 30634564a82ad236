"""The workflows behind `edgeopt edgetpu`: what is written, and that nothing is written by halves."""

from __future__ import annotations

import stat
import sys

import pytest

from edgeopt.api.edgetpu import compare_compiled, compile_files, segments
from edgeopt.errors import CheckError, ConversionError, OutputError, UsageError

LOG = (
    "Edge TPU Compiler version 16.0.384591198\n\nModel compiled successfully in 10 ms.\n\nInput model: {0}.tflite\n"
    "Output model: {0}_edgetpu.tflite\nTotal number of operations: 3\n\n"
    "SPLIT                          3          Mapped to Edge TPU\n"
)


@pytest.fixture
def compiler(tmp_path, monkeypatch, shared_data):
    """A stub that hands out the compiled form of split_concat for every model but those called "bad"."""
    product = shared_data / "coral" / "split_concat_edgetpu.tflite"
    path = tmp_path / "edgetpu_compiler"
    path.write_text(
        f"#!{sys.executable}\nimport shutil, sys\n"
        "for name in [a for a in sys.argv if a.endswith('.tflite')]:\n"
        f"    source = name if name.startswith('bad') else {str(product)!r}\n"
        "    shutil.copy(source, name.replace('.tflite', '_edgetpu.tflite'))\n"
        f"    print({LOG!r}.format(name[:-7]))\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("EDGEOPT_EDGETPU_COMPILER", str(path))


@pytest.fixture
def sources(tmp_path, shared_data):
    data = (shared_data / "coral" / "split_concat.tflite").read_bytes()
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("a", "b", "bad"):
        (folder / f"{name}.tflite").write_bytes(data)
    return folder


def test_the_compiled_file_and_its_log_lie_beside_the_source(compiler, sources, shared_data):
    (found,) = compile_files([sources / "a.tflite"])
    assert found.path == sources / "a_edgetpu.tflite"
    assert found.path.read_bytes() == (shared_data / "coral" / "split_concat_edgetpu.tflite").read_bytes()
    assert "Edge TPU Compiler version 16.0" in (sources / "a_edgetpu.log").read_text()
    assert found.as_predicted is True
    assert found.to_dict()["predicted_cpu_ops"] == {}


def test_a_folder_can_be_named(compiler, sources, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    compile_files([sources / "a.tflite", sources / "b.tflite"], out_dir=out)
    assert sorted(path.name for path in out.iterdir()) == [
        *("a_edgetpu.log", "a_edgetpu.tflite", "b_edgetpu.log", "b_edgetpu.tflite"),
    ]


def test_if_one_of_several_fails_nothing_is_written(compiler, sources):
    before = sorted(path.name for path in sources.iterdir())
    with pytest.raises(ConversionError, match="mapped none of the 3 operators"):
        compile_files([sources / "a.tflite", sources / "bad.tflite"])
    assert sorted(path.name for path in sources.iterdir()) == before


@pytest.mark.parametrize("name", ["a_edgetpu.tflite", "a_edgetpu.log"])
def test_nothing_is_replaced_without_force(compiler, sources, name):
    (sources / name).write_text("mine")
    with pytest.raises(OutputError, match=f"{name} exists already"):
        compile_files([sources / "a.tflite"])
    assert (sources / name).read_text() == "mine"
    compile_files([sources / "a.tflite"], force=True)
    assert (sources / name).read_bytes() != b"mine"


def test_two_sources_of_one_name_are_refused(compiler, sources, tmp_path):
    other = tmp_path / "a.tflite"
    other.write_bytes(b"")
    with pytest.raises(UsageError, match=r"would both become a_edgetpu.tflite"):
        compile_files([sources / "a.tflite", other])
    with pytest.raises(UsageError, match="Received no model"):
        compile_files([])


def test_a_comparison_knows_what_was_predicted(shared_data):
    folder = shared_data / "coral"
    name = "deeplabv3_mnv2_dm05_pascal_quant"
    found = compare_compiled(folder / f"{name}.tflite", folder / f"{name}_edgetpu.tflite")
    assert found.as_predicted
    payload = found.to_dict()
    assert payload["stayed_ops"] == payload["predicted_cpu_ops"]
    assert payload["stayed_operators"][0]["why"].startswith("it enlarges 1x1x256")


def test_parts_that_do_not_fit_fail(shared_data):
    folder = shared_data / "coral"
    found = segments([folder / "split_concat_edgetpu.tflite", folder / "keras_lstm_mnist_ptq_edgetpu.tflite"])
    assert found.to_dict()["verdict"] == "failed"
    with pytest.raises(
        CheckError, match=r"no pipeline: keras_lstm_mnist_ptq_edgetpu.tflite reads .*and 5 more problems"
    ):
        found.raise_if_broken()
    with pytest.raises(UsageError, match="Received 1 file, expected the parts of a pipeline"):
        segments([folder / "split_concat_edgetpu.tflite"])
