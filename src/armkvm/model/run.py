"""KVM_RUN: the work of a first run, what is completed first, and the guest until it exits.

Source: Linux arch/arm64/kvm/arm.c (kvm_arch_vcpu_run_pid_change, kvm_arch_vcpu_ioctl_run), mmio.c,
handle_exit.c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from struct import Struct

from armkvm.abi.caps import Cap
from armkvm.abi.structs import ExitReason, GuestDebug, MpState
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.pstate import AARCH32
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.cpu.exceptions import Access, Unmodelled
from armkvm.cpu.stop import Reason, Stop
from armkvm.errors import ModelBug, PlaceError
from armkvm.model import aborts, core_regs, guest_debug, hypercalls, pmu_setup, rules, run_rules, timer_irqs
from armkvm.model.el2 import entry
from armkvm.model.execution import Execution
from armkvm.model.lifecycle import RUN
from armkvm.model.outcome import Refused
from armkvm.model.run_behaviours import MMIO_SIGN_LOST
from armkvm.model.sysregs import settle
from armkvm.model.sysregs.kept import KEPT
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import HOST_CACHE_GEOMETRY
from armkvm.model.vgic import addresses, cpuif, device as gicv3, lines
from armkvm.state import Exit, Mmio

MAINTENANCE_PPI = 25
"""A GICv3's maintenance interrupt, for guests with EL2, unless userspace says otherwise."""

_CSSELR = int(id_of(sysreg("CSSELR_EL1")))
_TIMER_CONTROLS = tuple(int(id_of(sysreg(name))) for name in ("CNTV_CTL_EL0", "CNTP_CTL_EL0"))
_TIMER_ENABLE, _TIMER_IMASK = 1, 2
_NISV = Struct("<QQ")  # esr_iss, fault_ipa
_WNR = 1 << 6
_TRANSLATION_FAULT, _PERMISSION_FAULT = 0x04, 0x0F
_SLICE = 1000
"""Instructions between two looks at an SError that the guest has masked."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one KVM_RUN may take: so many instructions, and as many microseconds as `time_left` says."""

    instructions: int | None = None
    time_left: Callable[[], int] | None = None


def first_run(vcpu: Vcpu) -> Refused | None:
    """What the first KVM_RUN of a vCPU does before looking at immediate_exit.

    What was done before a refusal stays: addresses are mapped (or the VM is dead), ID registers
    have settled, interrupts are wired.
    """
    # phase
    rule = vcpu.admit(RUN)
    if rule is not None:
        return Refused(rule)
    if vcpu.has_run:
        return None
    # effect
    refused = gicv3.map_resources(vcpu.vm)
    if refused is not None:
        return refused
    settle.id_registers(vcpu.vm)
    refused = _wire_maintenance(vcpu) or timer_irqs.enable(vcpu) or pmu_setup.enable(vcpu)
    if refused is not None:
        return refused
    vcpu.has_run = True
    vcpu.vm.has_run = True
    return None


def _wire_maintenance(vcpu: Vcpu) -> Refused | None:
    """A vCPU with EL2 needs the interrupt that tells its hypervisor about list registers."""
    if F.HAS_EL2 not in vcpu.features:
        return None
    gic = vcpu.vm.gic
    if gic is not None and not gic.maintenance_irq:
        gic.maintenance_irq = MAINTENANCE_PPI
    return lines.wire(vcpu, gic.maintenance_irq if gic else MAINTENANCE_PPI, "the GIC's maintenance")


def _load(vcpu: Vcpu) -> None:
    """Put the vCPU on a CPU and take it off again: with VHE its EL1 registers pass through hardware."""
    if vcpu.vm.platform.has_vhe:
        for reg, kept in KEPT.items():
            vcpu.sysregs[reg] &= kept
        if HOST_CACHE_GEOMETRY in vcpu.vm.profile:  # later kernels emulate it, with the caches
            vcpu.sysregs[_CSSELR] &= 0xF
    if vcpu.vm.gic is not None:
        cpuif.pass_through_hardware(vcpu)


def run(
    vcpu: Vcpu, immediate_exit: bool, mmio_data: bytes = b"", budget: Budget = Budget()
) -> Exit | Refused:
    """KVM_RUN. `mmio_data` is what the load reads that the last run returned for."""
    refused = first_run(vcpu)
    if refused is not None:
        return refused
    completed = _complete_mmio(vcpu, mmio_data)
    _load(vcpu)
    aborts.commit(vcpu)
    if immediate_exit:
        return Refused(rules.IMMEDIATE_EXIT)
    if vcpu.mp_state != MpState.RUNNABLE:
        return Refused(run_rules.POWERED_OFF, f"its state is {vcpu.mp_state}")
    if completed and guest_debug.is_stepped(vcpu):
        return guest_debug.stepped(by_kvm=True)
    _refuse_unmodelled(vcpu)
    if vcpu.execution is None:
        vcpu.execution = Execution(vcpu)
    vcpu.execution.load()
    try:
        return _until_exit(vcpu, vcpu.execution, budget)
    finally:
        vcpu.execution.store()


def _complete_mmio(vcpu: Vcpu, data: bytes) -> bool:
    """Finish the access the last run returned for, unless userspace made an abort of it."""
    transfer, vcpu.mmio = vcpu.mmio, None
    if transfer is None or vcpu.abort_pending:
        return False
    if not transfer.is_write and transfer.register != 31:
        if MMIO_SIGN_LOST in vcpu.vm.profile:
            transfer = replace(transfer, sign_extend=False)
        value = transfer.value_of(data or bytes(transfer.size))
        vcpu.core[core_regs.X[transfer.register]] = value
    vcpu.core[core_regs.PC] += 4
    return True


def _refuse_unmodelled(vcpu: Vcpu) -> None:
    if F.EL1_32BIT in vcpu.features:
        raise PlaceError("the model does not run a 32-bit EL1; use a real KVM")
    if vcpu.debug & GuestDebug.USE_HW:
        raise PlaceError("the model has no breakpoint and watchpoint registers that stop a guest")
    if vcpu.core[core_regs.PSTATE] & AARCH32:
        raise PlaceError("the model does not run AArch32 code; use a real KVM")


def _until_exit(vcpu: Vcpu, execution: Execution, budget: Budget) -> Exit | Refused:
    left, is_stepped = budget.instructions, guest_debug.is_stepped(vcpu)
    execution.pe.takes_breakpoints = bool(vcpu.debug)
    while True:
        waiting = vcpu.serror[0] and not _take_serror(vcpu, execution)
        most = 1 if is_stepped else _SLICE if waiting else None
        now = left if most is None else most if left is None else min(left, most)
        stop = execution.pe.run(instructions=now, time_left=budget.time_left)
        if left is not None:
            left -= stop.executed or 0
        if most is not None and stop.reason is Reason.BUDGET and stop.executed == most:
            if is_stepped:
                return _counted(guest_debug.stepped(), budget.instructions, left)
            if left != 0:
                continue
        try:
            outcome = _HANDLERS[stop.reason](vcpu, execution, stop)
        except Unmodelled as gap:
            raise PlaceError(_gap(vcpu, stop.pc, str(gap))) from None
        if outcome is not None:
            return _counted(outcome, budget.instructions, left)
        if is_stepped:
            return _counted(guest_debug.stepped(by_kvm=True), budget.instructions, left)
        if left is not None and left <= 0:
            return _counted(_limit(vcpu, execution, stop), budget.instructions, left)


def _counted(outcome: Exit | Refused, instructions: int | None, left: int | None) -> Exit | Refused:
    """The same, with how many instructions were executed if there was a limit on them."""
    if instructions is None or left is None:
        return outcome
    if isinstance(outcome, Refused):
        return Refused(outcome.rule, outcome.detail, instructions - left)
    return outcome._replace(executed=instructions - left)


def _take_serror(vcpu: Vcpu, execution: Execution) -> bool:
    taken = execution.pe.take_serror(vcpu.serror[1])
    if taken:
        vcpu.serror = (0, 0)
    return taken


def _gap(vcpu: Vcpu, pc: int, what: str) -> str:
    return f"vCPU {vcpu.id} at {pc:#x}: the model has none of {what}; run this guest on a real KVM"


# -- what a stop of the PE comes to; None lets the guest go on --------------------------------


def _limit(vcpu: Vcpu, execution: Execution, stop: Stop) -> Refused:
    return Refused(run_rules.BUDGET_USED, f"the guest stands before {stop.pc:#x}")


def _mmio(vcpu: Vcpu, execution: Execution, stop: Stop) -> Exit | Refused | None:
    access = _access(stop)
    if addresses.serves(vcpu.vm, access.ipa):
        raise Unmodelled(f"the interrupt controller's registers, which the guest accesses at {access.ipa:#x}")
    vcpu.mmio = stop.transfer
    data = stop.data if access.is_write else bytes(access.size)
    return Exit(ExitReason.MMIO, mmio=Mmio(access.ipa, data, access.is_write))


def _no_syndrome(vcpu: Vcpu, execution: Execution, stop: Stop) -> Exit | Refused | None:
    access = _access(stop)
    if Cap.ARM_NISV_TO_USER not in vcpu.vm.caps:
        return Refused(run_rules.NO_SYNDROME, f"{stop.word:#010x} at {stop.pc:#x} accesses {access.ipa:#x}")
    # What is left of the syndrome: the direction, and at which level translation found nothing.
    slots = vcpu.vm.memory.slots.values()
    near = [
        any(s.base >> bits <= access.ipa >> bits <= s.end - 1 >> bits for s in slots) for bits in (30, 21)
    ]
    status = _PERMISSION_FAULT if vcpu.vm.memory.slot_at(access.ipa) else _TRANSLATION_FAULT + 1 + sum(near)
    iss = status | (_WNR if access.is_write else 0)
    return Exit(ExitReason.ARM_NISV, payload=_NISV.pack(iss, access.ipa))


def _access(stop: Stop) -> Access:
    if stop.access is None:
        raise ModelBug(f"{stop.reason} without an access")
    return stop.access


def _hypercall(vcpu: Vcpu, execution: Execution, stop: Stop) -> Exit | Refused | None:
    is_smc = stop.reason is Reason.SMC
    if F.HAS_EL2 in vcpu.features and entry.called(vcpu, execution, stop, is_smc=is_smc):
        return None
    return hypercalls.call(vcpu, execution.core.x, is_smc=is_smc, immediate=stop.immediate)


def _breakpoint(vcpu: Vcpu, execution: Execution, stop: Stop) -> Exit | Refused | None:
    return guest_debug.breakpoint_hit(stop.immediate)


def _wait(vcpu: Vcpu, execution: Execution, stop: Stop) -> Exit | Refused | None:
    """Nothing but a timer could end the wait, and the model's time stands still."""
    if F.HAS_EL2 in vcpu.features and entry.waits(vcpu, execution, stop):
        return None
    for control in _TIMER_CONTROLS:
        if vcpu.sysregs[control] & (_TIMER_ENABLE | _TIMER_IMASK) == _TIMER_ENABLE:
            raise Unmodelled("the timer interrupt the guest waits for")
    return Refused(run_rules.WAITS, f"WFI before {stop.pc:#x}")


def _hypervisors(vcpu: Vcpu, execution: Execution, stop: Stop) -> Exit | Refused | None:
    entry.executes(vcpu, execution, stop)
    return None


def _to_el2(vcpu: Vcpu, execution: Execution, stop: Stop) -> Exit | Refused | None:
    if stop.exception is None:
        raise ModelBug(f"{stop.reason} without an exception")
    entry.takes(vcpu, execution, stop.exception, stop.pc)
    return None


def _unimplemented(vcpu: Vcpu, execution: Execution, stop: Stop) -> Exit | Refused | None:
    raise PlaceError(f"vCPU {vcpu.id}: {stop.detail}")


def _unmodelled(vcpu: Vcpu, execution: Execution, stop: Stop) -> Exit | Refused | None:
    raise Unmodelled(stop.detail)


_HANDLERS: dict[Reason, Callable[[Vcpu, Execution, Stop], Exit | Refused | None]] = {
    Reason.BUDGET: _limit,
    Reason.STOPPED: _limit,
    Reason.MMIO: _mmio,
    Reason.NO_SYNDROME: _no_syndrome,
    Reason.HVC: _hypercall,
    Reason.SMC: _hypercall,
    Reason.BRK: _breakpoint,
    Reason.WFI: _wait,
    Reason.HYPERVISOR: _hypervisors,
    Reason.TO_EL2: _to_el2,
    Reason.UNIMPLEMENTED: _unimplemented,
    Reason.UNMODELLED: _unmodelled,
}
