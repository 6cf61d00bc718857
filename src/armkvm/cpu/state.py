"""A PE's registers as plain storage, shared between whoever configures the PE and the PE itself.

Nothing here needs more than the standard library: a vCPU keeps these records while it does not
run; a running PE looks at the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from armkvm.arch.pstate import DAIF, EL1H, el_of

Z_BYTES = 256
P_BYTES = 32
ZA_ROW_BYTES = 256
ZA_ROWS = 256
ZT0_BYTES = 64

SVCR_SM = 1
SVCR_ZA = 2

FPSR_AFTER_MODE_CHANGE = 0x0800_009F
"""FPSR after PSTATE.SM changes (Arm ARM ResetSVEState; recorded)."""


@dataclass(slots=True)
class VectorState:
    """Z, P, FFR, ZA, ZT0, SVCR, FPSR, FPCR and FPMR.

    Every register is stored at the architecture's largest size: Zn at ``z[256*n:]``, Pn at
    ``p[32*n:]``, ZA row n at ``za[256*n:]``; bytes beyond the length in use are zero.
    Vn is the low 16 bytes of Zn.
    """

    z: bytearray = field(default_factory=lambda: bytearray(32 * Z_BYTES))
    p: bytearray = field(default_factory=lambda: bytearray(16 * P_BYTES))
    ffr: bytearray = field(default_factory=lambda: bytearray(P_BYTES))
    za: bytearray = field(default_factory=lambda: bytearray(ZA_ROWS * ZA_ROW_BYTES))
    zt0: bytearray = field(default_factory=lambda: bytearray(ZT0_BYTES))
    svcr: int = 0
    fpsr: int = 0
    fpcr: int = 0
    fpmr: int = 0

    @property
    def streaming(self) -> bool:
        return bool(self.svcr & SVCR_SM)

    def set_svcr(self, value: int) -> None:
        """Change PSTATE.SM and PSTATE.ZA with the architecture's side effects.

        Any change of SM zeroes Z, P, FFR and FPMR and sets FPSR to 0x0800009f; ZA becoming 1
        zeroes ZA and ZT0.
        """
        changed = (self.svcr ^ value) & (SVCR_SM | SVCR_ZA)
        if changed & SVCR_SM:
            for register in (self.z, self.p, self.ffr):
                register[:] = bytes(len(register))
            self.fpsr, self.fpmr = FPSR_AFTER_MODE_CHANGE, 0
        if changed & value & SVCR_ZA:
            self.za[:] = bytes(len(self.za))
            self.zt0[:] = bytes(ZT0_BYTES)
        self.svcr = value & (SVCR_SM | SVCR_ZA)

    def truncate(self, vl: int) -> None:
        """Zero what lies beyond `vl` bytes in Z, P and FFR, as a PE does when its length shrinks."""
        for register, size, keep in (
            (self.z, Z_BYTES, vl),
            (self.p, P_BYTES, vl // 8),
            (self.ffr, P_BYTES, vl // 8),
        ):
            if keep < size:
                for at in range(0, len(register), size):
                    register[at + keep : at + size] = bytes(size - keep)


@dataclass(slots=True)
class CoreState:
    """The general registers and those system registers that the engine itself keeps.

    `pstate` has SPSR's layout (NZCV, DAIF, IL, SS, EL, SPSel ...). `x` holds X0..X30.
    """

    x: list[int] = field(default_factory=lambda: [0] * 31)
    pc: int = 0
    pstate: int = DAIF | EL1H
    sp_el0: int = 0
    sp_el1: int = 0
    elr_el1: int = 0
    spsr_el1: int = 0

    @property
    def el(self) -> int:
        return el_of(self.pstate)
