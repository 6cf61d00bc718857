"""What runs inside the lab's machine: the agent on one virtio port, commands on another."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import IO

from armkvm.backends.devkvm import open_place
from armkvm.backends.devkvm.system import DevKvmSystem
from armkvm.backends.lab.command import MAX_PIECE, Piece, decode_file, decode_run
from armkvm.backends.remote import wire
from armkvm.backends.remote.agent import serve
from armkvm.backends.remote.stream import Stream, StreamClosed
from armkvm.errors import PlaceError

AGENT_PORT, COMMAND_PORT = "armkvm.agent", "armkvm.command"
_PORTS = Path("/sys/class/virtio-ports")
_PORT_WAIT = 20.0
_COARSE = 6  # CLOCK_MONOTONIC_COARSE
_CLOCK_WAIT = 1.0


def _open_port(name: str) -> int:
    """The virtio port that the host gave this name."""
    deadline = time.monotonic() + _PORT_WAIT
    while time.monotonic() < deadline:
        for told in _PORTS.glob("*/name"):
            if told.read_text().strip() == name:
                return os.open(f"/dev/{told.parent.name}", os.O_RDWR | os.O_CLOEXEC)
        time.sleep(0.01)
    raise FileNotFoundError(f"no virtio port is called {name}")


def serve_commands(stream: Stream) -> None:
    """Do what comes over the command port, until the host goes away."""
    try:
        while True:
            kind, body = stream.read_frame(None)
            if kind == Piece.FILE:
                _put(*decode_file(body))
            elif kind == Piece.RUN:
                _run(stream, *decode_run(body))
    except StreamClosed:
        return


def _put(path: str, append: bool, data: bytes) -> None:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("ab" if append else "wb") as file:
        file.write(data)
    target.chmod(0o700)


def _run(stream: Stream, words: list[str], stdin: bytes) -> None:
    from subprocess import PIPE, Popen

    try:
        process = Popen(words, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd="/run")
    except OSError as error:
        stream.write_frame(Piece.ERR, f"{words[0] if words else ''}: {error.strerror}\n".encode())
        stream.write_frame(Piece.END, wire.encode(wire.I64, 127))
        return
    lock = threading.Lock()

    def forward(source: IO[bytes] | None, kind: Piece) -> None:
        while source and (data := os.read(source.fileno(), MAX_PIECE)):
            with lock:
                stream.write_frame(kind, data)

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError):
            if process.stdin:
                with process.stdin as sink:
                    sink.write(stdin)

    threads = [
        threading.Thread(target=forward, args=(process.stdout, Piece.OUT)),
        threading.Thread(target=forward, args=(process.stderr, Piece.ERR)),
        threading.Thread(target=feed),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stream.write_frame(Piece.END, wire.encode(wire.I64, process.wait()))


def _check_clock() -> None:
    """PlaceError if the kernel's timer does not fire, as in some machines that were resumed.

    QEMU saves EL2's timer registers, but not that they are running. The kernel sets its timer
    again once it wakes up and finds something due at another time, which it mostly does. If it was
    to tick just then, it waits for that for ever; and so do RCU and whoever needs it, such as the last
    close of a VM. The coarse clock tells, for it is the tick that moves it on.
    """
    began, deadline = time.clock_gettime(_COARSE), time.monotonic() + _CLOCK_WAIT
    while time.monotonic() < deadline:
        if time.clock_gettime(_COARSE) != began:
            return
    raise PlaceError("the machine's clock stands still: its timer was lost when it was saved")


def _open_place() -> DevKvmSystem:
    _check_clock()
    return open_place("", {})


def _command_thread() -> None:
    fd = _open_port(COMMAND_PORT)
    serve_commands(Stream(fd, fd))


def main() -> None:
    """Serve until the host goes away, then switch the machine off."""
    try:
        threading.Thread(target=_command_thread, daemon=True).start()
        fd = _open_port(AGENT_PORT)
        stream = Stream(fd, fd)
        while serve(stream, _open_place, hello_timeout=None):
            pass
    finally:
        os.sync()
        os.execv("/bin/busybox", ["busybox", "poweroff", "-f"])  # noqa: S606 - the last thing there is to do


if __name__ == "__main__":
    main()
