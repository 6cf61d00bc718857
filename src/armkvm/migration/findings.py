"""What a move has to say: each finding with a stable code, what was asked, what is there, a way out."""

from __future__ import annotations

from collections.abc import Iterable

from armkvm import catalog
from armkvm.abi.regid import RegId
from armkvm.arch.vectors import VectorLengths
from armkvm.errors import KvmError, errno_name
from armkvm.migration.advice import Code, advice
from armkvm.value import Value


class Finding(Value):
    """One thing a move found.

    `blocking` findings mean that the state did not arrive whole. `asked` is what was to be set,
    `there` what the place has, `acceptable` what it would take (empty where not known); registers
    as numbers, vector lengths in quadwords. Where one field of `reg` decides, `field` names it and
    they are the field's. `rule` names the place's own rule if it has names.
    """

    code: Code
    blocking: bool = True
    vcpu: int | None = None
    operation: str = ""
    reg: RegId | None = None
    field: str = ""
    errno: int | None = None
    asked: str = ""
    there: str = ""
    acceptable: str = ""
    rule: str = ""
    why: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        subject = " ".join(filter(None, (self.operation, self.subject)))
        where = "" if self.vcpu is None else f"vCPU {self.vcpu}: "
        text = f"{where}{subject or self.code}"
        if self.errno is not None:
            text += f": {errno_name(self.errno)}"
        facts = (("asked", self.asked), ("there", self.there), ("acceptable", self.acceptable))
        told = ", ".join(f"{name} {_brief(value)}" for name, value in facts if value)
        reason = f"{self.why.rstrip('.')} ({self.rule})" if self.rule else self.why
        parts = (f"{text} [{told}]" if told else text, reason, self.remedy)
        return ". ".join(part.rstrip(".") for part in parts if part)

    @property
    def reg_name(self) -> str:
        """The register by name, or by number if it has none."""
        return "" if self.reg is None else _label(self.reg)

    @property
    def subject(self) -> str:
        """The field if one decides, else the register."""
        return f"{self.reg_name}.{self.field}" if self.field else self.reg_name

    @property
    def severity(self) -> str:
        """``error`` if it stands in the way, else ``note``."""
        return "error" if self.blocking else "note"

    @property
    def behaviour(self) -> str:
        """What KVM does there, in a few words."""
        if self.errno is not None:
            return f"{self.operation or 'the call'} refuses with {errno_name(self.errno)}"
        if self.code in {Code.REGISTER_DIFFERS, Code.ID_FIELD} and self.there:
            return f"takes the write without an error and keeps {self.there}"
        return ""


def refusal(
    code: Code,
    error: KvmError,
    *,
    vcpu: int | None = None,
    reg: RegId | None = None,
    asked: str = "",
    there: str = "",
    acceptable: str = "",
) -> Finding:
    """A call that was refused. The place's own reason comes before the general one.

    `reg` is the register that was meant, for places whose refusals do not name it.
    """
    reg = reg if error.reg is None else error.reg
    row = advice(code, reg, error.errno) if reg is not None else None
    rule = error.rule
    general = (row.why, row.remedy) if row else (rule.sentence, rule.remedy) if rule else ("", "")
    own = error.detail or (rule.sentence if rule else "")
    return Finding(
        code=code,
        vcpu=vcpu,
        operation=error.operation,
        reg=reg,
        errno=error.errno,
        asked=asked,
        there=there,
        acceptable=acceptable,
        rule=rule.name if rule else "",
        why=own or general[0],
        remedy=general[1],
    )


def lengths(
    vcpu: int,
    reg: RegId,
    wanted: VectorLengths,
    offered: VectorLengths,
    *,
    both: VectorLengths | None = None,
    operation: str = "KVM_SET_ONE_REG",
) -> Finding:
    """A set of vector lengths that a place does not take, with the longest set that both hosts do.

    `both` is that set where it is known; else what `wanted`, one host's set, and `offered` share.
    """
    common = wanted.common_prefix(offered) if both is None else both
    option = "--vls" if reg == RegId.sve_vls() else "--sme-vls"
    remedy = (
        f"The longest set that both hosts accept: {option} {common}."
        if common
        else "The two share no beginning: this vCPU cannot move between them with its vectors."
    )
    return Finding(
        code=Code.VECTOR_LENGTHS,
        vcpu=vcpu,
        operation=operation,
        reg=reg,
        asked=str(wanted),
        there=str(offered),
        acceptable=str(common),
        why="a set of vector lengths (in quadwords) is accepted only if it begins the host's own",
        remedy=remedy,
    )


def unread(vcpu: int, reg: RegId, number: int) -> Finding:
    """A register that the source listed and would not read."""
    return Finding(
        code=Code.REGISTER_UNREAD,
        vcpu=vcpu,
        operation="KVM_GET_ONE_REG",
        reg=reg,
        errno=number,
        why="the source listed this register and refused to read it, so the snapshot lacks its contents",
        remedy="Capture again while the vCPU is stopped.",
    )


def differs(vcpu: int, reg: RegId, asked: bytes, there: bytes) -> Finding:
    """A register that was accepted and holds something else."""
    row = advice(Code.REGISTER_DIFFERS, reg)
    why, remedy = (row.why, row.remedy) if row else ("", "")
    return Finding(
        code=Code.REGISTER_DIFFERS,
        vcpu=vcpu,
        reg=reg,
        asked=in_hex(asked),
        there=in_hex(there),
        why=why,
        remedy=remedy,
    )


def changed(code: Code, vcpu: int, asked: str, there: str) -> Finding:
    """State outside the registers that was accepted and is something else."""
    return Finding(
        code=code,
        vcpu=vcpu,
        asked=asked,
        there=there,
        why="the destination took this without an error and holds something else",
        remedy="Choose another destination.",
    )


def only_here(vcpu: int, regs: Iterable[RegId]) -> Finding:
    """Registers that only the destination has: nothing is lost, the guest sees their reset values."""
    return Finding(
        code=Code.REGISTER_EXTRA,
        blocking=False,
        vcpu=vcpu,
        there=", ".join(map(_label, regs)),
        why="the source did not list these registers; at the destination they keep their reset values",
    )


def _label(reg: RegId) -> str:
    return catalog.name_of(reg) or reg.hex


def _brief(value: str) -> str:
    """A value for a line of text: of a long number the two ends and how long it is."""
    if not value.startswith("0x") or len(value) <= 34:
        return value
    return f"{value[:10]}...{value[-8:]} ({len(value) // 2 - 1} bytes)"


def in_hex(data: bytes) -> str:
    """A value as one number, most significant digit first."""
    return "0x" + data[::-1].hex()
