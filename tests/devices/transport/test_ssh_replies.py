"""What a board's script may say besides what it should: `SshTransport.get` and `put` end in a device's error."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.devices.transport.base import PipedProcess
from edgeopt.devices.transport.ssh import SshAddress, SshTransport
from edgeopt.devices.transport.ssh_scripts import Conversation
from edgeopt.errors import DeviceError, DeviceLostError


class Saying(SshTransport):
    """A board on which every script prints the same, after a nonce N; its work folder is /w."""

    def __init__(self, printed: str) -> None:
        super().__init__(SshAddress("board"))
        self._printed = printed

    workdir = "/w"  # type: ignore[assignment]

    def _script(self, script: str, *arguments: str, timeout_s: float) -> Conversation:
        process = PipedProcess(["sh", "-c", 'printf "$1"; exec cat > /dev/null', "sh", self._printed], name="board")
        return Conversation(process, "N", "board", timeout_s=timeout_s, on_timeout=process.kill)


@pytest.mark.parametrize(
    ("printed", "error", "message"),
    [
        (r"\nN size 5\nabc", DeviceLostError, "gave no answer|was lost"),
        (r"\nN size many\n", DeviceError, "said 'many'; expected a number of bytes"),
        (r"\nN size 999999999999999\n", DeviceError, "MiB are free here"),
        (r"\nN sent 3\nabc", DeviceLostError, "was lost|gave no answer"),
        (r"\nN error \033[31mno\n", DeviceError, "Cannot fetch /x on board: no; run it again"),
    ],
)
def test_fetching(printed: str, error: type[DeviceError], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        Saying(printed).get("/x", tmp_path / "x", timeout_s=1.5)
    assert not any(tmp_path.iterdir())


def test_fetching_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="Cannot write .*No such file or directory; free some space"):
        Saying(r"\nN size 3\nabc").get("/x", tmp_path / "gone" / "x", timeout_s=1.5)


def test_a_file_that_goes_before_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "x.bin"
    source.write_bytes(b"abc")
    board = Saying(r"\nN send 0\n")
    monkeypatch.setattr(
        board,
        "_script",
        lambda *words, timeout_s: (source.unlink(), Saying._script(board, *words, timeout_s=timeout_s))[1],
    )
    with pytest.raises(DeviceError, match="Cannot ship .*No such file"):
        board.put(source, timeout_s=1.5)


def test_a_board_that_asks_for_what_lies_behind_the_end(tmp_path: Path) -> None:
    source = tmp_path / "x.bin"
    source.write_bytes(b"abc")
    with pytest.raises(DeviceError, match="arrived with another SHA-256, twice"):
        Saying(r"\nN send 99999999999\n\nN damaged\n").put(source, timeout_s=3)
