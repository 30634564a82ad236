"""Binary networks: the pass, the converter, the inspector and the runtime, with the real libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgeopt
from edgeopt.api.bench import bench
from edgeopt.api.optimize.binary import check_engine
from edgeopt.devices import BenchPlan, Device
from edgeopt.errors import EdgeoptError, RecipeError, RuntimeMissingError, UsageError
from edgeopt.flatbuffer import read_model
from edgeopt.models import larq
from edgeopt.passes.binarize import Binarize
from edgeopt.recipes.optimize import OptimizeRecipe

pytest.importorskip("larq_compute_engine", reason="larq-compute-engine is not installed (extra binary)")

pytestmark = pytest.mark.heavy
ENGINE = "larq_compute_engine"
SHORT = BenchPlan(min_seconds=0.02, max_seconds=0.05, processes=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a binary network, its file, its data, and what the pass told."""
    folder = tmp_path_factory.mktemp("binary")
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1"}
    script = Path(__file__).with_name("trained.py")
    done = subprocess.run([sys.executable, str(script), str(folder)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def told(made):
    return json.loads((made / "told.json").read_text())


def test_convolutions_behind_the_first_become_binary_in_two_stages(told):
    assert told["untouched"]
    assert told["all"]["binary"] == ["second", "third"]
    assert {told["kinds"][name] for name in ("second", "third")} == {"QuantConv2D"}
    assert told["kinds"]["first"] == "Conv2D"
    assert [(entry["subject"], entry["reason"]) for entry in told["all"]["skipped"]] == [("first", "not chosen")]
    assert len(told["all"]["first_history"]) == len(told["all"]["history"]) == 6
    assert told["magnitudes"] == [1] * 32  # of each channel; only signs differ
    assert told["partly"]["binary"] == ["second"]
    assert {"subject": "third", "reason": "in-skip-list", "detail": "named in skip"} in told["partly"]["skipped"]


def test_the_file_has_larqs_operators_and_their_work_is_counted_apart(made):
    found = edgeopt.inspect(str(made / "binary.tflite"))
    assert found.ops["LceBconv2d"] == 2
    assert found.binary_macs == 12 * 12 * 32 * 9 * 16 + 10 * 10 * 32 * 9 * 32
    assert found.macs == 12 * 12 * 16 * 9 * 3 + 32 * 4
    assert found.macs_unknown == ()
    assert found.parameters >= 9 * 32 * (16 + 32)
    weights = [
        tensor for tensor in read_model((made / "binary.tflite").read_bytes()).main.tensors if tensor.raw is not None
    ]
    words = 9 * 32 * 4  # 16 or 32 input channels are one word of 32 bits
    assert [tensor.stored_bytes for tensor in weights].count(words) == 2


def test_the_engine_runs_the_file_as_the_model_computes(made):
    """The classes are the model's own; float sums in another order may turn one that is close to another."""
    data = np.load(made / "data.npz")
    given = {"runtime": ENGINE, "bench": SHORT}
    report = edgeopt.validate(str(made / "binary.tflite"), data=(data["x"], data["y"]), **given).to_dict()
    assert report["accuracy"] >= 0.98
    assert (report["kernel_profile"]["runtime"], report["kernel_profile"]["version"][:4]) == (ENGINE, "0.16")
    real = edgeopt.validate(str(made / "binary.tflite"), data=(data["x"], data["real"]), **given).to_dict()
    assert real["accuracy"] > 0.6  # it has learned: chance is 0.25


@pytest.fixture(scope="module")
def artifact(made):
    samples = np.load(made / "data.npz")["x"][:20]
    return edgeopt.convert(str(made / "binary.h5"), quantize="float32", calibration=samples)


def test_a_model_file_is_known_by_what_is_in_it(made, artifact):
    assert artifact.sidecar["ops"] == edgeopt.inspect(str(made / "binary.tflite")).ops
    assert artifact.sidecar["converter"]["name"].startswith("larq-compute-engine 0.16")
    assert artifact.sidecar["binary_macs"] > 0
    assert any("on no Raspberry Pi or Coral" in warning for warning in artifact.warnings)
    assert [item["name"] for item in (*artifact.sidecar["inputs"], *artifact.sidecar["outputs"])] == ["image", "scores"]
    with pytest.raises(
        RecipeError, match="quantize='int8' for a model with Larq's binary layers, .* use quantize='float"
    ):
        edgeopt.convert(str(made / "binary.h5"))


def test_fidelity_is_measured_in_the_engine_and_the_snippet_runs_there(artifact, tmp_path):
    assert artifact.fidelity.outputs[0].snr_db > 20  # signs that are close to zero may turn
    artifact.save(tmp_path / "binary.tflite")
    (tmp_path / "run.py").write_text(artifact.snippet(tmp_path / "binary.tflite"))
    done = subprocess.run([sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert np.array(done.stdout.strip("[]\n ").split(), float).sum() == pytest.approx(1, abs=1e-5)  # a softmax


def test_other_runtimes_say_which_one_to_take(made):
    with pytest.raises(EdgeoptError, match="has binary layers .*; run it with the runtime larq_compute_engine"):
        bench(str(made / "binary.tflite"), runtime="ai_edge_litert")


def test_a_board_without_a_wheel_is_refused_before_anything_is_trained(tmp_path):
    inventory = tmp_path / "devices.toml"
    inventory.write_text('[devices.kitchen]\nprofile = "rpi4"\nhost = "pi@192.0.2.1"\n')
    with pytest.raises(
        RuntimeMissingError, match="kitchen|rpi4.* is aarch64, for which larq_compute_engine has no wheel"
    ):
        check_engine(("binarize",), "kitchen", inventory, ENGINE)
    with pytest.raises(UsageError, match="'auto' does not know binary layers; use --runtime larq_compute_engine"):
        check_engine(("binarize",), "local", None, "auto")
    check_engine(("binarize",), Device.local(), None, ENGINE)
    check_engine(("prune",), "kitchen", inventory, "auto")
    with pytest.raises(RecipeError, match="'prune' after 'binarize': its weights are trained to be signs"):
        OptimizeRecipe(({"kind": "binarize"}, {"kind": "prune"}))


def test_without_larq_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EdgeoptError, match=r"Larq's binary layers need larq, .*pip install 'edgeopt\[binary\]'"):
        larq.import_larq()
    with pytest.raises(RecipeError, match="least_inputs=0"):
        Binarize(least_inputs=0)
