"""Client and agent over a socket pair: the protocol arrives whole, and both survive a bad peer."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from errno import E2BIG, ENOENT

import pytest
from hypothesis import given, settings, strategies as st
from tests.remote.fake_place import REFUSED_REG, RULE, Call, FakeSystem

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.backends.remote import agent, wire
from armkvm.backends.remote.client import RemoteSystem, RemoteVcpu
from armkvm.backends.remote.stream import Stream
from armkvm.backends.remote.transport import SocketTransport
from armkvm.backends.remote.wire import FRAME, Kind
from armkvm.errors import KvmError, PlaceError
from armkvm.state import Exit, Mmio, SystemEvent


@contextlib.contextmanager
def served(log: list[Call] | None = None, timeout: float = 5.0) -> Iterator[RemoteSystem]:
    """A client whose agent serves a fake place in a thread; the thread has ended afterwards."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    stream = Stream(theirs.fileno(), theirs.fileno(), stall=2.0)
    thread = threading.Thread(target=agent.serve, args=(stream, lambda: FakeSystem(log)))
    thread.start()
    try:
        with RemoteSystem("test:", SocketTransport(ours), timeout, timeout) as system:
            yield system
    finally:
        ours.close()
        thread.join(5)
        theirs.close()
        assert not thread.is_alive()


def test_every_method_arrives_with_its_arguments() -> None:
    log: list[Call] = []
    with served(log) as system:
        assert (system.uri, system.kernel, system.api_version()) == ("test:", "0.0-fake", 12)
        assert system.check_extension(170) == -170
        vm = system.create_vm(48)
        assert vm.check_extension(5) == 6
        assert vm.preferred_target() == (5, (0, 1, 2, 3, 4, 5, 6))
        vm.enable_cap(205, 1, 2, flags=3)
        assert vm.create_device(7, test=True) is None
        device = vm.create_device(7)
        assert device is not None
        assert dict(vm.writable_masks(1, (0, 9))) == {RegId.x(1): (1 << 64) - 1, RegId.x(2): 1}
        vm.set_counter_offset(11, 12)
        vm.set_memory(1, 0x4000, 0x1000, 2)
        vm.has_attr(1, 2)
        vcpu = vm.create_vcpu(3)
        assert vcpu.id == 3
        vcpu.init([VcpuFeature.SVE, 77], target=4)
        vcpu.init()
        vcpu.finalize(-1)
        vcpu.finalize(VcpuFeature.VEC)
        vcpu.get_one_reg_null(9)
        vcpu.set_one_reg_null(10)
        assert vcpu.run() == Exit(6, mmio=Mmio(0x1000, b"\x01\x02", is_write=True))
        assert vcpu.run(immediate_exit=True) == Exit(
            24, system_event=SystemEvent(2, (1, 1 << 63)), payload=b"x"
        )
        assert vcpu.get_mp_state() == 5
        vcpu.set_mp_state(10)
        assert vcpu.get_vcpu_events() == bytes(range(64))
        vcpu.set_vcpu_events(b"e" * 64)
        device.has_attr(1, 2)
        assert device.get_attr(3, 4, 16) == bytes(range(16))
        vcpu.set_attr(5, 6, b"data")
        vcpu.set_attr_null(7, 8)
        device.get_attr_null(9, 10)
    assert log == [
        ("FakeSystem", "create_vm", 48),
        ("FakeVm", "enable_cap", 205, (1, 2), 3),
        ("FakeVm", "create_device", 7, True),
        ("FakeVm", "create_device", 7, False),
        ("FakeVm", "writable_masks", 1, (0, 9)),
        ("FakeVm", "set_counter_offset", 11, 12),
        ("FakeVm", "set_memory", 1, 0x4000, 0x1000, 2),
        ("FakeVm", "has_attr", 1, 2),
        ("FakeVcpu", "init", [VcpuFeature.SVE, 77], 4),
        ("FakeVcpu", "init", [], None),
        ("FakeVcpu", "finalize", -1),
        ("FakeVcpu", "finalize", VcpuFeature.VEC),
        ("FakeVcpu", "get_one_reg_null", 9),
        ("FakeVcpu", "set_one_reg_null", 10),
        ("FakeVcpu", "set_mp_state", 10),
        ("FakeVcpu", "set_vcpu_events", b"e" * 64),
        ("FakeDevice", "has_attr", 1, 2),
        ("FakeDevice", "get_attr", 3, 4, 16),
        ("FakeVcpu", "set_attr", 5, 6, b"data"),
        ("FakeVcpu", "set_attr_null", 7, 8),
        ("FakeDevice", "get_attr_null", 9, 10),
        ("FakeVcpu", "close"),
        ("FakeDevice", "close"),
        ("FakeVm", "close"),
        ("FakeSystem", "close"),
    ]


def a_vcpu(system: RemoteSystem) -> RemoteVcpu:
    return system.create_vm().create_vcpu(0)


def test_registers_of_every_size_travel_many_at_once() -> None:
    regs = [RegId(size << 52 | n) for size in range(16) for n in range(3)]
    values = [bytes([n % 256]) * reg.size for n, reg in enumerate(regs)]
    with served() as system:
        vcpu = a_vcpu(system)
        vcpu.set_regs(zip(regs, values, strict=True))
        assert vcpu.get_regs(regs) == values
        assert [vcpu.get_one_reg(reg) for reg in regs] == values
        assert vcpu.get_regs([]) == []


def test_more_than_one_message_holds_is_split_in_order() -> None:
    """80 registers of 32 KiB are 2.6 MB; a message carries one."""
    regs = [RegId(15 << 52 | n) for n in range(80)]
    values = [bytes([n]) * 32768 for n in range(80)]
    with served() as system:
        vcpu = a_vcpu(system)
        vcpu.set_regs(zip(regs, values, strict=True))
        assert vcpu.get_regs(regs) == values


def test_guest_memory_larger_than_a_message_travels_whole() -> None:
    data = bytes(range(256)) * ((5 << 19) // 256)
    with served() as system, system.create_vm() as vm:
        vm.write_memory(3, data)
        assert vm.read_memory(3, len(data)) == data
        assert vm.read_memory(0, 0) == b""
        with pytest.raises(ValueError, match="outside the slots"):
            vm.read_memory(3 << 20, 1)


def test_a_refusal_arrives_with_errno_register_and_rule() -> None:
    with served() as system:
        vcpu = a_vcpu(system)
        for attempt in (
            lambda: vcpu.get_one_reg(REFUSED_REG),
            lambda: vcpu.get_regs([RegId.x(0), REFUSED_REG]),
        ):
            with pytest.raises(KvmError) as refusal:
                attempt()
            error = refusal.value
            assert (error.errno, error.operation, error.reg) == (ENOENT, "KVM_GET_ONE_REG", REFUSED_REG)
            assert error.rule is not None
            assert (error.rule.name, error.state) == (RULE.name, "ready")
        with pytest.raises(KvmError) as refusal:
            vcpu.reg_list(1)
        assert (refusal.value.errno, refusal.value.count) == (E2BIG, 2)
        assert vcpu.reg_list() == vcpu.reg_list(2) == [RegId.x(0), RegId.z(31)]


def test_a_value_of_the_wrong_length_is_refused_here() -> None:
    with served() as system:
        vcpu = a_vcpu(system)
        with pytest.raises(ValueError, match="8 bytes, not 4"):
            vcpu.set_one_reg(RegId.x(0), b"four")
        with pytest.raises(ValueError, match="8 bytes, not 4"):
            vcpu.set_regs([(RegId.x(0), b"four")])


def test_a_bug_over_there_is_a_place_error_and_the_session_goes_on() -> None:
    with served() as system:
        with pytest.raises(PlaceError, match="RuntimeError: a bug over there"):
            system.create_vm(99)
        assert system.api_version() == 12


def test_a_closed_handle_answers_no_more() -> None:
    with served() as system:
        vm = system.create_vm()
        vm.close()
        vm.close()
        with pytest.raises(ValueError, match="closed"):
            vm.check_extension(1)
    with pytest.raises((ValueError, PlaceError)):
        system.api_version()


def test_the_agent_refuses_more_handles_than_it_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "MAX_HANDLES", 4)
    with served() as system:
        for _ in range(3):
            system.create_vm()
        with pytest.raises(ValueError, match="4 handles are open"):
            system.create_vm()


def test_a_client_that_vanishes_leaves_nothing_open() -> None:
    log: list[Call] = []
    ours, theirs = socket.socketpair()
    thread = threading.Thread(
        target=agent.serve, args=(Stream(theirs.fileno(), theirs.fileno()), lambda: FakeSystem(log))
    )
    thread.start()
    system = RemoteSystem("test:", SocketTransport(ours), 5, 5)
    system.create_vm().create_vcpu(0)
    ours.close()
    thread.join(5)
    theirs.close()
    assert not thread.is_alive()
    assert log[-3:] == [("FakeVcpu", "close"), ("FakeVm", "close"), ("FakeSystem", "close")]


@given(st.binary(min_size=1, max_size=200))
@settings(max_examples=50, deadline=None)
def test_an_agent_ends_cleanly_whatever_a_client_sends(garbage: bytes) -> None:
    log: list[Call] = []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(wire.encode_hello() + garbage)
        ours.shutdown(socket.SHUT_WR)
        agent.serve(Stream(theirs.fileno(), theirs.fileno(), stall=1.0), lambda: FakeSystem(log))
    assert log[-1] == ("FakeSystem", "close")


@pytest.mark.parametrize("greeting", [b"GET / HT", b"armkvm\x63\x00"])
def test_an_agent_opens_nothing_for_a_stranger(greeting: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(greeting)
        opened: list[Call] = []
        assert agent.serve(Stream(theirs.fileno(), theirs.fileno()), lambda: FakeSystem(opened)) is False
        assert ours.recv(8) == wire.encode_hello()
        assert opened == []


WELCOME = FRAME.pack(8, Kind.WELCOME) + bytes(8)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "closed the connection"),
        (b"Last login: today\n", "no armkvm is at the other end"),
        (b"armkvm\x63\x00", "speaks version 99 of the message format, this armkvm version 2; copy"),
        (wire.encode_hello(), "closed the connection"),
        (wire.encode_hello() + b"\xff\xff\xff\xff\x02", "4294967295 bytes was announced"),
        (wire.encode_hello() + FRAME.pack(100, Kind.WELCOME) + b"short", "closed the connection"),
        (wire.encode_hello() + FRAME.pack(0, Kind.CALL), "is no answer"),
        (wire.encode_hello() + FRAME.pack(9, Kind.WELCOME) + bytes(9), "bytes follow the end"),
        (wire.encode_hello() + WELCOME + FRAME.pack(0, 200), "is no answer"),
        (wire.encode_hello() + WELCOME + FRAME.pack(3, Kind.ANSWER) + b"abc", "ends after 3 bytes where 8"),
    ],
)
def test_a_client_survives_a_broken_agent_with_one_clear_error(answer: bytes, message: str) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(PlaceError, match=message) as error:
            RemoteSystem("test:", SocketTransport(ours), 5, 5).api_version()
        assert "\n" not in str(error.value)
        assert ours.fileno() == -1, "the connection is closed"


@pytest.mark.parametrize("answer", [b"", wire.encode_hello(), wire.encode_hello() + WELCOME])
def test_a_client_waits_for_a_silent_agent_only_so_long(answer: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(answer)
        start = time.monotonic()
        with pytest.raises(PlaceError, match=r"nothing came for 0\.2 seconds"):
            RemoteSystem("test:", SocketTransport(ours), 0.2, 0.2).api_version()
        assert time.monotonic() - start < 2


def test_a_frame_that_stalls_half_way_is_given_up() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(wire.encode_hello() + FRAME.pack(100, Kind.CALL) + b"half")
        start = time.monotonic()
        agent.serve(Stream(theirs.fileno(), theirs.fileno(), stall=0.2), FakeSystem)
        assert time.monotonic() - start < 2


def test_calls_from_many_threads_do_not_mix() -> None:
    with served() as system:
        vcpu = a_vcpu(system)
        wrong: list[int] = []

        def work(n: int) -> None:
            for _ in range(50):
                vcpu.set_one_reg(RegId.x(n), n.to_bytes(8, "little"))
                if vcpu.get_one_reg(RegId.x(n)) != n.to_bytes(8, "little"):
                    wrong.append(n)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
