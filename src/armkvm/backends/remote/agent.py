"""The agent: serves a place over a byte stream. Needs nothing but Python's standard library.

It listens on nothing by itself: it serves its standard input and output, or a Unix socket that
it makes with mode 0600. A session ends when the client says so, goes away, or breaks the
format; everything it had opened is closed then.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import stat
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from armkvm.backends.register_layout import RegisterLayout
from armkvm.backends.remote import wire
from armkvm.backends.remote.refusals import encode_error
from armkvm.backends.remote.stream import Stream, StreamClosed, StreamTimeout
from armkvm.backends.remote.wire import Kind, WireError
from armkvm.errors import KvmError, PlaceError

HELLO_TIMEOUT = 60.0
MAX_HANDLES = 4096
MAX_SESSIONS = 16

Target = Any
"""One of the protocol's handles; what a CALL names may be any of them."""
OpenPlace = Callable[[], Target]
"""Opens the place to serve: anything with `backends.base.System`'s methods."""


class Session:
    """One client's handles: 0 is the place, the others are numbered as they are created."""

    def __init__(self, system: Target) -> None:
        self._handles: dict[int, Target] = {0: system}
        self._next = 1
        self._layout: RegisterLayout | None = None

    def perform(self, body: bytes) -> bytes:
        """Do what a CALL says; the body of its ANSWER. A refusal raises."""
        handle, row, arguments = wire.decode_call(body)
        target = self._handles.get(handle)
        if target is None:
            raise ValueError(f"handle {handle} is closed or was never given")
        if row.method == "close":
            return self._close(handle, target)
        method = getattr(target, row.method, None)
        if method is None:
            raise ValueError(f"{type(target).__name__} has no {row.method}")
        special = self._SPECIAL.get(row.method)
        result = method(*arguments) if special is None else special(self, target, *arguments)
        if row.result is wire.HANDLE or (row.result is wire.OPTIONAL_HANDLE and result is not None):
            result = self._adopt(result)
        return wire.encode(row.result, result)

    def _adopt(self, thing: Target) -> int:
        if len(self._handles) >= MAX_HANDLES:
            thing.close()
            raise ValueError(f"{MAX_HANDLES} handles are open; close some first")
        number = self._next
        self._handles[number] = thing
        self._next += 1
        return number

    def _close(self, handle: int, target: Target) -> bytes:
        if handle:
            target.close()
            del self._handles[handle]
        return b""

    def close(self) -> None:
        """Close everything, the youngest first."""
        while self._handles:
            _, thing = self._handles.popitem()
            thing.close()

    # -- calls whose message is not just a list of arguments ------------------------------------

    def _enable_cap(self, target: Target, cap: int, args: tuple[int, ...], flags: int) -> None:
        target.enable_cap(cap, *args, flags=flags)

    def _get_regs(self, target: Target, regs: tuple[int, ...]) -> bytes:
        layout = self._layout_of(regs)
        _check_answer(layout.total)
        return layout.join(target.get_regs(layout.regs))

    def _set_regs(self, target: Target, regs: tuple[int, ...], block: bytes) -> None:
        layout = self._layout_of(regs)
        if len(block) != layout.total:
            raise WireError(f"{len(regs)} registers hold {layout.total} bytes, and {len(block)} came")
        target.set_regs(zip(layout.regs, layout.split(block), strict=True))

    def _layout_of(self, regs: tuple[int, ...]) -> RegisterLayout:
        self._layout = RegisterLayout.of(regs, self._layout)
        return self._layout

    def _read_memory(self, target: Target, guest_address: int, size: int) -> wire.Value:
        _check_answer(size)
        return target.read_memory(guest_address, size)

    def _run(
        self, target: Target, immediate_exit: bool, mmio_data: bytes, instructions: int | None
    ) -> wire.Value:
        return target.run(immediate_exit, mmio_data=mmio_data, instructions=instructions)

    def _get_attr(self, target: Target, group: int, attr: int, size: int) -> wire.Value:
        _check_answer(size)
        return target.get_attr(group, attr, size)

    _SPECIAL: ClassVar[dict[str, Callable[..., Any]]] = {
        "enable_cap": _enable_cap,
        "get_regs": _get_regs,
        "set_regs": _set_regs,
        "read_memory": _read_memory,
        "run": _run,
        "get_attr": _get_attr,
    }


def _check_answer(size: int) -> None:
    if size > wire.MAX_ANSWER_DATA:
        raise ValueError(f"an answer of {size} bytes exceeds {wire.MAX_ANSWER_DATA}; ask in smaller parts")


def serve(stream: Stream, open_place: OpenPlace, hello_timeout: float | None = HELLO_TIMEOUT) -> bool:
    """One session on a stream, from greeting to end.

    Returns when it is over, however it ends: True if the client took its leave, so that another
    greeting may follow on the same stream.
    """
    try:
        return _serve(stream, open_place, hello_timeout)
    except (StreamClosed, StreamTimeout):
        return False


def _serve(stream: Stream, open_place: OpenPlace, hello_timeout: float | None) -> bool:
    theirs = stream.read(wire.HELLO.size, hello_timeout)
    stream.write(wire.encode_hello())
    try:
        if wire.decode_hello(theirs) != wire.VERSION:
            return False  # the client sees our version and says what to do
    except WireError:
        return False
    try:
        system = open_place()
    except Exception as error:  # noqa: BLE001 - whatever keeps the place from opening, the client is told
        stream.write_frame(*encode_error(error))
        return True
    session = Session(system)
    try:
        welcome: wire.Chunks = []
        wire.TEXT.write(welcome, system.uri)
        wire.TEXT.write(welcome, system.kernel)
        stream.write_frame(Kind.WELCOME, b"".join(welcome))
        while True:
            kind, body = stream.read_frame(None)
            if kind == Kind.BYE:
                return True
            _answer(stream, session, kind, body)
    except WireError as error:
        stream.write_frame(*encode_error(PlaceError(f"the agent could not read a message: {error}")))
        return False
    finally:
        session.close()


def _answer(stream: Stream, session: Session, kind: int, body: bytes) -> None:
    """Answer one frame. What breaks the format ends the session (WireError); nothing else does."""
    try:
        if kind != Kind.CALL:
            raise WireError(f"a frame of kind {kind} is no call")
        answer = session.perform(body)
        if len(answer) > wire.MAX_BODY:
            raise ValueError(
                f"the answer of {len(answer)} bytes exceeds {wire.MAX_BODY}; ask in smaller parts"
            )
    except WireError:
        raise
    except Exception as error:  # noqa: BLE001 - the client is told, and the session goes on
        stream.write_frame(*encode_error(error))
    else:
        stream.write_frame(Kind.ANSWER, answer)


def serve_stdio(open_place: OpenPlace) -> None:
    """One session on standard input and output.

    Both descriptors are kept to the session alone: what the place prints goes to standard error.
    """
    read_fd, write_fd = os.dup(0), os.dup(1)
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        serve(Stream(read_fd, write_fd), open_place)
    finally:
        os.close(read_fd)
        os.close(write_fd)


def serve_socket(path: str, open_place: OpenPlace, ready: Callable[[], None] = lambda: None) -> None:
    """Sessions on a Unix socket of mode 0600 at `path`, until interrupted.

    `ready` is called when the socket is there. A socket file that nobody serves any more is replaced;
    a file that is something else, or a socket in use, is a PlaceError. The file goes away with this
    process, even by SIGKILL.
    """
    with _RemovedAtDeath(path), _listen(path) as listener:
        ready()
        limit = threading.BoundedSemaphore(MAX_SESSIONS)
        while True:
            limit.acquire()
            connection, _ = listener.accept()
            threading.Thread(
                target=_serve_connection, args=(connection, open_place, limit), daemon=True
            ).start()


def _serve_connection(
    connection: socket.socket, open_place: OpenPlace, limit: threading.BoundedSemaphore
) -> None:
    try:
        with connection:
            connection.setblocking(False)
            serve(Stream(connection.fileno(), connection.fileno()), open_place)
    finally:
        limit.release()


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(Path(path))
        old_mask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(old_mask)
        listener.listen(MAX_SESSIONS)
    except OSError as error:
        listener.close()
        raise PlaceError(f"cannot listen on {path}: {error.strerror or error}") from None
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    """Remove a socket's file that nobody serves any more; refuse to touch anything else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise PlaceError(f"cannot listen on {path}: it exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise PlaceError(f"cannot listen on {path}: another agent serves it")


class _RemovedAtDeath:
    """Removes a socket's file when this process ends, however it ends.

    A child, started before there is a socket, waits for the process to be gone with all its
    descriptors; a socket that then refuses connections was its own.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()

    def __enter__(self) -> None:
        parent = os.getpid()
        self._child = os.fork()
        if self._child:
            return
        try:
            os.setsid()
            os.closerange(0, 1 << 12)
            with contextlib.suppress(ProcessLookupError):
                select.select([os.pidfd_open(parent)], [], [])
            _remove_stale(self._path)
        finally:
            os._exit(0)

    def __exit__(self, *exc: object) -> None:
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        _remove_stale(self._path)


def main(arguments: Sequence[str]) -> str | None:
    """``[--socket PATH]``: serve this machine's KVM. Returns what went wrong, or None."""
    from armkvm.backends.devkvm import open_place

    def this_machine() -> Target:
        return open_place("", {})

    try:
        if not arguments:
            serve_stdio(this_machine)
        elif len(arguments) == 2 and arguments[0] == "--socket":
            serve_socket(arguments[1], this_machine)
        else:
            return "usage: [--socket PATH]; without it, standard input and output are served"
    except (PlaceError, KvmError) as error:
        return str(error)
    except KeyboardInterrupt:
        pass
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
