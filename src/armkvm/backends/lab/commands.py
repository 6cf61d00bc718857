"""What `armkvm lab ls`, `run` and `shell` do; values for the command line to print."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from armkvm.backends.lab.command import MAX_PIECE, Piece, encode_file, encode_run
from armkvm.backends.lab.place import LabOptions, initrd, open_lab
from armkvm.backends.lab.qemu import Process, find
from armkvm.backends.lab.setup import CPUS, lacking_cpus
from armkvm.backends.lab.shelf import Shelf
from armkvm.backends.remote import wire
from armkvm.backends.remote.stream import Stream, StreamClosed, StreamTimeout
from armkvm.errors import PlaceError

Output = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class LabState:
    """What the lab has: kernels oldest first, saved machines with their sizes."""

    folder: Path
    qemu: str
    cpus: tuple[str, ...]
    lacking_cpus: tuple[str, ...]
    kernels: tuple[tuple[str, str, str], ...]
    runtime: bool
    machines: tuple[tuple[str, int], ...]


def ls(shelf: Shelf) -> LabState:
    """What is on the shelf; never fails for want of anything."""
    version, lacking = "", list(CPUS)
    with contextlib.suppress(PlaceError):
        qemu = find(shelf)
        version, lacking = qemu.version, lacking_cpus(qemu)
    return LabState(
        folder=shelf.path,
        qemu=version,
        cpus=tuple(cpu for cpu in CPUS if cpu not in lacking),
        lacking_cpus=tuple(lacking),
        kernels=tuple((k.release, k.package, k.sha256) for k in shelf.kernels()),
        runtime=shelf.runtime.exists(),
        machines=tuple((path.stem, size) for path, size in shelf.saved_machines()),
    )


def clear(shelf: Shelf) -> int:
    """Forget all saved machines; the bytes freed."""
    freed = 0
    for path, size in shelf.saved_machines():
        path.unlink(missing_ok=True)
        freed += size
    return freed


def run(
    options: LabOptions,
    words: Sequence[str],
    *,
    files: Mapping[str, bytes] | None = None,
    stdin: bytes = b"",
    out: Output,
    err: Output,
    limit: float = 3600.0,
) -> int:
    """Run a command inside a lab; its exit code. Output is handed on as it comes.

    `files` (path -> contents) are put there first, executable. The lab ends with the command.
    """
    if not words:
        raise ValueError("a command has at least one word")
    deadline = time.monotonic() + limit
    with open_lab(options) as system:
        fd = system.machine.command.fileno()
        system.machine.command.setblocking(False)
        stream = Stream(fd, fd)
        try:
            for path, data in (files or {}).items():
                for at in range(0, max(len(data), 1), MAX_PIECE):
                    piece = encode_file(path, at > 0, data[at : at + MAX_PIECE])
                    stream.write_frame(Piece.FILE, piece, options.timeout)
            stream.write_frame(Piece.RUN, encode_run(list(words), stdin), options.timeout)
            while True:
                kind, body = stream.read_frame(max(0.0, deadline - time.monotonic()))
                if kind == Piece.END:
                    return wire.decode(wire.I64, body)
                (out if kind == Piece.OUT else err)(body)
        except StreamTimeout:
            raise PlaceError(f"{options.uri}: the command did not end within {limit:g} seconds") from None
        except StreamClosed:
            raise PlaceError(f"{options.uri}: the lab ended: {system.machine.last_words()}") from None


def shell(options: LabOptions) -> int:
    """Boot a lab whose console is this terminal, with a shell; returns when it is left."""
    shelf = options.shelf
    boot = options.boot(shelf, interactive=True)
    with initrd(boot.kernel, shelf) as disk:
        path = f"/proc/self/fd/{disk.fileno()}"
        arguments = ["-initrd", path, "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
        process = Process(boot, arguments, [disk.fileno()], interactive=True)
    try:
        return process.wait()
    finally:
        process.close()
