"""The registers of one CPU as far as vector state goes, and the instructions that reach them.

Lengths, enables and traps count as the architecture has it: by level, and by the more restrictive of
EL1's and EL2's controls. What lies beyond the length in use is zeroed or kept when the length shrinks,
whichever the CPU is made to do: the architecture allows both, so software must be right with either.

Source: Arm ARM (ZCR_ELx, SMCR_ELx, CPACR_EL1, CPTR_EL2, PSTATE.SM and ZA).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from armkvm.cpu.exceptions import ExceptionClass, GuestException, Undefined
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.legality import (
    CHECKS,
    SMCR_EZT0,
    SMCR_FA64,
    Check,
    Hypervisor,
    Situation,
    check_advsimd,
    check_fp,
    check_zcr,
)
from armkvm.cpu.state import FPSR_AFTER_MODE_CHANGE, P_BYTES, Z_BYTES, ZA_ROW_BYTES, ZT0_BYTES, VectorState

LEN = 0xF
OPEN = 3 << 16 | 3 << 20 | 3 << 24
"""CPACR_EL1, or CPTR_EL2 in its VHE form, with SVE, FP and SME enabled."""
ALL_ENABLES = SMCR_FA64 | SMCR_EZT0


@dataclass(slots=True)
class Cpu:
    """One CPU. `zcr` and `smcr` hold the registers of EL1 and EL2, by level.

    An instruction that may not execute raises `GuestException`, with the level that takes it.
    Without `has_el2` there is no level 2, and only EL1's controls count. `traps_tpidr2` is
    HFGRTR_EL2.nTPIDR2_EL0 (and the same bit of HFGWTR_EL2) being 0.
    """

    features: PeFeatures
    has_el2: bool = True
    retains: bool = False
    el: int = 1
    e2h: bool = False
    tge: bool = False
    cpacr: int = OPEN
    cptr: int = OPEN
    zcr: dict[int, int] = field(default_factory=lambda: {1: LEN, 2: LEN})
    smcr: dict[int, int] = field(default_factory=lambda: {1: LEN | ALL_ENABLES, 2: LEN | ALL_ENABLES})
    tpidr2: int = 0
    traps_tpidr2: bool = False
    vectors: VectorState = field(default_factory=VectorState)

    # -- lengths and legality

    @property
    def situation(self) -> Situation:
        """What decides legality now."""
        el2 = Hypervisor(self.e2h, self.tge, self.cptr, self.smcr[2]) if self.has_el2 else None
        return Situation(self.features, self.el, self.vectors.svcr, self.cpacr, self.smcr[1], el2)

    def vq_for(self, streaming: bool) -> int:
        """The vector length in effect at this level, in quadwords."""
        control = self.smcr if streaming else self.zcr
        levels = [control[1]] if not self.situation.in_host else []
        if self.has_el2:
            levels.append(control[2])
        return self.features.effective_vq(streaming, min(value & LEN for value in levels))

    @property
    def vq(self) -> int:
        """The length of Z now, in quadwords."""
        return self.vq_for(self.vectors.streaming)

    @property
    def svl(self) -> int:
        """The streaming length, in bytes: ZA's rows, and their number."""
        return 16 * self.vq_for(True)

    @property
    def full_a64(self) -> bool:
        """Whether streaming mode allows every instruction here and now."""
        return self.situation.full_a64

    def settle(self) -> None:
        """After a change of level, length or mode: what became inaccessible is gone, or not."""
        if not self.retains:
            self.vectors.truncate(16 * self.vq)

    def go(self, el: int) -> None:
        """Change the exception level."""
        self.el = el
        self.settle()

    def set_length(self, *, streaming: bool, el: int, value: int) -> None:
        """Write ZCR_EL<el> or SMCR_EL<el>, with no check."""
        (self.smcr if streaming else self.zcr)[el] = value
        self.settle()

    # -- instructions

    def check(self, need: Check) -> None:
        """Raise the exception that refuses such an instruction, if any."""
        CHECKS[need](self.situation)

    def read_z(self, n: int) -> bytes:
        self.check(Check.SVE)
        return bytes(self.vectors.z[n * Z_BYTES :][: 16 * self.vq])

    def write_z(self, n: int, value: bytes) -> None:
        self.check(Check.SVE)
        vl = 16 * self.vq
        self.vectors.z[n * Z_BYTES : n * Z_BYTES + vl] = value[:vl].ljust(vl, b"\0")

    def read_p(self, n: int) -> bytes:
        self.check(Check.SVE)
        return bytes(self.vectors.p[n * P_BYTES :][: 2 * self.vq])

    def write_p(self, n: int, value: bytes) -> None:
        self.check(Check.SVE)
        pl = 2 * self.vq
        self.vectors.p[n * P_BYTES : n * P_BYTES + pl] = value[:pl].ljust(pl, b"\0")

    def read_ffr(self) -> bytes:
        self.check(Check.NON_STREAMING)
        return bytes(self.vectors.ffr[: 2 * self.vq])

    def write_ffr(self, value: bytes) -> None:
        self.check(Check.NON_STREAMING)
        pl = 2 * self.vq
        self.vectors.ffr[:pl] = value[:pl].ljust(pl, b"\0")

    def read_v(self, n: int) -> bytes:
        """A store of Vn, which streaming mode allows."""
        check_advsimd(self.situation, legal_in_streaming=True)
        return bytes(self.vectors.z[n * Z_BYTES :][:16])

    def write_v(self, n: int, value: bytes, *, by_load: bool = False) -> None:
        """Advanced SIMD arithmetic into Vn, or a load of it: the rest of Zn becomes zero."""
        check_advsimd(self.situation, legal_in_streaming=by_load)
        size = 16 * self.vq
        self.vectors.z[n * Z_BYTES : n * Z_BYTES + size] = value[:16].ljust(size, b"\0")

    def read_za(self, row: int) -> bytes:
        self.check(Check.ZA)
        return bytes(self.vectors.za[row % self.svl * ZA_ROW_BYTES :][: self.svl])

    def write_za(self, row: int, value: bytes) -> None:
        self.check(Check.ZA)
        at = row % self.svl * ZA_ROW_BYTES
        self.vectors.za[at : at + self.svl] = value[: self.svl].ljust(self.svl, b"\0")

    def read_zt0(self) -> bytes:
        self.check(Check.ZT0)
        return bytes(self.vectors.zt0)

    def write_zt0(self, value: bytes) -> None:
        self.check(Check.ZT0)
        self.vectors.zt0[:] = value[:ZT0_BYTES].ljust(ZT0_BYTES, b"\0")

    def read_svcr(self) -> int:
        self.check(Check.SME_ACCESS)
        return self.vectors.svcr

    def write_svcr(self, value: int) -> None:
        """MSR SVCR, SMSTART and SMSTOP."""
        self.check(Check.SME_ACCESS)
        self.vectors.set_svcr(value & 3)
        self.settle()

    def read_fpsr(self) -> int:
        check_fp(self.situation)
        return self.vectors.fpsr

    def write_fpsr(self, value: int) -> None:
        check_fp(self.situation)
        self.vectors.fpsr = value & (FPSR_AFTER_MODE_CHANGE | 0xF000_0000)

    def read_fpcr(self) -> int:
        check_fp(self.situation)
        return self.vectors.fpcr

    def write_fpcr(self, value: int) -> None:
        check_fp(self.situation)
        self.vectors.fpcr = value & 0x07F7_0000

    def read_fpmr(self) -> int:
        self._need(self.features.fpmr)
        check_fp(self.situation)
        return self.vectors.fpmr

    def write_fpmr(self, value: int) -> None:
        self._need(self.features.fpmr)
        check_fp(self.situation)
        self.vectors.fpmr = value

    def read_tpidr2(self) -> int:
        self._check_tpidr2()
        return self.tpidr2

    def write_tpidr2(self, value: int) -> None:
        self._check_tpidr2()
        self.tpidr2 = value

    def _check_tpidr2(self) -> None:
        self._need(bool(self.features.sme))
        if self.traps_tpidr2 and not self.situation.in_host:
            raise GuestException(ExceptionClass.SYSREG, to_el=2)

    def read_control(self, streaming: bool) -> int:
        """MRS of SMCR_EL1 or ZCR_EL1; at EL2 with HCR_EL2.E2H they are those of EL2."""
        return (self.smcr if streaming else self.zcr)[self._own_control(streaming)]

    def write_control(self, streaming: bool, value: int) -> None:
        """MSR likewise."""
        self.set_length(streaming=streaming, el=self._own_control(streaming), value=value)

    def _own_control(self, streaming: bool) -> int:
        if streaming:
            self.check(Check.SME_ACCESS)
        else:
            self._need(bool(self.features.sve) or self.features.sve_trapped)
            check_zcr(self.situation)
        return 2 if self.el == 2 else 1

    def _need(self, implemented: bool) -> None:
        if not implemented:
            raise Undefined(self.situation.target)
