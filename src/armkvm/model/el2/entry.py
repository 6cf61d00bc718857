"""Between a running PE and the record: what a vCPU with EL2 comes back for, and goes on with.

Source: Linux arch/arm64/kvm/handle_exit.c (handle_hvc, handle_smc, kvm_handle_wfx), emulate-nested.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from armkvm.cpu.exceptions import GuestException
from armkvm.cpu.stop import Stop
from armkvm.errors import ModelBug
from armkvm.model.el2 import forwarding, instructions, level
from armkvm.model.el2.registers import El2Registers
from armkvm.model.vcpu import Vcpu

if TYPE_CHECKING:
    from armkvm.model.execution import Execution

_INSTRUCTION = 4


def executes(vcpu: Vcpu, execution: Execution, stop: Stop) -> None:
    """An instruction of the hypervisor's that it cannot execute at EL1."""
    registers = execution.registers
    if not isinstance(registers, El2Registers):
        raise ModelBug("a vCPU without EL2 runs a hypervisor")
    situation = execution.pe.situation()
    execution.store()
    is_stale = instructions.execute(vcpu, registers, situation, stop.word)
    execution.load()
    if is_stale:
        execution.pe.forget_translations()


def takes(vcpu: Vcpu, execution: Execution, exception: GuestException, elr: int) -> None:
    """An exception to EL2, whose preferred return address is `elr`."""
    execution.store()
    level.take(vcpu, exception, elr)
    execution.load()


def called(vcpu: Vcpu, execution: Execution, stop: Stop, *, is_smc: bool) -> bool:
    """HVC or SMC: False if KVM itself is called. A trap returns to the instruction, a call past it."""
    execution.store()
    exception = forwarding.call(vcpu, stop.immediate, is_smc=is_smc)
    if exception is None:
        return False
    is_call = not is_smc and exception.ec != 0
    elr = stop.pc if is_call else stop.pc - _INSTRUCTION
    if exception.to_el == 1:
        execution.load()
        execution.core.pc = elr
        execution.pe.take_exception(exception)
        return True
    level.take(vcpu, exception, elr)
    execution.load()
    return True


def waits(vcpu: Vcpu, execution: Execution, stop: Stop) -> bool:
    """WFI: False if the vCPU waits."""
    execution.store()
    exception = forwarding.wait(vcpu)
    if exception is None:
        return False
    level.take(vcpu, exception, stop.pc - _INSTRUCTION)
    execution.load()
    return True
