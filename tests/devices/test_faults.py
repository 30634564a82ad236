"""What goes wrong on real boards, made to go wrong on emulated ones: over real SSH, with real processes and disks.

Refused, unknown and unreachable hosts, cut and damaged uploads, and noisy shells are in test_ssh.py.
"""

from __future__ import annotations

import dataclasses
import io
import tarfile
import threading
import time

import numpy as np
import pytest

from edgeopt.devices import BenchPlan, Device, RunOptions, Timeouts, load_profile
from edgeopt.devices import runner as runner_module
from edgeopt.devices.boards.inventory import Board
from edgeopt.devices.readiness import check
from edgeopt.devices.runner import Job
from edgeopt.errors import DeviceError, DeviceLostError, InvokeError, ModelError, RuntimeMissingError

from ..emulated_pi.cache import cache_folder
from .conftest import halving_model, lookup_model

pytestmark = [pytest.mark.board, pytest.mark.heavy]

LONG = RunOptions(
    runtime="tflite_runtime", bench=BenchPlan(min_seconds=120, max_seconds=120, max_runs=10**9, processes=1)
)
SHORT = RunOptions(
    runtime="tflite_runtime", bench=BenchPlan(1, 0.0, min_runs=2, max_runs=2, min_seconds=0, processes=1)
)
# The agent and its worker, as the board's process list shows them.
AGENT = "pgrep -f '[e]dgeopt_agent|[0-9a-f]{64}[.]pyz'"


def opened(board, *, python="python3", timeouts=None, workdir="/tmp/edgeopt faults"):
    place = Board("board", "generic-arm64", board.alias, python=python, workdir=workdir, ssh_config=str(board.config))
    return Device(place.transport(), load_profile("generic-arm64"), timeouts=timeouts)


@pytest.fixture
def device(pi_board):
    with opened(pi_board) as found:
        yield found


@pytest.fixture(scope="module")
def kws(shared_data):
    return (shared_data / "kws" / "ref_int8.tflite").read_bytes()


def program(board, name, *lines):
    """Put a shell script on the board and return its path."""
    path = f"/tmp/{name}"
    board.ssh(f"cat > {path} && chmod +x {path}", stdin="\n".join(["#!/bin/sh", *lines, ""]).encode())
    return path


def in_background(action):
    """Run `action` in a thread; return the thread, and a list that will hold its outcome."""
    outcome = []

    def work():
        try:
            outcome.append(action())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, outcome


def wait_for(board, command, timeout_s=60, present=True):
    """Wait until a command on the board succeeds (or, without `present`, fails)."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = board.ssh(f"{command} >/dev/null 2>&1 && echo yes", check=False).strip() == "yes"
        if found is present:
            return
        time.sleep(0.3)
    raise AssertionError(f"{command} on the board: still {'absent' if present else 'there'} after {timeout_s} s")


def timing(device):
    """Return a progress callback and the event that it sets once the model is being timed."""
    started = threading.Event()
    return (lambda event: started.set() if event.stage == "bench" else None), started


def test_a_missing_python_is_told_by_check_and_ends_a_run(pi_board, kws):
    with opened(pi_board, python="/nowhere/python3") as device:
        lines = list(check(device))
        assert (lines[-1].name, lines[-1].status) == ("python", "fail")
        assert "not installed there" in lines[-1].found
        with pytest.raises(DeviceLostError, match=r"ended with status 127 .*not found"):
            device.measure(kws, None, SHORT)


def test_an_old_python_is_told_its_version(pi_board, kws):
    """No arm64 Python below 3.7 can be had any more: a wrapper makes the board's own say that it is 3.6."""
    old = "import sys, runpy; sys.version_info = (3, 6, 9); sys.argv = sys.argv[1:]; "
    run = "runpy.run_path(sys.argv[0], run_name='__main__')"
    python = program(pi_board, "python3.6", f'exec python3 -c "{old}{run}" "$@"')
    with (
        opened(pi_board, python=python) as device,
        pytest.raises(DeviceLostError, match=r"Python 3\.7 .*is Python 3\.6"),
    ):
        device.measure(kws, None, SHORT)


def test_a_board_without_a_runtime_is_told_how_to_install_one(pi_board, kws):
    pi_board.ssh("test -e /tmp/bare || python3 -m venv --without-pip /tmp/bare", timeout_s=200)
    with opened(pi_board, python="/tmp/bare/bin/python") as device:
        with pytest.raises(RuntimeMissingError, match=r"no TFLite runtime .* not installed.*edgeopt devices setup"):
            device.measure(kws, None, SHORT)
        lines = {line.name: line for line in check(device, "edgeopt devices setup kitchen")}
        assert (lines["runtime"].status, lines["runtime"].remedy) == ("fail", "run `edgeopt devices setup kitchen`")


def test_a_runtime_built_for_another_numpy_is_named(pi_board, kws):
    wheel = next((cache_folder() / "wheels-numpy2").glob("numpy-2*.whl"))
    pi_board.ssh("cat > /tmp/numpy2.zip", stdin=wheel.read_bytes(), timeout_s=120)
    pi_board.ssh("test -e /tmp/numpy2 || python3 -m zipfile -e /tmp/numpy2.zip /tmp/numpy2", timeout_s=200)
    python = program(pi_board, "python-numpy2", 'PYTHONPATH=/tmp/numpy2 exec python3 "$@"')
    with (
        opened(pi_board, python=python) as device,
        pytest.raises(RuntimeMissingError, match=r"tflite_runtime: .*another NumPy than 2\..*numpy<2"),
    ):
        device.measure(kws, None, SHORT)


def test_a_runtime_of_another_architecture_is_named(pi_board, kws):
    import importlib.util

    found = importlib.util.find_spec("tflite_runtime")
    if found is None or not found.submodule_search_locations:
        pytest.skip("tflite_runtime is not installed here")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(found.submodule_search_locations[0], "tflite_runtime")
    pi_board.ssh("mkdir -p /tmp/x86 && tar -x -C /tmp/x86", stdin=buffer.getvalue(), timeout_s=120)
    python = program(pi_board, "python-x86", 'PYTHONPATH=/tmp/x86 exec python3 "$@"')
    with (
        opened(pi_board, python=python) as device,
        pytest.raises(
            RuntimeMissingError, match=r"tflite_runtime: does not load: .*built for x86_64, and this is aarch64"
        ),
    ):
        device.measure(kws, None, SHORT)


def test_a_work_folder_that_cannot_be_written_is_told_before_anything_runs(pi_board, kws):
    pi_board.ssh("rm -rf /tmp/locked; mkdir /tmp/locked; chmod 500 /tmp/locked")
    with (
        opened(pi_board, workdir="/tmp/locked") as device,
        pytest.raises(DeviceError, match=r"Cannot store .*Permission denied.*make the work folder writable"),
    ):
        device.measure(kws, None, SHORT)


def test_a_connection_that_dies_during_a_benchmark_leaves_no_orphan_and_the_next_call_works(pi_board, device, kws):
    on_progress, started = timing(device)
    thread, outcome = in_background(lambda: device.measure(kws, None, LONG, on_progress=on_progress))
    assert started.wait(120)
    pi_board.ssh("pgrep -u pi sshd | xargs -r kill -KILL", user="root")
    thread.join(60)
    assert isinstance(outcome[0], DeviceLostError)
    assert outcome[0].exit_code == 5
    wait_for(pi_board, AGENT, present=False)
    assert device.measure(kws, None, SHORT).latency.runs["runs"] == 2
    assert pi_board.ssh(f"ls '{device.transport.workdir}/runs'") == ""


def test_a_worker_that_hangs_is_given_up_and_killed(pi_board, kws):
    with opened(pi_board, timeouts=Timeouts(silence_s=25)) as device:
        on_progress, started = timing(device)
        thread, outcome = in_background(lambda: device.measure(kws, None, LONG, on_progress=on_progress))
        assert started.wait(120)
        pi_board.ssh("pkill -STOP -f '[.]pyz worker'")
        thread.join(90)
        assert isinstance(outcome[0], DeviceLostError)
        assert "gave no sign of life for 25 s" in str(outcome[0])
    wait_for(pi_board, AGENT, present=False)


def test_two_runs_on_one_board_wait_for_each_other_and_are_told(pi_board, device, kws):
    on_progress, started = timing(device)
    first, outcome = in_background(lambda: device.measure(kws, None, LONG, on_progress=on_progress))
    assert started.wait(120)
    with (
        opened(pi_board, timeouts=Timeouts(wait_s=1)) as second,
        pytest.raises(DeviceError, match=r"another job \(process \d+\) has held the device"),
    ):
        second.measure(kws, None, SHORT)
    waiting = threading.Event()
    with opened(pi_board, timeouts=Timeouts(wait_s=180)) as third:

        def run():
            return third.measure(kws, None, SHORT, on_progress=lambda event: event.stage == "waiting" and waiting.set())

        thread, found = in_background(run)
        assert waiting.wait(120)
        assert not found, "it waits for as long as the first one holds the board"
        device.transport._link.drop()  # the first one's host is gone: its agent ends, and leaves the board to the third
        thread.join(120)
    first.join(60)
    assert isinstance(outcome[0], DeviceLostError)
    assert found[0].latency.runs["runs"] == 2


def test_a_model_that_fails_when_it_runs_is_the_models_fault(device):
    tokens = np.full((1,), 100)
    with pytest.raises(InvokeError, match="fails when it is run") as caught:
        device.measure(lookup_model(), {"token": tokens}, SHORT)
    assert caught.value.exit_code == 3


def test_a_model_with_an_operator_that_the_runtime_lacks_is_the_models_fault(device, shared_data):
    model = (shared_data / "coral" / "model_invoking_error.tflite").read_bytes()
    with pytest.raises(ModelError, match="lacks an operator of this model") as caught:
        device.measure(model, None, SHORT)
    assert caught.value.exit_code == 3


def test_a_model_that_kills_the_runtime_still_yields_a_reply(device, kws, tmp_path):
    """The host would refuse this file; here the board gets it unchecked.

    Its root table lies 4 GB behind its start: outside what the process may read, whatever lies behind the file.
    """
    from edgeopt.devices import pack_agent

    (tmp_path / "agent.pyz").write_bytes(pack_agent())
    (tmp_path / "astray.tflite").write_bytes(b"\xf0\xff\xff\xff" + kws[4:])
    agent, model = (device.transport.put(tmp_path / name, timeout_s=60) for name in ("agent.pyz", "astray.tflite"))
    fields = {"model": model, "runtime": "tflite_runtime", "bench": {"max_runs": 1, "min_runs": 1, "min_seconds": 0}}
    with Job(device.transport, agent, "measure", fields) as job, pytest.raises(DeviceError, match="killed by SIG"):
        job.result()


def test_noise_of_the_login_shell_does_not_reach_the_numbers(pi_board, device, kws):
    noise = 'printf \'{"nonce":"x","ok":true} welcome\'; echo "motd" >&2\n'
    pi_board.ssh("cat > ~/.bashrc", stdin=noise.encode())
    try:
        assert device.measure(kws, None, SHORT).latency.runs["runs"] == 2
    finally:
        pi_board.ssh("rm ~/.bashrc")


def test_another_protocol_version_is_told_on_both_sides(device, kws, monkeypatch):
    monkeypatch.setattr(runner_module, "PROTOCOL_VERSION", 99)
    with pytest.raises(DeviceError, match=r"speaks protocol 99.*agent speaks \d+.*same edgeopt release"):
        device.measure(kws, None, SHORT)


# ---- what needs a whole machine: memory, disk, clock, link, power --------------------------------------------------


def test_a_full_disk_is_told_with_the_numbers(pi_vm, tmp_path):
    (tmp_path / "big.npy").write_bytes(bytes(40 << 20))
    free_kb = int(pi_vm.ssh("df --output=avail -k / | tail -n 1"))
    pi_vm.ssh(f"fallocate -l {free_kb - 8192}K /filler", user="root")
    try:
        with (
            opened(pi_vm, workdir="/home/pi/full") as device,
            pytest.raises(DeviceError, match=r"needs 40\.0 MiB, and [0-9.]+ MiB are free; free some space"),
        ):
            device.transport.put(tmp_path / "big.npy", timeout_s=120)
    finally:
        pi_vm.ssh("rm -f /filler", user="root")


def test_outputs_that_fill_the_disk_are_a_storage_error(pi_vm, tmp_path):
    samples = np.zeros((16_000, 1000), np.int8)  # 16 MB in, 16 MB out
    model = halving_model(width=1000)
    with opened(pi_vm, workdir="/home/pi/full2") as device:
        np.save(tmp_path / "x.npy", samples)
        free_kb = int(pi_vm.ssh("df --output=avail -k / | tail -n 1"))
        room_kb = (tmp_path / "x.npy").stat().st_size // 1024 + 6144  # for samples, agent and model, not for outputs
        pi_vm.ssh(f"fallocate -l {free_kb - room_kb}K /filler", user="root")
        try:
            with pytest.raises(DeviceError, match=r"No space left on device.*free some space"):
                device.measure(model, {"x": samples}, dataclasses.replace(SHORT, bench=None))
        finally:
            pi_vm.ssh("rm -f /filler", user="root")


def test_the_oom_killer_is_told_and_the_board_lives_on(pi_vm, kws):
    """Its noise alone takes 427 MiB, of the 437 that are free: the system kills the worker, and nobody else.

    Without `min_ttl_ms` an emulated board, which is slow, first throws its programs out of memory again and again, and
    answers nobody meanwhile (Linux, Documentation/admin-guide/mm/multigen_lru.rst, thrashing prevention).
    """
    pi_vm.ssh("cd /sys/kernel/mm/lru_gen && echo y > enabled && echo 1000 > min_ttl_ms", user="root")
    with opened(pi_vm) as device:
        with pytest.raises(DeviceError, match=r"worker was killed by SIGKILL while .*ran out of memory"):
            device.measure(halving_model(width=56_000_000), None, SHORT)
        assert device.measure(kws, None, SHORT).latency.runs["runs"] == 2


def test_a_clock_that_jumps_changes_no_latency_and_check_tells(pi_vm, kws):
    some_seconds = dataclasses.replace(LONG, bench=BenchPlan(min_seconds=6, max_seconds=6, max_runs=10**9, processes=1))
    with opened(pi_vm) as device:
        on_progress, started = timing(device)
        thread, outcome = in_background(lambda: device.measure(kws, None, some_seconds, on_progress=on_progress))
        assert started.wait(120)
        now = int(pi_vm.ssh("date +%s"))
        pi_vm.ssh(f"date -s @{now - 86400}", user="root")
        try:
            thread.join(120)
            samples = outcome[0].latency.samples_ms
            assert (samples > 0).all()
            assert outcome[0].latency.runs["seconds"] < 60
            lines = {line.name: line for line in check(device)}
            assert lines["clock"].status == "warn"
            assert "off by 86" in lines["clock"].found
        finally:
            pi_vm.ssh(f"date -s @{int(time.time())}", user="root")


def test_a_link_that_is_cut_is_noticed_and_the_board_is_clean_when_it_is_back(pi_vm, kws):
    with opened(pi_vm) as device:
        on_progress, started = timing(device)
        thread, outcome = in_background(lambda: device.measure(kws, None, LONG, on_progress=on_progress))
        assert started.wait(120)
        pi_vm.tell_monitor("set_link nic0 off")
        began = time.monotonic()
        try:
            thread.join(120)
            assert isinstance(outcome[0], DeviceLostError)
            assert time.monotonic() - began < 90
        finally:
            pi_vm.tell_monitor("set_link nic0 on")
        pi_vm.wait(60)
        assert device.measure(kws, None, SHORT).latency.runs["runs"] == 2
        wait_for(pi_vm, AGENT, present=False)
        assert pi_vm.ssh(f"ls '{device.transport.workdir}/runs'") == ""


def test_a_board_that_loses_power_is_a_lost_device_and_works_again_after_its_start(pi_vm, kws):
    with opened(pi_vm, workdir="/home/pi/reboot") as device:
        on_progress, started = timing(device)
        thread, outcome = in_background(lambda: device.measure(kws, None, LONG, on_progress=on_progress))
        assert started.wait(120)
        pi_vm.ssh("sync", user="root")
        pi_vm.tell_monitor("system_reset")
        thread.join(120)
        assert isinstance(outcome[0], DeviceLostError)
        pi_vm.wait(120)
        assert device.measure(kws, None, SHORT).latency.runs["runs"] == 2
        assert pi_vm.ssh("ls /home/pi/reboot/runs") == ""


def test_every_path_of_this_file_is_under_tmp_or_home(pi_board):
    """The work folders above are the only places that edgeopt may have written to."""
    recent = pi_board.ssh("find / -xdev -newer /etc/hostname -user pi -type f 2>/dev/null", check=False, timeout_s=120)
    strays = [line for line in recent.splitlines() if not line.startswith(("/tmp/", "/home/pi/", "/proc/", "/dev/"))]
    assert strays == []
