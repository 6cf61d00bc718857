"""Where a GICv3's frames are: one distributor, and a redistributor for each vCPU.

Source: Linux arch/arm64/kvm/vgic/vgic-kvm-device.c (kvm_vgic_addr), vgic-mmio-v3.c, vgic-v3.c.
"""

from __future__ import annotations

from armkvm.abi.attributes import (
    ADDR_UNDEF,
    REGION_BASE,
    REGION_FLAGS,
    VgicAddr,
    region,
    region_count,
    region_index,
)
from armkvm.model import device_rules
from armkvm.model.groups import number
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu
from armkvm.model.vgic.record import DIST_SIZE, REDIST_SIZE, Region, Vgic, part
from armkvm.model.vm import Vm

_FRAME = 64 << 10


def has(vm: Vm, attr: int) -> Refused | None:
    """Which frames a GICv3 has addresses for."""
    if attr in (VgicAddr.DIST, VgicAddr.REDIST, VgicAddr.REDIST_REGION):
        return None
    return Refused(device_rules.NO_SUCH_ATTR, f"address type {attr}")


def get(vm: Vm, attr: int) -> bytes | Refused:
    """An address, all ones before it is set.

    Reading a region needs its index in the buffer; ours holds zeroes, so it is region 0.
    """
    unknown = has(vm, attr)
    if unknown is not None:
        return unknown
    gic = vm.in_kernel_gic
    first = gic.regions[0] if gic.regions else None
    if attr == VgicAddr.DIST:
        value = gic.dist_base
    elif attr == VgicAddr.REDIST:
        value = ADDR_UNDEF if first is None else first.base
    elif first is None:
        return Refused(device_rules.NO_REGION, "region 0")
    else:
        value = region(first.index, first.base, first.count)
    return value.to_bytes(8, "little")


def put(vm: Vm, attr: int, data: bytes | None) -> Refused | None:
    """Set an address, once."""
    word = number(data, 8)
    if isinstance(word, Refused):
        return word
    unknown = has(vm, attr)
    if unknown is not None:
        return unknown
    gic = vm.in_kernel_gic
    if attr == VgicAddr.DIST:
        refused = check_frame(vm, gic.dist_base, word, DIST_SIZE)
        if refused is None:
            gic.dist_base = word
        return refused
    if attr == VgicAddr.REDIST:
        return _add_region(vm, Region(0, word, 0))
    if not region_count(word) or word & REGION_FLAGS:
        return Refused(device_rules.REGION_MALFORMED, f"asked for {word:#x}")
    return _add_region(vm, Region(region_index(word), word & REGION_BASE, region_count(word)))


def check_frame(vm: Vm, current: int, base: int, size: int) -> Refused | None:
    """Whether a frame that is at `current` (or nowhere yet) can be put at `base`."""
    if current != ADDR_UNDEF:
        return Refused(device_rules.ADDRESS_TAKEN, f"asked for {base:#x}, it is {current:#x}")
    if base % _FRAME or size % _FRAME:
        return Refused(device_rules.ADDRESS_MISALIGNED, f"asked for {base:#x}")
    if base + size >> 64:
        return Refused(device_rules.VGIC_FRAMES_OVERLAP, f"{base:#x} + {size:#x} wraps")
    if base >> vm.ipa_bits or base + size > 1 << vm.ipa_bits:
        return Refused(
            device_rules.ADDRESS_BEYOND_IPA, f"asked for {base:#x}, the VM has {vm.ipa_bits} bits of address"
        )
    return None


# -- redistributors ----------------------------------------------------------------------------


def _add_region(vm: Vm, new: Region) -> Refused | None:
    """A region, which the vCPUs that exist then move into."""
    refused = _check_region(vm, new)
    if refused is not None:
        return refused
    regions = vm.in_kernel_gic.regions
    regions.append(new)
    for vcpu in vm.vcpus.values():
        refused = place(vcpu)
        if refused is not None:
            _remove_region(vm, new)
            return refused
    return None


def _check_region(vm: Vm, new: Region) -> Refused | None:
    gic = vm.in_kernel_gic
    size = new.size(len(vm.vcpus))
    if new.base + size >> 64:
        return Refused(device_rules.VGIC_FRAMES_OVERLAP, f"{new.base:#x} + {size:#x} wraps")
    if gic.regions:
        last = gic.regions[-1]
        if not new.count and not last.count:
            return Refused(device_rules.ADDRESS_TAKEN, f"asked for {new.base:#x}, it is {last.base:#x}")
        if not new.count or new.index != last.index + 1:
            return Refused(device_rules.REGION_OUT_OF_ORDER, f"index {new.index} after {last.index}")
    elif new.index:
        return Refused(device_rules.REGION_OUT_OF_ORDER, f"the first index is {new.index}")
    with_dist = not new.count and gic.dist_base != ADDR_UNDEF
    if with_dist and _overlap(new.base, size, gic.dist_base, DIST_SIZE):
        return Refused(device_rules.VGIC_FRAMES_OVERLAP, f"{new.base:#x} meets the distributor")
    if _meets_region(vm, new.base, size):
        return Refused(device_rules.VGIC_FRAMES_OVERLAP, f"{new.base:#x} meets another region")
    return check_frame(vm, ADDR_UNDEF, new.base, size)


def _remove_region(vm: Vm, old: Region) -> None:
    vm.in_kernel_gic.regions.remove(old)
    for vcpu in vm.vcpus.values():
        own = part(vcpu)
        if own.region is old:
            own.region, own.redist_base = None, ADDR_UNDEF


def place(vcpu: Vcpu) -> Refused | None:
    """Give a vCPU a redistributor in the first region with room, if there is one yet."""
    gic, own = vcpu.vm.in_kernel_gic, part(vcpu)
    free = next((one for one in gic.regions if not one.is_full), None)
    if own.redist_base != ADDR_UNDEF or free is None:
        return None
    refused = check_bases(vcpu.vm)
    if refused is not None:
        return refused
    own.region, own.region_slot = free, free.used
    own.redist_base = free.base + free.used * REDIST_SIZE
    free.used += 1
    return None


def is_last(gic: Vgic, vcpu: Vcpu) -> bool:
    """Whether a vCPU's redistributor is the last of a run of them (GICR_TYPER.Last)."""
    own = part(vcpu)
    here = own.region
    if here is None or own.region_slot < here.used - 1:
        return False
    if not here.count or own.region_slot != here.count - 1:
        return True
    end = here.base + here.count * REDIST_SIZE
    return not any(other.base == end and other.used for other in gic.regions)


# -- all frames together -----------------------------------------------------------------------


def check_bases(vm: Vm) -> Refused | None:
    """Whether all frames that have an address fit and lie apart."""
    gic = vm.in_kernel_gic
    for one in gic.regions:
        if check_frame(vm, ADDR_UNDEF, one.base, one.size(len(vm.vcpus))) is not None:
            return Refused(device_rules.VGIC_FRAMES_OVERLAP, f"the region at {one.base:#x} does not fit")
    if gic.dist_base != ADDR_UNDEF and _meets_region(vm, gic.dist_base, DIST_SIZE):
        return Refused(device_rules.VGIC_FRAMES_OVERLAP, f"the distributor at {gic.dist_base:#x}")
    return None


def check_complete(vm: Vm) -> Refused | None:
    """What the first KVM_RUN asks of the addresses."""
    for vcpu in vm.vcpus.values():
        if part(vcpu).redist_base == ADDR_UNDEF:
            return Refused(device_rules.VGIC_NO_ADDRESS, f"vCPU {vcpu.id} has no redistributor")
    if vm.in_kernel_gic.dist_base == ADDR_UNDEF:
        return Refused(device_rules.VGIC_NO_ADDRESS, "there is no distributor")
    return check_bases(vm)


def serves(vm: Vm, address: int) -> bool:
    """Whether a guest's access of that address is the GIC's to answer."""
    gic = vm.gic
    if gic is None:
        return False
    return _overlap(address, 1, gic.dist_base, DIST_SIZE) or _meets_region(vm, address, 1)


def _meets_region(vm: Vm, base: int, size: int) -> bool:
    regions = vm.in_kernel_gic.regions
    return any(_overlap(base, size, one.base, one.size(len(vm.vcpus))) for one in regions)


def _overlap(a: int, a_size: int, b: int, b_size: int) -> bool:
    return a + a_size > b and a < b + b_size
