"""The 64-bit register id of KVM_{GET,SET}_ONE_REG.

==========  ===============================================================
bits        meaning
==========  ===============================================================
63:56       architecture; arm64 is 0x60
55:52       log2 of the size in bytes (U8 = 0 ... U2048 = 8)
51:28       zero
27:16       class ("coproc" in the kernel's headers), see `RegClass`
15:0        meaning depends on the class
==========  ===============================================================

Any 64-bit number is a `RegId`, because any number may be passed to the kernel; `is_arm64`,
`reg_class` and the other properties say what it would mean. Names belong to `armkvm.catalog`.

Source: Linux arch/arm64/include/uapi/asm/kvm.h and include/uapi/linux/kvm.h (6.1 to 7.3);
the SME series for class 0x17.
"""

from __future__ import annotations

from armkvm.arch.encoding import SysReg

KVM_REG_ARM64 = 0x60 << 56
SIZE_SHIFT = 52
CLASS_SHIFT = 16

# struct kvm_regs is 864 bytes; core ids count it in 32-bit words.
CORE_WORDS = 216
CORE_X0, CORE_SP, CORE_PC, CORE_PSTATE = 0, 62, 64, 66
CORE_SP_EL1, CORE_ELR_EL1, CORE_SPSR0, CORE_V0 = 68, 70, 72, 84
CORE_FPSR, CORE_FPCR = 212, 213

SVE_Z, SVE_P, SVE_FFR, SVE_VLS = 0x0000, 0x0400, 0x0600, 0xFFFF
SME_ZA, SME_ZT0, SME_VLS = 0x0000, 0x0600, 0xFFFE
Z_BYTES, P_BYTES, VLS_BYTES, ZT0_BYTES = 256, 32, 64, 64
SLICES, ZA_ROWS = 32, 256

CCSIDR_COUNT = 14


class RegClass:
    """Values of bits 27:16."""

    CORE = 0x010
    DEMUX = 0x011
    SYSREG = 0x013
    FW = 0x014
    SVE = 0x015
    FW_FEAT_BMAP = 0x016
    SME = 0x017


CLASS_NAMES = {
    RegClass.CORE: "core",
    RegClass.DEMUX: "demux",
    RegClass.SYSREG: "sysreg",
    RegClass.FW: "firmware",
    RegClass.SVE: "SVE",
    RegClass.FW_FEAT_BMAP: "firmware bitmap",
    RegClass.SME: "SME",
}


def _id(size: int, reg_class: int, low: int) -> int:
    if low >> CLASS_SHIFT:
        raise ValueError(f"the class-specific part of a register id has 16 bits, not {low:#x}")
    return KVM_REG_ARM64 | (size.bit_length() - 1) << SIZE_SHIFT | reg_class << CLASS_SHIFT | low


class RegId(int):
    """A register id: any 64-bit number, with its parts as properties."""

    __slots__ = ()

    def __new__(cls, number: int) -> RegId:
        if not 0 <= number < 1 << 64:
            raise ValueError(f"a register id has 64 bits, not {number:#x}")
        return super().__new__(cls, number)

    # -- builders, one per kind of register ------------------------------------------------

    @classmethod
    def core(cls, word: int, size: int = 8) -> RegId:
        """The core register that starts at 32-bit word `word` of struct kvm_regs."""
        return cls(_id(size, RegClass.CORE, word))

    @classmethod
    def x(cls, n: int) -> RegId:
        """General register Xn, n 0..30."""
        return cls.core(CORE_X0 + 2 * _in_range("X", n, 31))

    @classmethod
    def v(cls, n: int) -> RegId:
        """SIMD&FP register Vn, n 0..31."""
        return cls.core(CORE_V0 + 4 * _in_range("V", n, 32), 16)

    @classmethod
    def sysreg(cls, reg: SysReg) -> RegId:
        """A system register by its encoding."""
        return cls(_id(8, RegClass.SYSREG, reg))

    @classmethod
    def ccsidr(cls, csselr: int) -> RegId:
        """CCSIDR_EL1 as CSSELR_EL1 = `csselr` selects it."""
        return cls(_id(4, RegClass.DEMUX, _in_range("CSSELR", csselr, 256)))

    @classmethod
    def firmware(cls, n: int) -> RegId:
        """Firmware pseudo-register `n` (PSCI version, workarounds)."""
        return cls(_id(8, RegClass.FW, n))

    @classmethod
    def bitmap(cls, n: int) -> RegId:
        """Firmware feature bitmap `n`."""
        return cls(_id(8, RegClass.FW_FEAT_BMAP, n))

    @classmethod
    def z(cls, n: int, part: int = 0) -> RegId:
        """SVE Zn, 2048-bit slice `part`."""
        return cls(_id(Z_BYTES, RegClass.SVE, SVE_Z | _in_range("Z", n, 32) << 5 | _slice(part)))

    @classmethod
    def p(cls, n: int, part: int = 0) -> RegId:
        """SVE Pn, 256-bit slice `part`."""
        return cls(_id(P_BYTES, RegClass.SVE, SVE_P | _in_range("P", n, 16) << 5 | _slice(part)))

    @classmethod
    def ffr(cls, part: int = 0) -> RegId:
        """SVE first-fault register, 256-bit slice `part`."""
        return cls(_id(P_BYTES, RegClass.SVE, SVE_FFR | _slice(part)))

    @classmethod
    def sve_vls(cls) -> RegId:
        """KVM_REG_ARM64_SVE_VLS."""
        return cls(_id(VLS_BYTES, RegClass.SVE, SVE_VLS))

    @classmethod
    def za(cls, row: int, part: int = 0) -> RegId:
        """SME ZA, horizontal row `row`, 2048-bit slice `part`."""
        return cls(_id(Z_BYTES, RegClass.SME, SME_ZA | _in_range("ZA row", row, ZA_ROWS) << 5 | _slice(part)))

    @classmethod
    def zt0(cls) -> RegId:
        """SME2 ZT0."""
        return cls(_id(ZT0_BYTES, RegClass.SME, SME_ZT0))

    @classmethod
    def sme_vls(cls) -> RegId:
        """KVM_REG_ARM64_SME_VLS."""
        return cls(_id(VLS_BYTES, RegClass.SME, SME_VLS))

    @classmethod
    def sme_vls_posted(cls) -> RegId:
        """KVM_REG_ARM64_SME_VLS as the header of the first revisions had it."""
        return cls(cls.sme_vls() | 1)

    # -- parts -----------------------------------------------------------------------------

    @property
    def is_arm64(self) -> bool:
        """Whether the architecture is arm64's and bits 51:32 are zero, as the kernel checks first."""
        return self >> 56 == KVM_REG_ARM64 >> 56 and not self >> 32 & 0xFFFFF

    @property
    def size(self) -> int:
        """Bytes a value has, as bits 55:52 say: 1 to 32768."""
        return 1 << (self >> SIZE_SHIFT & 15)

    @property
    def reg_class(self) -> int:
        """Bits 27:16, one of `RegClass` if known."""
        return self >> CLASS_SHIFT & 0xFFF

    @property
    def low(self) -> int:
        """Bits 15:0."""
        return self & 0xFFFF

    @property
    def encoding(self) -> SysReg | None:
        """The register this id spells if it is a well-formed system-register id."""
        if self >> 16 == _SYSREG_PREFIX:
            return SysReg(self & 0xFFFF)
        return None

    @property
    def hex(self) -> str:
        """The one way an id is written as a number."""
        return f"0x{int(self):016x}"

    def __repr__(self) -> str:
        return f"RegId({self.hex})"


_SYSREG_PREFIX = _id(8, RegClass.SYSREG, 0) >> 16


def _in_range(what: str, n: int, count: int) -> int:
    if not 0 <= n < count:
        raise ValueError(f"{what} number is 0..{count - 1}, not {n}")
    return n


def _slice(part: int) -> int:
    return _in_range("slice", part, SLICES)
