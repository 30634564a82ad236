"""The compiler wrapper, with a stub that replays real logs and behaves as badly as a program can."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from edgeopt.converters.edgetpu.compiler import EdgeTpuCompiler
from edgeopt.errors import CompilerError, ConversionError, FileFormatError, NotFullyIntegerError, UsageError

SPLIT_LOG = """Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 10 ms.

Input model: split_concat.tflite
Input size: 1.83KiB
Output model: split_concat_edgetpu.tflite
Output size: 57.13KiB
On-chip memory used for caching model parameters: 0.00B
On-chip memory remaining for caching model parameters: 7.88MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 3
Operation log: split_concat_edgetpu.log

Operator                       Count      Status

CONCATENATION                  2          Mapped to Edge TPU
SPLIT                          1          Mapped to Edge TPU
Compilation child process completed within timeout period.
Compilation succeeded!
"""


@pytest.fixture
def model(shared_data) -> bytes:
    return (shared_data / "coral" / "split_concat.tflite").read_bytes()


def test_a_good_compilation(stub, model, shared_data):
    stub(log=SPLIT_LOG)
    (found,) = EdgeTpuCompiler().compile(model, "split_concat")
    assert found.name == "split_concat_edgetpu.tflite"
    assert found.model == (shared_data / "coral" / "split_concat_edgetpu.tflite").read_bytes()
    assert (found.mapped, found.cpu_ops, found.reasons) == (3, {}, ())
    assert found.compiler == "edgetpu_compiler 16.0.384591198"
    # Bytes come from the package itself, not from the log, which rounds.
    assert found.figures["cached_bytes"] == 192
    assert found.figures["minimum_runtime"] == 13
    assert found.log.strip() == SPLIT_LOG.strip()


def test_what_stays_on_the_cpu_is_read_from_the_file_and_its_reasons_from_the_log(stub, shared_data):
    head, tail = SPLIT_LOG.replace("split_concat", "deeplab").split("CONCATENATION", 1)
    table = (
        "RESIZE_BILINEAR  1  Operation is otherwise supported, but not mapped due to some unspecified limitation\n"
        "ARG_MAX  1  Operation not supported\n"
    )
    log = f"{head}{table}CONV_2D{tail}"
    name = "deeplab_mobilenet_edgetpu_slim_cityscapes_quant"
    stub(log=log, model=name)
    (found,) = EdgeTpuCompiler().compile((shared_data / "coral" / f"{name}.tflite").read_bytes(), "deeplab")
    assert found.cpu_ops == {"ARG_MAX": 1, "RESIZE_BILINEAR": 1}
    assert [(reason.op, reason.why.split(",")[0]) for reason in found.reasons] == [
        ("RESIZE_BILINEAR", "Operation is otherwise supported"),
        ("ARG_MAX", "Operation not supported"),
    ]


def test_options_reach_the_compiler(stub, model):
    note = stub(log=SPLIT_LOG)
    EdgeTpuCompiler(
        minimum_runtime=13, search_delegate=True, search_step=10, intermediate_tensors=("a", "b"), timeout_s=20
    ).compile(model, "split_concat")
    _, *arguments = note.read_text().splitlines()
    assert arguments == [
        *("-s", "-o", ".", "--timeout_sec", "20", "--min_runtime_version", "13"),
        *("--search_delegate", "--delegate_search_step", "10", "--intermediate_tensors", "a,b", "split_concat.tflite"),
    ]


def test_segments_come_back_in_order(stub, model):
    note = stub("segments", SPLIT_LOG)
    found = EdgeTpuCompiler(segments=2).compile(model, "m")
    assert [part.name for part in found] == [f"m_segment_{index}_of_2_edgetpu.tflite" for index in (0, 1)]
    assert "--num_segments\n2" in note.read_text()


def test_models_are_compiled_together(stub, model):
    note = stub(log=SPLIT_LOG)
    found = EdgeTpuCompiler().compile_together({"a": model, "b": model})
    assert [part.name for part in found] == ["a_edgetpu.tflite", "b_edgetpu.tflite"]
    assert note.read_text().splitlines()[-2:] == ["a.tflite", "b.tflite"]


def test_it_works_in_a_folder_of_its_own_that_is_gone_afterwards(stub, model):
    note = stub(log=SPLIT_LOG)
    EdgeTpuCompiler().compile(model)
    folder = note.read_text().splitlines()[0]
    assert "edgeopt-edgetpu-" in folder
    assert not os.path.exists(folder)


def test_its_version(stub):
    stub()
    assert EdgeTpuCompiler().version() == "edgetpu_compiler 16.0.384591198"
    stub("version of another program")
    with pytest.raises(CompilerError, match="printed 'version of another program', expected its version"):
        EdgeTpuCompiler().version()


def test_a_missing_compiler_says_how_to_get_it(model, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CompilerError, match="edgetpu_compiler was not found; install it on x86-64") as caught:
        EdgeTpuCompiler().compile(model)
    assert caught.value.exit_code == 6
    assert "edgeopt check --for edgetpu" in str(caught.value)
    monkeypatch.setenv("EDGEOPT_EDGETPU_COMPILER", "/nowhere/compiler")
    with pytest.raises(CompilerError, match="/nowhere/compiler was not found"):
        EdgeTpuCompiler().version()


def test_the_variable_names_the_compiler(stub, model, monkeypatch, tmp_path):
    stub(log=SPLIT_LOG)
    monkeypatch.setenv("EDGEOPT_EDGETPU_COMPILER", str(tmp_path / "bin" / "edgetpu_compiler"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert EdgeTpuCompiler().compile(model, "split_concat")[0].mapped == 3


def test_a_container_image_is_run_without_network_as_the_user(model, monkeypatch, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    engine = folder / "docker"
    engine.write_text(
        f"#!{sys.executable}\nimport sys\nopen({str(tmp_path / 'called')!r}, 'w').write(' '.join(sys.argv[1:]))\n"
    )
    engine.chmod(engine.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(CompilerError, match="expected a compiler log"):
        EdgeTpuCompiler(image="mine/coral").compile(model, "m")
    called = (tmp_path / "called").read_text()
    assert called.startswith("run --rm --user ")
    assert "--network none" in called
    assert called.endswith("-w /work mine/coral edgetpu_compiler -s -o . --timeout_sec 180 m.tflite")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CompilerError, match="Neither docker nor podman is on PATH to run the image 'mine/coral'"):
        EdgeTpuCompiler(image="mine/coral").compile(model, "m")


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def test_a_compiler_that_hangs_is_ended_with_all_it_started(stub, model):
    note = stub("hang")
    started = time.monotonic()
    with pytest.raises(CompilerError, match="was still running after its own limit of 1 s and was ended"):
        EdgeTpuCompiler(timeout_s=1, grace_s=0.5).compile(model)
    assert time.monotonic() - started < 20
    child = int(Path(f"{note}.child").read_text())
    deadline = time.monotonic() + 10
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)


def test_death_by_a_signal(stub, model):
    stub("signal")
    with pytest.raises(CompilerError, match=r"killed by SIGSEGV \(it last printed 'Edge TPU Compiler version"):
        EdgeTpuCompiler().compile(model)


def test_garbage(stub, model):
    stub("garbage")
    with pytest.raises(CompilerError, match=r"ended with status 0 and printed '.*', expected a compiler log") as caught:
        EdgeTpuCompiler().compile(model)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_no_file(stub, model):
    stub("no file", SPLIT_LOG)
    with pytest.raises(CompilerError, match=r"reported success, but wrote no split_concat_edgetpu.tflite"):
        EdgeTpuCompiler().compile(model, "split_concat")


def test_half_a_file(stub, model):
    stub("truncated", SPLIT_LOG)
    with pytest.raises(
        CompilerError, match=r"reported success, but its file is unusable: split_concat_edgetpu.tflite is a corrupt"
    ):
        EdgeTpuCompiler().compile(model, "split_concat")


def test_a_success_that_mapped_nothing_is_an_error(stub, model, real_log):
    stub("unmapped", real_log("yolov3_tiny_v15").replace("/home/yolo/yolov3-tiny_int8", "m"))
    with pytest.raises(ConversionError, match=r"mapped none of the 3 operators \('More than one subgraph") as caught:
        EdgeTpuCompiler().compile(model, "m")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("log", "error", "message"),
    [
        ("issue_358_internal_error", CompilerError, "died of an internal error; try again"),
        ("issue_439_large_activations", ConversionError, "large activation tensors in the model; use a smaller input"),
        ("issue_879_quantize_version", ConversionError, "Didn't find op for builtin opcode 'QUANTIZE' version '3'"),
        ("issue_829_dynamic", NotFullyIntegerError, "dynamic tensors; convert it with a static batch of 1"),
        ("issue_453_overflow", ConversionError, "no_integer_overflow_from_quantization was not true"),
        ("issue_213_not_quantized", NotFullyIntegerError, "says that the model is not quantised"),
    ],
)
def test_real_failures_become_clear_errors(stub, model, real_log, log, error, message):
    stub("fails", real_log(log))
    with pytest.raises(error, match=message):
        EdgeTpuCompiler().compile(model)


def test_an_unknown_failure_is_quoted(stub, model):
    stub("fails", "Edge TPU Compiler version 16.0.384591198\nERROR: the moon is full\n")
    with pytest.raises(CompilerError, match=r"16.0.384591198 failed: 'ERROR: the moon is full'"):
        EdgeTpuCompiler().compile(model)


def test_compiled_and_corrupt_sources_never_reach_the_compiler(stub, shared_data):
    note = stub(log=SPLIT_LOG)
    with pytest.raises(UsageError, match="compiled for the Edge TPU already"):
        EdgeTpuCompiler().compile((shared_data / "coral" / "split_concat_edgetpu.tflite").read_bytes())
    with pytest.raises(FileFormatError, match=r"expected a .tflite file"):
        EdgeTpuCompiler().compile(b"no model")
    assert not note.exists()


def test_float_models_never_reach_the_compiler(stub, graph):
    note = stub(log=SPLIT_LOG)
    x = graph.input((1, 4), "float32")
    with pytest.raises(NotFullyIntegerError, match="m holds no operator that computes on 8-bit integers") as caught:
        EdgeTpuCompiler().compile(graph.build(graph.op("RELU", [x], (1, 4), "float32")), "m")
    assert caught.value.exit_code == 3
    assert not note.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segments": 0}, "segments is 0; expected at least 1"),
        ({"timeout_s": 0}, "timeout_s is 0; expected at least 1"),
        ({"minimum_runtime": 9}, "minimum_runtime is 9; expected 10 to 14"),
        ({"search_step": 3}, "goes with search_delegate"),
        ({"segments": 2, "intermediate_tensors": ("a",)}, "exclude each other"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(UsageError, match=message):
        EdgeTpuCompiler(**options)


@pytest.mark.parametrize("name", ["", "a/b", "-o"])
def test_names_that_could_be_paths_or_options_are_refused(stub, model, name):
    stub(log=SPLIT_LOG)
    with pytest.raises(UsageError, match="expected a file name without folder"):
        EdgeTpuCompiler().compile(model, name)


def test_several_models_cannot_be_cut(stub, model):
    stub(log=SPLIT_LOG)
    with pytest.raises(UsageError, match="compile them one by one"):
        EdgeTpuCompiler(segments=2).compile_together({"a": model, "b": model})
