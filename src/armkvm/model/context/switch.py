"""KVM's side: loading and putting vCPUs, entering and leaving guests, and their first use of registers.

Source: Linux arch/arm64/kvm/fpsimd.c, arch/arm64/kvm/hyp/include/hyp/switch.h; SME series v12, patch 22.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from armkvm.cpu.exceptions import GuestException
from armkvm.cpu.legality import Hypervisor
from armkvm.cpu.state import SVCR_SM, SVCR_ZA
from armkvm.model import vector_traps
from armkvm.model.context import image as memory
from armkvm.model.context.host import Bound, Host, Slot
from armkvm.model.context.image import Enables, HostDamage, Image
from armkvm.model.context.registers import OPEN, Cpu
from armkvm.model.context.rules import Control, Lengths, Saving, Step
from armkvm.model.el2 import controls

_T = TypeVar("_T")
_NEITHER = Enables(fa64=False, sme2=False)


@dataclass(slots=True, eq=False)
class Guest:
    """A vCPU as far as vector state goes. `lengths` are its largest, 0 for what it has not.

    `zcr` and `smcr` are the guest's registers by level; those of EL2 count with `has_el2`, where `in_hyp`
    tells its hypervisor (and that one's programs, with `tge`) from the guest's guest.
    """

    name: str
    lengths: Lengths
    enables: Enables = _NEITHER
    has_el2: bool = False
    e2h: bool = True
    in_hyp: bool = False
    tge: bool = False
    el: int = 1
    cpacr: int = OPEN
    cptr: int = OPEN
    zcr: dict[int, int] = field(default_factory=lambda: {1: 0, 2: 0})
    smcr: dict[int, int] = field(default_factory=lambda: {1: 0, 2: 0})
    tpidr2: int = 0
    image: Image = field(default_factory=Image)

    @property
    def sees(self) -> vector_traps.VectorGuest:
        """What decides its traps."""
        el2 = Hypervisor(self.e2h, self.tge, self.cptr, self.smcr[2]) if self.has_el2 else None
        has_sme2 = self.enables.sme2
        return vector_traps.VectorGuest(
            bool(self.lengths.sve), bool(self.lengths.sme), has_sme2, self.el, el2
        )

    @property
    def is_nested(self) -> bool:
        """Whether a guest of the guest runs."""
        return self.has_el2 and not self.in_hyp


@dataclass(slots=True)
class _Loaded:
    """A vCPU on a CPU. `kept` holds the host's registers of EL1 while a guest runs without VHE."""

    guest: Guest
    owns: bool = False
    entered: bool = False
    kept: tuple[int, int, int] = (0, 0, 0)


class Switch:
    """KVM on a host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.rules = host.rules
        self._loaded: dict[int, _Loaded] = {}

    def new_guest(self, guest: Guest) -> Guest:
        """Finalize: give the vCPU its buffers."""
        vq = self.rules.buffer_vq(guest.lengths)
        guest.image.zp = bytearray(memory.zp_bytes(vq)) if vq else bytearray()
        guest.image.za = bytearray(memory.za_bytes(guest.lengths.sme)) if guest.lengths.sme else bytearray()
        return guest

    # -- the vCPU's life on a CPU

    def load(self, number: int, guest: Guest) -> None:
        """A task's ioctl on a vCPU begins, or the task is back on a CPU in the middle of it."""
        host, slot = self.host, self.host.slots[number]
        if self.rules.saved_at_load():
            host.save(slot)
        host.flush(slot)
        self._refuse_mode(slot)
        self._loaded[number] = _Loaded(guest)
        if host.vhe:
            self._swap_tpidr2(slot, guest)

    def put(self, number: int) -> None:
        """The ioctl ends, or the task leaves the CPU."""
        self.leave(number)
        slot, loaded = self.host.slots[number], self._loaded.pop(number)
        if loaded.owns:
            self.host.save(slot)
            self.host.flush(slot)
        if self.host.vhe:
            self._swap_tpidr2(slot, loaded.guest)

    def _refuse_mode(self, slot: Slot) -> None:
        """The hypervisor is not entered with a mode that is nobody's."""
        if self.host.features.sme and slot.cpu.vectors.svcr:
            raise HostDamage(
                f"KVM_RUN is refused (EINVAL): SVCR is {slot.cpu.vectors.svcr}, and nobody owns the registers"
            )

    def _swap_tpidr2(self, slot: Slot, guest: Guest) -> None:
        if self.rules.switches_tpidr2(bool(guest.lengths.sme)):
            slot.cpu.tpidr2, guest.tpidr2 = guest.tpidr2, slot.cpu.tpidr2

    def get_tpidr2(self, number: int) -> int:
        """KVM_GET_ONE_REG of TPIDR2_EL0, on the vCPU loaded there."""
        guest = self._loaded[number].guest
        return self.host.slots[number].cpu.tpidr2 if self._is_live(number) else guest.tpidr2

    def set_tpidr2(self, number: int, value: int) -> None:
        """KVM_SET_ONE_REG likewise."""
        if self._is_live(number):
            self.host.slots[number].cpu.tpidr2 = value
        else:
            self._loaded[number].guest.tpidr2 = value

    def _is_live(self, number: int) -> bool:
        return self.rules.live_tpidr2(self.host.vhe, number in self._loaded)

    # -- entry and exit

    def enter(self, number: int) -> None:
        """Into the guest, if it is not running already."""
        loaded, slot = self._loaded[number], self.host.slots[number]
        if loaded.entered:
            return
        loaded.entered = True
        guest, cpu = loaded.guest, slot.cpu
        loaded.owns = self.rules.still_owns(loaded.owns, slot.current.foreign)
        if not loaded.owns:
            self._refuse_mode(slot)
        cpu.go(2)
        if not self.host.vhe:
            loaded.kept = (cpu.cpacr, cpu.zcr[1], cpu.smcr[1])
            self._swap_tpidr2(slot, guest)
        cpu.cpacr = controls.el1_control(guest.sees, guest.in_hyp, guest.cpacr)
        self._open(cpu, frozenset(controls.UNITS))
        mode = self.rules.sets_mode_on_entry(bool(guest.lengths.sme), loaded.owns)
        if loaded.owns:
            self._own_lengths(cpu, guest, with_sve=True, with_sme=bool(guest.lengths.sme))
        elif mode:
            self._largest_sme(cpu, guest)
            cpu.write_svcr(guest.image.svcr)
            self._own_lengths(cpu, guest, with_sve=False, with_sme=True)
        self._to_guest(cpu, loaded)

    def _to_guest(self, cpu: Cpu, loaded: _Loaded) -> None:
        """Set the traps, and go to the level where the guest runs."""
        guest = loaded.guest
        opened = self.rules.opened(bool(guest.lengths.sve), bool(guest.lengths.sme), loaded.owns)
        self._open(cpu, controls.left_open(opened, guest.sees) if guest.is_nested else opened)
        cpu.traps_tpidr2 = self.rules.traps_tpidr2(bool(guest.lengths.sme))
        cpu.tge = False
        cpu.go(min(guest.el, 1))

    def leave(self, number: int) -> None:
        """Back to the host, if the guest is running."""
        loaded, slot, host = self._loaded[number], self.host.slots[number], self.host
        if not loaded.entered:
            return
        loaded.entered = False
        guest, cpu = loaded.guest, slot.cpu
        cpu.tge, cpu.traps_tpidr2 = host.vhe, False
        self._open(cpu, frozenset(controls.UNITS))
        cpu.go(2)
        if loaded.owns:
            level = self.rules.own_control_level(guest.in_hyp)
            guest.zcr[level], guest.smcr[level] = cpu.zcr[1], cpu.smcr[1]
        if not host.vhe:
            cpu.cpacr, cpu.zcr[1], cpu.smcr[1] = loaded.kept
            self._swap_tpidr2(slot, guest)
        self._return_lengths(cpu, loaded)
        if host.features.sme and self.rules.stops_on_exit(bool(guest.lengths.sme), loaded.owns):
            cpu.write_svcr(0)
        cpu.go(host.level)
        host.open_for_current(slot)
        if loaded.owns and self.rules.bound_after_exit():
            host.bind(slot, self._binding(guest))

    def _binding(self, guest: Guest) -> Bound:
        saving = Saving.SVE if guest.lengths.sve else Saving.FPSIMD
        has = self.rules.state_has(guest.enables, self.host.enables)
        return Bound(guest, guest.image, guest.lengths, has, saving)

    def _return_lengths(self, cpu: Cpu, loaded: _Loaded) -> None:
        guest, host = loaded.guest, self.host
        owned = guest.lengths if loaded.owns else Lengths(0, guest.lengths.sme)
        wanted = self.rules.return_lengths(
            owned, guest.enables.bits, host.lengths, host.enables.bits, vhe=host.vhe
        )
        for level, control in wanted.items():
            self._set(cpu, level, control)

    @staticmethod
    def _set(cpu: Cpu, level: int, control: Control) -> None:
        if control.zcr is not None:
            cpu.set_length(streaming=False, el=level, value=control.zcr)
        if control.smcr is not None:
            cpu.set_length(streaming=True, el=level, value=control.smcr)

    # -- the guest's instructions

    def guest(self, number: int, instruction: Callable[[Cpu], _T]) -> _T:
        """The guest executes one instruction. What it takes is raised, at the level it believes in."""
        self.enter(number)
        loaded, cpu = self._loaded[number], self.host.slots[number].cpu
        for _ in range(3):  # a first use, then perhaps its own hypervisor's trap
            try:
                return instruction(cpu)
            except GuestException as trap:
                if trap.to_el == 1:
                    raise self._at_its_level(trap, loaded.guest) from None
                taken = vector_traps.answer(trap, loaded.guest.sees)
                if taken is not None:
                    raise taken from None
                self._first_use(cpu, loaded)
        raise HostDamage(f"{loaded.guest.name} traps for ever")

    @staticmethod
    def _at_its_level(trap: GuestException, guest: Guest) -> GuestException:
        """EL1 of the CPU is where a guest's hypervisor runs, too."""
        return GuestException(trap.ec, trap.iss, to_el=2 if guest.in_hyp else 1)

    def _first_use(self, cpu: Cpu, loaded: _Loaded) -> None:
        """Load the guest's state, in the order of the rules."""
        cpu.go(2)
        try:
            for step in self.rules.load_steps:
                self._step(step, cpu, loaded.guest)
        except GuestException as refusal:
            raise memory.crash(refusal, "loading a guest's vector state") from refusal
        loaded.owns = True
        self._to_guest(cpu, loaded)

    def _step(self, step: Step, cpu: Cpu, guest: Guest) -> None:
        image, lengths = guest.image, guest.lengths
        if step is Step.OPEN:
            self._open(cpu, self.rules.opened(bool(lengths.sve), bool(lengths.sme), True))
        elif step is Step.SVE_LENGTH and lengths.sve:
            cpu.set_length(streaming=False, el=2, value=lengths.sve - 1)
        elif step is Step.SME_LENGTH and lengths.sme:
            self._largest_sme(cpu, guest)
        elif step is Step.MODE and lengths.sme:
            cpu.write_svcr(image.svcr)
        elif step is Step.MATRIX and image.svcr & SVCR_ZA:
            memory.load_za(cpu, image.za, with_zt0=guest.enables.sme2)
        elif step is Step.VECTORS:
            self._load_vectors(cpu, guest)
        elif step is Step.FPMR and self.host.features.fpmr:
            cpu.write_fpmr(image.fpmr)
        elif step is Step.OWN_LENGTHS:
            self._own_lengths(cpu, guest, with_sve=bool(lengths.sve), with_sme=bool(lengths.sme))

    def _load_vectors(self, cpu: Cpu, guest: Guest) -> None:
        image = guest.image
        streaming = bool(image.svcr & SVCR_SM)
        if streaming or guest.lengths.sve:
            at = memory.ffr_offset(self.rules.layout_vq(guest.lengths, streaming))
            memory.load_zp(cpu, image.zp, at, with_ffr=not streaming or guest.enables.fa64)
        else:
            memory.load_v(cpu, image.v)
        cpu.write_fpsr(image.fpsr)
        cpu.write_fpcr(image.fpcr)

    # -- EL2's controls over the guest

    def _open(self, cpu: Cpu, units: frozenset[str]) -> None:
        """CPTR_EL2 in the form the kernel uses: what is named is open, the rest traps."""
        if self.host.vhe:
            cpu.cptr = sum(3 << controls.UNITS[name].shift for name in units)
        else:
            cpu.cptr = sum(unit.trap_bit for name, unit in controls.UNITS.items() if name not in units)

    def _largest_sme(self, cpu: Cpu, guest: Guest) -> None:
        cpu.set_length(streaming=True, el=2, value=(guest.lengths.sme - 1) | guest.enables.bits)

    def _own_lengths(self, cpu: Cpu, guest: Guest, *, with_sve: bool, with_sme: bool) -> None:
        """The guest's own choice at EL1, and its hypervisor's over its guest at EL2."""
        level = self.rules.own_control_level(guest.in_hyp)
        zcr = guest.zcr[level] if with_sve else None
        smcr = guest.smcr[level] if with_sme else None
        largest = guest.lengths
        limit = Control(largest.sve - 1 if with_sve and largest.sve else None)
        if with_sme:
            limit = limit._replace(smcr=(largest.sme - 1) | guest.enables.bits)
        if guest.is_nested:
            limit = self._nested(guest, limit)
        self._set(cpu, 1, Control(zcr, smcr))
        self._set(cpu, 2, limit)

    def _nested(self, guest: Guest, limit: Control) -> Control:
        zcr, smcr = limit
        if zcr is not None:
            zcr = self.rules.nested_len(guest.lengths.sve, guest.zcr[2] & 0xF)
        if smcr is not None:
            length = self.rules.nested_len(guest.lengths.sme, guest.smcr[2] & 0xF)
            smcr = length | self.rules.nested_enables(guest.enables.bits, guest.smcr[2])
        return Control(zcr, smcr)
