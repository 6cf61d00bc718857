"""A vCPU on a CPU: its PE, and its registers and memory on the way in and out.

The PE needs the extra ``guest`` and is imported when a guest first runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.encoding import SysReg
from armkvm.arch.idfields import field
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import id_of, parse
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.guest_memory import GuestMemory
from armkvm.cpu.state import P_BYTES, Z_BYTES, ZA_ROW_BYTES, CoreState, VectorState
from armkvm.errors import PlaceError
from armkvm.model import core_regs, matrix, vectors
from armkvm.model.el2 import level
from armkvm.model.el2.registers import El2Registers
from armkvm.model.guest_registers import GuestRegisters
from armkvm.model.sysregs.catalogue import BY_ID
from armkvm.model.vcpu import Vcpu
from armkvm.model.vm import Vm

if TYPE_CHECKING:
    from armkvm.cpu.pe import PE

_SP, _SP_EL1, _ELR, _SPSR = (int(parse(name)) for name in ("SP", "SP_EL1", "ELR_EL1", "SPSR_EL1"))
_EL2, _EL2_AS_EL1 = 2, 0xC
_FPSR, _FPCR, _FPMR = (int(parse(name)) for name in ("FPSR", "FPCR", "FPMR"))
_V = tuple(int(parse(f"V{n}")) for n in range(vectors.Z_COUNT))
_V_BYTES = 16
_NO_Z = bytes(Z_BYTES - _V_BYTES)

_SME, _FA64 = field("ID_AA64PFR1_EL1", "SME"), field("ID_AA64SMFR0_EL1", "FA64")
# Extensions of the PE: no trap of KVM takes them away, so the CPU's own field decides, from a value on.
_EXTENSIONS = {
    name: (field(register, part), least)
    for name, register, part, least in (
        ("sve2", "ID_AA64ZFR0_EL1", "SVEver", 1),
        ("sve2p1", "ID_AA64ZFR0_EL1", "SVEver", 2),
        ("bitperm", "ID_AA64ZFR0_EL1", "BitPerm", 1),
        ("pmull128", "ID_AA64ZFR0_EL1", "AES", 2),
        ("bf16", "ID_AA64ZFR0_EL1", "BF16", 1),
        ("b16b16", "ID_AA64ZFR0_EL1", "B16B16", 1),
        ("i8mm", "ID_AA64ZFR0_EL1", "I8MM", 1),
        ("f32mm", "ID_AA64ZFR0_EL1", "F32MM", 1),
        ("f64mm", "ID_AA64ZFR0_EL1", "F64MM", 1),
        ("f64f64", "ID_AA64SMFR0_EL1", "F64F64", 1),
        ("i16i64", "ID_AA64SMFR0_EL1", "I16I64", 1),
        ("f16f16", "ID_AA64SMFR0_EL1", "F16F16", 1),
        ("sme2p1", "ID_AA64SMFR0_EL1", "SMEver", 2),
        ("pan", "ID_AA64MMFR1_EL1", "PAN", 1),
    )
}


def features_of(vcpu: Vcpu) -> PeFeatures:
    """The PE that a guest gets: what KVM withholds by its traps, and what the CPU has."""
    guest, cpu = vcpu.id_regs, vcpu.id_limits
    has_sve, has_sme = F.SVE in vcpu.features, F.SME in vcpu.features
    platform = vcpu.vm.platform
    # FEAT_SME_FA64 is all of A64, SVE2 too: a CPU that has it has SVE, whatever its kernel makes of it.
    cpu_has_sve = any(one.sve for one in platform.facts.cpus) or bool(
        _FA64.extract(platform.value(id_of(_FA64.register)))
    )
    return PeFeatures(
        sve=vectors.lengths(vcpu) if has_sve else VectorLengths(),
        sme=matrix.lengths(vcpu) if has_sme else VectorLengths(),
        sve_trapped=cpu_has_sve,
        sme_trapped=any(one.sme for one in platform.facts.cpus) or "sme" in platform.facts.cpu_flags,
        sme2_trapped=_SME.extract(platform.value(id_of(_SME.register))) >= 2,
        fa64=bool(_FA64.extract(guest[int(id_of(_FA64.register))])),
        sme2=_SME.extract(guest[int(id_of(_SME.register))]) >= 2,
        fpmr=BY_ID[_FPMR].visible(vcpu),
        **{
            name: part.extract(cpu[int(id_of(part.register))]) >= least
            for name, (part, least) in _EXTENSIONS.items()
        },
    )


def _pe_class() -> type[PE]:
    try:
        from armkvm.cpu.pe import PE
    except ModuleNotFoundError as missing:
        if missing.name not in ("numpy", "unicorn"):
            raise
        raise PlaceError(
            f"running guests in the model needs the extra 'guest', and {missing.name} is not installed: "
            "pip install 'armkvm[guest]'"
        ) from None
    return PE


class SharedMemory:
    """A VM's slots as its PEs see them."""

    def __init__(self) -> None:
        self.guest = GuestMemory()
        self._generation = -1

    def follow(self, vm: Vm) -> None:
        """Have the slots the VM has now."""
        if self._generation == vm.memory.generation:
            return
        for seen in self.guest.slots:
            self.guest.remove(seen)
        for slot in vm.memory.slots.values():
            try:
                self.guest.add(slot.base, slot.memory, readonly=slot.is_readonly)
            except ValueError as unfit:
                raise PlaceError(f"the model cannot run a guest with this memory: {unfit}") from None
        self._generation = vm.memory.generation


class Execution:
    """One vCPU's PE. Between `load` and `store` the PE has the registers, otherwise the record."""

    def __init__(self, vcpu: Vcpu) -> None:
        self._vcpu = vcpu
        self.registers = El2Registers(vcpu) if F.HAS_EL2 in vcpu.features else GuestRegisters(vcpu)
        self.core, self.vectors = CoreState(), VectorState()
        vm = vcpu.vm
        if vm.shared_memory is None:
            vm.shared_memory = SharedMemory()
        self._memory = vm.shared_memory
        self.pe = _pe_class()(
            features_of(vcpu),
            self._memory.guest,
            self.registers,
            core=self.core,
            vectors=self.vectors,
            has_el2=F.HAS_EL2 in vcpu.features,
        )

    def load(self) -> None:
        """Registers from the record into the PE, and the VM's memory under it."""
        vcpu, core = self._vcpu, self.core
        self._memory.follow(vcpu.vm)
        record = vcpu.core
        core.x[:] = [record[reg] for reg in core_regs.X]
        core.pc, core.pstate = record[core_regs.PC], record[core_regs.PSTATE]
        core.sp_el0, core.sp_el1 = record[_SP], record[_SP_EL1]
        core.elr_el1, core.spsr_el1 = record[_ELR], record[_SPSR]
        if isinstance(self.registers, El2Registers):
            self._load_el2(self.registers)
        self.registers.settle()
        v = self.vectors
        v.svcr, v.fpsr, v.fpcr, v.fpmr = vcpu.svcr, record[_FPSR], record[_FPCR], vcpu.sysregs[_FPMR]
        if vectors.has_z_registers(vcpu):
            v.z[:] = b"".join(vcpu.z)
            v.p[:] = b"".join(vcpu.p[:-1])
            v.ffr[:] = vcpu.p[-1]
        else:
            v.z[:] = b"".join(record[reg].to_bytes(_V_BYTES, "little") + _NO_Z for reg in _V)
            v.p[:], v.ffr[:] = bytes(len(v.p)), bytes(len(v.ffr))
        if matrix.has_za(vcpu):
            v.za[:] = b"".join(vcpu.za)
            v.zt0[:] = vcpu.zt0

    def _load_el2(self, registers: El2Registers) -> None:
        """While the guest's hypervisor runs, EL1 of the PE is the guest's EL2."""
        vcpu, core, pe = self._vcpu, self.core, self.pe
        inside = level.in_hypervisor(vcpu)
        registers.in_hypervisor = pe.in_hypervisor = inside
        pe.hypervisor = None if inside else level.controls(vcpu)
        if inside:
            core.sp_el1, core.elr_el1, core.spsr_el1 = (vcpu.sysregs[reg] for reg in level.EL2_BANK)
            if level.mode(vcpu) == _EL2:
                core.pstate ^= _EL2_AS_EL1

    def _store_el2(self) -> None:
        vcpu, core = self._vcpu, self.core
        banked = (core.sp_el1, core.elr_el1, core.spsr_el1)
        if self.pe.in_hypervisor:
            vcpu.sysregs.update(zip(level.EL2_BANK, banked, strict=True))
            if core.el:
                vcpu.core[core_regs.PSTATE] ^= _EL2_AS_EL1
        else:
            vcpu.core.update(zip(level.EL1_BANK, banked, strict=True))

    def store(self) -> None:
        """Registers from the PE into the record."""
        vcpu, core = self._vcpu, self.core
        record = vcpu.core
        record.update(zip(core_regs.X, core.x, strict=True))
        record[core_regs.PC], record[core_regs.PSTATE] = core.pc, core.pstate
        record[_SP] = core.sp_el0
        self._store_el2()
        v = self.vectors
        vcpu.svcr, record[_FPSR], record[_FPCR] = v.svcr, v.fpsr, v.fpcr
        vcpu.sysregs[_FPMR] = v.fpmr
        z = [bytes(v.z[at : at + Z_BYTES]) for at in range(0, len(v.z), Z_BYTES)]
        if vectors.has_z_registers(vcpu):
            vcpu.z = z
            vcpu.p = [bytes(v.p[at : at + P_BYTES]) for at in range(0, len(v.p), P_BYTES)]
            vcpu.p.append(bytes(v.ffr))
        else:
            vectors.clear(vcpu)
            record.update((reg, int.from_bytes(z[n][:_V_BYTES], "little")) for n, reg in enumerate(_V))
        if matrix.has_za(vcpu):
            vcpu.za = [bytes(v.za[at : at + ZA_ROW_BYTES]) for at in range(0, len(v.za), ZA_ROW_BYTES)]
            vcpu.zt0 = bytes(v.zt0)

    def current(self, reg: SysReg) -> int:
        """A system register as it is in effect."""
        return self.registers.current(reg)
