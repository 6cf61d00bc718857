"""What a guest may use of FP, SVE and SME right now, and what follows when that changes."""

from __future__ import annotations

from armkvm.cpu.engine_registers import EngineRegisters
from armkvm.cpu.fp_gate import FpGate
from armkvm.cpu.legality import Hypervisor, Situation
from armkvm.cpu.machine import Machine
from armkvm.cpu.port import CPACR_EL1, SMCR_EL1, ZCR_EL1, SysRegPort


class Enables:
    """Follows CPACR_EL1, ZCR_EL1, SMCR_EL1 and SVCR; `hypervisor` has the controls of a guest's own EL2."""

    def __init__(self, registers: EngineRegisters, machine: Machine, gate: FpGate, port: SysRegPort) -> None:
        self.hypervisor: Hypervisor | None = None
        self._registers = registers
        self._machine = machine
        self._gate = gate
        self._port = port
        self._cpacr = 0

    def situation(self) -> Situation:
        """What decides legality right now."""
        machine = self._machine
        el, svcr = self._registers.el(), machine.vectors.svcr
        return Situation(machine.features, el, svcr, self._cpacr, machine.smcr, self.hypervisor)

    def reread_lengths(self) -> None:
        """Have the vector lengths that ZCR_EL1, SMCR_EL1 and SVCR now select."""
        machine = self._machine
        machine.zcr, machine.smcr = self._port.current(ZCR_EL1), self._port.current(SMCR_EL1)
        machine.update_lengths()

    def reconsider(self, *, z_written: bool = False) -> None:
        """See anew what is enabled. With `z_written` any Z may be more than a V; else it is looked at."""
        self._cpacr = self._port.current(CPACR_EL1)
        self._gate.update(self.situation(), z_written=z_written)

    def changed(self) -> None:
        """The guest wrote CPACR_EL1, ZCR_EL1, SMCR_EL1 or SVCR."""
        # The engine's V registers are the current ones: keep them while Z is cut to its new length.
        if not self._machine.z_written:
            self._registers.pull()
        self.reread_lengths()
        if self._machine.z_written:
            self._machine.z_written = False
            self._registers.push_fpsr()
            self._registers.push_vectors()
        self.reconsider()
