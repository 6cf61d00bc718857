"""A place small enough to be told how to misbehave: refusals without names, writes that vanish."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, cast

from armkvm.abi import vls
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import Feature, System, Vcpu
from armkvm.catalog import parse
from armkvm.errors import KvmError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CORE = {parse(name): bytes(parse(name).size) for name in ("X0", "X1", "PC", "PSTATE", "FPSR", "FPCR")}
SYSTEM = {parse(name): bytes(8) for name in ("MIDR_EL1", "TTBR0_EL1", "TCR_EL1", "KVM_REG_ARM_TIMER_CNT")}
VECTORS = {RegId.z(0): bytes(256), RegId.p(0): bytes(32), RegId.ffr(): bytes(32)}


@dataclass
class Host:
    """How a place behaves, and what it saw."""

    lengths: VectorLengths = VectorLengths([1, 2])
    refuse_get: dict[RegId, int] = field(default_factory=dict)
    refuse_set: dict[RegId, int] = field(default_factory=dict)
    ignored: set[RegId] = field(default_factory=set)
    refuse_call: dict[str, int] = field(default_factory=dict)
    more: dict[RegId, bytes] = field(default_factory=dict)
    names_culprit: bool = True
    open_vms: int = 0
    log: list[tuple[str, object]] = field(default_factory=list)
    on_list: Callable[[], None] = lambda: None

    def system(self) -> System:
        """The place as the protocol has it (of which migration uses these calls)."""
        return cast("System", FakeSystem(self))

    def vcpu(self, *features: Feature) -> Vcpu:
        """A finalized vCPU."""
        vcpu = FakeVcpu(self, 0)
        vcpu.init(features)
        if VcpuFeature.SVE in features:
            vcpu.finalize(VcpuFeature.SVE)
        return cast("Vcpu", vcpu)

    def note(self, call: str, what: object = None) -> None:
        self.log.append((call, what))
        if call in self.refuse_call:
            raise KvmError(self.refuse_call[call], call)

    def refuse(self, number: int, call: str, reg: RegId) -> KvmError:
        return KvmError(number, call, reg=reg if self.names_culprit else None)


class FakeSystem:
    """KVM as a whole."""

    uri, kernel = "fake:", "0"

    def __init__(self, host: Host) -> None:
        self.host = host

    def create_vm(self, machine_type: int = 0) -> FakeVm:
        self.host.note("KVM_CREATE_VM", machine_type)
        self.host.open_vms += 1
        return FakeVm(self.host)


class FakeVm:
    """A VM; the host counts how many are open."""

    def __init__(self, host: Host) -> None:
        self.host, self.closed = host, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.host.open_vms -= not self.closed
        self.closed = True

    def enable_cap(self, cap: int, *_: int) -> None:
        self.host.note("KVM_ENABLE_CAP", cap)

    def create_vcpu(self, vcpu_id: int) -> FakeVcpu:
        self.host.note("KVM_CREATE_VCPU", vcpu_id)
        return FakeVcpu(self.host, vcpu_id)


class FakeVcpu:
    """A vCPU with a handful of registers and a clock that runs."""

    def __init__(self, host: Host, vcpu_id: int) -> None:
        self.host, self.id = host, vcpu_id
        self.values: dict[RegId, bytes] = {}
        self.finalized, self.events, self.mp_state = True, bytes(64), 0

    def init(self, features: Iterable[Feature]) -> None:
        features = list(features)
        self.host.note("KVM_ARM_VCPU_INIT", features)
        if VcpuFeature.SVE in features and not self.host.lengths:
            raise KvmError(errno.EINVAL, "KVM_ARM_VCPU_INIT")
        self.values = {**CORE, **SYSTEM, **self.host.more}
        if VcpuFeature.SVE in features:
            self.values |= {RegId.sve_vls(): vls.encode(self.host.lengths), **VECTORS}
            self.finalized = False

    def finalize(self, feature: Feature) -> None:
        self.host.note("KVM_ARM_VCPU_FINALIZE", feature)
        self.finalized = True

    def reg_list(self) -> list[RegId]:
        self.host.on_list()
        return list(self.values)

    def get_one_reg(self, reg: RegId) -> bytes:
        self.host.log.append(("KVM_GET_ONE_REG", reg))
        if reg not in self.values or reg in self.host.refuse_get:
            raise self.host.refuse(self.host.refuse_get.get(reg, errno.ENOENT), "KVM_GET_ONE_REG", reg)
        if not self.finalized and reg in VECTORS:
            raise self.host.refuse(errno.EPERM, "KVM_GET_ONE_REG", reg)
        if reg == parse("KVM_REG_ARM_TIMER_CNT"):
            ticks = int.from_bytes(self.values[reg], "little") + 1
            self.values[reg] = ticks.to_bytes(8, "little")
        return self.values[reg]

    def set_one_reg(self, reg: RegId, data: bytes) -> None:
        self.host.log.append(("KVM_SET_ONE_REG", reg))
        number = self.host.refuse_set.get(reg, 0 if reg in self.values else errno.ENOENT)
        if not self.finalized and reg in VECTORS:
            number = errno.EPERM
        if number:
            raise self.host.refuse(number, "KVM_SET_ONE_REG", reg)
        if reg not in self.host.ignored:
            self.values[reg] = data

    def get_regs(self, regs: Iterable[RegId]) -> list[bytes]:
        return [self.get_one_reg(reg) for reg in regs]

    def set_regs(self, pairs: Iterable[tuple[RegId, bytes]]) -> None:
        for reg, data in pairs:
            self.set_one_reg(reg, data)

    def get_vcpu_events(self) -> bytes:
        return self.events

    def set_vcpu_events(self, events: bytes) -> None:
        self.host.note("KVM_SET_VCPU_EVENTS", events)
        self.events = events

    def get_mp_state(self) -> int:
        return self.mp_state

    def set_mp_state(self, state: int) -> None:
        self.host.note("KVM_SET_MP_STATE", state)
        self.mp_state = state
