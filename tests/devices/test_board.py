"""The whole way on an emulated arm64 board: from a fresh system to a validated model, over real SSH."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import numpy as np
import pytest

from edgeopt.devices import Device, Limits, RunOptions, pack_agent
from edgeopt.devices.boards.inventory import Board, Inventory
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.specs import input_specs

from ..emulated_pi.cache import cache_folder
from .conftest import halving_model

pytestmark = [pytest.mark.board, pytest.mark.heavy]

RUNTIMES = ("tflite_runtime", "ai_edge_litert")
NAME = "kü che 'x\""

# Optimised kernels of x86 and Arm round differently. With each runtime's default kernels on these two models: how far
# apart in LSB the outputs may lie, and in how many samples the class must agree. tflite-runtime 2.14 runs int8 models
# on its own kernels (NEON against plain C++ on x86); ai-edge-litert gives them to XNNPACK on both sides.
TOLERANCE = {"tflite_runtime": (60, 0.97), "ai_edge_litert": (3, 0.99)}


def edgeopt(*words, check=True, timeout=600):
    """Run the command line as a user does; return the JSON that it wrote and its exit code."""
    argv = [sys.executable, "-m", "edgeopt", *map(str, words), "--json", "-"]
    done = subprocess.run(argv, capture_output=True, timeout=timeout, cwd="/", text=True)
    if check:
        assert done.returncode == 0, done.stderr
    return (json.loads(done.stdout) if done.stdout.strip() else None), done


def added(board, path):
    Inventory.find(path).add(
        Board(NAME, "generic-arm64", board.alias, ssh_config=str(board.config), workdir="wörk 'x\" $y")
    )
    return path


@pytest.fixture(scope="module")
def inventory(pi_board, tmp_path_factory):
    """An inventory with the quick board, under names that would break any sloppy quoting."""
    return added(pi_board, tmp_path_factory.mktemp("inv 'ü") / "devices.toml")


@pytest.fixture(scope="module")
def remote(inventory):
    with Device.from_inventory(NAME, inventory) as device:
        yield device


@pytest.fixture(scope="module")
def kws(shared_data):
    with np.load(shared_data / "kws" / "test.npz") as data:
        return (shared_data / "kws" / "ref_int8.tflite").read_bytes(), data["x"], data["y"]


@pytest.fixture(scope="module")
def resnet(shared_data):
    """MLPerf Tiny's ResNet-8 and 8 samples of noise in its range, 0 to 255."""
    model = (shared_data / "cifar10" / "mlperf_resnet8_int8.tflite").read_bytes()
    return model, np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype(np.float32)


def named(model, samples):
    return {input_specs(read_model(model))[0].name: samples}


def test_a_fresh_board_is_checked_set_up_from_a_wheelhouse_and_ready(pi_board, tmp_path):
    path = added(pi_board, tmp_path / "devices.toml")
    wheels = cache_folder() / "wheels"
    found, _ = edgeopt("devices", "setup", NAME, "--devices", path, "--wheelhouse", wheels, timeout=900)
    assert found["runtime"] == {"package": "ai-edge-litert", "version": "2.3.0"}
    assert found["python"].endswith("/venv/bin/python")
    checked, _ = edgeopt("devices", "check", NAME, "--devices", path)
    states = {line["name"]: line["status"] for line in checked["lines"]}
    assert states["reached"] == states["python"] == states["work folder"] == "ok"
    assert states["emulation"] == "warn"
    runtimes = [line for line in checked["lines"] if line["name"] == "runtime"]
    assert "ai_edge_litert 2.3.0" in runtimes[0]["found"]
    assert Inventory.find(path).board(NAME).python == found["python"]
    edgeopt("devices", "clean", NAME, "--devices", path, "--all")
    assert "work" not in pi_board.ssh("ls ~")


def test_a_fresh_boards_own_pip_is_left_alone(pi_board):
    """Debian and Raspberry Pi OS refuse pip outside an environment (PEP 668): `setup` must not need it."""
    assert "externally-managed-environment" in pi_board.ssh("python3 -m pip install numpy 2>&1", check=False)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_validate_scores_all_keyword_samples_as_this_machine_does(inventory, shared_data, runtime):
    kws = shared_data / "kws"
    found, _ = edgeopt(
        *("validate", kws / "ref_int8.tflite", "--data", kws / "test.npz", "--device", NAME, "--devices", inventory),
        *("--runtime", runtime, "--seconds", "1", "--processes", "1"),
    )
    assert found["samples"] == 1000
    assert 0.895 <= found["accuracy"] <= 0.91  # MLPerf's own int8 file: 0.902 on these samples
    assert found["kernel_profile"]["runtime"] == runtime
    assert found["emulated"] is True
    assert found["latency_note"].startswith("not a measurement")
    assert any("not a measurement" in text for text in found["warnings"])


def test_several_devices_stand_in_one_table(inventory, shared_data):
    kws = shared_data / "kws"
    argv = [sys.executable, "-m", "edgeopt", "validate", str(kws / "ref_int8.tflite"), "--data", str(kws / "test.npz")]
    argv += ["--device", f"local,{NAME}", "--devices", str(inventory), "--seconds", "0.5"]
    argv += ["--processes", "1"]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=300, cwd="/", env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"}
    )
    assert done.returncode == 0, done.stderr
    assert "emulated: not a measurement" in done.stdout


def test_bench_times_threads_and_two_files_in_turns(inventory, shared_data):
    found, _ = edgeopt(
        *(
            "bench",
            shared_data / "kws" / "ref_int8.tflite",
            "--device",
            NAME,
            "--devices",
            inventory,
            "--threads",
            "1,2",
        ),
        *("--runs", "5", "--processes", "2", "--against", shared_data / "cifar10" / "mlperf_resnet8_int8.tflite"),
    )
    assert [run["threads"] for run in found["runs"]] == [1, 2]
    assert found["emulated"] is True
    assert "not a measurement" in found["latency_note"]
    for run in found["runs"]:
        assert run["latency_runs"]["runs"] == 5
        assert run["comparison"]["ratio"] < 1  # the keyword model has a fifth of the multiplications
        assert run["comparison"]["ratio_ci95"] is None
        assert "2 processes are too few" in run["comparison"]["no_interval"]
        assert "FULLY_CONNECTED" in str(run["op_profile"]) or "Fully Connected" in str(run["op_profile"])
        assert "not a measurement" in run["op_profile"]["latency_note"]


def test_a_pipeline_on_the_board_gives_the_wholes_integers(inventory, shared_data, tmp_path):
    whole = shared_data / "kws" / "ref_int8.tflite"
    cut, _ = edgeopt("edgetpu", "segments", whole, "--cut", 2, "-o", tmp_path)
    parts = [tmp_path / segment["name"] for segment in cut["segments"]]
    asked = ["--against", whole, "--device", NAME, "--devices", inventory, "--processes", 1, "--seconds", 1]
    found, _ = edgeopt("bench", "--pipeline", *parts, *asked)
    assert (found["different_samples"], found["samples"], found["emulated"], len(found["pipeline"])) == (0, 32, True, 2)
    assert found["machine"] == "aarch64" and found["throughput"]["pairs"] >= 1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_reference_kernels_give_the_same_integers_on_both_architectures(remote, kws, resnet, runtime):
    options = RunOptions(runtime=runtime)
    with Device.local() as local:
        for model, samples in ((kws[0], kws[1][:30]), resnet):
            report = local.parity(remote, model, named(model, samples), options=options)
            assert {side.machine for side in report.sides} == {"x86_64", "aarch64"}
            assert report.difference.equal, report.to_dict()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_optimised_kernels_stay_within_a_stated_tolerance(remote, kws, resnet, runtime):
    lsb, agree = TOLERANCE[runtime]
    with Device.local() as local:
        for model, samples in ((kws[0], kws[1][:200]), resnet):
            options = RunOptions(runtime=runtime)
            report = local.parity(
                remote, model, named(model, samples), limits=Limits("L2", max_lsb=lsb), options=options
            )
            assert report.held, report.to_dict()
            assert report.agreement is not None
            assert report.agreement >= (agree if len(samples) > 100 else 0.7), report.to_dict()
            if not report.difference.equal:
                assert report.explained is True
                assert report.first_divergence is not None or report.trace_note


def test_parity_on_the_command_line_records_here_and_checks_there(inventory, shared_data, tmp_path):
    model, data = shared_data / "kws" / "ref_int8.tflite", shared_data / "kws" / "test.npz"
    golden = tmp_path / "göl den.npz"
    edgeopt("parity", model, "--device", "local", "--data", data, "--samples", 20, "--record", golden)
    found, _ = edgeopt("parity", model, "--device", NAME, "--devices", inventory, "--check", golden)
    assert (found["equal"], found["max_lsb"], found["level"]) == (True, 0, "L1")
    assert [profile["kernels"] for profile in found["kernel_profiles"]] == ["reference", "reference"]


def test_the_agent_alone_is_the_boards_benchmark_script(remote, pi_board, shared_data, tmp_path):
    from edgeopt.devices import pack_agent

    agent = tmp_path / "edgeopt-agent.pyz"
    agent.write_bytes(pack_agent())
    places = [remote.transport.put(path, timeout_s=60) for path in (agent, shared_data / "kws" / "ref_int8.tflite")]
    with np.load(shared_data / "kws" / "test.npz") as data:
        for name, array in (("x", data["x"][:50]), ("y", data["y"][:50])):
            np.save(tmp_path / f"{name}.npy", array)
            places.append(remote.transport.put(tmp_path / f"{name}.npy", timeout_s=60))
    script, model, inputs, labels = places
    process = remote.transport.start(
        ["python3", script, "bench", model, "--inputs", inputs, "--labels", labels, "--runs", "2", "--json"]
    )
    process.stdin.close()
    found = json.loads(process.stdout.read())
    assert process.wait(30) == 0
    assert found["accuracy"] > 0.8
    assert found["conditions"]["board"]["emulated"] is True


def test_the_virtual_machine_is_a_pi_4_with_little_memory_and_evaluates_ten_thousand_images(pi_vm):
    """10,000 float images are 123 MB of data for a board with 512 MB; they go through in pieces."""
    board = Board("vm", "rpi4", pi_vm.alias, ssh_config=str(pi_vm.config))
    with Device(board.transport(), Device.local().profile) as device:
        info = device.info()
        assert info["board"]["model"] == "Raspberry Pi 4 Model B Rev 1.4"
        assert info["board"]["emulated"] is True
        pixels = 32 * 32 * 3
        images = np.random.default_rng(0).uniform(-40, 40, (10_000, pixels)).astype(np.float32)
        options = RunOptions(runtime="tflite_runtime", bench=None)
        found = device.measure(halving_model(width=pixels), {"x": images}, options).evaluation
        assert found.samples == 10_000
        # y = x stored more coarsely: half a step of y, and of x before it.
        np.testing.assert_allclose(found.outputs[0].real(), images, atol=0.5 + 0.25 + 1e-4)


def test_the_users_files_beside_edgeopts_folder_survive_all_that_edgeopt_does(pi_board, shared_data, tmp_path):
    """What has the names of edgeopt's own folders, in the home folder and in one that the user names by mistake."""
    mine = "files/thesis.txt runs/marathon.gpx wheels/bike.jpg venv/wine.txt work/notes.txt outside/x"
    folders = " ".join(name.partition("/")[0] for name in mine.split())
    pi_board.ssh(f"cd && mkdir -p {folders} && for f in {mine}; do echo mine > $f; done")

    def inventory(workdir):
        (tmp_path / "devices.toml").unlink(missing_ok=True)
        board = Board(NAME, "generic-arm64", pi_board.alias, ssh_config=str(pi_board.config), workdir=workdir)
        Inventory.find(tmp_path / "devices.toml").add(board)
        return ["--devices", tmp_path / "devices.toml"]

    bench = ["bench", shared_data / "kws" / "ref_int8.tflite", "--device", NAME, "--runtime", "tflite_runtime"]
    bench += ["--seconds", "0.2", "--processes", "1"]
    clean, setup = ["devices", "clean", NAME], ["devices", "setup", NAME]
    wheels = ["--wheelhouse", cache_folder() / "wheels"]

    for workdir in ("~/", "../x", "/home/pi"):  # refused on this machine: nothing is sent
        path = tmp_path / "bad.toml"
        path.write_text(f'[devices.b]\nprofile = "rpi4"\nhost = "board"\nworkdir = "{workdir}"\n')
        words = ["devices", "add", "c", "--profile", "rpi4", "--host", "board", "--workdir", workdir]
        for command in (words, ["devices", "clean", "b", "--all"], ["bench", bench[1], "--device", "b"]):
            _, done = edgeopt(*command, "--devices", path, check=False)
            assert done.returncode == 2 and "The work folder is" in done.stderr
    for command in (clean, [*clean, "--all"], [*setup, *wheels], [*setup, *wheels, "--adopt"], bench):
        _, done = edgeopt(*command, *inventory("work"), check=False)
        assert done.returncode == 5 and "it holds 'notes.txt', which is not edgeopt's" in done.stderr

    place = inventory(".cache/edgeopt")
    assert edgeopt(*bench, *place)[0]["emulated"] is True
    edgeopt(*clean, *place)
    assert pi_board.ssh("ls -A ~/.cache/edgeopt").split() == [".edgeopt-folder", "lock"]
    pi_board.ssh("ln -s ~/outside ~/.cache/edgeopt/runs")
    for command in (bench, clean):
        _, done = edgeopt(*command, *place, check=False)
        assert done.returncode == 5 and "runs in it is a symbolic link" in done.stderr
    pi_board.ssh("rm ~/.cache/edgeopt/runs")
    edgeopt(*clean, "--all", *place)
    assert pi_board.ssh("ls -A ~/.cache").split() == []

    # A board that was set up by an edgeopt without marks.
    pi_board.ssh("mkdir -p ~/old/files ~/old/runs/lost ~/old/venv && touch ~/old/lock")
    place = inventory("old")
    for command in ([*clean, "--all"], bench, [*setup, *wheels]):
        _, done = edgeopt(*command, *place, check=False)
        assert done.returncode == 5 and f"edgeopt devices setup {shlex.quote(NAME)} --adopt" in done.stderr
    edgeopt(*setup, *wheels, "--adopt", *place, timeout=900)
    edgeopt(*bench[:4], "--seconds", "0.2", "--processes", "1", *place)
    assert pi_board.ssh("ls ~/old/runs").split() == []
    edgeopt(*clean, "--all", *place)
    assert "old" not in pi_board.ssh("ls ~").split()

    assert pi_board.ssh(f"cd && cat {mine}").split() == ["mine"] * len(mine.split())
    pi_board.ssh(f"cd && rm -r {folders}")


def test_by_hand_the_agent_sees_its_emulator_as_in_a_benchmark(remote, tmp_path):
    (tmp_path / "edgeopt-agent.pyz").write_bytes(pack_agent())
    script = remote.transport.put(tmp_path / "edgeopt-agent.pyz", timeout_s=60)
    process = remote.transport.start(["python3", script, "info", "--json"])
    process.stdin.close()
    assert json.loads(process.stdout.read())["board"]["emulated"] is True
    assert process.wait(30) == 0


def test_a_ladder_climbs_on_the_board_to_a_size_and_its_latency_counts_for_nothing(remote, tmp_path):
    """An emulated board's time is no measurement: channels go for the size, and none for the latency."""
    import keras

    import edgeopt as package
    from edgeopt.devices import BenchPlan

    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 64)
    x = rng.normal(size=(64, 6, 6, 1)).astype(np.float32) + y[:, None, None, None]
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    budget = package.Budget(max_drop=0.9, max_size_bytes=30_000, max_p95_ms=1e-6)
    found = package.optimize(
        model, budget=budget, train=(x, y), validation=(x, y), device=remote, output=tmp_path / "out",
        bench=BenchPlan(min_seconds=0.0, max_seconds=0.1, min_runs=3, processes=1),
    )  # fmt: skip
    assert found.stages[0].figures["size_bytes"] > 30_000 >= found.artifact.size_bytes
    assert {line.name: line.verdict for line in found.budget}["max_p95_ms"] == "not measured"
    assert found.stages[found.chosen].figures["emulated"]
