"""Which QEMU runs the lab, what makes two of its machines the same, and the process itself."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armkvm.backends.lab import supervisor
from armkvm.backends.lab.shelf import SETUP_HINT, Kernel, Shelf
from armkvm.errors import PlaceError

PROGRAM = "qemu-system-aarch64"
_TAIL = 2000
Answer = Any  # what a monitor command returns: JSON, different for each


@dataclass(frozen=True, slots=True)
class Qemu:
    """A QEMU: the words that start it, and the file that is it."""

    command: tuple[str, ...]
    program: Path

    @property
    def identity(self) -> str:
        """Changes whenever the program does: saved machines fit one build only."""
        facts = self.program.stat()
        return f"{self.program} {facts.st_size} {facts.st_mtime_ns}"

    def ask(self, *words: str) -> str:
        """What it prints when asked for ``--version``, ``-cpu help`` and the like."""
        try:
            answer = subprocess.run([*self.command, *words], capture_output=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise PlaceError(f"{self.program} does not work: {error}") from None
        return answer.stdout.decode("utf-8", "replace")

    @property
    def version(self) -> str:
        return self.ask("--version").splitlines()[0]

    def cpus(self) -> frozenset[str]:
        """The CPU models it knows for the virtual board."""
        lines = self.ask("-M", "virt", "-cpu", "help").splitlines()
        return frozenset(line.strip() for line in lines if line.startswith("  "))


def find(shelf: Shelf, named: str = "") -> Qemu:
    """The QEMU to use: the one named, the one on the shelf, or the system's."""
    if named:
        program = shutil.which(named)
        if program is None:
            raise PlaceError(f"qemu={named}: no such program")
        return Qemu((program,), Path(program))
    private = private_qemu(shelf.qemu)
    if private is not None:
        return private
    program = shutil.which(PROGRAM)
    if program is None:
        raise PlaceError(f"this machine has no {PROGRAM}; {SETUP_HINT}")
    return Qemu((program,), Path(program))


def private_qemu(root: Path) -> Qemu | None:
    """A QEMU unpacked from packages below `root`, with the libraries it brought along."""
    program = root / "usr/bin" / PROGRAM
    if not program.exists():
        return None
    libraries = sorted({str(path.parent) for path in root.glob("**/lib*.so*")})
    search = f"LD_LIBRARY_PATH={':'.join(libraries)}"
    return Qemu(("env", search, str(program), "-L", str(root / "usr/share/qemu")), program)


@dataclass(frozen=True, slots=True)
class Boot:
    """All that decides what a booted machine is."""

    qemu: Qemu
    kernel: Kernel
    cpu: str
    machine: str
    memory: int
    append: str

    def arguments(self) -> list[str]:
        return [
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            *("-M", self.machine, "-cpu", self.cpu, "-accel", "tcg", "-smp", "1", "-m", f"{self.memory}M"),
            *("-kernel", str(self.kernel.image), "-append", self.append),
            *("-device", "virtio-serial-pci"),
        ]

    def key(self, code: bytes) -> str:
        """Names the machine that booted from this with `code` inside; equal only if all is equal."""
        image = self.kernel.image.stat()
        facts = [self.qemu.identity, *self.arguments(), f"{image.st_size} {image.st_mtime_ns}"]
        digest = hashlib.sha256("\0".join(facts).encode() + b"\0" + code).hexdigest()
        return digest[:32]


class Process:
    """A running QEMU. It ends with its owner: closing, exiting and being killed are all the same."""

    def __init__(
        self, boot: Boot, extra: Sequence[str], descriptors: Sequence[int], interactive: bool = False
    ) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        read_end, self._lifeline = os.pipe()
        command = [
            sys.executable,
            "-I",
            "-S",
            str(Path(supervisor.__file__)),
            str(os.getpid()),
            str(read_end),
        ]
        command += [*boot.qemu.command, *boot.arguments(), *extra]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=None if interactive else subprocess.DEVNULL,
                stdout=None if interactive else self._words,
                stderr=self._words,
                pass_fds=(read_end, *descriptors),
                start_new_session=True,
                env={"PATH": os.defpath},
            )
        except BaseException:
            os.close(self._lifeline)
            self._words.close()
            raise
        finally:
            os.close(read_end)

    def wait(self, timeout: float | None = None) -> int:
        return self._process.wait(timeout)

    def running(self) -> bool:
        return self._process.poll() is None

    def words(self) -> str:
        """The end of what QEMU said."""
        self._words.seek(max(0, self._words.seek(0, os.SEEK_END) - _TAIL))
        return self._words.read().decode("utf-8", "replace").strip()

    def close(self) -> None:
        """End QEMU and wait for that."""
        if self._lifeline < 0:
            return
        os.close(self._lifeline)
        self._lifeline = -1
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._words.close()


class Monitor:
    """QEMU's monitor protocol (QMP) over a connected socket; every wait is bounded."""

    def __init__(self, connected: socket.socket, timeout: float) -> None:
        self._socket = connected
        self._deadline = time.monotonic() + timeout
        self._buffer = b""
        self._receive()  # the greeting
        self.execute("qmp_capabilities")

    def allow(self, timeout: float) -> None:
        """So many seconds from now for all that is asked next."""
        self._deadline = time.monotonic() + timeout

    def execute(self, command: str, **arguments: object) -> Answer:
        request = {"execute": command, "arguments": arguments} if arguments else {"execute": command}
        self._socket.settimeout(self._remaining())
        self._socket.sendall(json.dumps(request).encode())
        return self._answer(command)

    def _answer(self, command: str) -> Answer:
        while True:  # events may come before
            answer = self._receive()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise PlaceError(f"QEMU refused {command}: {answer['error'].get('desc')}")

    def _receive(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            self._socket.settimeout(self._remaining())
            data = self._socket.recv(1 << 16)
            if not data:
                raise PlaceError("QEMU closed its monitor")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def _remaining(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("QEMU's monitor did not answer in time")
        return remaining

    def save(self, fd: int) -> None:
        """Write the machine to a file open for writing, and let it run on."""
        self._offer(fd, lambda uri: self.execute("migrate", uri=uri))
        while (status := self.execute("query-migrate").get("status")) in {"setup", "active", "device", None}:
            time.sleep(0.005)
        if status != "completed":
            raise PlaceError(f"QEMU could not save the machine: {status}")
        self.execute("cont")

    def resume(self, fd: int) -> None:
        """Take over the machine in a file open for reading; QEMU was started to wait for one."""
        self._offer(fd, lambda uri: self.execute("migrate-incoming", uri=uri))

    def _offer(self, fd: int, use: Callable[[str], object]) -> None:
        """Hand a file to QEMU, in the way it knows: a set of descriptors from 8.2 on, before by name."""
        try:
            fdset = self._send("add-fd", fd)["fdset-id"]
            use(f"file:/dev/fdset/{fdset}")
        except PlaceError:
            self._send("getfd", fd, fdname="image")
            use("fd:image")

    def _send(self, command: str, fd: int, **arguments: object) -> Answer:
        self._socket.settimeout(self._remaining())
        request = json.dumps({"execute": command, "arguments": arguments}).encode()
        socket.send_fds(self._socket, [request], [fd])
        return self._answer(command)


def owned_pair(owned: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[socket.socket, int]:
    """(our end of a new connection, QEMU's descriptor of the other); each stack closes its end."""
    ours, other = socket.socketpair()
    owned.callback(ours.close)
    theirs.callback(other.close)
    return ours, other.fileno()
