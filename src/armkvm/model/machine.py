"""Calls on the system and on a VM: creation, capabilities, masks.

Source: Linux arch/arm64/kvm/arm.c, virt/kvm/kvm_main.c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from armkvm.abi.caps import DEFAULT_IPA_BITS, SME_CAPS, Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.model import device_rules, firmware, rules
from armkvm.model.device_behaviours import NON_ID_MASKS
from armkvm.model.host import Platform
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import (
    EAGER_SPLIT,
    PHYSICAL_TIMER_IDS,
    WRITABLE_ID_REGISTERS,
    WRITABLE_IMP_ID,
)
from armkvm.model.vgic import cpuif, device as gicv3
from armkvm.model.vm import Vm, living

_IPA_MASK, _IPA_LEAST = 0xFF, 32


def create_vm(platform: Platform, machine_type: int) -> Vm | Refused:
    """KVM_CREATE_VM: the type is an IPA size, 0 meaning 40 bits."""
    refused = check_machine_type(platform, machine_type)
    if refused is not None:
        return refused
    vm = Vm(platform, machine_type)
    vm.bitmaps = firmware.initial_bitmaps(platform.profile)
    return vm


def check_machine_type(platform: Platform, machine_type: int) -> Refused | None:
    """Whether a VM of this type can be."""
    size = machine_type & _IPA_MASK
    limit = platform.facts.ipa_bits
    if machine_type & ~_IPA_MASK:
        return Refused(rules.BAD_MACHINE_TYPE, f"bits {machine_type & ~_IPA_MASK:#x} are not known")
    if (size or DEFAULT_IPA_BITS) > limit or 0 < size < _IPA_LEAST:
        return Refused(
            rules.BAD_MACHINE_TYPE, f"{size or DEFAULT_IPA_BITS} bits, the host's limit is {limit}"
        )
    return None


@living
def create_vcpu(vm: Vm, vcpu_id: int) -> Vcpu | Refused:
    """KVM_CREATE_VCPU."""
    most = vm.platform.facts.caps.get(Cap.MAX_VCPU_ID, 512)
    if not 0 <= vcpu_id < most:
        return Refused(rules.VCPU_ID_TOO_LARGE, f"id {vcpu_id}, the limit is {most}")
    if vm.gic is not None and vm.gic.initialised:
        return Refused(device_rules.VCPU_AFTER_VGIC, f"id {vcpu_id}")
    if vcpu_id in vm.vcpus:
        return Refused(rules.VCPU_EXISTS, f"id {vcpu_id}")
    vcpu = Vcpu(vm, vcpu_id)
    refused = None if vm.gic is None else gicv3.adopt(vcpu)
    if refused is not None:
        return refused
    vm.vcpus[vcpu_id] = vcpu
    return vcpu


def check_extension(platform: Platform, cap: int, on_vm: bool) -> int:
    """KVM_CHECK_EXTENSION; negative is an errno, as a few capabilities refuse on /dev/kvm."""
    facts = platform.facts
    if cap == SME_CAPS.get(platform.profile.release):
        return int(platform.offers(F.SME))
    value = facts.vm_caps[cap] if on_vm and cap in facts.vm_caps else facts.caps.get(cap, 0)
    if cap == Cap.ARM_SUPPORTED_REG_MASK_RANGES and NON_ID_MASKS in platform.profile:
        value |= 1 << NON_ID_RANGE
    return value


@living
def check_vm_extension(vm: Vm, cap: int) -> int:
    """KVM_CHECK_EXTENSION on a VM."""
    return check_extension(vm.platform, cap, on_vm=True)


@living
def preferred_target(vm: Vm) -> tuple[int, tuple[int, ...]]:
    """KVM_ARM_PREFERRED_TARGET: (target, features[7])."""
    return vm.platform.facts.preferred_target, (0,) * 7


# -- KVM_ENABLE_CAP ----------------------------------------------------------------------------

Arguments = tuple[int, ...]


def _offered(cap: Cap) -> Callable[[Vm], bool]:
    return lambda vm: check_extension(vm.platform, cap, on_vm=True) > 0


def _block_size(vm: Vm, args: Arguments) -> bool:
    sizes = vm.platform.facts.caps.get(Cap.ARM_SUPPORTED_BLOCK_SIZES, 0)
    return not args or args[0] == 0 or (args[0].bit_count() == 1 and bool(args[0] & sizes))


def _any_arguments(vm: Vm, args: Arguments) -> bool:
    return True


# capability -> (whether this KVM can enable it, whether the arguments will do, only before vCPUs)
_ENABLE: dict[Cap, tuple[Callable[[Vm], bool], Callable[[Vm, Arguments], bool], bool]] = {
    Cap.ARM_NISV_TO_USER: (lambda vm: True, _any_arguments, False),
    Cap.ARM_MTE: (_offered(Cap.ARM_MTE), _any_arguments, True),
    Cap.ARM_SYSTEM_SUSPEND: (lambda vm: True, _any_arguments, False),
    Cap.ARM_EAGER_SPLIT_CHUNK_SIZE: (lambda vm: EAGER_SPLIT in vm.profile, _block_size, False),
    # the number is another capability's in revision 4 of the SME series
    Cap.ARM_WRITABLE_IMP_ID_REGS: (lambda vm: WRITABLE_IMP_ID in vm.profile, _any_arguments, True),
    Cap.ARM_SEA_TO_USER: (_offered(Cap.ARM_SEA_TO_USER), _any_arguments, False),
    Cap.MANUAL_DIRTY_LOG_PROTECT2: (
        lambda vm: True,
        lambda vm, args: not args or args[0] in (0, 1, 3),
        False,
    ),
    Cap.HALT_POLL: (lambda vm: True, lambda vm, args: not args or args[0] <= 0xFFFF_FFFF, False),
}


@living
def enable_cap(vm: Vm, cap: int, args: Arguments, flags: int) -> Refused | None:
    """KVM_ENABLE_CAP on a VM."""
    row = _ENABLE.get(cap)  # type: ignore[call-overload]
    if flags or row is None or not row[0](vm) or not row[1](vm, args):
        return Refused(rules.CAP_NOT_ENABLEABLE, f"capability {cap}, arguments {args}, flags {flags:#x}")
    if row[2] and vm.vcpus:
        return Refused(rules.CAP_AFTER_VCPU, f"capability {cap}, {len(vm.vcpus)} vCPUs exist")
    vm.caps[cap] = args
    return None


# -- masks and offsets -------------------------------------------------------------------------


FEATURE_ID_RANGE, NON_ID_RANGE = 0, 1


@living
def writable_masks(vm: Vm, range_: int, reserved: Sequence[int]) -> dict[RegId, int] | Refused:
    """KVM_ARM_GET_REG_WRITABLE_MASKS: the masks that are not zero, by register id."""
    if WRITABLE_ID_REGISTERS not in vm.profile:
        return Refused(rules.UNKNOWN_IOCTL, "KVM_CAP_ARM_SUPPORTED_REG_MASK_RANGES is 0")
    if range_ == NON_ID_RANGE and NON_ID_MASKS in vm.profile and not any(reserved):
        return cpuif.writable_masks(vm)
    if range_ != FEATURE_ID_RANGE or any(reserved):
        return Refused(rules.MASK_RANGE_UNKNOWN, f"range {range_}")
    return {RegId.sysreg(reg): mask for reg, mask in vm.platform.masks.reported.items()}


@living
def set_counter_offset(vm: Vm, offset: int, reserved: int) -> Refused | None:
    """KVM_ARM_SET_COUNTER_OFFSET: one offset for both counters, from now on the only one."""
    if PHYSICAL_TIMER_IDS not in vm.profile:
        return Refused(rules.UNKNOWN_IOCTL, "KVM_CAP_COUNTER_OFFSET is 0")
    if reserved:
        return Refused(rules.COUNTER_RESERVED)
    vm.offsets = dict.fromkeys(("virtual", "physical"), offset)
    vm.offset_is_fixed = True
    return None


# -- memory ------------------------------------------------------------------------------------


@living
def set_memory(vm: Vm, slot: int, guest_address: int, size: int, flags: int) -> Refused | None:
    """KVM_SET_USER_MEMORY_REGION."""
    return vm.memory.set_slot(slot, guest_address, size, flags)
