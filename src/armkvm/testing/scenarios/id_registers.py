"""Feature ID registers: what may be written, against which limit, and until when.

What the kernel's set_id_regs selftest does, derived from the field table, and further.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.encoding import SysReg
from armkvm.arch.fields import Field, accepted_values
from armkvm.arch.idfields import FIELDS, named_fields
from armkvm.backends.base import Vcpu, Vm
from armkvm.catalog import id_of
from armkvm.testing.conformance import scenario
from armkvm.testing.place import (
    Place,
    attempts,
    equal,
    get_field,
    holds,
    id_field,
    read,
    refuses,
    reg,
    run_once,
    set_field,
    write,
)

_SYSREGS = "arch/arm64/kvm/sys_regs.c"
_SELFTEST = "tools/testing/selftests/kvm/arm64/set_id_regs.c"
_MASKS = f"{_SYSREGS} (kvm_vm_ioctl_get_reg_writable_masks)"
# Checked as a whole, or no registers of the VM's: they have scenarios of their own.
_WHOLE = {reg(name) for name in ("MIDR_EL1", "REVIDR_EL1", "AIDR_EL1", "CLIDR_EL1", "SMIDR_EL1")}
# The interrupt controller's fields follow the devices.
_MUTABLE = {"GIC", "GCIE"}


def _fields(masks: Mapping[RegId, int]) -> Iterator[Field]:
    """The named fields that lie wholly in what the place says is writable."""
    for register in FIELDS:
        which = id_of(register)
        if which in masks and which not in _WHOLE:
            yield from (part for part in named_fields(register) if not part.mask & ~masks[which])


def _writable(place: Place, vm: Vm) -> list[Field]:
    place.need(place.has_writable_ids, "ID registers cannot be written here")
    return list(_fields(vm.writable_masks()))


def _trials(place: Place) -> Iterator[tuple[Vcpu, list[Field]]]:
    """A vCPU without features and one with those that show in ID registers, each with what is writable."""
    for features in ((), (F.SVE,), (F.SVE, F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC)):
        if place.offers(*features):
            vm = place.vm()
            yield place.vcpu(*features, vm=vm), _writable(place, vm)


def safe_values(part: Field, limit: int) -> list[int]:
    """Values other than the limit that promise no more than it, the nearest first."""
    return [value for value in reversed(accepted_values(part, limit)) if value != limit]


def unsafe_values(part: Field, limit: int) -> list[int]:
    """Values that promise more than the limit."""
    if part.width > 8:
        return []
    accepted = set(accepted_values(part, limit))
    return [value for value in range(1 << part.width) if value not in accepted]


@scenario(_SELFTEST)
def unsafe_values_are_einval_and_change_nothing(place: Place) -> None:
    """A field value that promises more than the host and VM can keep is EINVAL; the register stays."""
    for vcpu, parts in _trials(place):
        for part in parts:
            which = id_of(part.register)
            before = read(vcpu, which)
            unsafe = [v for v in unsafe_values(part, part.extract(before)) if not _is_rewritten(part, v)]
            for value in {*unsafe[:1], *unsafe[-1:]}:
                refuses("EINVAL", set_field, vcpu, part, value)
                equal(read(vcpu, which), before, f"{part} after {value:#x} was refused")


def _is_rewritten(part: Field, value: int) -> bool:
    """An implementation-defined PMU is taken as none."""
    return part.name in ("PMUVer", "PerfMon") and value == 0xF


@scenario(_SELFTEST)
def safe_values_stick(place: Place) -> None:
    """A field value that promises less sticks and reads back, or the field is fixed and nothing changes;
    the initial value can always be written again.
    """
    for vcpu, parts in _trials(place):
        stuck = sum(_try_safe(vcpu, part) for part in parts)
        holds(stuck > 0, "no field could be lowered")


def _try_safe(vcpu: Vcpu, part: Field) -> int:
    """Write safe values and check what became of them; how many stuck."""
    stuck, which = 0, id_of(part.register)
    initial = expected = read(vcpu, which)
    for value in safe_values(part, part.extract(initial))[:2]:
        refused = attempts(set_field, vcpu, part, value)
        holds(refused in ("", "EINVAL"), f"{part} = {value:#x} is {refused}")
        expected = expected if refused else part.insert(expected, value)
        equal(read(vcpu, which), expected, f"{part} after writing {value:#x}")
        stuck += not refused
    write(vcpu, which, initial)
    return stuck


@scenario(_SELFTEST)
def values_survive_running_and_a_second_init(place: Place) -> None:
    """What userspace wrote is there after KVM_RUN and after KVM_ARM_VCPU_INIT, the interrupt controller's
    fields excepted.
    """
    vm = place.vm()
    vcpu = place.vcpu(vm=vm)
    lowered: set[RegId] = set()
    for part in _writable(place, vm):
        value = next(iter(safe_values(part, get_field(vcpu, part))), None)
        if value is not None and part.name not in _MUTABLE and not attempts(set_field, vcpu, part, value):
            lowered.add(id_of(part.register))
    expected = {which: _less_mutable(which, read(vcpu, which)) for which in lowered}
    for step, act in (("running", run_once), ("a second init", lambda v: v.init({F.PSCI_0_2}))):
        act(vcpu)
        found = {which: _less_mutable(which, read(vcpu, which)) for which in lowered}
        for which, value in expected.items():
            equal(found[which], value, f"{which!r} after {step}")


def _less_mutable(which: RegId, value: int) -> int:
    """The value without the fields a first run may change."""
    register = which.encoding
    names = {*_MUTABLE, "S1PIE", "S1POE"}
    mutable = [part for part in named_fields(register) if part.name in names] if register is not None else []
    return value & ~sum(part.mask for part in mutable)


@scenario(f"{_SYSREGS} (set_id_reg)")
def values_are_frozen_by_the_first_run(place: Place) -> None:
    """After KVM_RUN another value is EBUSY and the value that is there is accepted."""
    for vcpu, parts in _trials(place):
        run_once(vcpu)
        for part in parts:
            now = get_field(vcpu, part)
            set_field(vcpu, part, now)
            for value in safe_values(part, now)[:1]:
                if not _has_own_check(part):
                    refuses("EBUSY", set_field, vcpu, part, value)


def _has_own_check(part: Field) -> bool:
    """Fields a register's own check refuses before anything else is looked at."""
    return part.name in ("EL0", "EL1", "EL2", "DebugVer", "CopDbg", "PerfMon", "PMUVer", "L1Ip", "MTE_frac")


@scenario(f"{_SYSREGS} (set_id_aa64dfr0_el1)")
def a_registers_own_check_comes_before_the_freeze(place: Place) -> None:
    """A debug architecture older than Armv8.0 is EINVAL before the first run and after it."""
    place.need(place.has_writable_ids, "ID registers cannot be written here")
    vcpu = place.vcpu()
    debug = id_field("DFR0", "DebugVer")
    refuses("EINVAL", set_field, vcpu, debug, 5)
    run_once(vcpu)
    refuses("EINVAL", set_field, vcpu, debug, 5)


@scenario(f"{_SYSREGS} (arm64_check_features)")
def limits_are_the_initial_values(place: Place) -> None:
    """A lowered field can be raised again, up to what the register was initialised to."""
    vm = place.vm()
    vcpu = place.vcpu(vm=vm)
    tried = 0
    for part in _writable(place, vm):
        most = get_field(vcpu, part)
        steps = [value for value in safe_values(part, most) if not attempts(set_field, vcpu, part, value)]
        for value in (*reversed(steps), most):
            set_field(vcpu, part, value)
            equal(get_field(vcpu, part), value, f"{part}")
        tried += len(steps)
    holds(tried, "no field could be lowered")


@scenario(f"{_SYSREGS} (set_id_reg)")
def pairs_of_fields_in_either_order(place: Place) -> None:
    """Two fields lowered one after the other, together, or the other way round come to the same."""
    vm = place.vm()
    vcpu = place.vcpu(vm=vm)
    lowerable: list[tuple[Field, int, int]] = []
    for part in _writable(place, vm):
        most = get_field(vcpu, part)
        value = next((v for v in safe_values(part, most) if not attempts(set_field, vcpu, part, v)), None)
        set_field(vcpu, part, most)
        if value is not None:
            lowerable.append((part, most, value))
    pairs = list(pairwise(lowerable))
    place.need(bool(pairs), "fewer than two fields can be lowered")
    for (one, one_most, one_less), (two, two_most, two_less) in pairs:
        ends = []
        for order in (((one, one_less), (two, two_less)), ((two, two_less), (one, one_less))):
            for part, value in order:
                set_field(vcpu, part, value)
            ends.append((read(vcpu, id_of(one.register)), read(vcpu, id_of(two.register))))
            set_field(vcpu, one, one_most)
            set_field(vcpu, two, two_most)
        equal(ends[0], ends[1], f"{one} and {two} lowered in either order")


@scenario(f"{_SYSREGS} (kvm_set_vm_id_reg)")
def vcpus_share_id_registers(place: Place) -> None:
    """What one vCPU's register is set to, all vCPUs of the VM show, also those initialised later."""
    vm = place.vm()
    first = place.vcpu(vm=vm)
    part, value = _first_lowerable(place, vm, first)
    second = place.vcpu(vm=vm, number=1)
    set_field(second, part, value)
    third = place.vcpu(vm=vm, number=2)
    for vcpu in (first, second, third):
        equal(get_field(vcpu, part), value, f"{part} on vCPU {vcpu.id}")
    run_once(first)
    refuses("EBUSY", set_field, third, part, 0 if value else 1)


def _first_lowerable(place: Place, vm: Vm, vcpu: Vcpu) -> tuple[Field, int]:
    for part in _writable(place, vm):
        if _has_own_check(part) or part.name in _MUTABLE:
            continue
        most = get_field(vcpu, part)
        for value in safe_values(part, most)[:1]:
            if not attempts(set_field, vcpu, part, value):
                set_field(vcpu, part, most)
                return part, value
    place.need(False, "no field can be lowered")
    raise AssertionError


@scenario(f"{_SYSREGS} (arm64_check_features)")
def bits_outside_the_masks_are_fixed(place: Place) -> None:
    """A bit that is not reported as writable never changes. A write is EINVAL, but for a field that was
    shown once (NV, MPAM): the CPU's own value is welcome back, and dropped.
    """
    place.need(place.has_writable_ids, "ID registers cannot be written here")
    vm = place.vm()
    vcpu = place.vcpu(vm=vm)
    masks = vm.writable_masks()
    aarch32 = get_field(vcpu, id_field("PFR0", "EL0")) == 2
    for register in _space():
        which = id_of(register)
        if register.crm < 4 and not aarch32:
            continue
        before = read(vcpu, which)
        for bit in range(64):
            if not masks.get(which, 0) >> bit & 1:
                refused = attempts(write, vcpu, which, before ^ 1 << bit)
                holds(refused == "EINVAL" or (register, bit) in _DROPPED, f"bit {bit} of {which!r} is taken")
        equal(read(vcpu, which), before, f"{which!r} after refused writes")


_DROPPED = {
    (part.register, bit)
    for part in (id_field("MMFR2", "NV"), id_field("PFR0", "MPAM"), id_field("PFR1", "MPAM_frac"))
    for bit in range(part.lsb, part.msb + 1)
}


def _space() -> list[SysReg]:
    return [SysReg.of(3, 0, 0, crm, op2) for crm in range(1, 8) for op2 in range(8)]


@scenario(f"{_SYSREGS} (aa32_id_visibility)")
def aarch32_views_without_aarch32(place: Place) -> None:
    """On a host without 32-bit EL0 the AArch32 registers read zero, take any write and report no mask."""
    vm = place.vm()
    vcpu = place.vcpu(vm=vm)
    place.need(get_field(vcpu, id_field("PFR0", "EL0")) != 2, "the host has 32-bit EL0")
    for name in ("ID_PFR0_EL1", "ID_ISAR0_EL1", "MVFR0_EL1", "ID_MMFR5_EL1"):
        equal(read(vcpu, name), 0, name)
        if place.has_writable_ids:
            write(vcpu, name, 0xFFFF_FFFF)
            equal(read(vcpu, name), 0, f"{name} after a write")
            equal(vm.writable_masks().get(reg(name), 0), 0, f"the mask of {name}")


@scenario(_MASKS)
def masks_are_asked_for_properly(place: Place) -> None:
    """KVM_ARM_GET_REG_WRITABLE_MASKS knows range 0 and wants its reserved words zero; a kernel without it
    refuses it altogether.
    """
    vm = place.vm()
    refuses("EINVAL", vm.writable_masks, 1)
    refuses("EINVAL", vm.writable_masks, 0, (1,))
    if not place.has_writable_ids:
        refuses("EINVAL", vm.writable_masks)
        return
    masks = vm.writable_masks()
    place.raw_vcpu(vm).init({F.PSCI_0_2})
    equal(vm.writable_masks(), masks, "the masks with a vCPU")


@scenario(f"{_SYSREGS} (set_id_reg)")
def old_kernels_fix_id_registers(place: Place) -> None:
    """Without the mask ioctl an ID register accepts its own value alone, CSV2 and CSV3 excepted."""
    place.need(not place.has_writable_ids, "ID registers can be written here")
    vcpu = place.vcpu()
    for register, name in (("ISAR0", "AES"), ("MMFR0", "PARANGE"), ("PFR0", "EL3"), ("DFR0", "DebugVer")):
        part = id_field(register, name)
        set_field(vcpu, part, get_field(vcpu, part))
        refuses("EINVAL", set_field, vcpu, part, get_field(vcpu, part) ^ 1)


@scenario("arch/arm64/include/asm/kvm_emulate.h (kvm_arm_init_mpidr)")
def mpidr_is_a_plain_register(place: Place) -> None:
    """MPIDR_EL1 starts from the vCPU's number and takes any value, before and after the first run."""
    vm = place.vm()
    vcpus = [place.vcpu(vm=vm, number=n) for n in (0, 1)]
    equal([read(vcpu, "MPIDR_EL1") for vcpu in vcpus], [1 << 31, 1 << 31 | 1], "MPIDR_EL1 of two vCPUs")
    for value in (0x8000_0001_00FF, 0):
        write(vcpus[0], "MPIDR_EL1", value)
        equal(read(vcpus[0], "MPIDR_EL1"), value, "MPIDR_EL1")
        run_once(vcpus[0])


@scenario(f"{_SYSREGS} (set_imp_id_reg)")
def implementation_ids_need_the_capability(place: Place) -> None:
    """MIDR_EL1, REVIDR_EL1 and AIDR_EL1 accept their own value; another is EINVAL without
    KVM_CAP_ARM_WRITABLE_IMP_ID_REGS, and EBUSY once the VM has run with it.
    """
    plain = place.vcpu()
    for name in ("MIDR_EL1", "REVIDR_EL1", "AIDR_EL1"):
        write(plain, name, read(plain, name))
        refuses("EINVAL", write, plain, name, read(plain, name) ^ 1)
    vm = place.vm()
    if attempts(vm.enable_cap, Cap.ARM_WRITABLE_IMP_ID_REGS):
        return  # a number may mean something else on a kernel with a series under review
    vcpu = place.vcpu(vm=vm)
    for name in ("MIDR_EL1", "REVIDR_EL1", "AIDR_EL1"):
        value = read(vcpu, name) ^ 1
        write(vcpu, name, value)
        equal(read(vcpu, name), value, name)
    refuses("EINVAL", write, vcpu, "MIDR_EL1", 1 << 32)
    run_once(vcpu)
    refuses("EBUSY", write, vcpu, "MIDR_EL1", read(vcpu, "MIDR_EL1") ^ 1)
    write(vcpu, "MIDR_EL1", read(vcpu, "MIDR_EL1"))


@scenario(f"{_SYSREGS} (set_clidr)")
def cache_levels_belong_to_the_vcpu(place: Place) -> None:
    """CLIDR_EL1 has no reserved bits, may differ between vCPUs and is never frozen."""
    place.need(place.has_writable_ids, "CLIDR_EL1 is the host's on this kernel")
    vm = place.vm()
    one, two = place.vcpu(vm=vm), place.vcpu(vm=vm, number=1)
    now = read(one, "CLIDR_EL1")
    refuses("EINVAL", write, one, "CLIDR_EL1", now | 1 << 47)
    run_once(one)
    changed = now | 7 << 18  # one more unified level, as the selftest adds
    write(one, "CLIDR_EL1", changed)
    equal((read(one, "CLIDR_EL1"), read(two, "CLIDR_EL1")), (changed, now), "CLIDR_EL1 of two vCPUs")
