"""What a system-register row is: encoding, visibility, reset, and userspace's read and write.

The miss of any row is ENOENT. Guest access is a separate matter, see `model.traps`.
"""

from __future__ import annotations

from collections.abc import Callable

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.encoding import SysReg
from armkvm.arch.idfields import field
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu

Visible = Callable[[Vcpu], bool]
Reset = Callable[[Vcpu, "Row"], int]
Read = Callable[[Vcpu, "Row"], int]
Write = Callable[[Vcpu, "Row", int], Refused | None]

POISON = 0x1DE7_EC7E_DBAD_C0DE
"""What the kernel stores in registers whose reset value the architecture leaves UNKNOWN."""


# -- visibility --------------------------------------------------------------------------------


def always(vcpu: Vcpu) -> bool:
    """On every vCPU."""
    return True


def with_feature(feature: F) -> Visible:
    """On vCPUs initialised with `feature`."""

    def visible(vcpu: Vcpu) -> bool:
        return feature in vcpu.features

    return visible


def while_field(register: str, name: str, at_least: int = 1) -> Visible:
    """While the VM's ID register says so, which userspace may change until the first run."""
    reg, part = int(id_of(sysreg(register))), field(register, name)

    def visible(vcpu: Vcpu) -> bool:
        return part.extract(vcpu.id_regs[reg]) >= at_least

    return visible


def under(behaviour: str) -> Visible:
    """On kernels with a behaviour."""

    def visible(vcpu: Vcpu) -> bool:
        return behaviour in vcpu.vm.profile

    return visible


def all_of(*conditions: Visible) -> Visible:
    """Where every condition holds."""

    def visible(vcpu: Vcpu) -> bool:
        return all(condition(vcpu) for condition in conditions)

    return visible


def any_of(*conditions: Visible) -> Visible:
    """Where one condition holds."""

    def visible(vcpu: Vcpu) -> bool:
        return any(condition(vcpu) for condition in conditions)

    return visible


# -- reset, read, write ------------------------------------------------------------------------


def to_host(vcpu: Vcpu, row: Row) -> int:
    """The host register's own value."""
    return vcpu.vm.platform.value(RegId(row.id))


def stored(vcpu: Vcpu, row: Row) -> int:
    """Read what is stored."""
    return vcpu.sysregs[row.id]


def stored_under(mask: int, behaviour: str) -> Read:
    """Read what is stored; on kernels with `behaviour` only these bits, once the VM has settled."""

    def read(vcpu: Vcpu, row: Row) -> int:
        value = stored(vcpu, row)
        return value & mask if vcpu.vm.has_settled and behaviour in vcpu.vm.profile else value

    return read


def store(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    """Store any 64-bit value."""
    vcpu.sysregs[row.id] = value
    return None


def zero(vcpu: Vcpu, row: Row) -> int:
    """Read as zero."""
    return 0


def ignored(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    """Write ignored."""
    return None


class Row:
    """One system register. `id` is the register id that accesses it (timers are exchanged).

    `reset` is what a reset leaves: a value, or what works it out; None where it leaves nothing.
    """

    __slots__ = ("id", "read", "reg", "reset", "visible", "write")

    def __init__(
        self,
        reg: SysReg,
        visible: Visible = always,
        reset: Reset | int | None = POISON,
        read: Read = stored,
        write: Write = store,
    ) -> None:
        self.reg = reg
        self.id = int(id_of(reg))
        self.visible = visible
        self.reset = reset
        self.read = read
        self.write = write


def rows(
    *names: str,
    visible: Visible = always,
    reset: Reset | int | None = POISON,
    read: Read = stored,
    write: Write = store,
) -> list[Row]:
    """Rows for registers that differ in nothing but their name."""
    return [Row(sysreg(name), visible, reset, read, write) for name in names]
