"""The client's side: the protocol's handles as proxies over one connection to an agent."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.backends.base import Feature
from armkvm.backends.register_layout import RegisterLayout, transposed
from armkvm.backends.remote import wire
from armkvm.backends.remote.refusals import decode_error
from armkvm.backends.remote.stream import Stream, StreamClosed, StreamTimeout
from armkvm.backends.remote.wire import Kind, WireError
from armkvm.errors import PlaceError
from armkvm.state import Exit

CALL_TIMEOUT = 60.0
_ID_BYTES = 8


class ConnectionFailed(PlaceError):
    """What carries the connection broke, or fell silent: no word of the agent's own."""


class Transport(Protocol):
    """What carries a connection: two descriptors, and an end."""

    @property
    def stream(self) -> Stream: ...

    def last_words(self) -> str:
        """What the other end said apart from the protocol, to explain its death; or ""."""

    def close(self) -> None:
        """End the connection and whatever was started for it. Bounded; harmless twice."""


class Connection:
    """One session with an agent. Calls are made one at a time, from any thread.

    When anything but an answer comes, or nothing in time, the connection is closed: what
    follows on the stream could not be trusted.
    """

    def __init__(self, uri: str, transport: Transport, timeout: float, hello_timeout: float) -> None:
        self._name = uri
        self._transport = transport
        self._timeout = timeout
        self._lock = threading.Lock()
        self._end: str | None = None
        with self._ending_on_failure():
            self._welcome(hello_timeout)

    def _welcome(self, timeout: float) -> None:
        stream = self._transport.stream
        stream.write(wire.encode_hello(), timeout)
        version = wire.decode_hello(stream.read(wire.HELLO.size, timeout))
        if version != wire.VERSION:
            raise WireError(
                f"the agent there speaks version {version} of the message format, this armkvm "
                f"version {wire.VERSION}; copy a matching one there (armkvm agent --zipapp FILE)"
            )
        kind, body = stream.read_frame(timeout)
        if kind != Kind.WELCOME:
            error = decode_error(kind, body)
            raise PlaceError(f"{self._name}: {error}") from None
        reader = wire.Reader(body)
        self.uri, self.kernel = wire.TEXT.read(reader), wire.TEXT.read(reader)
        reader.done()

    def call(
        self, handle: int, method: str, *arguments: wire.Value, timeout: float | None = None
    ) -> wire.Value:
        """Perform one operation; its result, or the exception it raised over there."""
        body = wire.encode_call(handle, method, arguments)
        if len(body) > wire.MAX_BODY:
            raise ValueError(f"{method}: {len(body)} bytes do not fit one message of {wire.MAX_BODY}")
        with self._lock:
            if self._end is not None:
                raise PlaceError(f"{self._name}: {self._end}")
            with self._ending_on_failure():
                stream = self._transport.stream
                stream.write_frame(Kind.CALL, body, self._timeout)
                kind, answer = stream.read_frame(timeout or self._timeout)
                if kind == Kind.ANSWER:
                    return wire.decode(wire.BY_METHOD[method].result, answer)
                error = decode_error(kind, answer)
        if isinstance(error, PlaceError):
            raise type(error)(f"{self._name}: {error}")
        raise error

    @contextlib.contextmanager
    def _ending_on_failure(self) -> Iterator[None]:
        try:
            yield
        except (StreamClosed, StreamTimeout, WireError) as error:
            words = self._transport.last_words()
            self._finish(f"the connection failed: {error}" + (f"; it said: {words}" if words else ""))
            raise ConnectionFailed(f"{self._name}: {self._end}") from None
        except BaseException:  # an interrupted exchange leaves the stream in an unknown place
            self._finish("the connection was abandoned in the middle of a message")
            raise

    def _finish(self, reason: str) -> None:
        self._end = reason
        self._transport.close()

    def close(self) -> None:
        """Say goodbye and end the connection."""
        with self._lock:
            if self._end is not None:
                return
            with contextlib.suppress(StreamClosed, StreamTimeout):
                self._transport.stream.write_frame(Kind.BYE, b"", 1.0)
            self._finish("the place is closed")

    def leave(self) -> None:
        """Say goodbye, but keep what carried the connection for the next one."""
        with self._lock, self._ending_on_failure():
            self._transport.stream.write_frame(Kind.BYE, b"", self._timeout)
            self._end = "the session is over"

    @property
    def is_open(self) -> bool:
        return self._end is None


class _Proxy:
    """Something the agent has opened for us."""

    def __init__(self, connection: Connection, handle: int) -> None:
        self._connection = connection
        self._handle = handle
        self._open = True

    def _call(self, method: str, *arguments: wire.Value, timeout: float | None = None) -> wire.Value:
        if not self._open:
            raise ValueError(f"this {type(self).__name__} is closed")
        return self._connection.call(self._handle, method, *arguments, timeout=timeout)

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._connection.is_open:
            with contextlib.suppress(PlaceError):
                self._connection.call(self._handle, "close")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Attributes(_Proxy):
    def has_attr(self, group: int, attr: int) -> None:
        self._call("has_attr", group, attr)

    def get_attr(self, group: int, attr: int, size: int = 8) -> bytes:
        return bytes(self._call("get_attr", group, attr, size))

    def set_attr(self, group: int, attr: int, data: bytes = b"") -> None:
        self._call("set_attr", group, attr, data)

    def set_attr_null(self, group: int, attr: int) -> None:
        self._call("set_attr_null", group, attr)

    def get_attr_null(self, group: int, attr: int) -> None:
        self._call("get_attr_null", group, attr)


class RemoteDevice(_Attributes):
    """A device at the agent's place."""


class RemoteVcpu(_Attributes):
    """A vCPU at the agent's place."""

    def __init__(self, connection: Connection, handle: int, vcpu_id: int) -> None:
        super().__init__(connection, handle)
        self._id = vcpu_id
        self._layout: RegisterLayout | None = None

    @property
    def id(self) -> int:
        return self._id

    def init(self, features: Iterable[Feature] = (), target: int | None = None) -> None:
        self._call("init", features, target)

    def finalize(self, feature: Feature) -> None:
        self._call("finalize", feature)

    def get_one_reg(self, reg: int) -> bytes:
        return bytes(self._call("get_one_reg", reg))

    def set_one_reg(self, reg: int, data: bytes) -> None:
        size = 1 << (reg >> 52 & 15)
        if len(data) != size:
            raise ValueError(f"{RegId(reg)!r} holds {size} bytes, not {len(data)}")
        self._call("set_one_reg", reg, data)

    def get_regs(self, regs: Iterable[int]) -> list[bytes]:
        layout = self._layout_of(regs)
        if layout.total + _ID_BYTES * len(layout.regs) > wire.MAX_ANSWER_DATA:
            return [value for part in _in_parts(layout.regs) for value in self.get_regs(part)]
        block: bytes = self._call("get_regs", layout.regs)
        if len(block) != layout.total:
            raise PlaceError(f"the agent answered {len(block)} bytes for registers of {layout.total}")
        return layout.split(block)

    def set_regs(self, pairs: Iterable[tuple[int, bytes]]) -> None:
        regs, values = transposed(pairs)
        layout = self._layout_of(regs)
        block = layout.join(values)
        if len(block) + _ID_BYTES * len(regs) <= wire.MAX_ANSWER_DATA:
            self._call("set_regs", layout.regs, block)
            return
        start = 0
        for part in _in_parts(layout.regs):
            self.set_regs(zip(part, values[start : start + len(part)], strict=True))
            start += len(part)

    def _layout_of(self, regs: Iterable[int]) -> RegisterLayout:
        self._layout = RegisterLayout.of(regs, self._layout)
        return self._layout

    def get_one_reg_null(self, reg: int) -> None:
        self._call("get_one_reg_null", reg)

    def set_one_reg_null(self, reg: int) -> None:
        self._call("set_one_reg_null", reg)

    def reg_list(self, n: int | None = None) -> list[RegId]:
        regs: list[RegId] = self._call("reg_list", n)
        return regs

    def run(
        self, immediate_exit: bool = False, *, mmio_data: bytes = b"", instructions: int | None = None
    ) -> Exit:
        answer: Exit = self._call("run", immediate_exit, mmio_data, instructions)
        return answer

    def set_guest_debug(self, control: int, registers: bytes = b"") -> None:
        self._call("set_guest_debug", control, registers)

    def get_mp_state(self) -> int:
        return int(self._call("get_mp_state"))

    def set_mp_state(self, state: int) -> None:
        self._call("set_mp_state", state)

    def get_vcpu_events(self) -> bytes:
        return bytes(self._call("get_vcpu_events"))

    def set_vcpu_events(self, events: bytes) -> None:
        self._call("set_vcpu_events", events)


def _in_parts(regs: Sequence[int]) -> Iterator[list[int]]:
    """Cut a list of registers so that each part's values fit one answer."""
    part: list[int] = []
    size = 0
    for reg in regs:
        more = (1 << (reg >> 52 & 15)) + _ID_BYTES
        if part and size + more > wire.MAX_ANSWER_DATA:
            yield part
            part, size = [], 0
        part.append(reg)
        size += more
    if part:
        yield part


class RemoteVm(_Attributes):
    """A virtual machine at the agent's place."""

    def __init__(self, connection: Connection, handle: int) -> None:
        super().__init__(connection, handle)
        self._children: list[_Proxy] = []

    def check_extension(self, cap: Cap | int) -> int:
        return int(self._call("check_extension", cap))

    def create_vcpu(self, vcpu_id: int) -> RemoteVcpu:
        vcpu = RemoteVcpu(self._connection, self._call("create_vcpu", vcpu_id), vcpu_id)
        self._children.append(vcpu)
        return vcpu

    def preferred_target(self) -> tuple[int, Sequence[int]]:
        target, features = self._call("preferred_target")
        return target, features

    def enable_cap(self, cap: Cap | int, *args: int, flags: int = 0) -> None:
        self._call("enable_cap", cap, args, flags)

    def create_device(self, kind: int, test: bool = False) -> RemoteDevice | None:
        handle = self._call("create_device", kind, test)
        if handle is None:
            return None
        device = RemoteDevice(self._connection, handle)
        self._children.append(device)
        return device

    def writable_masks(self, range_: int = 0, reserved: Sequence[int] = ()) -> Mapping[RegId, int]:
        masks: Mapping[RegId, int] = self._call("writable_masks", range_, reserved)
        return masks

    def set_counter_offset(self, offset: int, reserved: int = 0) -> None:
        self._call("set_counter_offset", offset, reserved)

    def set_memory(self, slot: int, guest_address: int, size: int, flags: int = 0) -> None:
        self._call("set_memory", slot, guest_address, size, flags)

    def read_memory(self, guest_address: int, size: int) -> bytes:
        parts = [self._call("read_memory", guest_address + at, length) for at, length in _spans(size)]
        return b"".join(parts)

    def write_memory(self, guest_address: int, data: bytes) -> None:
        for at, length in _spans(len(data)):
            self._call("write_memory", guest_address + at, data[at : at + length])

    def close(self) -> None:
        for child in reversed(self._children):
            child.close()
        self._children.clear()
        super().close()


def _spans(size: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of pieces of `size` bytes that each fit a message; one empty piece for 0."""
    for at in range(0, max(size, 1), wire.MAX_ANSWER_DATA):
        yield at, min(wire.MAX_ANSWER_DATA, size - at)


class RemoteSystem(_Proxy):
    """A place served by an agent. Closing it ends the connection and everything opened there."""

    def __init__(
        self,
        uri: str,
        transport: Transport,
        timeout: float = CALL_TIMEOUT,
        hello_timeout: float = CALL_TIMEOUT,
    ) -> None:
        super().__init__(Connection(uri, transport, timeout, hello_timeout), 0)
        self._uri = uri

    @property
    def uri(self) -> str:
        return self._uri

    @property
    def kernel(self) -> str:
        return self._connection.kernel

    @property
    def is_open(self) -> bool:
        """Whether the connection still serves; a failure ends it."""
        return self._connection.is_open

    def api_version(self) -> int:
        return int(self._call("api_version"))

    def check_extension(self, cap: Cap | int) -> int:
        return int(self._call("check_extension", cap))

    def create_vm(self, machine_type: int = 0) -> RemoteVm:
        return RemoteVm(self._connection, self._call("create_vm", machine_type))

    def leave(self) -> None:
        """End the session but not the connection, which may carry another."""
        self._open = False
        self._connection.leave()

    def close(self) -> None:
        self._open = False
        self._connection.close()
