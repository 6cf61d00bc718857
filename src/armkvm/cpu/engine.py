"""The base instruction set: Unicorn, wrapped to what a PE needs of it.

The engine's own CPACR_EL1 stays zero, so every SVE instruction arrives as an exception, and every
SME one is unknown to it. Its MMU is replaced by a callback (UC_TLB_VIRTUAL). All of EL1's system
registers are the PE's, except the few that the engine itself uses (`CoreState`).

Facts about Unicorn 2.1 this rests on, each held by a test: writing PC in a hook of an exception or
of one instruction continues there (in its hook of system registers it does not, hence the
watching); writing any system register by encoding makes a changed PSTATE take effect;
CPACR_EL1.FPEN and PSTATE.IL trap nothing, nor does a misaligned PC; a hook hears of each block when it
is translated, before it runs; hooks apply to code translated after they are set; stores made outside
the engine do not invalidate translated code; dropping code looks pages up; some unallocated words
end the process when translated (see `poison`).
"""

# ruff: noqa: ANN401 - the binding's callbacks and table entries have no types

from __future__ import annotations

import ctypes
from typing import Any, Protocol

import unicorn as uc
from unicorn import arm64_const as arm

from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import sysreg
from armkvm.cpu.code_pages import CodePages
from armkvm.cpu.counting import InstructionCounter
from armkvm.cpu.engine_registers import EngineRegisters
from armkvm.cpu.guest_memory import IPA_LIMIT, PAGE, GuestMemory
from armkvm.cpu.port import ENGINE_REGISTERS
from armkvm.cpu.state import VectorState
from armkvm.cpu.translation import AccessKind, Mapping

# Exception numbers that hooks report (the engine's own numbering).
UNDEFINED, SUPERVISOR_CALL, DATA_ABORT, BREAKPOINT = 1, 2, 4, 7

_SCR_EL3, _HCR_EL2 = SysReg.of(3, 6, 1, 1, 0), sysreg("HCR_EL2")
_SCR_RW_SMD_NS = 1 << 10 | 1 << 7 | 1 << 0  # EL1 is AArch64 and non-secure; SMC and HVC are undefined
_HCR_RW = 1 << 31

_KINDS = {
    uc.UC_MEM_READ: AccessKind.READ,
    uc.UC_MEM_WRITE: AccessKind.WRITE,
    uc.UC_MEM_FETCH: AccessKind.FETCH,
    uc.UC_MEM_READ_UNMAPPED: AccessKind.READ,
    uc.UC_MEM_WRITE_UNMAPPED: AccessKind.WRITE,
    uc.UC_MEM_FETCH_UNMAPPED: AccessKind.FETCH,
    uc.UC_MEM_READ_PROT: AccessKind.READ,
    uc.UC_MEM_WRITE_PROT: AccessKind.WRITE,
    uc.UC_MEM_FETCH_PROT: AccessKind.FETCH,
}
_CODE_BUFFER_BYTES = 32 << 20
_NOWHERE = IPA_LIMIT


class Handler(Protocol):
    """What the engine asks its PE while it runs. Every method may redirect execution by `jump`."""

    def on_exception(self, number: int) -> None: ...

    def on_translate(self, va: int, kind: AccessKind) -> Mapping | None: ...

    def on_outside(self, va: int, size: int, kind: AccessKind) -> None: ...

    def on_watched(self, va: int) -> None: ...


class Engine:
    """One Unicorn CPU, its registers and the pages it has code of.

    After an access that failed, `begun_in_vain` says that it was of an instruction, not to fetch one, and
    `conflict` that the page would have become both writable and translated from. `deferred` says that the
    engine was stopped to drop code, and can go on.
    """

    def __init__(
        self, memory: GuestMemory, vectors: VectorState, handler: Handler, *, has_el2: bool = False
    ) -> None:
        self._memory = memory
        self._handler = handler
        self._uc = uc.Uc(uc.UC_ARCH_ARM64, uc.UC_MODE_ARM, arm.UC_CPU_ARM64_MAX)
        self._uc.ctl_set_tcg_buffer_size(_CODE_BUFFER_BYTES)
        self._uc.ctl_set_page_size(PAGE)
        self._uc.ctl_exits_enabled(True)
        self._uc.ctl_set_tlb_mode(uc.UC_TLB_VIRTUAL)
        self.registers = EngineRegisters(self._uc, vectors)
        self.registers.write_sysreg(_SCR_EL3, _SCR_RW_SMD_NS)
        self.registers.write_sysreg(_HCR_EL2, _HCR_RW)
        self.code = CodePages(self._uc, memory, handler.on_watched, has_el2=has_el2)
        self.counter = InstructionCounter(self._uc)
        self.begun_in_vain = False
        self.conflict: AccessKind | None = None
        self.deferred = False
        self._mapped: dict[tuple[int, int, bool], Any] = {}
        self._generation = -1  # of the memory, when it was mapped
        self._counted = False
        self._refused: int | None = None  # the page whose access was sent to _NOWHERE
        self._running = self._stepping = False
        self._misaligned = False  # a block that begins at a misaligned address has been translated
        self._install_hooks()

    def start(self, pc: int, microseconds: int = 0, instructions: int = 0) -> bool:
        """Run from `pc` until something stops it; False if that was an access without memory.

        Unless `instructions` is 0, at most that many; `counter` tells how many were begun.
        """
        self._map_slots()
        if bool(instructions) != self._counted:
            self._counted = not self._counted
            self._drop_code()  # code translated before does not count, or does it needlessly
        self.counter.starting(instructions)
        if self.deferred:
            self.flush_translations()
        elif self._misaligned:
            self._drop_code()  # so that it is told of again
        self._misaligned = False
        self.conflict = self._refused = None
        self.deferred, self._running = False, True
        try:
            self._uc.emu_start(pc, 0, timeout=microseconds, count=instructions)
        except uc.UcError:
            self._forget_refused()
            return False
        finally:
            self._running = False
        return True

    def _forget_refused(self) -> None:
        if self._refused is not None:
            self._drop_tlb()

    def step_store(self, pc: int) -> bool:
        """Execute the one store at `pc` that goes to a page of code, as `start` does."""
        self._stepping = True
        self._drop_code()
        try:
            return self.start(pc, instructions=1)
        finally:
            self._stepping = False
            self.flush_translations()

    def stop(self) -> None:
        self._uc.emu_stop()

    # Code and translations

    def watch_fp(self, on: bool) -> None:
        """Whether FP and AdvSIMD instructions are watched too; costs nothing while off."""
        if on != self.code.fp_watched:
            self.code.fp_watched = on
            self.flush_translations()

    def recheck_code(self) -> None:
        """Forget everything if code was changed from outside since it was scanned."""
        if self.code.are_stale():
            self.flush_translations()

    def flush_translations(self) -> None:
        """Forget cached address translations and code; the next access of each page asks the handler.

        From within a hook this waits until the engine has stopped, as code must not be dropped under its
        feet: see `deferred`.
        """
        if self._running:
            self.deferred = True
            self._uc.emu_stop()
            return
        self.code.unwatch()
        self._drop_code()
        # After the code, because dropping it may itself look pages up.
        self._drop_tlb()
        self.code.forget()

    def stored(self, ipa: int, size: int) -> None:
        """The PE itself wrote these bytes of memory."""
        if self.code.includes(ipa, size):
            self.flush_translations()

    def _drop_code(self) -> None:
        self._uc.ctl_flush_tb()

    def _drop_tlb(self) -> None:
        self._uc.ctl(uc.UC_CTL_TLB_FLUSH, uc.UC_CTL_IO_WRITE)

    def _map_slots(self) -> None:
        if self._generation == self._memory.generation:
            return
        self._generation = self._memory.generation
        wanted = {(s.base, id(s.memory.obj), s.readonly): s for s in self._memory.slots}
        for key in [k for k in self._mapped if k not in wanted]:
            base, size, _ = self._mapped.pop(key)
            self._uc.mem_unmap(base, size)
        for key, slot in wanted.items():
            if key not in self._mapped:
                pin = ctypes.c_char.from_buffer(slot.memory)
                rights = uc.UC_PROT_READ | uc.UC_PROT_EXEC | (0 if slot.readonly else uc.UC_PROT_WRITE)
                self._uc.mem_map_ptr(slot.base, len(slot.memory), rights, ctypes.addressof(pin))
                self._mapped[key] = (slot.base, len(slot.memory), pin)
        self.flush_translations()

    # Hooks

    def _install_hooks(self) -> None:
        add = self._uc.hook_add
        add(uc.UC_HOOK_INTR, self._on_interrupt)
        add(uc.UC_HOOK_TLB_FILL, self._on_tlb_fill)
        add(uc.UC_HOOK_EDGE_GENERATED, self._on_block)
        add(uc.UC_HOOK_MEM_UNMAPPED | uc.UC_HOOK_MEM_PROT, self._on_outside)
        for kind in (arm.UC_ARM64_INS_MRS, arm.UC_ARM64_INS_MSR, arm.UC_ARM64_INS_SYS, arm.UC_ARM64_INS_SYSL):
            add(uc.UC_HOOK_INSN, self._on_unwatched, None, 1, 0, kind)

    def _on_interrupt(self, _uc: Any, number: int, _data: Any) -> None:
        self._handler.on_exception(number)

    def _on_block(self, _uc: Any, block: Any, _previous: Any, _data: Any) -> None:
        if block.pc & 3:
            self._misaligned = True
            self._uc.emu_stop()

    def _on_unwatched(self, _uc: Any, _register: int, cp: Any, _data: Any) -> bool:
        """A system instruction that scanning did not see: the guest changed code and did not say so.

        It must not reach the engine's own registers; that it does nothing is as good as any
        result of executing stale code.
        """
        return SysReg.of(cp.op0, cp.op1, cp.crn, cp.crm, cp.op2) not in ENGINE_REGISTERS

    def _on_tlb_fill(self, _uc: Any, va: int, access: int, entry: Any, _data: Any) -> bool:
        kind = _KINDS[access]
        mapping = self._handler.on_translate(va, kind)
        if mapping is None:
            return self._refuse(va, kind, entry)
        slot = self._memory.find(mapping.ipa)
        page, ipa = va & -PAGE, mapping.ipa & -PAGE
        if slot is not None and not self._stepping and self.code.conflicts(ipa, kind):
            self.conflict = kind
            return self._refuse(va, kind, entry)
        write = (
            mapping.write and kind is not AccessKind.FETCH and (self._stepping or not self.code.includes(ipa))
        )
        if slot is not None and slot.readonly:
            write = False
            if kind is AccessKind.WRITE:
                return self._refuse(va, kind, entry)
        if kind is AccessKind.FETCH:
            self.code.fetching(page, ipa)
        if write:
            self.code.storing(ipa)
        execute = mapping.execute and not write and self.code.is_fetched(page, ipa)
        entry.paddr = mapping.ipa
        entry.perms = (
            (uc.UC_PROT_READ if mapping.read else 0)
            | (uc.UC_PROT_WRITE if write else 0)
            | (uc.UC_PROT_EXEC if execute else 0)
        )
        return True

    def _refuse(self, va: int, kind: AccessKind, entry: Any) -> bool:
        """Let an access fail. A data access is sent where no memory is, which tells its exact address."""
        self.begun_in_vain = kind is not AccessKind.FETCH
        if kind is AccessKind.FETCH:
            return False
        self._refused = va & -PAGE
        entry.paddr = _NOWHERE
        entry.perms = uc.UC_PROT_READ | uc.UC_PROT_WRITE
        return True

    def _on_outside(self, _uc: Any, access: int, address: int, size: int, _value: int, _data: Any) -> bool:
        if self._refused is not None:
            address = self._refused | address & PAGE - 1
        kind = _KINDS[access]
        self.begun_in_vain = kind is not AccessKind.FETCH
        self._handler.on_outside(address, size, kind)
        return False
