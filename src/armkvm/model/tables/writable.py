"""Which bits of the feature ID registers each kernel lets userspace write.

A row belongs to one register; its entries say from which kernel on the mask is what, so that a kernel's
difference from its predecessor is what is written here. Two masks differ:

* the *reported* mask is what KVM_ARM_GET_REG_WRITABLE_MASKS says (never anything on 6.1, which lacks it);
* the *effective* mask is what can really change: a reported field that the kernel's own feature table
  does not know is 0 in every limit and stays 0. Those are named in the entry. Reported bits outside any
  field of Arm's never move either.

MIDR, REVIDR, AIDR and SMIDR take any value within the mask, but only with the capability
KVM_CAP_ARM_WRITABLE_IMP_ID_REGS; CLIDR and CTR_EL0 have checks of their own. The masks are the same for
every VM, whatever its features.

Source: Linux arch/arm64/kvm/sys_regs.c and arch/arm64/kernel/cpufeature.c of 6.1, 6.12 and 7.3; for 6.18,
7.0, 7.2 and the SME series what those kernels reported, with 7.3's feature table.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache

from armkvm.arch.encoding import SysReg
from armkvm.arch.fields import Field
from armkvm.arch.idfields import field_of, named_fields
from armkvm.arch.sysregs import sysreg
from armkvm.value import Value

RELEASES = ("6.1", "6.12", "6.18", "7.0", "7.2", "7.3")

# Each kernel's predecessors, oldest first, itself last. Revision 12 of the SME series was built on 7.2,
# revision 4 on 6.14, whose masks are taken to be 6.12's.
LINEAGE: dict[str, tuple[str, ...]] = {kernel: RELEASES[:n] for n, kernel in enumerate(RELEASES, 1)}
LINEAGE["sme-v4"] = (*LINEAGE["6.12"], "sme-v4")
LINEAGE["sme-v12"] = (*LINEAGE["7.2"], "sme-v12")

# Kernels without KVM_ARM_GET_REG_WRITABLE_MASKS.
UNREPORTED = frozenset({"6.1"})

AARCH32_MASK = 0xFFFF_FFFF

# register -> ((kernel from which on, mask, fields in the mask that the kernel does not know), ...)
ROWS: tuple[tuple[str, tuple[tuple[str, int, str], ...]], ...] = (
    ("MIDR_EL1", (
        ("6.18", 0x0000_0000_FFFF_FFFF, ""),
    )),
    ("REVIDR_EL1", (
        ("6.18", 0xFFFF_FFFF_FFFF_FFFF, ""),
    )),
    ("ID_PFR0_EL1", (("6.12", AARCH32_MASK, "RAS AMU"),)),
    ("ID_DFR0_EL1", (("6.12", AARCH32_MASK, "TraceFilt"),)),
    ("ID_ISAR5_EL1", (("6.12", AARCH32_MASK, "VCMA"),)),
    ("ID_PFR2_EL1", (("6.12", AARCH32_MASK, "RAS_frac"),)),
    ("ID_MMFR5_EL1", (("6.12", AARCH32_MASK, "nTLBPA"),)),
    *(
        (f"{name}_EL1", (("6.12", AARCH32_MASK, ""),))
        for name in (
            "ID_PFR1", "ID_MMFR0", "ID_MMFR1", "ID_MMFR2", "ID_MMFR3", "ID_MMFR4",
            "ID_ISAR0", "ID_ISAR1", "ID_ISAR2", "ID_ISAR3", "ID_ISAR4", "ID_ISAR6",
            "MVFR0", "MVFR1", "MVFR2",
        )
    ),
    ("ID_AA64PFR0_EL1", (
        ("6.1", 0xFF00_0000_0000_0000, ""),  # CSV3 and CSV2 alone, 0 or 1
        ("6.12", 0xFFFF_00F0_0F00_FFFF, "RME"),
        ("6.18", 0xFFFF_00F0_FF00_FFFF, "RME"),  # + RAS
    )),
    ("ID_AA64PFR1_EL1", (
        ("6.12", 0x0000_000F_0000_00FF, "CSV2_frac"),
        ("6.18", 0x0F00_000F_0000_F0FF, "CSV2_frac"),  # + DF2, RAS_frac
        ("sme-v4", 0x0000_000F_0F00_00FF, "CSV2_frac"),  # 6.12 + SME
        ("sme-v12", 0x0F00_000F_0F00_F0FF, "CSV2_frac"),  # + SME
    )),
    ("ID_AA64PFR2_EL1", (
        ("6.12", 0x0000_000F_0000_0000, ""),
        ("6.18", 0x0000_000F_0000_0FF0, ""),  # + MTEFAR, MTESTOREONLY
        ("7.2", 0x0000_000F_0000_FFF0, ""),  # + GCIE
    )),
    ("ID_AA64ZFR0_EL1", (
        ("6.12", 0x0FF0_FF0F_0FFF_00FF, ""),
        ("6.18", 0x0FFF_FF0F_0FFF_F0FF, ""),  # + F16MM, EltPerm
    )),
    ("ID_AA64SMFR0_EL1", (
        ("sme-v4", 0x9FF1_FFFF_7000_0000, ""),
        ("sme-v12", 0xBFF1_FFFF_7381_0001, ""),  # + LUT6, the SME2p2 ones
    )),
    ("ID_AA64FPFR0_EL1", (
        ("6.12", 0x0000_0000_F000_0003, ""),
        ("6.18", 0x0000_0000_FC00_0003, ""),  # + F8MM8, F8MM4
        ("7.2", 0x0000_0000_FC00_80FF, ""),  # + F16MM2, and bits 7:2, which are no field
    )),
    ("ID_AA64DFR0_EL1", (
        ("6.12", 0x0000_00F0_00F0_0F0F, ""),
    )),
    ("ID_AA64ISAR0_EL1", (
        ("6.12", 0xFFFF_FFFF_FFFF_FFF0, "TME"),
        ("7.0", 0xFFFF_FFFF_F0FF_FFF0, ""),  # - TME
    )),
    ("ID_AA64ISAR1_EL1", (
        ("6.12", 0xFFFF_FFFF_00FF_F00F, "LS64"),
        ("6.18", 0xFFFF_FFFF_00FF_F00F, ""),
    )),
    ("ID_AA64ISAR2_EL1", (
        ("6.12", 0xFFFF_0FFF_FFFF_00FF, "ATS1A PRFMSLC SYSINSTR_128 SYSREG_128 PAC_frac"),
        ("6.18", 0xFFFF_FFFF_FFFF_00FF, "PCDPHINT PRFMSLC SYSINSTR_128 SYSREG_128 PAC_frac"),
    )),
    ("ID_AA64ISAR3_EL1", (
        ("6.18", 0x0000_0000_F00F_00F0, ""),
        ("7.2", 0x0000_0000_FF0F_00F0, ""),  # + LSUI
    )),
    ("ID_AA64MMFR0_EL1", (
        ("6.12", 0xFF00_F000_FFFF_FF0F, ""),
        ("6.18", 0xFF00_FFFF_FFFF_FF0F, ""),  # + TGran4_2, TGran64_2, TGran16_2
    )),
    ("ID_AA64MMFR1_EL1", (
        ("6.12", 0xFFFF_F0F0_0FFF_F00F, "CMOW nTLBPA"),
        ("6.18", 0xFFFF_FFFF_0FFF_F00F, "CMOW nTLBPA"),  # + HCX, TWED
    )),
    ("ID_AA64MMFR2_EL1", (
        ("6.12", 0xF0FF_000F_F00F_FFFF, ""),
    )),
    ("ID_AA64MMFR3_EL1", (
        ("6.12", 0x0000_0000_000F_0F0F, ""),
        ("6.18", 0x0000_0000_000F_0FFF, ""),  # + SCTLRX
    )),
    ("ID_AA64MMFR4_EL1", (
        ("6.18", 0x0000_0000_00F0_0000, ""),  # NV_frac
    )),
    ("CLIDR_EL1", (
        ("6.12", 0x0000_7FFF_FFFF_FFFF, ""),
    )),
    ("SMIDR_EL1", (
        ("sme-v12", 0x0FFF_FFFF_FFFF_6FFF, ""),
    )),
    ("AIDR_EL1", (
        ("6.18", 0xFFFF_FFFF_FFFF_FFFF, ""),
    )),
    ("CTR_EL0", (
        ("6.12", 0x0000_0000_300F_000F, ""),
        ("6.18", 0x0000_0000_300F_C00F, ""),  # + L1Ip
    )),
)  # fmt: skip

_BY_REGISTER = tuple(sorted((sysreg(name), entries) for name, entries in ROWS))

# The registers that describe AArch32 state. On a host without 32-bit EL0 they read as zero, take any
# write without effect, and are not reported. The reserved registers between them are not among these:
# they read as zero everywhere and refuse any other value.
AARCH32 = frozenset(reg for reg, _ in _BY_REGISTER if reg.op1 == 0 and 1 <= reg.crm <= 3)

# Fields that KVM (6.12 on) lets userspace lower, although the host, where its CPUs differ, falls back to
# this value instead of the lowest. The field table has KVM's direction.
HOST_EXACT: dict[Field, int] = {
    field_of(sysreg("ID_AA64DFR0_EL1"), "PMUVer"): 0,
    field_of(sysreg("ID_AA64DFR0_EL1"), "DebugVer"): 6,
    field_of(sysreg("ID_DFR0_EL1"), "PerfMon"): 0,
}


def reported_mask(kernel: str, reg: SysReg) -> int:
    """What the mask ioctl of `kernel` reports for `reg` on a host with 32-bit EL0; 0 if nothing."""
    return _reported_by(_known(kernel)).get(reg, 0)


def reported_masks(kernel: str, *, aarch32_el0: bool) -> dict[SysReg, int]:
    """Every nonzero mask the ioctl of `kernel` reports, ascending by encoding."""
    masks = _reported_by(_known(kernel))
    return {reg: mask for reg, mask in masks.items() if aarch32_el0 or reg not in AARCH32}


def effective_mask(kernel: str, reg: SysReg) -> int:
    """The bits of `reg` that userspace can change on `kernel`."""
    return _effective_on(_known(kernel)).get(reg, 0)


def writable_fields(kernel: str, reg: SysReg) -> tuple[Field, ...]:
    """The fields wholly within the effective mask, from bit 63 down; () if `reg` is fixed."""
    mask = effective_mask(kernel, reg)
    return tuple(field for field in named_fields(reg) if not field.mask & ~mask) if mask else ()


def _known(kernel: str) -> str:
    if kernel not in LINEAGE:
        raise ValueError(f"no masks are known for kernel {kernel!r}; known are {', '.join(LINEAGE)}")
    return kernel


def _entry(kernel: str, entries: tuple[tuple[str, int, str], ...]) -> tuple[int, str]:
    """The mask and unknown fields that hold on `kernel`: those of its latest predecessor listed."""
    held = {since: (mask, unknown) for since, mask, unknown in entries}
    return next((held[since] for since in reversed(LINEAGE[kernel]) if since in held), (0, ""))


def _effective(reg: SysReg, mask: int, unknown: str) -> int:
    stuck = {field_of(reg, name) for name in unknown.split()}
    fields = (field for field in named_fields(reg) if field not in stuck)
    return sum(field.mask for field in fields if not field.mask & ~mask)


@cache
def _reported_by(kernel: str) -> dict[SysReg, int]:
    if kernel in UNREPORTED:
        return {}
    return {reg: mask for reg, entries in _BY_REGISTER if (mask := _entry(kernel, entries)[0])}


@cache
def _effective_on(kernel: str) -> dict[SysReg, int]:
    return {reg: _effective(reg, *_entry(kernel, entries)) for reg, entries in _BY_REGISTER}


class Masks(Value):
    """What userspace may write on a host: as its kernel's rows say, or as the host itself reported."""

    kernel: str
    reported: Mapping[SysReg, int]
    effective: Mapping[SysReg, int]

    __eq__, __hash__ = object.__eq__, object.__hash__  # equal ones are the same one, see `masks_of`


@lru_cache(maxsize=256)
def masks_of(kernel: str, aarch32_el0: bool, probed: frozenset[tuple[SysReg, int]] | None = None) -> Masks:
    """The masks of a host with that kernel; `probed` is what the ioctl answered there, if that is known.

    A reported field that the kernel's rows say to be stuck stays so.
    """
    rows = reported_masks(kernel, aarch32_el0=aarch32_el0)
    if probed is None or probed == frozenset(rows.items()):
        return Masks(kernel, rows, _effective_on(kernel))
    unknown = {reg: _entry(kernel, entries)[1] for reg, entries in _BY_REGISTER}
    reported = dict(sorted(probed))
    return Masks(
        kernel, reported, {reg: _effective(reg, mask, unknown.get(reg, "")) for reg, mask in reported.items()}
    )
