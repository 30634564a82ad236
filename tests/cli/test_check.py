"""`edgeopt check`: the table, the JSON and the exit codes."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from edgeopt.cli import main

from ..telling import told_apart


@pytest.fixture
def run(capsys):
    def run_check(*arguments: object) -> tuple[int, str, str]:
        code = main(["check", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, told_apart(err)

    return run_check


DEEPLAB = "coral/deeplabv3_mnv2_dm05_pascal_quant.tflite"


def test_the_table_is_the_compilers_with_reasons_and_remedies(run, shared_data):
    code, out, err = run(shared_data / DEEPLAB, "--for", "edgetpu")
    assert (code, err) == (0, "")
    flat = " ".join(out.split())
    assert "CONV_2D 36 Mapped to Edge TPU" in flat
    assert "ARG_MAX 1 Operation not supported ARG_MAX is not supported [argmax]" in flat
    assert "64 operators mapped, 8 on the CPU, 0 unsure (82.9 % of the MACs mapped)" in flat
    assert "parameters: 748.8 KiB cached on the chip, 0 B streamed" in flat


def test_in_a_narrow_terminal_reasons_and_remedies_stand_below_the_table(run, shared_data, monkeypatch):
    monkeypatch.setattr("edgeopt.cli.check_print.console", lambda: Console(width=80, highlight=False))
    _, out, _ = run(shared_data / DEEPLAB, "--for", "edgetpu")
    lines = [line.rstrip() for line in out.splitlines()]
    assert [line for line in lines if line.endswith("Operation not supported")]
    assert [line for line in lines if line.startswith("ARG_MAX: ARG_MAX is not supported [argmax]; ")]


def test_json_on_standard_output_is_json_alone(run, shared_data):
    code, out, _ = run(shared_data / DEEPLAB, "--for", "edgetpu", "--json", "-")
    assert code == 0
    assert json.loads(out)["cpu_ops"] == {
        **{"RESIZE_BILINEAR": 3, "CONV_2D": 2, "ARG_MAX": 1, "CONCATENATION": 1, "QUANTIZE": 1},
    }


def test_a_refusal_is_exit_4_and_still_reported(run, shared_data, tmp_path):
    report = tmp_path / "report.json"
    code, out, err = run(shared_data / "kws/ref_int8.tflite", "--for", "edgetpu", "--json", report)
    assert code == 4
    assert "dynamic shape" in out
    assert err.startswith("edgeopt: edgetpu refuses ")
    assert json.loads(report.read_text())["verdict"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("coral/split_concat_edgetpu.tflite", "--for", "edgetpu"), "compiled for the Edge TPU already"),
        (("coral/split_concat.tflite", "--for", "npu"), "Unknown target 'npu'"),
        (("coral/split_concat.tflite",), "is a .tflite file, which is checked for an accelerator; give --for edgetpu"),
        (("coral/split_concat.tflite", "--fix", "-o", "x.keras"), "--fix rewrites the layers of a Keras model"),
        (("coral/split_concat.tflite", "--fix"), "--fix writes a new model and got no name for it; add -o FIXED.keras"),
        (("coral/split_concat.tflite", "-o", "x.keras"), "-o goes with --fix; add --fix to write a rewritten model"),
        (("coral/split_concat.tflite", "--batch-size", "1"), "--batch-size goes with --fix"),
        (("coral/split_concat.tflite", "--force"), "--force goes with --fix"),
        (
            ("coral/split_concat.tflite", "--fix", "-o", "x.h5", "--batch-size", "0"),
            "batch_size is 0; expected at least 1",
        ),
        (("coral/split_concat.tflite", "--fix", "-o", "x.h5", "--json", "x.h5"), "is the model or the output itself"),
        (("coral/split_concat.tflite", "--fix", "-o", "x.onnx"), "ends in .onnx; expected a name in .keras or .h5"),
        (("coral/split_concat.tflite", "--for", "edgetpu", "--min-runtime", "3"), "minimum_runtime is 3"),
        (("coral/split_concat.tflite", "--for", "edgetpu", "--rules", "none.toml"), "Cannot read the rules none.toml"),
        (("coral/none.tflite", "--for", "edgetpu"), "none.tflite does not exist"),
    ],
)
def test_bad_usage_is_exit_2_in_one_sentence(run, shared_data, arguments, message):
    code, out, err = run(shared_data / arguments[0], *arguments[1:])
    assert (code, out) == (2, "")
    assert message in err


def test_an_older_runtime_can_be_asked_for(run, shared_data):
    code, out, _ = run(shared_data / "coral/keras_lstm_mnist_ptq.tflite", "--for", "edgetpu", "--min-runtime", "13")
    assert code == 0
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM needs" in " ".join(out.split())
    assert "compile with --min-runtime 14 or newer" in " ".join(out.split())


def test_ethos_u_is_checked_by_its_compiler(run, shared_data):
    pytest.importorskip("ethosu", reason="ethos-u-vela is not installed (extra ethos-u)")
    code, out, _ = run(shared_data / "coral/split_concat.tflite", "--for", "ethos-u55-128")
    assert code == 0
    flat = " ".join(out.split())
    assert "3 operators mapped, 0 on the CPU, 0 unsure" in flat
    assert "inferences/s (ethos-u-vela" in flat


def test_a_missing_compiler_is_exit_6(run, shared_data, monkeypatch):
    monkeypatch.setenv("EDGEOPT_VELA", "/nowhere/vela")
    code, _, err = run(shared_data / "coral/split_concat.tflite", "--for", "ethos-u55-128")
    assert code == 6
    assert "pip install 'edgeopt[ethos-u]'" in err


@pytest.mark.heavy
def test_a_keras_file_is_converted_for_the_check(run, tmp_path):
    import keras

    x = keras.Input((8, 8, 3))
    y = keras.layers.Conv2D(4, 3, activation="hard_swish")(x)
    path = tmp_path / "model.keras"
    keras.Model(x, keras.layers.GlobalAveragePooling2D()(y)).save(path)
    code, out, err = run(path, "--for", "edgetpu")
    assert (code, err) == (0, "")
    assert "HARD_SWISH is not supported" in " ".join(out.split())
    path.write_bytes(b"junk")
    code, _, err = run(path, "--for", "edgetpu")
    assert code == 2
    assert "is not a Keras model" in err


def network(keras):
    """A nested, normalised network with an operation in it and a layer that no int8 file holds."""
    layers = keras.layers
    inner = keras.Sequential(
        [keras.Input((6, 6, 4)), layers.Conv2D(8, 3, name="inside"), layers.BatchNormalization(name="norm")],
        name="backbone",
    )
    image = keras.Input((8, 8, 3), name="image")
    x = inner(layers.Conv2D(4, 3, padding="same", strides=1, name="first")(image * 2.0)[:, 1:7, 1:7])
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Activation("log_sigmoid", name="negated")(x))
    return keras.Model(image, layers.Dense(2, name="classes")(x), name="network")


@pytest.mark.heavy
@pytest.mark.smoke
def test_without_a_target_all_stages_are_checked_and_fix_rewrites(run, tmp_path):
    import keras

    path, target, report = tmp_path / "model.keras", tmp_path / "fixed.keras", tmp_path / "report.json"
    network(keras).save(path)
    code, out, err = run(path, "--fix", "-o", target, "--json", report)
    assert (code, err) == (0, "")
    flat = " ".join(out.split())
    before, _, after = flat.partition("fixed as")
    assert "refused by convert [float]" in before and "negated (Activation)" in before
    assert "would rewrite without a change to the outputs: 1 flattened, 1 operation to layer, 2 folded" in before
    assert " folded: 2 (norm, " in after
    assert "same outputs on 8 samples: largest difference" in after
    assert "--fix" not in after, "nothing is left to rewrite"
    assert out.splitlines()[-1] == f"Next: edgeopt convert {target} --calibration TRAINING_DATA"
    found = json.loads(report.read_text())
    assert (found["verdict"], found["target"]) == ("ok", None)
    assert found["fix"]["output"] == str(target)
    assert {change["rule"] for change in found["fix"]["changes"]} == {"flattened", "operation to layer", "folded"}
    assert found["before"]["summary"]["fixes"] and not found["summary"]["fixes"]
    assert {item["stage"] for item in found["items"]} == {"prune", "channels", "cluster", "qat", "convert"}
    layers = [item["name"] for item in found["items"] if item["class"] != "model"]
    assert len(layers) == 5 * found["layers"] and "norm" not in layers
    code, out, err = run(path, "--fix", "-o", target)
    assert (code, out) == (2, "")
    assert "exists already; pass --force" in err


def test_fix_with_a_target_is_judged_by_the_fixed_model(run, tmp_path):
    import keras

    path, target = tmp_path / "model.keras", tmp_path / "fixed.keras"
    x = keras.Input((4,), name="vector")
    keras.Model(x, keras.layers.Dense(3, name="classes")(x * 2.0), name="small").save(path)
    code, out, err = run(path, "--for", "channels", "--fix", "-o", target, "--batch-size", "1")
    assert code == 4 and target.is_file()
    assert "batch fixed: vector: the batch was open and is 1 now" in out
    assert err.startswith(f"edgeopt: channels refuses {target}: No channels of this model can be removed")


def test_bad_models_are_exit_2_or_3_in_one_sentence(run, tmp_path):
    target = tmp_path / "fixed.keras"
    (tmp_path / "junk.keras").write_bytes(b"PK\x03\x04 junk")
    for name, message in (("none.keras", "none.keras does not exist"), ("junk.keras", "is a damaged zip file")):
        for more in ((), ("--fix", "-o", target)):
            code, out, err = run(tmp_path / name, *more)
            assert (code, out, err.count("\n")) == (2, "", 1)
            assert message in err
    assert not target.exists()
