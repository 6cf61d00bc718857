"""The one join: register id <-> system register <-> name.

Ids, encodings and names are three spaces with warts between them; all of them are here.

* **Timers.** KVM_REG_ARM_TIMER_CVAL and _CNT carry each other's encodings (a slip of 2015 that
  became ABI): the id spelled CNTVCT_EL0 accesses CNTV_CVAL_EL0 and the other way round. The
  PTIMER ids are not exchanged. The ids are therefore named by the kernel's constants.
* **Core registers** are offsets into struct kvm_regs and have no encoding. SP_EL1, ELR_EL1,
  SPSR_EL1, FPCR and FPSR exist as system registers too, which KVM does not offer as such: the
  name means the core register, the encoding is written generically.
* **Vector-length sets** are registers only of KVM.

Source: Linux arch/arm64/include/uapi/asm/kvm.h, arch/arm64/kvm/sys_regs.c.
"""

from __future__ import annotations

from functools import lru_cache

from armkvm.abi import core
from armkvm.abi.regid import CLASS_NAMES, SLICES, ZA_ROWS, RegClass, RegId
from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import BY_NAME, NAMES, name_of as sysreg_name, sysreg

FIRMWARE = (
    "KVM_REG_ARM_PSCI_VERSION",
    "KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1",
    "KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2",
    "KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_3",
)
BITMAPS = (
    "KVM_REG_ARM_STD_BMAP",
    "KVM_REG_ARM_STD_HYP_BMAP",
    "KVM_REG_ARM_VENDOR_HYP_BMAP",
    "KVM_REG_ARM_VENDOR_HYP_BMAP_2",
)

# constant -> (the encoding its id carries, the register it accesses)
TIMERS: dict[str, tuple[SysReg, SysReg]] = {
    "KVM_REG_ARM_TIMER_CTL": (sysreg("CNTV_CTL_EL0"), sysreg("CNTV_CTL_EL0")),
    "KVM_REG_ARM_TIMER_CVAL": (sysreg("CNTVCT_EL0"), sysreg("CNTV_CVAL_EL0")),
    "KVM_REG_ARM_TIMER_CNT": (sysreg("CNTV_CVAL_EL0"), sysreg("CNTVCT_EL0")),
    "KVM_REG_ARM_PTIMER_CTL": (sysreg("CNTP_CTL_EL0"), sysreg("CNTP_CTL_EL0")),
    "KVM_REG_ARM_PTIMER_CVAL": (sysreg("CNTP_CVAL_EL0"), sysreg("CNTP_CVAL_EL0")),
    "KVM_REG_ARM_PTIMER_CNT": (sysreg("CNTPCT_EL0"), sysreg("CNTPCT_EL0")),
}
_ACCESSED: dict[SysReg, SysReg] = dict(TIMERS.values())
_CARRIED: dict[SysReg, SysReg] = {accessed: carried for carried, accessed in TIMERS.values()}

_NAMES: dict[int, str] = {
    **{RegId.core(word, size): name for name, (word, size) in core.REGISTERS.items()},
    **{RegId.firmware(n): name for n, name in enumerate(FIRMWARE)},
    **{RegId.bitmap(n): name for n, name in enumerate(BITMAPS)},
    **{RegId.ccsidr(n): f"CCSIDR_EL1({n})" for n in range(14)},
    **{RegId.z(n): f"Z{n}" for n in range(32)},
    **{RegId.p(n): f"P{n}" for n in range(16)},
    RegId.ffr(): "FFR",
    RegId.sve_vls(): "KVM_REG_ARM64_SVE_VLS",
    RegId.zt0(): "ZT0",
    RegId.sme_vls(): "KVM_REG_ARM64_SME_VLS",
    **{RegId.sysreg(carried): name for name, (carried, _) in TIMERS.items()},
}
_IDS: dict[str, RegId] = {name.upper(): RegId(number) for number, name in _NAMES.items()}
_PREFIXES = ("KVM_REG_ARM64_", "KVM_REG_ARM_")
_SLICED = {
    name for number, name in _NAMES.items() if RegId(number).reg_class == RegClass.SVE and not number % SLICES
}


def accessed_register(reg: RegId) -> SysReg | None:
    """The system register that an id accesses (the timers' exchange undone), or None."""
    encoding = reg.encoding
    return None if encoding is None else _ACCESSED.get(encoding, encoding)


@lru_cache(maxsize=4096)  # fleets name the same registers a million times
def id_of(reg: SysReg) -> RegId:
    """The id that accesses a system register."""
    return RegId.sysreg(_CARRIED.get(reg, reg))


def name_of(reg: RegId) -> str:
    """The name of a register id, or "" if the ABI has none for it.

    Slices beyond the first are written ``Z0/1``; ZA rows ``ZA[17]``.
    """
    name = _NAMES.get(reg)
    if name is not None:
        return name
    encoding = reg.encoding
    if encoding is not None:
        name = sysreg_name(encoding)
        return encoding.generic_name if name in _IDS else name
    if reg.is_arm64 and not reg >> 28 & 15:
        row, part = divmod(reg.low, SLICES)
        if reg.reg_class == RegClass.SVE and part:
            first = _NAMES.get(reg - part)
            return f"{first}/{part}" if first in _SLICED else ""
        if reg.reg_class == RegClass.SME and row < ZA_ROWS and reg == RegId.za(row, part):
            return f"ZA[{row}]" + (f"/{part}" if part else "")
    return ""


def named() -> list[RegId]:
    """Every register that has a name, by id; slices beyond the first and ZA rows are left out."""
    return sorted({*map(RegId, _NAMES), *map(id_of, NAMES)})


@lru_cache(maxsize=4096)
def parse(text: str) -> RegId:
    """A register by name (any case), by ``0x...`` number, or by generic ``S3_0_C0_C4_0``.

    A kernel's constant may go without its prefix: ``SVE_VLS``, ``PSCI_VERSION``.
    Raises ValueError saying what is understood.
    """
    word = text.strip()
    upper = word.upper()
    if upper.startswith("0X"):
        try:
            return RegId(int(word, 16))
        except ValueError as bad:
            raise ValueError(f"{text!r} is not a 64-bit register id: {bad}") from None
    for prefix in ("", *_PREFIXES):
        found = _IDS.get(prefix + upper)
        if found is not None:
            return found
    if upper in BY_NAME:
        return id_of(BY_NAME[upper])
    if upper.startswith("KVM_REG_ARM64_") and upper[14:] in _IDS:
        return _IDS[upper[14:]]
    head, slash, part = upper.partition("/")
    try:
        if head.startswith("ZA[") and head.endswith("]"):
            return RegId.za(int(head[3:-1]), int(part) if slash else 0)
        if slash and head in _SLICED and 0 < int(part) < SLICES:
            return RegId(_IDS[head] + int(part))
        return id_of(sysreg(word))
    except ValueError:
        raise ValueError(
            f"no register is called {text!r}; use a name as in `armkvm regs` (PC, Z0, ID_AA64PFR0_EL1, "
            "KVM_REG_ARM64_SVE_VLS), an encoding S3_0_C0_C4_0, or a 64-bit id 0x..."
        ) from None


def class_name(reg: RegId) -> str:
    """What kind of register an id is, in words."""
    return CLASS_NAMES.get(reg.reg_class, f"unknown class {reg.reg_class:#05x}")


MOVING = frozenset(
    parse(f"KVM_REG_ARM_{timer}_{what}") for timer in ("TIMER", "PTIMER") for what in ("CNT", "CTL")
)
"""Registers that read differently without anybody writing: counters, and ISTATUS which follows them."""
