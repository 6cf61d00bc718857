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

import numpy as np
import unicorn as uc
from numpy.typing import NDArray
from unicorn import arm64_const as arm

from armkvm.arch.encoding import SysReg
from armkvm.cpu.counting import InstructionCounter
from armkvm.cpu.guest_memory import IPA_LIMIT, PAGE, GuestMemory
from armkvm.cpu.native import RegisterBatch, address_of
from armkvm.cpu.poison import poisonous
from armkvm.cpu.port import BANKED_REGISTERS, ENGINE_REGISTERS, FP_REGISTERS
from armkvm.cpu.state import Z_BYTES, CoreState, VectorState
from armkvm.cpu.translation import AccessKind, Mapping

# exception numbers that hooks report (the engine's own numbering)
UNDEFINED, SUPERVISOR_CALL, PREFETCH_ABORT, DATA_ABORT, BREAKPOINT = 1, 2, 3, 4, 7
HYPERVISOR_CALL, SECURE_MONITOR_CALL = 11, 13

_SCR_EL3 = SysReg.of(3, 6, 1, 1, 0)
_HCR_EL2 = SysReg.of(3, 4, 1, 1, 0)
_CPACR_EL1 = SysReg.of(3, 0, 1, 0, 2)
_SCR_RW_SMD_NS = 1 << 10 | 1 << 7 | 1 << 0  # EL1 is AArch64 and non-secure; SMC and HVC are undefined
_HCR_RW = 1 << 31

SP, PC, PSTATE, FPCR, FPSR = 31, 32, 33, 34, 35
"""Indices into `Engine.regs`, after X0..X30."""

_BATCH = (
    *(arm.UC_ARM64_REG_X0 + n for n in range(29)),
    arm.UC_ARM64_REG_X29,
    arm.UC_ARM64_REG_X30,
    arm.UC_ARM64_REG_SP,
    arm.UC_ARM64_REG_PC,
    arm.UC_ARM64_REG_PSTATE,
    arm.UC_ARM64_REG_FPCR,
    arm.UC_ARM64_REG_FPSR,
)
_NUMBER_OF = {register: n for n, register in enumerate(_BATCH[:31])}
_KINDS = {
    uc.UC_MEM_READ: AccessKind.READ,
    uc.UC_MEM_WRITE: AccessKind.WRITE,
    uc.UC_MEM_FETCH: AccessKind.FETCH,
}
_MAX_HOOKS_PER_PAGE = 48
_OUTSIDE = {
    uc.UC_MEM_READ_UNMAPPED: AccessKind.READ,
    uc.UC_MEM_WRITE_UNMAPPED: AccessKind.WRITE,
    uc.UC_MEM_FETCH_UNMAPPED: AccessKind.FETCH,
    uc.UC_MEM_READ_PROT: AccessKind.READ,
    uc.UC_MEM_WRITE_PROT: AccessKind.WRITE,
    uc.UC_MEM_FETCH_PROT: AccessKind.FETCH,
}
_ERET_MASK, _ERET = np.uint32(0xFFFFF3E0), 0xD69F03E0  # ERETAA and ERETAB as well
_BANKED_ENCODINGS = np.array(sorted(BANKED_REGISTERS), np.uint32)
_ENGINE_ENCODINGS = np.array(sorted(ENGINE_REGISTERS), np.uint32)
_FP_ENCODINGS = np.array(sorted(FP_REGISTERS), np.uint32)
CODE_BUFFER_BYTES = 32 << 20
_NOWHERE = IPA_LIMIT


def _moves(words: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which words are MRS or MSR (register)."""
    flags: NDArray[np.bool_] = words & np.uint32(0xFFD00000) == 0xD5100000
    return flags


def _names(words: NDArray[np.uint32], encodings: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which of such words name one of these registers."""
    return np.isin(words >> np.uint32(5) & np.uint32(0xFFFF), encodings)


def _is_system(words: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which words are MRS, MSR (register), SYS, SYSL or ERET that the PE has to answer, or look at."""
    moves = _moves(words) & ~_names(words, _ENGINE_ENCODINGS)
    flags: NDArray[np.bool_] = moves | (words & np.uint32(0xFFD80000) == 0xD5080000)
    flags |= words & _ERET_MASK == _ERET
    return flags


def _is_fp(words: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which words are FP and AdvSIMD instructions, or access FPCR and FPSR."""
    flags: NDArray[np.bool_] = words >> np.uint32(26) & np.uint32(3) == 3
    return flags | (_moves(words) & _names(words, _FP_ENCODINGS))


def _is_hypervisors(words: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Accesses to what the engine keeps at EL1: a hypervisor that runs there means its own."""
    return _moves(words) & _names(words, _BANKED_ENCODINGS)


class Handler(Protocol):
    """What the engine asks its PE while it runs. Every method may redirect execution by `jump`."""

    def on_exception(self, number: int) -> None: ...

    def on_translate(self, va: int, kind: AccessKind) -> Mapping | None: ...

    def on_outside(self, va: int, size: int, kind: AccessKind) -> None: ...

    def on_watched(self, va: int) -> None: ...


class Engine:
    """One Unicorn CPU. `regs` holds X0..X30, SP, PC, PSTATE, FPCR, FPSR after `pull`."""

    def __init__(
        self, memory: GuestMemory, vectors: VectorState, handler: Handler, *, has_el2: bool = False
    ) -> None:
        self._has_el2 = has_el2
        self._memory = memory
        self._handler = handler
        self._uc = uc.Uc(uc.UC_ARCH_ARM64, uc.UC_MODE_ARM, arm.UC_CPU_ARM64_MAX)
        self._uc.ctl_set_tcg_buffer_size(CODE_BUFFER_BYTES)
        self._uc.ctl_set_page_size(PAGE)
        self._uc.ctl_exits_enabled(True)
        self._uc.ctl_set_tlb_mode(uc.UC_TLB_VIRTUAL)
        self.write_sysreg(_SCR_EL3, _SCR_RW_SMD_NS)
        self.write_sysreg(_HCR_EL2, _HCR_RW)
        self.regs = (ctypes.c_uint64 * len(_BATCH))()
        at = address_of(self.regs)
        places = [at + 8 * i for i in range(len(_BATCH))]
        z = address_of(vectors.z)
        quadwords = [arm.UC_ARM64_REG_Q0 + n for n in range(32)]
        rows = [z + Z_BYTES * n for n in range(32)]
        self._everything = RegisterBatch(self._uc, [*_BATCH, *quadwords], [*places, *rows])
        self._vectors = RegisterBatch(self._uc, quadwords, rows)
        self._one = [RegisterBatch(self._uc, [_BATCH[i]], [places[i]]) for i in range(len(_BATCH))]
        self._mapped: dict[tuple[int, int, bool], Any] = {}
        self._generation = -1
        self._code_pages: dict[int, int] = {}  # virtual page -> physical, of those fetched from
        self._scanned: dict[int, bytes] = {}  # physical page -> what was in it when it was scanned
        self._writable: set[int] = set()  # physical pages the engine may have a writable mapping of
        self._poison: dict[int, list[int]] = {}  # virtual page -> addresses the engine must not translate
        self.counter = InstructionCounter(self._uc)
        self._counted = False
        self.conflict: AccessKind | None = None
        self.begun_in_vain = False  # the access that failed was of an instruction, not to fetch one
        self._refused: int | None = None
        self._running = False
        self.deferred = False
        self._stepping = False
        self._page_hooks: dict[int, list[int]] = {}
        self.gated = False
        self._misaligned = False  # a block that begins at a misaligned address has been translated
        self._install_hooks()

    # State

    def pull(self) -> None:
        """Registers and V into `regs` and the vector state."""
        self._everything.read()

    def push(self, changed: int) -> None:
        """Those of `regs` whose bit is set in `changed`, X registers first, PC last."""
        while changed:
            low = changed & -changed
            self._one[low.bit_length() - 1].write()
            changed ^= low

    def pull_one(self, index: int) -> int:
        self._one[index].read()
        return self.regs[index]

    def push_vectors(self) -> None:
        self._vectors.write()

    def jump(self, pc: int) -> None:
        """Continue at `pc`; from a hook, this ends the current block."""
        self.regs[PC] = pc
        self._uc.reg_write(arm.UC_ARM64_REG_PC, pc)

    def write_sysreg(self, reg: SysReg, value: int) -> None:
        self._uc.reg_write(arm.UC_ARM64_REG_CP_REG, (reg.crn, reg.crm, reg.op0, reg.op1, reg.op2, value))

    def read_register(self, name: int) -> int:
        return int(self._uc.reg_read(name))

    def write_register(self, name: int, value: int) -> None:
        self._uc.reg_write(name, value)

    def load_core(self, core: CoreState) -> None:
        """Make the engine's registers those of `core`."""
        for n, value in enumerate(core.x):
            self.regs[n] = value
        in_el1h = core.pstate & 5 == 5
        self.write_register(arm.UC_ARM64_REG_PSTATE, core.pstate)
        self.write_register(arm.UC_ARM64_REG_SP_EL0, core.sp_el0)
        self.write_register(arm.UC_ARM64_REG_SP_EL1, core.sp_el1)
        self.regs[SP] = core.sp_el1 if in_el1h else core.sp_el0
        self.regs[PC], self.regs[PSTATE] = core.pc, core.pstate
        self.write_register(arm.UC_ARM64_REG_ELR_EL1, core.elr_el1)
        self.write_sysreg(SysReg.of(3, 0, 4, 0, 0), core.spsr_el1)
        self.push((1 << PC + 1) - 1)
        self.settle_pstate()

    def store_core(self, core: CoreState) -> None:
        """Write the engine's registers to `core`."""
        self.pull()
        core.x[:] = self.regs[:31]
        core.pc, core.pstate = self.regs[PC], self.regs[PSTATE] & 0xFFFFFFFF
        core.sp_el0 = self.read_register(arm.UC_ARM64_REG_SP_EL0)
        core.sp_el1 = self.read_register(arm.UC_ARM64_REG_SP_EL1)
        if core.pstate & 5 == 5:
            core.sp_el1 = self.regs[SP]
        else:
            core.sp_el0 = self.regs[SP]
        core.elr_el1 = self.read_elr()
        core.spsr_el1 = self.read_spsr()

    def read_elr(self) -> int:
        """ELR_EL1."""
        return self.read_register(arm.UC_ARM64_REG_ELR_EL1)

    def read_spsr(self) -> int:
        """SPSR_EL1."""
        return int(self._uc.reg_read(arm.UC_ARM64_REG_CP_REG, (4, 0, 3, 0, 0)))

    def settle_pstate(self) -> None:
        """Make a changed PSTATE take effect: writing a system register rederives the engine's mode."""
        self.write_sysreg(_CPACR_EL1, 0)

    def take_exception(self, pstate: int, elr: int, vector: int, saved: int | None = None) -> None:
        """Enter EL1h at `vector` with `pstate`, saving `elr` and the current PSTATE (or `saved` for it)."""
        old = self.pull_one(PSTATE)
        if old & 5 != 5:
            self.write_register(arm.UC_ARM64_REG_SP_EL0, self.pull_one(SP))
            self.write_register(arm.UC_ARM64_REG_PSTATE, pstate)
            self.write_register(arm.UC_ARM64_REG_SP, self.read_register(arm.UC_ARM64_REG_SP_EL1))
        else:
            self.write_register(arm.UC_ARM64_REG_PSTATE, pstate)
        self.regs[PSTATE] = pstate
        self.write_register(arm.UC_ARM64_REG_ELR_EL1, elr)
        self.write_sysreg(SysReg.of(3, 0, 4, 0, 0), (old if saved is None else saved) & 0xFFFFFFFF)
        self.settle_pstate()
        self.jump(vector)

    # Running

    def start(self, pc: int, microseconds: int = 0, instructions: int = 0) -> bool:
        """Run from `pc` until something stops it; False if that was an access without memory.

        Unless `instructions` is 0, at most that many; `counter` tells how many were begun.
        """
        self._map_slots()
        if bool(instructions) != self._counted:
            self._counted = not self._counted
            self.flush_code()  # code translated before does not count, or does it needlessly
        self.counter.starting(instructions)
        if self.deferred:
            self.flush_translations()
        elif self._misaligned:
            self.flush_code()  # so that it is told of again
        self._misaligned = False
        self.conflict = self._refused = None
        self.deferred, self._running = False, True
        try:
            self._uc.emu_start(pc, 0, timeout=microseconds, count=instructions)
        except uc.UcError:
            self._running = False
            if self._refused is not None:
                # Hooks set it while the engine runs.
                self._uc.ctl(  # type: ignore[unreachable]
                    uc.UC_CTL_TLB_FLUSH, uc.UC_CTL_IO_WRITE
                )
            return False
        finally:
            self._running = False
        return True

    def step_store(self, pc: int) -> bool:
        """Execute the one store at `pc` that goes to a page of code, as `start` does."""
        self._stepping = True
        self.flush_code()
        try:
            return self.start(pc, instructions=1)
        finally:
            self._stepping = False
            self.flush_translations()

    def stop(self) -> None:
        self._uc.emu_stop()

    def _set_exits(self) -> None:
        self._uc.ctl_set_exits([va for page in self._poison.values() for va in page])

    def flush_code(self) -> None:
        """Forget translated code."""
        self._uc.ctl_flush_tb()

    def flush_translations(self) -> None:
        """Forget cached address translations and code; the next access of each page asks the handler.

        From within a hook this waits until the engine has stopped: see `deferred`.
        """
        if self._defer():
            return
        for hooks in self._page_hooks.values():
            for hook in hooks:
                self._uc.hook_del(hook)
        self._page_hooks.clear()
        self._poison.clear()
        self._set_exits()
        self.flush_code()
        # Last, because dropping code may itself look pages up.
        self._uc.ctl(uc.UC_CTL_TLB_FLUSH, uc.UC_CTL_IO_WRITE)
        self._code_pages.clear()
        self._scanned.clear()
        self._writable.clear()

    def is_code(self, ipa: int, size: int) -> bool:
        """Whether any of [ipa, ipa + size) lies in a page that instructions were fetched from."""
        return any(page in self._scanned for page in range(ipa & -PAGE, ipa + size, PAGE))

    def is_poison(self, va: int) -> bool:
        """Whether `va` holds a word that only the PE may look at."""
        return va in self._poison.get(va & -PAGE, ())

    def recheck_code(self) -> None:
        """Forget everything if code was changed from outside since it was scanned."""
        if any(self._memory.read(ipa, PAGE) != content for ipa, content in self._scanned.items()):
            self.flush_translations()

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

    # Watched instructions: a callback before every one, found by scanning each page that is fetched

    def set_gate(self, on: bool) -> None:
        """Whether FP and AdvSIMD instructions are watched too; costs nothing while off."""
        if on != self.gated:
            self.gated = on
            self.flush_translations()

    def _defer(self) -> bool:
        """Code must not be dropped under the engine's feet: stop it, and drop the code before it starts."""
        if self._running:
            self.deferred = True
            self._uc.emu_stop()
        return self._running

    def _watch_page(self, va: int, ipa: int) -> None:
        page = self._memory.read(ipa, PAGE)
        if page is None:
            return
        words = np.frombuffer(page, "<u4")
        self._scanned[ipa] = page
        poison = np.flatnonzero(poisonous(words))
        if poison.size or va in self._poison:
            self._poison[va] = [va + 4 * int(n) for n in poison]
            self._set_exits()
        flags = _is_system(words)
        if self._has_el2:
            flags |= _is_hypervisors(words)
        if self.gated:
            flags |= _is_fp(words)
        spans = np.flatnonzero(np.diff(flags, prepend=False, append=False)).reshape(-1, 2).tolist()
        if len(spans) > _MAX_HOOKS_PER_PAGE:
            spans = [[0, PAGE // 4]]
        self._page_hooks[va] = [
            self._uc.hook_add(uc.UC_HOOK_CODE, self._on_code, None, va + 4 * first, va + 4 * last - 4)
            for first, last in spans
        ]

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
        wanted = ipa in (self._writable if kind is AccessKind.FETCH else self._scanned)
        if wanted and slot is not None and kind is not AccessKind.READ and not self._stepping:
            # No page is writable and translated from at once: what is translated has been scanned.
            self.conflict = kind
            return self._refuse(va, kind, entry)
        write = (
            mapping.write and kind is not AccessKind.FETCH and (self._stepping or ipa not in self._scanned)
        )
        if slot is not None and slot.readonly:
            write = False
            if kind is AccessKind.WRITE:
                return self._refuse(va, kind, entry)
        if kind is AccessKind.FETCH and self._code_pages.get(page) != ipa:
            self._code_pages[page] = ipa
            self._watch_page(page, ipa)
        if write:
            self._writable.add(ipa)
        execute = mapping.execute and self._code_pages.get(page) == ipa and not write
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
        self.begun_in_vain = _OUTSIDE[access] is not AccessKind.FETCH
        self._handler.on_outside(address, size, _OUTSIDE[access])
        return False

    def _on_code(self, _uc: Any, address: int, _size: int, _data: Any) -> None:
        self._handler.on_watched(address)


_OUTSIDE = {
    uc.UC_MEM_READ_UNMAPPED: AccessKind.READ,
    uc.UC_MEM_WRITE_UNMAPPED: AccessKind.WRITE,
    uc.UC_MEM_FETCH_UNMAPPED: AccessKind.FETCH,
    uc.UC_MEM_READ_PROT: AccessKind.READ,
    uc.UC_MEM_WRITE_PROT: AccessKind.WRITE,
    uc.UC_MEM_FETCH_PROT: AccessKind.FETCH,
}
