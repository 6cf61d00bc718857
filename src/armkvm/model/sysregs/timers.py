"""Rows of the generic timers.

A counter is the host's physical counter less the VM's offset; writing it sets the offset, unless
KVM_ARM_SET_COUNTER_OFFSET fixed one for both counters, after which writes are ignored. The model's
physical counter is a number that grows by one whenever it is looked at.

Source: Linux arch/arm64/kvm/arch_timer.c (kvm_arm_timer_get_reg, kvm_arm_timer_set_reg).
"""

from __future__ import annotations

from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.model.outcome import Refused
from armkvm.model.sysregs.table import Read, Row, Write, always, rows, store, stored, under
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import PHYSICAL_TIMER_IDS, TIMER_ISTATUS_COMPUTED

_ISTATUS = 1 << 2
_MASK64 = (1 << 64) - 1

VIRTUAL, PHYSICAL = "virtual", "physical"


def count(vcpu: Vcpu, kind: str) -> int:
    """A counter as the guest would read it now."""
    vm = vcpu.vm
    vm.counter += 1
    return (vm.counter - vm.offsets.get(kind, 0)) & _MASK64


def _counter(kind: str) -> tuple[Read, Write]:
    def read(vcpu: Vcpu, row: Row) -> int:
        return count(vcpu, kind)

    def write(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
        if not vcpu.vm.offset_is_fixed:
            vcpu.vm.offsets[kind] = (vcpu.vm.counter - value) & _MASK64
        return None

    return read, write


def _control(kind: str, compare: str) -> tuple[Read, Write]:
    compare_id = int(id_of(sysreg(compare)))

    def read(vcpu: Vcpu, row: Row) -> int:
        value = stored(vcpu, row)
        if TIMER_ISTATUS_COMPUTED in vcpu.vm.profile and count(vcpu, kind) >= vcpu.sysregs[compare_id]:
            value |= _ISTATUS
        return value

    def write(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
        return store(vcpu, row, value & ~_ISTATUS)

    return read, write


def _timer(prefix: str, kind: str) -> list[Row]:
    counter_read, counter_write = _counter(kind)
    control_read, control_write = _control(kind, f"{prefix}_CVAL_EL0")
    counter = {VIRTUAL: "CNTVCT_EL0", PHYSICAL: "CNTPCT_EL0"}[kind]
    visible = under(PHYSICAL_TIMER_IDS) if kind == PHYSICAL else always
    return [
        *rows(f"{prefix}_CTL_EL0", visible=visible, reset=0, read=control_read, write=control_write),
        *rows(counter, visible=visible, reset=None, read=counter_read, write=counter_write),
        *rows(f"{prefix}_CVAL_EL0", visible=visible, reset=0),
    ]


ROWS: list[Row] = [*_timer("CNTV", VIRTUAL), *_timer("CNTP", PHYSICAL)]
"""In the order in which kernels listed them ahead of the other system registers."""
