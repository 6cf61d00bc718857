"""Firmware pseudo-registers: PSCI version, workarounds, hypercall bitmaps."""

from __future__ import annotations

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.testing.conformance import scenario
from armkvm.testing.place import Place, equal, holds, read, refuses, run_once, write

_HYPERCALLS = "arch/arm64/kvm/hypercalls.c"
_PSCI = RegId.firmware(0)


@scenario(f"{_HYPERCALLS} (kvm_arm_set_fw_reg)")
def psci_versions(place: Place) -> None:
    """With PSCI_0_2 the version is 0.2 up to the newest known, without it 0.1; anything else is EINVAL."""
    vcpu = place.vcpu()
    newest = read(vcpu, _PSCI)
    holds(newest >= 0x1_0001, f"PSCI_VERSION starts as {newest:#x}")
    for version in (2, 0x1_0000, newest):
        write(vcpu, _PSCI, version)
        equal(read(vcpu, _PSCI), version, "PSCI_VERSION")
    for version in (0, 1, 3, newest + 1, 0x2_0000):
        refuses("EINVAL", write, vcpu, _PSCI, version)
    equal(read(vcpu, _PSCI), newest, "PSCI_VERSION after refused writes")
    old = place.raw_vcpu()
    old.init(())
    equal(read(old, _PSCI), 1, "PSCI_VERSION without PSCI_0_2")
    refuses("EINVAL", write, old, _PSCI, newest)


@scenario(f"{_HYPERCALLS} (kvm_arm_set_fw_reg)")
def psci_version_is_the_vms_and_not_frozen(place: Place) -> None:
    """One vCPU's version is every vCPU's, and may change after the first run."""
    vm = place.vm()
    one, two = place.vcpu(vm=vm), place.vcpu(vm=vm, number=1)
    write(one, _PSCI, 2)
    equal(read(two, _PSCI), 2, "PSCI_VERSION of the other vCPU")
    run_once(one)
    write(one, _PSCI, 0x1_0000)
    equal(read(two, _PSCI), 0x1_0000, "PSCI_VERSION after the first run")


@scenario(f"{_HYPERCALLS} (kvm_arm_set_fw_reg)")
def workarounds_are_promised_up_to_the_hosts_level(place: Place) -> None:
    """A workaround's level is the host's or lower; a write is checked and otherwise without effect."""
    vcpu = place.vcpu()
    for n in (1, 2, 3):
        which = RegId.firmware(n)
        level = read(vcpu, which)
        write(vcpu, which, level)
        write(vcpu, which, 0)
        equal(read(vcpu, which), level, f"SMCCC_ARCH_WORKAROUND_{n} after writing 0")
        refuses("EINVAL", write, vcpu, which, 1 << 5)
        refuses("EINVAL", write, vcpu, which, 1 << 32)


@scenario(f"{_HYPERCALLS} (kvm_arm_set_fw_reg_bmap)")
def hypercall_bitmaps(place: Place) -> None:
    """A bitmap takes any subset of what it starts as; an unknown bit is EINVAL."""
    for n in (0, 1, 2):
        vcpu, which = place.vcpu(), RegId.bitmap(n)
        full = read(vcpu, which)
        for bits in range(full + 1):
            if not bits & ~full:
                write(vcpu, which, bits)
                equal(read(vcpu, which), bits, f"bitmap {n}")
        refuses("EINVAL", write, vcpu, which, 1 << 63)
        refuses("EINVAL", write, vcpu, which, full + 1)


@scenario(f"{_HYPERCALLS} (kvm_arm_set_fw_reg_bmap)")
def hypercall_bitmaps_are_frozen_by_the_first_run(place: Place) -> None:
    """After KVM_RUN another value is EBUSY, the same one accepted, and an unknown bit still EINVAL."""
    vcpu = place.vcpu(F.POWER_OFF)
    vcpu.set_mp_state(0)
    which = RegId.bitmap(0)
    full = read(vcpu, which)
    run_once(vcpu)
    write(vcpu, which, full)
    refuses("EINVAL", write, vcpu, which, 1 << 63)
    if full:
        refuses("EBUSY", write, vcpu, which, 0)
