"""The small programs that `SshTransport` runs on a board, in POSIX sh with coreutils, and how it talks to them.

Login banners and ``.bashrc`` may print anything before (and, without a newline at its end, right up to) what a script
prints. So each line that counts starts on a new line and with a nonce, and all before it is skipped.
"""

from __future__ import annotations

import shlex
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from ...errors import DeviceError, DeviceLostError
from ..agent.claim import MARKER, OWN, TEXT
from .base import CHUNK_BYTES, Process
from .words import clean, lines, shown

TAIL_LINES = 20

_HEAD = r"""
n=$1; shift
say() { printf '\n%s %s\n' "$n" "$1"; }
fail() { say "error $1"; exit 0; }
umask 077
LC_ALL=C; export LC_ALL
unset CDPATH
"""

# The rules of `edgeopt.devices.agent.claim`. `look` ends the script unless the folder may be edgeopt's, and says in r
# where it is; `inside` says in o whether there is anything in it that edgeopt could have put there, and ends at the
# first thing that it could not; `claim` makes the folder edgeopt's.
_FOLDER = (
    rf"""
k={MARKER}
text={shlex.quote(TEXT)}
own() {{ case $1 in {"|".join(OWN)}) return 0 ;; esac; return 1; }}
"""
    + r"""
look() {
  [ -L "$1" ] && fail "refuse it is a symbolic link"
  [ -d "$1" ] || fail "refuse it is not a folder"
  r=$(cd -P -- "$1" 2>&1 && pwd -P) || fail "write $r"
  h=$(cd -P -- "$HOME" 2> /dev/null && pwd -P) || h=$HOME
  case $h/ in "${r%/}"/*) fail "refuse it is the home folder, or above it" ;; esac
  [ -O "$r" ] || fail "refuse it belongs to another user"
  [ -r "$r" ] || fail "refuse it may not be read"
  for e in "$r"/* "$r/$k"; do
    [ -L "$e" ] || continue
    e=${e##*/}
    if own "$e" || [ "$e" = "$k" ]; then fail "refuse $e in it is a symbolic link"; fi
  done
}
inside() {
  o=
  for e in "$r"/* "$r"/.[!.]* "$r"/..?*; do
    [ -e "$e" ] || [ -L "$e" ] || continue
    own "${e##*/}" || fail "strange ${e##*/}"
    o=1
  done
}
claim() {
  [ -L "$1" ] && fail "refuse it is a symbolic link"
  m=$(mkdir -p -- "$1" 2>&1) || fail "write $m"
  look "$1"
  [ -f "$r/$k" ] && return
  inside
  [ -z "$o" ] || [ "$2" = adopt ] || fail "unmarked $k"
  m=$( { : > "$r/$k"; } 2>&1 ) || fail "write $m"
  printf '%s' "$text" > "$r/$k" 2> /dev/null
}
"""
)

# Arguments: work folder, "adopt" or "".
CLAIM = (
    _HEAD
    + _FOLDER
    + r"""
claim "$1" "$2"
say claimed
"""
)

# Argument: work folder. Changes nothing.
LOOK = (
    _HEAD
    + _FOLDER
    + r"""
[ -e "$1" ] || [ -L "$1" ] || { say free; exit 0; }
look "$1"
[ -f "$r/$k" ] && { say own; exit 0; }
inside
[ -z "$o" ] || fail "unmarked $k"
say free
"""
)

# Says where the home and the work folder are, and stays until the host closes its end: then the connection ends, too.
HELLO = (
    _HEAD
    + r"""
w=$1
case $w in /*) ;; *) w=$HOME/$w ;; esac
say "home $HOME"
say "work $w"
exec cat > /dev/null
"""
)

# Arguments: work folder, name, size, SHA-256. Takes the rest of a file that an earlier try began, or all of it. Only a
# whole file with the right hash gets its name. A second writer, or a first one that hangs, is no obstacle: a part that
# is locked is left alone, and another begun.
PUT = (
    _HEAD
    + _FOLDER
    + r"""
claim "$1" ""
d=$1/files; f=$d/$2; z=$3; h=$4
m=$(mkdir -p -- "$d" 2>&1) || fail "write $m"
[ -f "$f" ] && { say have; exit 0; }
p=$f.part
m=$( { : >> "$p"; } 2>&1 ) || fail "write $m"
exec 9>> "$p"
if ! flock -n 9; then p=$f.$n.part; : > "$p"; exec 9>> "$p"; flock -n 9; fi
s=$(($(wc -c < "$p")))
if [ "$s" -gt "$z" ]; then : > "$p"; s=0; fi
set -- $(df -Pk -- "$d" | tail -n 1)
if [ "$(((z - s) / 1024))" -ge "$4" ]; then
  [ "$s" -gt 0 ] || rm -f -- "$p"
  fail "full $4"
fi
say "send $s"
m=$(cat 2>&1 >> "$p") || { rm -f -- "$p"; fail "write $m"; }
[ "$(($(wc -c < "$p")))" -lt "$z" ] && { say short; exit 0; }
set -- $(sha256sum < "$p")
[ "$1" = "$h" ] || { rm -f -- "$p"; say damaged; exit 0; }
sync -- "$p" 2> /dev/null
m=$(mv -f -- "$p" "$f" 2>&1) || fail "write $m"
rm -f -- "$f".*.part
say stored
"""
)

# Argument: path.
GET = (
    _HEAD
    + r"""
[ -f "$1" ] || fail "it is not there"
[ -r "$1" ] || fail "it may not be read"
say "size $(($(wc -c < "$1")))"
exec cat -- "$1"
"""
)

# Arguments: work folder, path below it or "" for all. A folder without a mark is left alone, and no link is followed.
REMOVE = (
    _HEAD
    + _FOLDER
    + r"""
[ -e "$1" ] || [ -L "$1" ] || { say removed; exit 0; }
look "$1"
if ! [ -f "$r/$k" ]; then
  inside
  [ -z "$o" ] || fail "unmarked $k"
  say removed; exit 0
fi
t=$2
if [ -z "$t" ]; then
  m=$(rm -rf -- "$r" 2>&1) || fail "remove $m"
  say removed; exit 0
fi
cd -P -- "$r"
while :; do
  case $t in
    */*)
      e=${t%%/*}; t=${t#*/}
      [ -L "./$e" ] && fail "refuse $e in it is a symbolic link"
      cd -P -- "./$e" 2> /dev/null || { say removed; exit 0; } ;;
    *) break ;;
  esac
done
m=$(rm -rf -- "./$t" 2>&1) || fail "remove $m"
say removed
"""
)


class Conversation:
    """One running script; a context manager that ends it.

    When the time is over, `on_timeout` must end the process, so that reads and writes here come back.
    """

    def __init__(
        self, process: Process, nonce: str, name: str, *, timeout_s: float, on_timeout: Callable[[], None]
    ) -> None:
        """Take over a process that has just been started; `name` is the device in messages."""
        self._process, self._nonce, self._name = process, nonce.encode(), name
        self._timeout_s, self._on_timeout = timeout_s, on_timeout
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._late = threading.Event()
        self._timer = threading.Timer(timeout_s, self._expire)
        self._reader = threading.Thread(target=self._read_stderr, args=(process.stderr,), daemon=True)

    def __enter__(self) -> Conversation:
        self._timer.daemon = True
        self._timer.start()
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with suppress(OSError):
            self._process.stdin.close()
        if kind is not None:
            self._process.kill()
        with suppress(TimeoutError):
            self._process.wait(5.0)
        self._process.kill()
        self._reader.join(5.0)
        for stream in (self._process.stdout, self._process.stderr):
            with suppress(OSError):
                stream.close()

    def answer(self) -> tuple[str, str]:
        """Return the first word and the rest of the script's next line.

        Raises:
            DeviceLostError: It ended, or took too long.
            DeviceError: The script reports that it cannot do its work.
        """
        for line in lines(self._process.stdout):
            head, _, rest = line.rstrip(b"\n").partition(b" ")
            if head == self._nonce:
                word, _, text = rest.decode("utf-8", "surrogateescape").partition(" ")
                return word, clean(text) if word == "error" else text
        raise self.lost()

    def send(self, stream: IO[bytes]) -> None:
        """Send the rest of a file; an end of the other side shows in the next `answer`."""
        with suppress(BrokenPipeError):
            while block := stream.read(CHUNK_BYTES):
                self._process.stdin.write(block)
            self._process.stdin.flush()
        with suppress(OSError):
            self._process.stdin.close()

    def receive(self, size: int, target: IO[bytes]) -> None:
        """Write the next `size` bytes that the script prints to `target`.

        Raises:
            DeviceLostError: There are fewer.
        """
        left = size
        while left:
            block = self._process.stdout.read(min(left, CHUNK_BYTES))
            if not block:
                raise self.lost()
            target.write(block)
            left -= len(block)

    def relax(self) -> None:
        """Forget the timeout: what follows may take as long as it likes."""
        self._timer.cancel()

    def words(self) -> str:
        """Return the end of what it said on stderr."""
        self._reader.join(1.0)
        return " | ".join(self._tail)

    def lost(self) -> DeviceLostError:
        """Return the error for an end without an answer."""
        said = self.words()
        last = f" Its last words were: {said}" if said else ""
        what = f"gave no answer within {self._timeout_s:g} s" if self._late.is_set() else "was lost"
        return DeviceLostError(
            f"The connection to {self._name} {what}; check the device's power and link, and run it again.{last}"
        )

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return self._late.is_set()

    def _expire(self) -> None:
        self._late.set()
        self._on_timeout()

    def _read_stderr(self, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError):
            for line in lines(stream):
                if line.strip():
                    self._tail.append(shown(line))


def refuse(name: str, what: str, reason: str, remedy: str) -> DeviceError:
    """Return the error for something that a script cannot do."""
    return DeviceError(f"Cannot {what} on {name}: {reason or 'no reason given'}; {remedy}.")


def count(text: str, name: str) -> int:
    """Return a number that a script has said.

    Raises:
        DeviceError: It is none.
    """
    if not text.isdecimal() or len(text) > 18:
        raise DeviceError(f"{name} said {clean(text, 50)!r}; expected a number of bytes. Check the device.")
    return int(text)


def check_size(source: Path, size: int, name: str) -> None:
    """Raise when a file has changed its size since it was hashed.

    Raises:
        DeviceError: It has.
    """
    if source.stat().st_size != size:
        raise DeviceError(f"Cannot ship {source} to {name}: it changed meanwhile; run it again.")
