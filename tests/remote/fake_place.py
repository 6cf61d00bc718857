"""A place in memory that remembers what it was asked: enough to see whether the wire tells the truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from errno import E2BIG, EINVAL, ENOENT
from types import TracebackType
from typing import Self

from armkvm.abi.regid import RegId
from armkvm.backends.base import Feature
from armkvm.errors import KvmError, Rule
from armkvm.state import Exit, Mmio, SystemEvent

RULE = Rule("fake-rule", EINVAL, "A fake refuses on demand.", "Do not demand it.")
REFUSED_REG = RegId.x(7)
Call = tuple[object, ...]


class Fake:
    """A handle: logs calls, and that it was closed."""

    def __init__(self, log: list[Call]) -> None:
        self.log = log
        self.closed = False

    def note(self, *call: object) -> None:
        self.log.append((type(self).__name__, *call))

    def close(self) -> None:
        if not self.closed:
            self.note("close")
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def has_attr(self, group: int, attr: int) -> None:
        self.note("has_attr", group, attr)

    def get_attr(self, group: int, attr: int, size: int = 8) -> bytes:
        self.note("get_attr", group, attr, size)
        return bytes(range(size))

    def set_attr(self, group: int, attr: int, data: bytes = b"") -> None:
        self.note("set_attr", group, attr, data)

    def set_attr_null(self, group: int, attr: int) -> None:
        self.note("set_attr_null", group, attr)

    def get_attr_null(self, group: int, attr: int) -> None:
        self.note("get_attr_null", group, attr)


class FakeDevice(Fake):
    """A device."""


class FakeVcpu(Fake):
    """A vCPU that stores registers."""

    def __init__(self, log: list[Call], vcpu_id: int) -> None:
        super().__init__(log)
        self.id = vcpu_id
        self.values: dict[int, bytes] = {}

    def init(self, features: Iterable[Feature] = (), target: int | None = None) -> None:
        self.note("init", list(features), target)

    def finalize(self, feature: Feature) -> None:
        self.note("finalize", feature)

    def get_one_reg(self, reg: int) -> bytes:
        if reg == REFUSED_REG:
            raise KvmError(
                ENOENT,
                "KVM_GET_ONE_REG",
                reg=REFUSED_REG,
                reg_name="X7",
                rule=RULE,
                detail="on demand",
                state="ready",
            )
        return self.values.get(reg, bytes(RegId(reg).size))

    def set_one_reg(self, reg: int, data: bytes) -> None:
        if len(data) != RegId(reg).size:
            raise ValueError(f"{RegId(reg).size} bytes, not {len(data)}")
        self.values[reg] = data

    def get_regs(self, regs: Iterable[int]) -> list[bytes]:
        return [self.get_one_reg(reg) for reg in regs]

    def set_regs(self, pairs: Iterable[tuple[int, bytes]]) -> None:
        for reg, data in pairs:
            self.set_one_reg(reg, data)

    def get_one_reg_null(self, reg: int) -> None:
        self.note("get_one_reg_null", reg)

    def set_one_reg_null(self, reg: int) -> None:
        self.note("set_one_reg_null", reg)

    def reg_list(self, n: int | None = None) -> list[RegId]:
        if n is not None and n < 2:
            raise KvmError(E2BIG, "KVM_GET_REG_LIST", count=2)
        return [RegId.x(0), RegId.z(31)]

    def set_guest_debug(self, control: int, registers: bytes = b"") -> None:
        self.note("set_guest_debug", control, registers)

    def run(
        self, immediate_exit: bool = False, *, mmio_data: bytes = b"", instructions: int | None = None
    ) -> Exit:
        if mmio_data or instructions is not None:
            self.note("run", mmio_data, instructions)
        if immediate_exit:
            return Exit(24, system_event=SystemEvent(2, (1, 1 << 63)), payload=b"x")
        return Exit(6, mmio=Mmio(0x1000, b"\x01\x02", is_write=True))

    def get_mp_state(self) -> int:
        return 5

    def set_mp_state(self, state: int) -> None:
        self.note("set_mp_state", state)

    def get_vcpu_events(self) -> bytes:
        return bytes(range(64))

    def set_vcpu_events(self, events: bytes) -> None:
        self.note("set_vcpu_events", events)


class FakeVm(Fake):
    """A virtual machine with one megabyte of memory."""

    def __init__(self, log: list[Call]) -> None:
        super().__init__(log)
        self.memory = bytearray(3 << 20)

    def check_extension(self, cap: int) -> int:
        return cap + 1

    def create_vcpu(self, vcpu_id: int) -> FakeVcpu:
        return FakeVcpu(self.log, vcpu_id)

    def preferred_target(self) -> tuple[int, Sequence[int]]:
        return 5, (0, 1, 2, 3, 4, 5, 6)

    def enable_cap(self, cap: int, *args: int, flags: int = 0) -> None:
        self.note("enable_cap", cap, args, flags)

    def create_device(self, kind: int, test: bool = False) -> FakeDevice | None:
        self.note("create_device", kind, test)
        return None if test else FakeDevice(self.log)

    def writable_masks(self, range_: int = 0, reserved: Sequence[int] = ()) -> Mapping[RegId, int]:
        self.note("writable_masks", range_, tuple(reserved))
        return {RegId.x(1): (1 << 64) - 1, RegId.x(2): 1}

    def set_counter_offset(self, offset: int, reserved: int = 0) -> None:
        self.note("set_counter_offset", offset, reserved)

    def set_memory(self, slot: int, guest_address: int, size: int, flags: int = 0) -> None:
        self.note("set_memory", slot, guest_address, size, flags)

    def read_memory(self, guest_address: int, size: int) -> bytes:
        if guest_address + size > len(self.memory):
            raise ValueError("outside the slots")
        return bytes(self.memory[guest_address : guest_address + size])

    def write_memory(self, guest_address: int, data: bytes) -> None:
        self.memory[guest_address : guest_address + len(data)] = data

    has_attr = Fake.has_attr


class FakeSystem(Fake):
    """The place."""

    uri = "fake:"
    kernel = "0.0-fake"

    def __init__(self, log: list[Call] | None = None) -> None:
        super().__init__([] if log is None else log)

    def api_version(self) -> int:
        return 12

    def check_extension(self, cap: int) -> int:
        return -cap

    def create_vm(self, machine_type: int = 0) -> FakeVm:
        self.note("create_vm", machine_type)
        if machine_type == 99:
            raise RuntimeError("a bug over there")
        return FakeVm(self.log)
