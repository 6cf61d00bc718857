"""A VM's and a vCPU's life: creation, KVM_ARM_VCPU_INIT, KVM_ARM_VCPU_FINALIZE, the first KVM_RUN."""

from __future__ import annotations

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.structs import MpState
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.testing.conformance import scenario
from armkvm.testing.place import Place, equal, read, refuses, reg, run_once, write

_ARM = "arch/arm64/kvm/arm.c"
_API = "Documentation/virt/kvm/api.rst"
_FINALIZE = f"{_API} (KVM_ARM_VCPU_FINALIZE)"


@scenario(f"{_ARM} (kvm_arch_vcpu_ioctl)")
def nothing_works_before_init(place: Place) -> None:
    """Before KVM_ARM_VCPU_INIT registers, lists, KVM_ARM_VCPU_FINALIZE and KVM_RUN are ENOEXEC."""
    vcpu = place.raw_vcpu()
    refuses("ENOEXEC", vcpu.get_one_reg, RegId.x(0))
    refuses("ENOEXEC", vcpu.set_one_reg, RegId.x(0), bytes(8))
    refuses("ENOEXEC", vcpu.reg_list, 0)
    if place.finalizes:
        refuses("ENOEXEC", vcpu.finalize, F.SVE)
    refuses("ENOEXEC", vcpu.run, True)


@scenario(f"{_ARM} (kvm_arch_vcpu_ioctl)")
def not_initialised_comes_before_every_other_fault(place: Place) -> None:
    """ENOEXEC wins over a malformed id, an unknown one and a NULL pointer."""
    vcpu = place.raw_vcpu()
    refuses("ENOEXEC", vcpu.get_one_reg, 0)
    refuses("ENOEXEC", vcpu.get_one_reg_null, RegId.x(0))
    refuses("ENOEXEC", vcpu.set_one_reg_null, RegId.x(0))


@scenario(f"{_ARM} (kvm_arch_vcpu_ioctl_set_mpstate)")
def mp_state_works_before_init(place: Place) -> None:
    """KVM_GET_MP_STATE and KVM_SET_MP_STATE do not need an initialised vCPU."""
    vcpu = place.raw_vcpu()
    vcpu.set_mp_state(MpState.STOPPED)
    equal(vcpu.get_mp_state(), MpState.STOPPED, "the MP state")


@scenario(f"{_ARM} (kvm_vcpu_init_check_features)")
def unknown_features_are_enoent(place: Place) -> None:
    """A feature bit that no header has is ENOENT, in whichever word it lies."""
    for bit in (31, 32, 200):
        refuses("ENOENT", place.raw_vcpu().init, {bit})


@scenario(f"{_ARM} (kvm_vcpu_init_check_features)")
def features_the_host_lacks_are_einval(place: Place) -> None:
    """A known feature that the host cannot give is EINVAL."""
    lacking = [
        feature
        for feature, cap in (
            (F.SVE, Cap.ARM_SVE),
            (F.PMU_V3, Cap.ARM_PMU_V3),
            (F.EL1_32BIT, Cap.ARM_EL1_32BIT),
        )
        if not place.has(cap)
    ]
    place.need(bool(lacking), "the host gives SVE, PMU_V3 and EL1_32BIT")
    for feature in lacking:
        refuses("EINVAL", place.raw_vcpu().init, {feature})


@scenario(f"{_API} (KVM_ARM_VCPU_INIT)")
def pointer_authentication_comes_whole(place: Place) -> None:
    """PTRAUTH_ADDRESS without PTRAUTH_GENERIC, or the reverse, is EINVAL."""
    place.need_feature(F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC)
    for half in (F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC):
        refuses("EINVAL", place.raw_vcpu().init, {half})


@scenario(f"{_ARM} (kvm_arch_vcpu_ioctl_vcpu_init)")
def a_wrong_target_is_einval(place: Place) -> None:
    """Only the preferred target, or the generic one, is accepted."""
    refuses("EINVAL", place.raw_vcpu().init, (), 99)


@scenario(f"{_ARM} (kvm_vcpu_set_target)")
def reinit_repeats_the_features(place: Place) -> None:
    """A second KVM_ARM_VCPU_INIT with other features is EINVAL. With the same ones it resets the vCPU, but
    for SP_EL1, ELR_EL1 and SPSR_EL1.
    """
    vcpu = place.vcpu()
    refuses("EINVAL", vcpu.init, ())
    write(vcpu, RegId.x(3), 0x1234)
    kept = ("SP_EL1", "ELR_EL1", "SPSR_EL1")
    for name in kept:
        write(vcpu, name, 0x5678)
    vcpu.init({F.PSCI_0_2})
    equal(read(vcpu, RegId.x(3)), 0, "X3 after a second init")
    for name in kept:
        equal(read(vcpu, name), 0x5678, f"{name} after a second init")
    equal(read(vcpu, "PSTATE"), 0x3C5, "PSTATE after a second init")


@scenario(f"{_ARM} (kvm_vcpu_init_changed)")
def all_vcpus_have_the_same_features(place: Place) -> None:
    """Since 6.7 a second vCPU with other features than the first is EINVAL."""
    place.need(place.has_writable_ids, "features belong to each vCPU on this kernel")
    place.need_feature(F.SVE)
    vm = place.vm()
    place.vcpu(vm=vm)
    second = place.raw_vcpu(vm, 1)
    refuses("EINVAL", second.init, {F.PSCI_0_2, F.SVE})
    second.init({F.PSCI_0_2})


@scenario(f"{_API} (KVM_ARM_VCPU_INIT)")
def power_off_starts_stopped(place: Place) -> None:
    """POWER_OFF leaves the vCPU stopped, its absence runnable; it is no feature that must be repeated."""
    vm = place.vm()
    stopped, running = place.vcpu(F.POWER_OFF, vm=vm), place.vcpu(vm=vm, number=1)
    equal(stopped.get_mp_state(), MpState.STOPPED, "the MP state with POWER_OFF")
    equal(running.get_mp_state(), MpState.RUNNABLE, "the MP state without POWER_OFF")


@scenario(_FINALIZE)
def an_sve_vcpu_must_be_finalized(place: Place) -> None:
    """Between init and finalize KVM_RUN, KVM_GET_REG_LIST and Z, P, FFR are EPERM; the rest works."""
    place.need_feature(F.SVE)
    place.need_finalize()
    vcpu = place.vcpu(F.SVE, ready=False)
    refuses("EPERM", vcpu.run, True)
    refuses("EPERM", vcpu.reg_list, 0)
    for which in (RegId.z(0), RegId.p(0), RegId.ffr()):
        refuses("EPERM", vcpu.get_one_reg, which)
        refuses("EPERM", vcpu.set_one_reg, which, bytes(which.size))
    write(vcpu, RegId.x(0), 1)
    read(vcpu, RegId.sve_vls())
    read(vcpu, "ID_AA64PFR0_EL1")
    vcpu.finalize(F.SVE)
    for which in (RegId.z(0), RegId.p(0), RegId.ffr()):
        equal(read(vcpu, which), 0, f"{which!r} after finalizing")
    run_once(vcpu)


@scenario(_FINALIZE)
def finalizing_happens_once(place: Place) -> None:
    """A second KVM_ARM_VCPU_FINALIZE is EPERM, also after a second KVM_ARM_VCPU_INIT."""
    place.need_feature(F.SVE)
    place.need_finalize()
    vcpu = place.vcpu(F.SVE)
    refuses("EPERM", vcpu.finalize, F.SVE)
    vcpu.init({F.PSCI_0_2, F.SVE})
    refuses("EPERM", vcpu.finalize, F.SVE)
    vcpu.reg_list()


@scenario(_FINALIZE)
def finalizing_needs_a_feature_that_has_it(place: Place) -> None:
    """Any feature but SVE, and SVE on a vCPU without scalable vectors, is EINVAL."""
    place.need_finalize()
    vcpu = place.vcpu()
    for number in (*range(8), 31, 1 << 20):
        refuses("EINVAL", vcpu.finalize, number)


@scenario(f"{_ARM} (kvm_arch_vcpu_run_pid_change)")
def immediate_exit_still_does_the_first_run(place: Place) -> None:
    """KVM_RUN with immediate_exit is EINTR, as often as asked, and freezes what a first run freezes."""
    vcpu = place.vcpu()
    run_once(vcpu)
    run_once(vcpu)
    bitmap = RegId.bitmap(0)
    if read(vcpu, bitmap):
        refuses("EBUSY", vcpu.set_one_reg, bitmap, bytes(8))


@scenario("arch/arm64/kvm/pmu-emul.c (kvm_arm_pmu_v3_enable)")
def a_pmu_must_be_set_up_before_running(place: Place) -> None:
    """A vCPU with PMU_V3 whose PMU was not initialised is EINVAL at KVM_RUN."""
    place.need_feature(F.PMU_V3)
    refuses("EINVAL", place.vcpu(F.PMU_V3).run, True)


@scenario("virt/kvm/kvm_main.c (kvm_vm_ioctl_create_vcpu)")
def vcpu_ids_are_unique_and_bounded(place: Place) -> None:
    """A second vCPU of one id is EEXIST; an id at KVM_CAP_MAX_VCPU_ID or above is EINVAL."""
    vm = place.vm()
    place.raw_vcpu(vm, 0)
    refuses("EEXIST", vm.create_vcpu, 0)
    refuses("EINVAL", vm.create_vcpu, place.system.check_extension(Cap.MAX_VCPU_ID) or 4096)


@scenario("arch/arm64/kvm/mmu.c (kvm_init_ipa_range)")
def machine_types_are_ipa_sizes(place: Place) -> None:
    """A machine type is an IPA size of 32 bits up to the host's limit, or 0, and nothing else."""
    limit = place.system.check_extension(Cap.ARM_VM_IPA_SIZE)
    for kind in (0, 32, limit):
        place.system.create_vm(kind).close()
    for kind in (1, 31, limit + 1, 1 << 8, 1 << 20):
        refuses("EINVAL", place.system.create_vm, kind)


@scenario(f"{_ARM} (kvm_vm_ioctl_enable_cap)")
def capabilities_have_their_time(place: Place) -> None:
    """An unknown capability or a flag is EINVAL; MTE and writable implementation IDs come before vCPUs."""
    vm = place.vm()
    refuses("EINVAL", vm.enable_cap, 9999)
    refuses("EINVAL", lambda: vm.enable_cap(Cap.ARM_NISV_TO_USER, flags=1))
    place.raw_vcpu(vm)
    for cap in (Cap.ARM_MTE, Cap.ARM_WRITABLE_IMP_ID_REGS):
        if place.has(cap):
            refuses("EINVAL", vm.enable_cap, cap)


@scenario(f"{_ARM} (kvm_arch_vcpu_ioctl_vcpu_init)")
def a_refused_init_leaves_the_vcpu_fresh(place: Place) -> None:
    """After a refused first KVM_ARM_VCPU_INIT the vCPU is still uninitialised and can be given features."""
    vcpu = place.raw_vcpu()
    refuses("ENOENT", vcpu.init, {31})
    refuses("ENOEXEC", vcpu.get_one_reg, reg("PC"))
    vcpu.init({F.PSCI_0_2})
    equal(read(vcpu, "PC"), 0, "PC of a fresh vCPU")
