"""The kernel's side: tasks taking turns on CPUs, kernel-mode Advanced SIMD, EFI.

Source: Linux arch/arm64/kernel/fpsimd.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from armkvm.arch.vectors import Vq
from armkvm.cpu.exceptions import ExceptionClass, GuestException, Smtc
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.state import SVCR_SM, SVCR_ZA
from armkvm.model.context import image as memory
from armkvm.model.context.image import Enables, HostDamage, Image, Kind
from armkvm.model.context.registers import Cpu
from armkvm.model.context.rules import RULES, Lengths, Rules, Saving

_T = TypeVar("_T")
_FP_OPEN = 3 << 20
_KERNELS_OWN = 1 << 16 | 1 << 24
_SVE_OPEN, _SME_OPEN = 3 << 16, 3 << 24
CLOBBER = bytes(range(0xE0, 0xF0))
"""What kernel-mode code leaves in every V register."""


@dataclass(slots=True, eq=False)
class Task:
    """A program of the host. `lengths` are those it chose; `uses_*` what the kernel opened for it."""

    name: str
    lengths: Lengths
    image: Image = field(default_factory=Image)
    uses_sve: bool = False
    uses_sme: bool = False
    foreign: bool = True
    """Its state is not in the registers of the CPU it runs on."""
    last_cpu: int | None = None
    tpidr2: int = 0


@dataclass(frozen=True, slots=True)
class Bound:
    """Whose state a CPU's registers hold, and how to save it."""

    owner: object
    image: Image
    lengths: Lengths
    enables: Enables
    saving: Saving


@dataclass(slots=True)
class Slot:
    """One CPU with what the kernel knows of it. `current` is the task that runs there."""

    number: int
    cpu: Cpu
    current: Task
    last: Bound | None = None


class Host:
    """A machine with `cpus` CPUs of the same `features`, its kernel at EL2 (`vhe`) or at EL1."""

    def __init__(
        self,
        features: PeFeatures,
        *,
        vhe: bool = True,
        cpus: int = 1,
        retains: bool = False,
        rules: Rules = RULES,
    ) -> None:
        self.features = features
        self.vhe = vhe
        self.rules = rules
        self.level = 2 if vhe else 1
        self.lengths = Lengths(features.sve.max, features.sme.max)
        self.enables = Enables(features.fa64 and bool(features.sme), features.sme2 and bool(features.sme))
        self.slots: list[Slot] = []
        for number in range(cpus):
            cpu = Cpu(features, retains=retains, el=self.level, e2h=vhe, tge=vhe, cptr=0)
            self.slots.append(Slot(number, cpu, self.new_task(f"idle {number}")))
            self.open_for_current(self.slots[-1])

    def new_task(self, name: str, lengths: Lengths | None = None) -> Task:
        """A task that has not run. `lengths` are among the CPU's."""
        lengths = lengths or self.lengths
        zp = bytearray(memory.zp_bytes(max(lengths))) if max(lengths) else bytearray()
        za = bytearray(memory.za_bytes(lengths.sme)) if lengths.sme else bytearray()
        return Task(name, lengths, Image(zp=zp, za=za))

    # -- the kernel's own controls

    def open_for_current(self, slot: Slot) -> None:
        """What the current task may use, by the control that counts for user mode; the kernel may all."""
        task = slot.current
        value = _FP_OPEN | _KERNELS_OWN
        value |= (_SVE_OPEN if task.uses_sve else 0) | (_SME_OPEN if task.uses_sme else 0)
        if self.vhe:
            slot.cpu.cptr = value
        else:
            slot.cpu.cpacr, slot.cpu.cptr = value, 0

    def _set_length(self, slot: Slot, *, streaming: bool, vq: int) -> None:
        """Set LEN of ZCR_EL1 or SMCR_EL1 as the kernel names them, and SMCR's enables with it."""
        control = slot.cpu.smcr if streaming else slot.cpu.zcr
        value = control[self.level] & ~0xF | (vq - 1)
        bits = self.rules.task_enables(self.enables) if streaming else None
        if bits is not None:
            value = (vq - 1) | bits
        slot.cpu.set_length(streaming=streaming, el=self.level, value=value)

    # -- who owns the registers

    def bind(self, slot: Slot, bound: Bound) -> None:
        """The registers hold this state now."""
        slot.last = bound
        slot.current.foreign = False

    def _bind_task(self, slot: Slot) -> None:
        task = slot.current
        has = self.rules.state_has(self.enables, self.enables)
        self.bind(slot, Bound(task, task.image, task.lengths, has, Saving.CURRENT))
        task.last_cpu = slot.number

    def flush(self, slot: Slot) -> None:
        """The registers belong to nobody from now on; what they held has been saved."""
        slot.last = None
        slot.current.foreign = True
        if self.features.sme and self.rules.flush_stops_streaming():
            slot.cpu.write_svcr(0)

    def schedule(self, number: int, task: Task) -> None:
        """Let another task run on a CPU."""
        slot = self.slots[number]
        self.save(slot)
        slot.current.tpidr2 = slot.cpu.tpidr2
        slot.cpu.tpidr2 = task.tpidr2
        slot.current = task
        last_is_task = slot.last is not None and slot.last.owner is task
        task.foreign = not self.rules.resident(last_is_task, task.last_cpu == number)

    # -- saving and loading

    @contextmanager
    def _kernels(self, doing: str) -> Iterator[None]:
        """Instructions of the kernel, of which none may be refused."""
        try:
            yield
        except GuestException as refusal:
            raise memory.crash(refusal, doing) from refusal

    def save(self, slot: Slot) -> None:
        """Save what the registers hold, unless it is in memory already."""
        if slot.current.foreign or slot.last is None:
            return
        with self._kernels("saving vector state"):
            self._save(slot, slot.last)

    def _save(self, slot: Slot, bound: Bound) -> None:
        cpu, image = slot.cpu, bound.image
        image.fpsr, image.fpcr = cpu.read_fpsr(), cpu.read_fpcr()
        if self.features.fpmr:
            image.fpmr = cpu.read_fpmr()
        if self.features.sme:
            image.svcr = cpu.read_svcr()
        if image.svcr & SVCR_ZA:
            memory.store_za(cpu, image.za, with_zt0=bound.enables.sme2)
        streaming = bool(image.svcr & SVCR_SM)
        uses_sve = bound.saving is Saving.CURRENT and slot.current.uses_sve
        if not (streaming or uses_sve or bound.saving is Saving.SVE):
            memory.store_v(cpu, image.v)
            image.kind = Kind.FPSIMD
            return
        expected = bound.lengths.sme if streaming else bound.lengths.sve
        if cpu.vq != expected:
            raise HostDamage(
                f"the host kills {slot.current.name}: its state is {Vq(expected).bits} bits wide, "
                f"the registers {Vq(cpu.vq).bits}"
            )
        at = memory.ffr_offset(self.rules.layout_vq(bound.lengths, streaming))
        memory.store_zp(cpu, image.zp, at, with_ffr=not streaming or bound.enables.fa64)
        image.kind = Kind.SVE

    def _load(self, slot: Slot) -> None:
        """Load the current task's state."""
        cpu, task = slot.cpu, slot.current
        image = task.image
        streaming = bool(image.svcr & SVCR_SM)
        if image.kind is Kind.SVE and not streaming:
            task.uses_sve = True
        elif image.kind is Kind.FPSIMD:
            task.uses_sve = False
        if task.uses_sve:
            self._set_length(slot, streaming=False, vq=task.lengths.sve)
        if task.uses_sme:
            self._set_length(slot, streaming=True, vq=task.lengths.sme)
        if self.features.sme:
            cpu.write_svcr(image.svcr)
        if image.svcr & SVCR_ZA:
            memory.load_za(cpu, image.za, with_zt0=self.enables.sme2)
        if image.kind is Kind.SVE:
            at = memory.ffr_offset(self.rules.layout_vq(task.lengths, streaming))
            memory.load_zp(cpu, image.zp, at, with_ffr=not streaming or self.enables.fa64)
        else:
            memory.load_v(cpu, image.v)
        cpu.write_fpsr(image.fpsr)
        cpu.write_fpcr(image.fpcr)
        if self.features.fpmr:
            cpu.write_fpmr(image.fpmr)

    # -- user mode

    def user(self, number: int, instruction: Callable[[Cpu], _T]) -> _T:
        """The current task executes one instruction; what refuses it for good is raised."""
        slot = self.slots[number]
        while True:
            if slot.current.foreign:
                with self._kernels("loading vector state"):
                    self._load(slot)
                self._bind_task(slot)
            self.open_for_current(slot)
            slot.cpu.go(0)
            try:
                return instruction(slot.cpu)
            except GuestException as refusal:
                slot.cpu.go(self.level)
                if not self._first_use(slot, refusal):
                    raise
            finally:
                slot.cpu.go(self.level)

    def _first_use(self, slot: Slot, refusal: GuestException) -> bool:
        """Open SVE or SME for a task that had not used it; False if that is not why it trapped."""
        task = slot.current
        if refusal.ec == ExceptionClass.SVE_ACCESS and self.features.sve and not task.uses_sve:
            task.uses_sve = True
            self._set_length(slot, streaming=False, vq=task.lengths.sve)
            if self.rules.first_use_zeroes():
                self._drop_beyond_v(slot)
        elif (refusal.ec, refusal.iss) == (ExceptionClass.SME_ACCESS, Smtc.DISABLED) and not task.uses_sme:
            task.uses_sme = True
            self._set_length(slot, streaming=True, vq=task.lengths.sme)
        else:
            return False
        self._bind_task(slot)
        return True

    def _drop_beyond_v(self, slot: Slot) -> None:
        """Zero Z above V, P and FFR; only outside streaming mode."""
        cpu = slot.cpu
        for n in range(memory.Z_COUNT):
            cpu.write_z(n, cpu.read_v(n))
        for n in range(memory.P_COUNT):
            cpu.write_p(n, b"")
        cpu.write_ffr(b"")

    def enter_call(self, number: int) -> None:
        """The current task, whose state is in the registers, calls the kernel."""
        self.user(number, lambda _cpu: None)
        slot = self.slots[number]
        if self.features.sme and self.rules.leaves_streaming_for_calls():
            slot.cpu.write_svcr(slot.cpu.read_svcr() & SVCR_ZA)
        if slot.last is None or slot.cpu.vectors.streaming:
            return
        if slot.current.uses_sve:
            self._drop_beyond_v(slot)
        slot.last = replace(slot.last, saving=Saving.FPSIMD)

    def leave_call(self, number: int) -> None:
        """Back to user mode."""
        slot = self.slots[number]
        if slot.last is not None and slot.last.owner is slot.current:
            slot.last = replace(slot.last, saving=Saving.CURRENT)

    # -- the kernel's own use

    def kernel_mode(self, number: int) -> None:
        """A soft interrupt or system call computes with Advanced SIMD."""
        slot = self.slots[number]
        self.save(slot)
        self.flush(slot)
        with self._kernels("computing in the kernel"):
            self._clobber(slot.cpu)

    def efi(self, number: int) -> None:
        """A hard interrupt calls EFI, which computes with Advanced SIMD, whatever the registers hold."""
        slot = self.slots[number]
        with self._kernels("calling EFI"):
            self._efi(slot)

    def _efi(self, slot: Slot) -> None:
        cpu = slot.cpu
        mode = cpu.read_svcr() if self.features.sme else 0
        streaming = bool(mode & SVCR_SM)
        fpsr, fpcr, fpmr = cpu.read_fpsr(), cpu.read_fpcr(), cpu.vectors.fpmr
        with_ffr = not streaming or self.rules.efi_has_ffr(cpu.full_a64, self.enables.fa64)
        stash = Image(zp=bytearray(memory.zp_bytes(max(*self.lengths, 1))))
        at = memory.ffr_offset(max(*self.lengths, 1))
        whole = bool(self.features.sve) or streaming
        if whole:
            memory.store_zp(cpu, stash.zp, at, with_ffr=with_ffr)
        else:
            memory.store_v(cpu, stash.v)
        if streaming and self.rules.efi_keeps_mode():
            cpu.write_svcr(mode & ~SVCR_SM)
        self._clobber(cpu)
        if streaming and self.rules.efi_keeps_mode():
            cpu.write_svcr(mode)
        if whole:
            memory.load_zp(cpu, stash.zp, at, with_ffr=with_ffr)
        else:
            memory.load_v(cpu, stash.v)
        cpu.write_fpsr(fpsr)
        cpu.write_fpcr(fpcr)
        if self.features.fpmr:
            cpu.write_fpmr(fpmr)

    @staticmethod
    def _clobber(cpu: Cpu) -> None:
        for n in range(memory.Z_COUNT):
            cpu.write_v(n, CLOBBER)
        cpu.write_fpsr(0)
