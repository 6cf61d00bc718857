"""Runs the recorded guests on a PE the way the recorders ran them on real KVM."""

# ruff: noqa: ARG002 - protocol methods and stop handlers take what they are given

from __future__ import annotations

from typing import Any

from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import sysreg
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.guest_memory import GuestMemory
from armkvm.cpu.pe import PE
from armkvm.cpu.port import CPACR_EL1, FPMR, SMCR_EL1, TPIDR2_EL0, ZCR_EL1, Refusal
from armkvm.cpu.stop import Reason, Stop

PFR0, PFR1, ZFR0, SMFR0 = (
    sysreg(name) for name in ("ID_AA64PFR0_EL1", "ID_AA64PFR1_EL1", "ID_AA64ZFR0_EL1", "ID_AA64SMFR0_EL1")
)
SMIDR, SMPRI = sysreg("SMIDR_EL1"), sysreg("SMPRI_EL1")
RAM_BASE = 0x4000_0000
PATTERN = bytes(range(256))
SYSTEM_OFF = 0x8400_0008


class Registers:
    """System registers of a recorded vCPU: plain storage, and the few refusals the guests meet."""

    def __init__(self) -> None:
        self.values: dict[SysReg, int] = {CPACR_EL1: 0}
        self.refused: dict[SysReg, Refusal] = {}
        self.masks = {SMCR_EL1: 0xC000_000F, ZCR_EL1: 0xF, SMPRI: 0}

    def read(self, reg: SysReg, el: int) -> int | Refusal:
        return self.refused.get(reg, self.current(reg))

    def write(self, reg: SysReg, value: int, el: int) -> Refusal | None:
        if reg in self.refused:
            return self.refused[reg]
        self.store(reg, value & self.masks.get(reg, (1 << 64) - 1))
        return None

    def execute(self, operation: SysReg, el: int) -> Refusal | None:
        return None

    def current(self, reg: SysReg) -> int:
        return self.values.get(reg, 0)

    def store(self, reg: SysReg, value: int) -> None:
        self.values[reg] = value


def stripped(data: bytes | bytearray | memoryview) -> str:
    """As the recorders write payloads: hexadecimal without the zeros at the end."""
    return bytes(data).rstrip(b"\0").hex()


class RecordedVcpu:
    """A PE with the guest's memory, as the recorders' virtual machines had it."""

    def __init__(self, code: bytes, ram_bytes: int, features: PeFeatures) -> None:
        self.ram = bytearray(ram_bytes)
        self.ram[: len(code)] = code
        memory = GuestMemory()
        memory.add(RAM_BASE, self.ram)
        self.registers = Registers()
        self.pe = PE(features, memory, self.registers)
        self.pe.core.pc, self.pe.core.pstate = RAM_BASE, 0x3C5
        self.features = features
        if not features.sme:
            for name in ("SVCR", "SMCR_EL1", "TPIDR2_EL0", "SMPRI_EL1"):
                self.registers.refused[sysreg(name)] = Refusal.UNDEFINED
            self.registers.refused[SMIDR] = Refusal.TRAPPED
        if not features.sve:
            self.registers.refused[ZCR_EL1] = Refusal.UNDEFINED

    def step(self) -> dict[str, Any]:
        """Run to the next exit, described as the recorders describe it."""
        stop = self.pe.run(time_left=lambda: 10_000_000)
        return {Reason.MMIO: self._mmio, Reason.HVC: self._hypercall}.get(stop.reason, self._other)(stop)

    def resume(self) -> None:
        """Complete the MMIO write that the last exit was."""
        self.pe.core.pc += 4

    def _mmio(self, stop: Stop) -> dict[str, Any]:
        assert stop.access is not None
        assert stop.access.is_write
        return {
            "exit_reason": 6,
            "errno": None,
            "mmio": {"addr": hex(stop.access.ipa), "data": stop.data.hex(), "is_write": 1},
        }

    def _hypercall(self, stop: Stop) -> dict[str, Any]:
        assert self.pe.core.x[0] & 0xFFFFFFFF == SYSTEM_OFF
        return {"exit_reason": 24, "system_event_type": 1, "errno": None}

    def _other(self, stop: Stop) -> dict[str, Any]:
        return {"stop": stop}

    def registers_seen(self, keys: dict[str, Any]) -> dict[str, str]:
        """The registers that a recording lists by name, errnos left out."""
        v, r = self.pe.vectors, self.registers
        out: dict[str, str | None] = {}
        for name, recorded in keys.items():
            if not isinstance(recorded, str) or recorded in ("ENOENT", "EINVAL", "EBUSY"):
                continue
            if name.startswith("ZA"):
                out[name] = stripped(v.za[256 * int(name[2:]) :][:256])
            else:
                out[name] = {
                    "SVCR": lambda: stripped(v.svcr.to_bytes(8, "little")),
                    "SMCR_EL1": lambda: stripped(r.current(SMCR_EL1).to_bytes(8, "little")),
                    "TPIDR2_EL0": lambda: stripped(r.current(TPIDR2_EL0).to_bytes(8, "little")),
                    "FPSR": lambda: stripped(v.fpsr.to_bytes(8, "little")),
                    "FPCR": lambda: stripped(v.fpcr.to_bytes(8, "little")),
                    "FPMR": lambda: stripped(v.fpmr.to_bytes(8, "little")),
                    "Z0": lambda: stripped(v.z[:256]),
                    "P0": lambda: stripped(v.p[:32]),
                    "FFR": lambda: stripped(v.ffr),
                    "V0": lambda: stripped(v.z[:16]),
                    "ZT0": lambda: stripped(v.zt0),
                }.get(name, lambda: None)()
        return {name: value for name, value in out.items() if value is not None}


__all__ = ["FPMR", "PATTERN", "PFR0", "PFR1", "RAM_BASE", "SMFR0", "ZFR0", "RecordedVcpu", "stripped"]
