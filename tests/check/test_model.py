"""`check_model`: what it takes, and what it reports."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from edgeopt.check.model import check_model
from edgeopt.errors import CheckError, FileFormatError, UsageError


def test_a_path_bytes_and_an_artifact_give_the_same(shared_data):
    @dataclass
    class Artifact:
        model: bytes

    path = shared_data / "coral" / "split_concat.tflite"
    found = check_model(str(path), target="edgetpu")
    assert found.model == str(path)
    for given in (path.read_bytes(), Artifact(path.read_bytes())):
        assert check_model(given, target="edgetpu").summary == found.summary


def test_the_envelope_has_the_promised_fields(shared_data):
    path = shared_data / "coral" / "deeplabv3_mnv2_dm05_pascal_quant.tflite"
    found = json.loads(json.dumps(check_model(path, target="edgetpu").to_dict(), allow_nan=False))
    assert (found["schema_version"], found["verdict"], found["target"]) == (1, "ok", "edgetpu")
    for name in ("mapped_ops", "cpu_ops", "unsure_ops", "delegated_subgraphs", "reasons"):
        assert found[name] == found["summary"][name]
    assert found["cpu_ops"]["RESIZE_BILINEAR"] == 3
    assert found["parameters_cached_bytes"] == 766_720
    assert found["parameters_streamed_bytes"] == 0
    assert {"name", "class", "stage", "verdict", "rule", "reason", "remedy"} <= set(found["items"][0])
    assert found["summary"]["verdicts"]["skipped"] == 8


def test_a_refusal_fails_with_the_reason_and_the_remedy(shared_data):
    found = check_model(shared_data / "kws" / "ref_int8.tflite", target="edgetpu")
    assert found.refused
    assert found.to_dict()["verdict"] == "failed"
    with pytest.raises(
        CheckError, match=r"edgetpu refuses .*ref_int8.tflite: tensor 'input_1' has the dynamic shape"
    ) as caught:
        found.raise_if_refused()
    assert caught.value.exit_code == 4
    assert not str(caught.value).endswith("..")


def test_operators_on_the_cpu_are_no_refusal(shared_data):
    path = shared_data / "coral" / "deeplabv3_mnv2_dm05_pascal_quant.tflite"
    check_model(path, target="edgetpu").raise_if_refused()


def test_bad_input(tmp_path, shared_data):
    with pytest.raises(UsageError, match=r"Cannot read .*none.tflite"):
        check_model(tmp_path / "none.tflite", target="edgetpu")
    empty = tmp_path / "empty.tflite"
    empty.write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"is empty, expected a .tflite file"):
        check_model(empty, target="edgetpu")
    with pytest.raises(UsageError, match="compiled for the Edge TPU already"):
        check_model(shared_data / "coral" / "split_concat_edgetpu.tflite", target="edgetpu")
    with pytest.raises(UsageError, match="Unknown target"):
        check_model(empty, target="npu")
