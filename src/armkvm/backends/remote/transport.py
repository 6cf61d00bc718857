"""What carries a connection: a command's pipes, ssh, a Unix socket, a pair of descriptors."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from typing import IO

from armkvm.backends.remote.stream import Stream
from armkvm.errors import PlaceError, UnknownPlace

_SSH_FAILED = 255  # its exit code where the command's own is not known
_LAST_WORDS = 4096
_GRACE = 2.0
"""Seconds that a command has to end by itself after its input was closed, and after SIGTERM."""

# What runs at the far end of ssh:// unless `?agent=COMMAND` says otherwise: an installed armkvm,
# else the single file that `armkvm agent --zipapp armkvm-agent.pyz` wrote.
REMOTE_COMMAND = (
    "if command -v armkvm >/dev/null; then exec armkvm agent; "
    "elif [ -e armkvm-agent.pyz ]; then exec python3 armkvm-agent.pyz; "
    "else echo 'no armkvm here; write an agent with `armkvm agent --zipapp armkvm-agent.pyz` "
    "and copy it to the home directory of this host' >&2; exit 127; fi"
)


class CommandTransport:
    """The standard input and output of a command that we start and end."""

    def __init__(self, command: Sequence[str]) -> None:
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise PlaceError(f"cannot start {command[0]}: {error.strerror}") from None
        self._is_ssh = command[0] == "ssh"
        self._pipes = _pipes(self._process)
        write_fd, read_fd, _ = (pipe.fileno() for pipe in self._pipes)
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        self.stream = Stream(read_fd, write_fd)
        self._words = bytearray()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        fd = self._pipes[2].fileno()
        with contextlib.suppress(OSError):
            while data := os.read(fd, _LAST_WORDS):
                self._words += data
                del self._words[:-_LAST_WORDS]

    def last_words(self) -> str:
        """The end of what the command wrote to standard error, and how it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        self._listener.join(0.5)
        text = bytes(self._words).decode("utf-8", "replace").strip()
        code = self._process.poll()
        if self._is_ssh and code == _SSH_FAILED:
            text += (
                "; ssh may ask nothing here: it must know the host, and have a key it needs no password for"
            )
        return text or ("" if code is None else f"(nothing; exit code {code})")

    def close(self) -> None:
        process = self._process
        for pipe in self._pipes[:2]:
            with contextlib.suppress(OSError):
                pipe.close()
        for signal_number in (None, signal.SIGTERM, signal.SIGKILL):
            if signal_number is not None:
                process.send_signal(signal_number)
            try:
                process.wait(_GRACE)
                break
            except subprocess.TimeoutExpired:
                continue
        self._listener.join(_GRACE)
        if not self._listener.is_alive():
            self._pipes[2].close()


def _pipes(process: subprocess.Popen[bytes]) -> list[IO[bytes]]:
    """Standard input, output and error, which Popen was asked to be pipes."""
    return [pipe for pipe in (process.stdin, process.stdout, process.stderr) if pipe]


class SocketTransport:
    """A connected socket, which it owns."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        connected.setblocking(False)
        self.stream = Stream(connected.fileno(), connected.fileno())

    def last_words(self) -> str:
        return ""

    def close(self) -> None:
        self._socket.close()


def command_of_exec(rest: str) -> list[str]:
    """``exec:COMMAND``: the words of a shell-like line; no shell interprets it."""
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise UnknownPlace(f"exec:{rest}: {error}") from None
    if not words:
        raise UnknownPlace("exec: needs a command, as in exec:'python3 armkvm-agent.pyz'")
    return words


def command_of_ssh(rest: str, agent: str | None) -> list[str]:
    """``ssh://[user@]host[:port]``: the ssh command line. Never asks for a password."""
    target = rest.removeprefix("//").rstrip("/")
    host, colon, port = target.rpartition(":")
    if not colon or target.endswith("]"):
        host, port = target, ""
    if port and not port.isdecimal():
        raise UnknownPlace(f"ssh://{target}: {port!r} is no port number")
    user, at, name = host.rpartition("@")
    name = name.removeprefix("[").removesuffix("]")
    if not name or name.startswith("-") or user.startswith("-") or "/" in name or (at and not user):
        raise UnknownPlace(f"ssh:{rest}: write ssh://[user@]host[:port]")
    command = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]
    if port:
        command += ["-p", port]
    return [*command, "--", f"{user}@{name}" if user else name, agent or REMOTE_COMMAND]


def connect_socket(path: str, timeout: float = 10.0) -> SocketTransport:
    """``unix:PATH``: the socket that ``armkvm agent --socket PATH`` made."""
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connecting.settimeout(timeout)
    try:
        connecting.connect(path)
    except OSError as error:
        connecting.close()
        reason = error.strerror or error
        raise PlaceError(
            f"unix:{path}: {reason}; start an agent there with `armkvm agent --socket {shlex.quote(path)}`"
        ) from None
    return SocketTransport(connecting)
