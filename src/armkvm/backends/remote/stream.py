"""Frames over two descriptors, with every wait bounded."""

from __future__ import annotations

import os
import select
import time

from armkvm.backends.remote.wire import FRAME, MAX_BODY, WireError

_CHUNK = 1 << 18
_CLOSED = "the other side closed the connection"


class StreamClosed(Exception):
    """The other side has gone."""


class StreamTimeout(Exception):
    """The other side did not answer or read in time."""


class Stream:
    """Reads and writes frames on descriptors it does not own.

    A `timeout` of None waits for as long as the other side lives; with any other the writing
    descriptor must be non-blocking. Once a frame has begun, its rest must follow within `stall`
    seconds. System calls are spared where a wait is not bounded anyway: under emulation they
    are most of a message's cost.
    """

    def __init__(self, read_fd: int, write_fd: int, stall: float = 60.0) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._stall = stall
        self._buffer = bytearray()

    def read(self, count: int, timeout: float | None) -> bytes:
        """Exactly `count` bytes."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while len(self._buffer) < count:
            if deadline is not None and not _wait(self._read_fd, select.POLLIN, deadline):
                raise StreamTimeout(f"nothing came for {timeout:g} seconds")
            try:
                data = os.read(self._read_fd, _CHUNK)
            except BlockingIOError:
                _wait(self._read_fd, select.POLLIN, deadline)
                continue
            except OSError as gone:
                raise _closed(gone) from None
            if not data:
                raise StreamClosed(_CLOSED)
            if not self._buffer and deadline is None:
                deadline = time.monotonic() + self._stall
                timeout = self._stall
            self._buffer += data
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def read_frame(self, timeout: float | None) -> tuple[int, bytes]:
        """(kind, body) of the next frame; WireError if it is longer than allowed."""
        length, kind = FRAME.unpack(self.read(FRAME.size, timeout))
        if length > MAX_BODY:
            raise WireError(f"a message of {length} bytes was announced; {MAX_BODY} is the most")
        return kind, self.read(length, self._stall)

    def write(self, data: bytes, timeout: float | None = None) -> None:
        """All of `data`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        view = memoryview(data)
        while view:
            try:
                sent = os.write(self._write_fd, view)
            except BlockingIOError:
                if not _wait(self._write_fd, select.POLLOUT, deadline):
                    raise StreamTimeout(f"the other side read nothing for {timeout:g} seconds") from None
                continue
            except OSError as gone:
                raise _closed(gone) from None
            view = view[sent:]

    def write_frame(self, kind: int, body: bytes, timeout: float | None = None) -> None:
        if len(body) > MAX_BODY:
            raise ValueError(f"a message of {len(body)} bytes exceeds {MAX_BODY}; ask in smaller parts")
        self.write(FRAME.pack(len(body), kind) + body, timeout)


def _closed(error: OSError) -> StreamClosed:
    """Writing to or reading from what is gone; which of the two notices first is chance."""
    chance = isinstance(error, (BrokenPipeError, ConnectionResetError))
    return StreamClosed(_CLOSED if chance else str(error))


def _wait(fd: int, event: int, deadline: float | None) -> bool:
    """Whether `fd` became ready (or broke) before the deadline."""
    poll = select.poll()
    poll.register(fd, event)
    remaining = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
    return bool(poll.poll(remaining))
