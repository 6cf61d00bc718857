"""The CPU interface's registers, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS: one row each.

None of them is a register id of KVM_GET_ONE_REG. ICC_CTLR_EL1 is the hurdle between unlike GICs: its
bits of priority and INTID can be lowered and never raised again, and SEIS and A3V are the host's.

Source: Linux arch/arm64/kvm/vgic-sys-reg-v3.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from armkvm.abi.attributes import cpu_sysreg_encoding
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.encoding import SysReg
from armkvm.arch.fields import Field, accepted_values, accepts
from armkvm.arch.gicfields import FIELDS, field
from armkvm.arch.sysregs import name_of, sysreg
from armkvm.errors import Rule
from armkvm.model import device_rules
from armkvm.model.device_behaviours import NON_ID_MASKS
from armkvm.model.groups import number
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu
from armkvm.model.vgic.hardware import (
    CTLR_A3V,
    CTLR_IDBITS,
    CTLR_PRIBITS,
    CTLR_SEIS,
    VTR_PREBITS,
    VTR_PRIBITS,
    VTR_SEIS,
)
from armkvm.model.vgic.record import part
from armkvm.model.vm import Vm

Read = Callable[[Vcpu, SysReg], int | Refused]
Write = Callable[[Vcpu, SysReg, int], Refused | None]

_CBPR, _EOIMODE = field("ICC_CTLR_EL1", "CBPR"), field("ICC_CTLR_EL1", "EOImode")
_SRE = field("ICC_SRE_EL1", "SRE")
_SRE_EL1, _SRE_EL2 = 0x7, 0xF
"""System registers on and no bypass; at EL2, EL1's may be enabled as well."""


class Row(NamedTuple):
    """One register. `writable` are its read-only fields that NON_ID_MASKS gives to the VM."""

    reg: SysReg
    read: Read
    write: Write
    el2: bool = False
    writable: tuple[Field, ...] = ()


# -- ICC_CTLR_EL1 ------------------------------------------------------------------------------


def _read_ctlr(vcpu: Vcpu, reg: SysReg) -> int:
    own = part(vcpu)
    value = CTLR_PRIBITS.insert(0, own.pri_bits) | CTLR_IDBITS.insert(0, own.id_bits)
    value |= CTLR_SEIS.insert(0, own.seis) | CTLR_A3V.insert(0, own.a3v)
    return value | _CBPR.insert(0, own.cbpr) | _EOIMODE.insert(0, own.eoimode)


def _write_ctlr(vcpu: Vcpu, reg: SysReg, value: int) -> Refused | None:
    """Field after field, each taking effect before the next is looked at."""
    own = part(vcpu)
    refused = _narrow(vcpu, CTLR_PRIBITS, "pri_bits", value) or _narrow(vcpu, CTLR_IDBITS, "id_bits", value)
    refused = refused or _promise(vcpu, CTLR_SEIS, "seis", value) or _promise(vcpu, CTLR_A3V, "a3v", value)
    if refused is not None:
        return refused
    own.cbpr, own.eoimode = _CBPR.extract(value), _EOIMODE.extract(value)
    return None


def _narrow(vcpu: Vcpu, part_of: Field, kept: str, value: int) -> Refused | None:
    """A number of bits, at most what the vCPU still has."""
    own = part(vcpu)
    asked, most = part_of.extract(value), getattr(own, kept)
    if not accepts(part_of, most, asked):
        return _refuse(vcpu, device_rules.CPUIF_WIDER, part_of, asked, accepted_values(part_of, most))
    setattr(own, kept, asked)
    own.pre_bits = min(own.pre_bits, own.pri_bits)
    return None


def _promise(vcpu: Vcpu, part_of: Field, kept: str, value: int) -> Refused | None:
    """What the hardware does or does not do: the host's, unless such fields belong to the VM."""
    asked, host = part_of.extract(value), getattr(vcpu.vm.platform.gic, kept)
    if NON_ID_MASKS in vcpu.vm.profile:
        if not accepts(part_of, host, asked):
            return _refuse(vcpu, device_rules.CPUIF_NOT_BELOW, part_of, asked, accepted_values(part_of, host))
        setattr(part(vcpu), kept, asked)
    elif asked != host:
        return _refuse(vcpu, device_rules.CPUIF_DIFFERS, part_of, asked, (host,))
    return None


def _refuse(vcpu: Vcpu, rule: Rule, part_of: Field, asked: int, allowed: tuple[int, ...]) -> Refused:
    values = ", ".join(f"{value:#x}" for value in allowed)
    limits = f"{part_of} is {asked:#x}, allowed {'are' if len(allowed) > 1 else 'is'} {values}"
    return Refused(rule, "; ".join((limits, *vcpu.vm.platform.assumptions)))


# -- what ICH_VMCR_EL2 and the active-priority registers keep ----------------------------------


def _kept(name: str, mask: int) -> tuple[Read, Write]:
    """A number of the interface, cut to its width."""

    def read(vcpu: Vcpu, reg: SysReg) -> int:
        value: int = getattr(part(vcpu), name)
        return value

    def write(vcpu: Vcpu, reg: SysReg, value: int) -> Refused | None:
        setattr(part(vcpu), name, value & mask)
        return None

    return read, write


def _read_bpr1(vcpu: Vcpu, reg: SysReg) -> int:
    own = part(vcpu)
    return min(own.bpr0 + 1, 7) if own.cbpr else own.bpr1


def _write_bpr1(vcpu: Vcpu, reg: SysReg, value: int) -> Refused | None:
    """Ignored while group 1 uses BPR0."""
    own = part(vcpu)
    if not own.cbpr:
        own.bpr1 = value & 7
    return None


def _beyond_priorities(vcpu: Vcpu, reg: SysReg) -> Refused | None:
    """Whether the vCPU has too few priorities for an active-priority register."""
    last = {5: 1, 6: 3}.get(part(vcpu).pri_bits, 0)
    if reg.op2 & 3 > last:
        return Refused(
            device_rules.APR_BEYOND,
            f"{name_of(reg)}, and {CTLR_PRIBITS} is {part(vcpu).pri_bits:#x}: the last is number {last}",
        )
    return None


def _apr(group: int) -> tuple[Read, Write]:
    def read(vcpu: Vcpu, reg: SysReg) -> int | Refused:
        return _beyond_priorities(vcpu, reg) or part(vcpu).active_priorities[group][reg.op2 & 3]

    def write(vcpu: Vcpu, reg: SysReg, value: int) -> Refused | None:
        refused = _beyond_priorities(vcpu, reg)
        if refused is None:
            part(vcpu).active_priorities[group][reg.op2 & 3] = value & 0xFFFF_FFFF
        return refused

    return read, write


def _read_sre(vcpu: Vcpu, reg: SysReg) -> int:
    return _SRE_EL1


def _write_sre(vcpu: Vcpu, reg: SysReg, value: int) -> Refused | None:
    """Checked and dropped."""
    if not _SRE.extract(value):
        return Refused(device_rules.SRE_CLEAR, f"{_SRE} is 0, allowed is 0x1")
    return None


# -- the virtual interface, of vCPUs with EL2 --------------------------------------------------


def _read_ich(vcpu: Vcpu, reg: SysReg) -> int:
    return vcpu.ich.get(reg, 0)


def _write_ich(vcpu: Vcpu, reg: SysReg, value: int) -> Refused | None:
    vcpu.ich[reg] = value
    return None


def _read_ich_apr(vcpu: Vcpu, reg: SysReg) -> int | Refused:
    return _beyond_priorities(vcpu, reg) or _read_ich(vcpu, reg)


def _write_ich_apr(vcpu: Vcpu, reg: SysReg, value: int) -> Refused | None:
    return _beyond_priorities(vcpu, reg) or _write_ich(vcpu, reg, value)


def _read_sre_el2(vcpu: Vcpu, reg: SysReg) -> int:
    return _SRE_EL2


def _write_sre_el2(vcpu: Vcpu, reg: SysReg, value: int) -> Refused | None:
    return None if value == _SRE_EL2 else _fixed(reg, value, _SRE_EL2)


def _read_vtr(vcpu: Vcpu, reg: SysReg) -> int:
    """The host's, or where it belongs to the VM, what agrees with ICC_CTLR_EL1."""
    own = part(vcpu)
    value: int = vcpu.vm.platform.gic.vtr
    if NON_ID_MASKS not in vcpu.vm.profile:
        return value
    value = VTR_PREBITS.insert(VTR_PRIBITS.insert(value, own.pri_bits), own.pre_bits)
    return VTR_SEIS.insert(value, own.seis)


def _write_vtr(vcpu: Vcpu, reg: SysReg, value: int) -> Refused | None:
    if NON_ID_MASKS not in vcpu.vm.profile:
        current = _read_vtr(vcpu, reg)
        return None if value == current else _fixed(reg, value, current)
    rest = sum(one.mask for one in _VTR_WRITABLE)
    if (value ^ vcpu.vm.platform.gic.vtr) & ~rest:
        return _fixed(reg, value, _read_vtr(vcpu, reg))
    refused = _narrow(vcpu, VTR_PRIBITS, "pri_bits", value) or _narrow(vcpu, VTR_PREBITS, "pre_bits", value)
    return refused or _promise(vcpu, VTR_SEIS, "seis", value)


def _fixed(reg: SysReg, asked: int, current: int) -> Refused:
    """Which fields of a register that cannot change were asked to."""
    wrong = [
        f"{one} is {one.extract(asked):#x}, allowed is {one.extract(current):#x}"
        for one in FIELDS.get(reg, ())
        if one.extract(asked) != one.extract(current)
    ]
    whole = f"{name_of(reg)}: asked for {asked:#x}, allowed is {current:#x}"
    return Refused(device_rules.EL2_CPUIF_FIXED, "; ".join(wrong) or whole)


_CTLR_WRITABLE = (CTLR_PRIBITS, CTLR_IDBITS, CTLR_SEIS, CTLR_A3V, _CBPR, _EOIMODE)
_VTR_WRITABLE = (VTR_PRIBITS, VTR_PREBITS, VTR_SEIS)


def _row(name: str, handlers: tuple[Read, Write], el2: bool = False, writable: tuple[Field, ...] = ()) -> Row:
    return Row(sysreg(name), *handlers, el2=el2, writable=writable)


_ROWS: list[Row] = [
    _row("ICC_PMR_EL1", _kept("pmr", 0xFF)),
    _row("ICC_BPR0_EL1", _kept("bpr0", 7)),
    *(_row(f"ICC_AP{group}R{n}_EL1", _apr(group)) for group in (0, 1) for n in range(4)),
    _row("ICC_BPR1_EL1", (_read_bpr1, _write_bpr1)),
    _row("ICC_CTLR_EL1", (_read_ctlr, _write_ctlr), writable=_CTLR_WRITABLE),
    _row("ICC_SRE_EL1", (_read_sre, _write_sre)),
    _row("ICC_IGRPEN0_EL1", _kept("igrpen0", 1)),
    _row("ICC_IGRPEN1_EL1", _kept("igrpen1", 1)),
    *(
        _row(f"ICH_AP{group}R{n}_EL2", (_read_ich_apr, _write_ich_apr), el2=True)
        for group in (0, 1)
        for n in range(4)
    ),
    _row("ICC_SRE_EL2", (_read_sre_el2, _write_sre_el2), el2=True),
    _row("ICH_HCR_EL2", (_read_ich, _write_ich), el2=True),
    _row("ICH_VTR_EL2", (_read_vtr, _write_vtr), el2=True, writable=_VTR_WRITABLE),
    _row("ICH_VMCR_EL2", (_read_ich, _write_ich), el2=True),
    *(_row(f"ICH_LR{n}_EL2", (_read_ich, _write_ich), el2=True) for n in range(16)),
]
ROWS: dict[SysReg, Row] = {row.reg: row for row in _ROWS}


def find(vcpu: Vcpu, attr: int) -> Row | Refused:
    """The register that an attribute names, if this vCPU has it."""
    reg = cpu_sysreg_encoding(attr)
    row = ROWS.get(reg)
    if row is None or (row.el2 and F.HAS_EL2 not in vcpu.features):
        why = "" if row is None else ", and the vCPU has no EL2"
        return Refused(device_rules.NO_SUCH_CPUIF_REGISTER, f"{name_of(reg)}{why}")
    return row


def get(vcpu: Vcpu, attr: int) -> bytes | Refused:
    """Read a register: 64 bits."""
    row = find(vcpu, attr)
    if isinstance(row, Refused):
        return row
    value = row.read(vcpu, row.reg)
    return value if isinstance(value, Refused) else value.to_bytes(8, "little")


def put(vcpu: Vcpu, attr: int, data: bytes | None) -> Refused | None:
    """Write a register; the value is read before the register is looked up."""
    value = number(data, 8)
    if isinstance(value, Refused):
        return value
    row = find(vcpu, attr)
    return row if isinstance(row, Refused) else row.write(vcpu, row.reg, value)


def writable_masks(vm: Vm) -> dict[RegId, int]:
    """Range 1 of KVM_ARM_GET_REG_WRITABLE_MASKS, under `NON_ID_MASKS`.

    The ids only name the registers; KVM_GET_ONE_REG does not know them.
    """
    shown = (row for row in _ROWS if row.writable and (vm.platform.offers(F.HAS_EL2) or not row.el2))
    return {RegId.sysreg(row.reg): sum(one.mask for one in row.writable) for row in shown}


def pass_through_hardware(vcpu: Vcpu) -> None:
    """What the interface holds after a vCPU was on a CPU: binary points have a minimum there."""
    own, pre_bits = part(vcpu), vcpu.vm.platform.gic.pre_bits
    own.bpr0 = max(own.bpr0, 6 - pre_bits)
    own.bpr1 = max(own.bpr1, 7 - pre_bits)
