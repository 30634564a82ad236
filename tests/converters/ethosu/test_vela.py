"""Real compilations with Vela, and what becomes of a Vela that is missing or misbehaves."""

from __future__ import annotations

import stat
import sys

import pytest

from edgeopt.converters.ethosu.vela import VelaCompiler, VelaPredictor
from edgeopt.errors import CompilerError, ConversionError, UsageError
from edgeopt.flatbuffer import read_model

KWS, RESNET = "kws/ref_int8.tflite", "cifar10/mlperf_resnet8_int8.tflite"
SPLIT = "coral/split_concat.tflite"


@pytest.fixture
def read(shared_data):
    return lambda name: (shared_data / name).read_bytes()


@pytest.fixture
def vela():
    pytest.importorskip("ethosu", reason="ethos-u-vela is not installed (extra ethos-u)")
    return VelaCompiler


@pytest.mark.heavy
@pytest.mark.parametrize("target", ["ethos-u55-128", "ethos-u65-256", "ethos-u85-256"])
@pytest.mark.parametrize(("name", "operators"), [(KWS, 13), (RESNET, 16)])
def test_the_reference_models_compile_whole(vela, read, target, name, operators):
    (found,) = vela(target).compile(read(name), "m")
    assert found.name == "m_vela.tflite"
    assert (found.mapped, found.cpu_ops) == (operators, {})
    assert [op.name for op in read_model(found.model).main.operators] == ["ethos-u"]
    figures = found.figures
    assert 10_000 < figures["sram_bytes"] < 1_000_000
    assert figures["inferences_per_second"] == pytest.approx(
        figures["clock_hz"] / figures["estimated_cycles"], rel=1e-6
    )


def test_an_operator_it_does_not_know_stays_with_its_reason(vela, read):
    data = read("coral/posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite")
    found = VelaPredictor(vela("ethos-u55-128")).predict(read_model(data), data)
    (left,) = [op for op in found.operators if op.verdict == "cpu"]
    assert (left.index, left.op, left.why) == (37, "PosenetDecoderOp", "Unsupported opType")
    assert found.figures["compiler"].startswith("ethos-u-vela 5")
    assert (found.delegated_subgraphs, found.refusal) == (1, None)


@pytest.fixture
def float_file() -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT()
    tensors = []
    for name in ("x", "y"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, [1, 4], schema.TensorType.FLOAT32, 0
        tensors.append(tensor)
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0], [1]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    code.version = 1
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, [operator], [0], [1]
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [graph], [code], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_float_model_maps_nothing(vela, float_file):
    with pytest.raises(ConversionError, match=r"Vela mapped none of the 1 operators to ethos-u55-128 \(.*Float32"):
        vela("ethos-u55-128").compile(float_file)
    found = VelaPredictor(vela("ethos-u55-128")).predict(read_model(float_file), float_file)
    assert found.refusal is not None
    assert (found.refusal.rule, found.mapped_ops) == ("nothing-mapped", {})


def fake(tmp_path, monkeypatch, code: str) -> None:
    """A vela of our own, found through the variable."""
    path = tmp_path / "vela"
    path.write_text(f"#!{sys.executable}\nimport os, sys, time\n{code}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("EDGEOPT_VELA", str(path))


def test_a_missing_vela_names_the_extra(read, monkeypatch):
    monkeypatch.setenv("EDGEOPT_VELA", "/nowhere/vela")
    with pytest.raises(
        CompilerError, match=r"Vela \(/nowhere/vela\) was not found; install it with: pip install 'edgeopt\["
    ) as caught:
        VelaCompiler("ethos-u55-128").compile(read(SPLIT))
    assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("time.sleep(60)", "was still running after 0.5 s"),
        ("print('here', flush=True); os.kill(os.getpid(), 11)", "killed by SIGSEGV; it last printed 'here'"),
        ("print(\"KeyError: '0'\"); sys.exit(1)", "ended with status 1 and \"KeyError: '0'\""),
        ("pass", "wrote no model_vela.tflite with a summary"),
        ("os.mkdir('out'); open('out/model_vela.tflite', 'w').write('junk'); open('out/model_summary_x.csv', 'w')",
         "its file is unusable: model_vela.tflite is"),
    ],
)  # fmt: skip
def test_a_vela_that_misbehaves(read, tmp_path, monkeypatch, code, message):
    fake(tmp_path, monkeypatch, code)
    timeout = 0.5 if "sleep" in code else 60
    with pytest.raises(CompilerError, match=message):
        VelaCompiler("ethos-u55-128", timeout_s=timeout).compile(read(SPLIT))


def test_options_reach_vela(read, tmp_path, monkeypatch):
    fake(tmp_path, monkeypatch, f"open({str(tmp_path / 'called')!r}, 'w').write(' '.join(sys.argv[1:]))")
    with pytest.raises(CompilerError, match="wrote no"):
        VelaCompiler("ethos-u65-512", system_config="Mine", memory_mode="Sram_Only", optimise="Size").compile(
            read(SPLIT)
        )
    assert (tmp_path / "called").read_text() == (
        "model.tflite --accelerator-config ethos-u65-512 --system-config Mine --memory-mode Sram_Only --optimise Size "
        "--output-dir out"
    )


def test_options_are_checked():
    with pytest.raises(UsageError, match="optimise is 'Fast'; expected 'Performance' or 'Size'"):
        VelaCompiler("ethos-u55-128", optimise="Fast")


def test_its_version(vela, tmp_path, monkeypatch):
    assert vela("ethos-u55-128").version().startswith("ethos-u-vela 5.")
    fake(tmp_path, monkeypatch, "print('9.9')")
    assert vela("ethos-u55-128").version() == "ethos-u-vela 9.9"
    fake(tmp_path, monkeypatch, "print('hello')")
    with pytest.raises(CompilerError, match="printed 'hello', expected its version"):
        vela("ethos-u55-128").version()
