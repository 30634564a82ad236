"""The check for an accelerator: operators become items, a refusal comes first, Keras models are converted."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.check import Loading, Subject, checker
from edgeopt.errors import FileFormatError


@pytest.fixture
def coral(shared_data):
    return lambda name: Subject(name, tflite=(shared_data / "coral" / f"{name}.tflite").read_bytes())


def test_operators_become_items_in_order(coral):
    found = checker("edgetpu").check(coral("deeplabv3_mnv2_dm05_pascal_quant"))
    assert found.verdicts == {"ok": 64, "skipped": 8, "refused": 0, "unsure": 0}
    last = found.items[-1]
    assert (last.name, last.kind, last.verdict, last.rule) == ("ArgMax", "ARG_MAX", "skipped", "argmax")
    assert last.details["status"] == "Operation not supported"
    assert [item.details["index"] for item in found.items] == list(range(72))


def test_a_refused_file_is_one_refused_item_ahead_of_its_operators(shared_data):
    subject = Subject("kws", tflite=(shared_data / "kws" / "ref_int8.tflite").read_bytes())
    found = checker("edgetpu").check(subject)
    (refusal,) = found.refusals
    assert found.items[0] is refusal
    assert (refusal.name, refusal.kind, refusal.rule) == ("kws", "file", "dynamic-shape")
    assert "batch_size=1" in refusal.remedy
    assert len(found.items) == 14


def test_rules_of_ones_own_are_used(coral, tmp_path):
    from importlib import resources

    text = (resources.files("edgeopt.converters.edgetpu") / "rules.toml").read_text("utf-8")
    path = tmp_path / "rules.toml"
    path.write_text(
        text.replace('ops = ["TILE"]', 'ops = ["TILE", "ARG_MAX"]').replace('"ARG_MAX", "ARG_MIN"', '"ARG_MIN"')
    )
    found = checker("edgetpu", {"rules": str(path)}).check(coral("deeplab_mobilenet_edgetpu_slim_cityscapes_quant"))
    assert found.items[-1].rule == "data-type"  # its int64 output is still no 8-bit number
    path.write_text(text.replace("[meta]", "[metta]"))
    with pytest.raises(FileFormatError, match="unknown table"):
        checker("edgetpu", {"rules": str(path)})


def test_a_corrupt_file_is_refused(coral):
    data = coral("split_concat").tflite
    with pytest.raises(FileFormatError, match="corrupt"):
        checker("edgetpu").check(Subject("x", tflite=data[: len(data) // 2]))


@pytest.mark.heavy
def test_a_keras_model_is_converted_for_the_check():
    import keras

    x = keras.Input((16, 16, 3), name="image")
    y = keras.layers.Conv2D(8, 3, activation="relu")(x)
    y = keras.layers.LeakyReLU(negative_slope=0.25)(y)
    y = keras.layers.Conv2D(8, 3, strides=2)(y)
    y = keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(y))
    subject = Subject("net", keras=keras.Model(x, y))
    found = checker("edgetpu").check(subject)
    kinds = {item.kind: item for item in found.items}
    assert kinds["LEAKY_RELU"].rule == "leaky-relu"
    assert "PReLU" in kinds["LEAKY_RELU"].remedy
    assert found.summary["unsure_ops"] == {}  # Dense layers were converted per tensor, as the target wants
    assert found.refusals == ()
    samples = np.random.default_rng(1).random((8, 16, 16, 3), np.float32)
    again = checker("edgetpu").check(Subject("net", keras=subject.keras, loading=Loading(calibration=samples)))
    assert again.summary["cpu_ops"] == found.summary["cpu_ops"]
