"""SshTransport against a real sshd on an emulated arm64 board: the transport contract, and what goes wrong."""

from __future__ import annotations

import hashlib
import json
import shlex
import socket
import subprocess
import time
from pathlib import Path

import pytest

from edgeopt.devices.transport.base import Transport, content_name
from edgeopt.devices.transport.ssh import SshAddress, SshTransport
from edgeopt.devices.transport.ssh_link import SshLink
from edgeopt.errors import DeviceError, DeviceLostError, UsageError

ODD_NAME = "wörk 'dir\" $x"


def board_test(test):
    """Mark a test that needs the emulated board."""
    return pytest.mark.board(pytest.mark.heavy(test))


@pytest.fixture
def transport(pi_board, request):
    """A transport with a work folder of its own, whose name would break any sloppy quoting."""
    folder = f"/tmp/{ODD_NAME}-{abs(hash(request.node.name))}"
    with SshTransport(SshAddress(pi_board.alias, config=pi_board.config), workdir=folder) as made:
        yield made
        made.remove(made.workdir, timeout_s=30)


@pytest.fixture
def payload(tmp_path):
    """A file of 3 MB that does not compress, under a name that a shell would trip over."""
    path = tmp_path / "mödel $(x) 'a'.tflite"
    path.write_bytes(hashlib.shake_256(b"payload").digest(3_000_001))
    return path


def said(transport, *argv):
    """Run a program on the board and return its output."""
    process = transport.start(argv)
    process.stdin.close()
    output = process.stdout.read().decode()
    assert process.wait(60) == 0, process.stderr.read()
    return output


@pytest.mark.parametrize("host", ["", "-oProxyCommand=touch /tmp/x", "-oProxyCommand=reboot", "-v", "a b", "a\nb"])
def test_a_host_that_ssh_would_take_for_an_option_or_two_words_is_refused(host):
    with pytest.raises(UsageError, match="expected USER@HOST"):
        SshAddress(host)


def test_a_port_out_of_range_is_refused():
    with pytest.raises(UsageError, match="1 to 65535"):
        SshAddress("pi@x", port=70000)


def test_nothing_is_sent_before_it_is_needed():
    SshTransport(SshAddress("nowhere.invalid")).close()


@board_test
def test_it_is_a_transport(transport):
    assert isinstance(transport, Transport)


@board_test
def test_a_file_arrives_whole_under_its_content_name_and_is_not_sent_twice(transport, payload):
    path = transport.put(payload, timeout_s=60)
    assert path == f"{transport.workdir}/files/{content_name(payload)}"
    assert said(transport, "sha256sum", path).split()[0].strip("\\") == hashlib.sha256(payload.read_bytes()).hexdigest()
    before = said(transport, "stat", "-c", "%i %Y", path)
    assert transport.put(payload, timeout_s=60) == path
    assert said(transport, "stat", "-c", "%i %Y", path) == before


@board_test
def test_another_run_finds_the_file_there(transport, payload, pi_board):
    path = transport.put(payload, timeout_s=60)
    before = said(transport, "stat", "-c", "%i", path)
    with SshTransport(SshAddress(pi_board.alias, config=pi_board.config), workdir=transport.workdir) as other:
        assert other.put(payload, timeout_s=60) == path
    assert said(transport, "stat", "-c", "%i", path) == before


@board_test
def test_a_file_comes_back_as_it_went(transport, payload, tmp_path):
    path = transport.put(payload, timeout_s=60)
    transport.get(path, tmp_path / "ba ck", timeout_s=60)
    assert (tmp_path / "ba ck").read_bytes() == payload.read_bytes()


@board_test
def test_an_empty_file_travels_too(transport, tmp_path):
    (tmp_path / "empty.npy").touch()
    path = transport.put(tmp_path / "empty.npy", timeout_s=30)
    transport.get(path, tmp_path / "back", timeout_s=30)
    assert (tmp_path / "back").read_bytes() == b""


@board_test
def test_fetching_what_is_not_there_says_so_and_leaves_no_file(transport, tmp_path):
    with pytest.raises(DeviceError, match="not there"):
        transport.get(f"{transport.workdir}/nothing", tmp_path / "target", timeout_s=30)
    assert list(tmp_path.iterdir()) == []


@board_test
def test_arguments_arrive_exactly(transport):
    words = ["", "a b", "it's", '"$HOME"', "`id`", "*", "\\", "new\nline", "ünï", "-n", "!x"]
    script = "import sys, json; print(json.dumps(sys.argv[1:]))"
    assert json.loads(said(transport, "python3", "-c", script, *words)) == words


@board_test
def test_streams_are_binary_and_stdin_stays_open_until_it_is_closed(transport):
    process = transport.start(["cat"])
    process.stdin.write(bytes(range(256)))
    process.stdin.flush()
    assert process.stdout.read(256) == bytes(range(256))
    with pytest.raises(TimeoutError, match="still runs"):
        process.wait(0.2)
    process.stdin.close()
    assert process.wait(60) == 0


@board_test
@pytest.mark.parametrize(("program", "status"), [("exit 3", 3), ("kill -9 $$", -9), ("kill -SEGV $$", -11)])
def test_the_status_is_the_programs_own(transport, program, status):
    assert transport.start(["sh", "-c", program]).wait(60) == status


@board_test
def test_removing_stays_below_the_work_folder(transport, payload):
    path = transport.put(payload, timeout_s=60)
    transport.remove(path, timeout_s=30)
    transport.remove(path, timeout_s=30)
    assert said(transport, "ls", f"{transport.workdir}/files") == ""
    for elsewhere in ("/home/pi", f"{transport.workdir}/../x", "/"):
        with pytest.raises(DeviceError, match="Refused to remove"):
            transport.remove(elsewhere, timeout_s=30)


@board_test
def test_a_removed_file_is_sent_again(transport, payload):
    transport.remove(transport.put(payload, timeout_s=60), timeout_s=30)
    assert said(transport, "test", "-f", transport.put(payload, timeout_s=60)) == ""


def connections(port: int) -> int:
    """Count this machine's established connections to a TCP port of 127.0.0.1."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2] == f"0100007F:{port:04X}" and row[3] == "01" for row in rows)


@board_test
def test_one_connection_serves_a_whole_run(transport, payload, pi_board):
    assert said(transport, "echo", "first") == "first\n"
    before = connections(pi_board.port)
    assert before >= 1
    transport.put(payload, timeout_s=60)
    holder = transport.start(["cat"])
    assert connections(pi_board.port) == before
    holder.stdin.close()
    holder.wait(60)


@board_test
def test_an_upload_that_was_cut_goes_on_where_it_stopped(transport, payload):
    name = content_name(payload)
    half = payload.read_bytes()[:1_500_000]
    process = transport.start(
        [
            "sh",
            "-c",
            'mkdir -p "$1/files"; : > "$1/.edgeopt-folder"; cat > "$1/files/$2.part"',
            "sh",
            transport.workdir,
            name,
        ]
    )
    process.stdin.write(half)
    process.stdin.close()
    process.wait(60)
    inode = said(transport, "stat", "-c", "%i", f"{transport.workdir}/files/{name}.part")
    path = transport.put(payload, timeout_s=60)
    assert said(transport, "stat", "-c", "%i", path) == inode
    assert said(transport, "sha256sum", path).split()[0].strip("\\") == name.partition(".")[0]


@board_test
def test_a_damaged_beginning_is_thrown_away_and_all_sent_anew(transport, payload):
    name = content_name(payload)
    process = transport.start(
        [
            "sh",
            "-c",
            'mkdir -p "$1/files"; : > "$1/.edgeopt-folder"; cat > "$1/files/$2.part"',
            "sh",
            transport.workdir,
            name,
        ]
    )
    process.stdin.write(b"x" * 1000)
    process.stdin.close()
    process.wait(60)
    path = transport.put(payload, timeout_s=60)
    assert said(transport, "sha256sum", path).split()[0].strip("\\") == name.partition(".")[0]
    assert said(transport, "ls", "-A", f"{transport.workdir}/files").strip().strip("'") == name


@board_test
def test_an_unfinished_upload_that_hangs_does_not_block_the_next(transport, payload):
    name = content_name(payload)
    hold = 'mkdir -p "$1/files"; : > "$1/.edgeopt-folder"; p="$1/files/$2.part"; exec 9>>"$p"; flock -n 9; echo held; cat >/dev/null'
    holder = transport.start(["sh", "-c", hold, "sh", transport.workdir, name])
    assert holder.stdout.readline() == b"held\n"
    path = transport.put(payload, timeout_s=60)
    assert said(transport, "sha256sum", path).split()[0].strip("\\") == name.partition(".")[0]
    holder.stdin.close()
    holder.wait(60)


@board_test
def test_a_connection_that_is_killed_during_an_upload_is_a_lost_device_and_the_next_call_recovers(
    transport, tmp_path, pi_board
):
    big = tmp_path / "big.npy"
    big.write_bytes(hashlib.shake_256(b"big").digest(1 << 20) * 64)
    part = f"{transport.workdir}/files/{content_name(big)}.part"
    # Half way: once 8 of the 64 MiB are there.
    arrived = f"test $(stat -c %s {shlex.quote(part)} 2>/dev/null || echo 0) -gt {8 << 20}"
    kill = f"echo ready; until {arrived}; do sleep 0.05; done; pkill -KILL -u pi"
    argv = ["ssh", "-F", str(pi_board.config), "-l", "root", pi_board.alias, kill]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as killer:
        assert killer.stdout.readline() == b"ready\n"
        with pytest.raises(DeviceLostError, match=r"connection to board was lost; check .* run it again"):
            transport.put(big, timeout_s=60)
    path = transport.put(big, timeout_s=60)
    assert said(transport, "sha256sum", path).split()[0].strip("\\") == hashlib.sha256(big.read_bytes()).hexdigest()


@board_test
def test_a_board_that_stops_answering_runs_into_the_timeout(pi_board, transport, tmp_path):
    (tmp_path / "x.npy").write_bytes(b"x")
    blocker = f"{transport.workdir}/files/{content_name(tmp_path / 'x.npy')}.part"
    said(
        transport,
        "sh",
        "-c",
        'mkdir -p "$1/files"; : > "$1/.edgeopt-folder"; mkfifo "$2"',
        "sh",
        transport.workdir,
        blocker,
    )
    began = time.monotonic()
    with pytest.raises(DeviceLostError, match="no answer within 4 s"):
        transport.put(tmp_path / "x.npy", timeout_s=4)
    assert time.monotonic() - began < 30
    assert said(transport, "echo", "back") == "back\n"


@board_test
def test_a_dropped_connection_is_known_to_be_gone_before_its_client_has_ended(pi_board, monkeypatch):
    link = SshLink(SshAddress(pi_board.alias, config=pi_board.config), "/tmp/dropped")
    try:
        assert link.alive
        monkeypatch.setattr(link._master, "kill", lambda: None)  # as if it took its time to die
        link.drop()
        assert not link.alive
    finally:
        monkeypatch.undo()
        link.close()


@board_test
def test_noise_of_a_login_shell_does_no_harm(pi_board, payload, tmp_path):
    noise = "printf 'Welcome! \\xff{\"ok\":true}'; echo noise >&2\n"
    pi_board.ssh("cat > ~/.bashrc", stdin=noise.encode())
    try:
        assert pi_board.ssh("true").startswith("Welcome!")
        with SshTransport(SshAddress(pi_board.alias, config=pi_board.config), workdir="/tmp/noisy") as noisy:
            path = noisy.put(payload, timeout_s=60)
            noisy.get(path, tmp_path / "back", timeout_s=60)
            noisy.remove(noisy.workdir, timeout_s=30)
        assert (tmp_path / "back").read_bytes() == payload.read_bytes()
    finally:
        pi_board.ssh("rm ~/.bashrc")


@board_test
def test_a_work_folder_that_cannot_be_written_is_named(pi_board, payload):
    wanted = r"Cannot store .* on board: .*/proc/edgeopt.*make the work folder writable"
    address = SshAddress(pi_board.alias, config=pi_board.config)
    with SshTransport(address, workdir="/proc/edgeopt") as bad, pytest.raises(DeviceError, match=wanted):
        bad.put(payload, timeout_s=30)


def test_a_refused_connection_says_how_to_switch_ssh_on():
    with pytest.raises(DeviceError, match="refused the connection; switch its SSH server on"):
        SshTransport(SshAddress("127.0.0.1", port=1)).workdir  # noqa: B018


def test_a_name_that_does_not_resolve_says_so():
    with pytest.raises(DeviceError, match="its name is not known"):
        SshTransport(SshAddress("nowhere.invalid")).workdir  # noqa: B018


def test_a_host_that_never_answers_runs_into_the_timeout(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = SshAddress("127.0.0.1", port=deaf.getsockname()[1], connect_timeout_s=1)
        with pytest.raises(DeviceError, match="it does not answer; check its power"):
            SshTransport(address).workdir  # noqa: B018


@board_test
def test_a_wrong_user_is_told_to_copy_a_key(pi_board):
    with pytest.raises(DeviceError, match="refused the login; check the user name, and copy your key"):
        SshTransport(SshAddress(f"nobody@{pi_board.alias}", config=pi_board.config)).workdir  # noqa: B018


def changed_hosts(pi_board, tmp_path, known: str) -> Path:
    """Return an ssh_config like the board's, with another known_hosts."""
    (tmp_path / "known").write_text(known)
    text = pi_board.config.read_text().replace(str(pi_board.folder / "known_hosts"), str(tmp_path / "known"))
    (tmp_path / "config").write_text(text.replace("StrictHostKeyChecking yes\n", ""))
    return tmp_path / "config"


@board_test
def test_an_unknown_host_key_is_never_accepted_silently(pi_board, tmp_path):
    config = changed_hosts(pi_board, tmp_path, "")
    with pytest.raises(DeviceError, match="host key is not known here; connect once by hand"):
        SshTransport(SshAddress(pi_board.alias, config=config)).workdir  # noqa: B018
    assert (tmp_path / "known").read_text() == ""


@board_test
def test_a_changed_host_key_is_refused(pi_board, tmp_path):
    other = pi_board.identity.with_name("id.pub").read_text().split()[1]
    config = changed_hosts(pi_board, tmp_path, f"[127.0.0.1]:{pi_board.port} ssh-ed25519 {other}\n")
    with pytest.raises(DeviceError, match="host key is not the one that is known"):
        SshTransport(SshAddress(pi_board.alias, config=config)).workdir  # noqa: B018
