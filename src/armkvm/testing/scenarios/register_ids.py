"""Which errno a register id gets: the order of checks in KVM_GET_ONE_REG and KVM_SET_ONE_REG."""

from __future__ import annotations

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.base import Vcpu
from armkvm.testing.conformance import scenario
from armkvm.testing.place import Place, read, refuses, reg, write

_GUEST = "arch/arm64/kvm/guest.c"
_SYSREGS = "arch/arm64/kvm/sys_regs.c"

_ARM64, _U64 = 0x6000_0000_0000_0000, 0x0030_0000_0000_0000
_X0, _TTBR0 = RegId.x(0), reg("TTBR0_EL1")
_RESERVED_SYSREG = _ARM64 | _U64 | 0x13_0000 | 3 << 14 | 7 << 11 | 0xF << 7  # S3_7_C15_C0_0
_UNKNOWN_CLASS = _ARM64 | _U64 | 0x12_0000
_SIZE = 0xF << 52


def _sized(which: int, log2: int) -> RegId:
    return RegId(which & ~_SIZE | log2 << 52)


def _both(errno: str, vcpu: Vcpu, *ids: int) -> None:
    """Reading and writing an id fail alike."""
    for which in map(RegId, ids):
        refuses(errno, vcpu.get_one_reg, which)
        refuses(errno, vcpu.set_one_reg, which, bytes(which.size))


@scenario(f"{_GUEST} (kvm_arm_get_reg, kvm_arm_set_reg)")
def foreign_ids_are_einval(place: Place) -> None:
    """An id without the arm64 byte, or with bits 51:32 set, is EINVAL before its pointer is looked at."""
    vcpu = place.vcpu()
    foreign = (_X0 & ~(0xFF << 56), _X0 ^ 1 << 56, _X0 | 1 << 32, _X0 | 1 << 51)
    _both("EINVAL", vcpu, *foreign)
    for which in foreign:
        refuses("EINVAL", vcpu.set_one_reg_null, which)
        refuses("EINVAL", vcpu.get_one_reg_null, which)


@scenario(f"{_GUEST} (kvm_arm_get_reg)")
def unknown_classes_are_enoent(place: Place) -> None:
    """Bits 27:16 that name no class are ENOENT; on a write the pointer is read first."""
    vcpu = place.vcpu()
    _both("ENOENT", vcpu, _UNKNOWN_CLASS)
    refuses("ENOENT", vcpu.get_one_reg_null, _UNKNOWN_CLASS)
    refuses("EFAULT", vcpu.set_one_reg_null, _UNKNOWN_CLASS)


@scenario(f"{_GUEST} (core_reg_offset_from_id, core_reg_size_from_offset)")
def core_ids_name_the_start_of_a_register(place: Place) -> None:
    """A core id beyond struct kvm_regs is ENOENT; one inside a register, or of a wrong size, is EINVAL."""
    vcpu = place.vcpu()
    _both("ENOENT", vcpu, RegId.core(216), RegId.core(215), RegId.core(0xFFFF), _X0 | 1 << 28, _X0 | 1 << 31)
    _both(
        "EINVAL", vcpu, RegId.core(1), RegId.core(82), _sized(_X0, 2), _sized(_X0, 4), _sized(RegId.v(0), 3)
    )
    _both("EINVAL", vcpu, RegId.core(214, 4))


@scenario(f"{_GUEST} (get_one_reg, set_one_reg)")
def null_pointers_are_efault(place: Place) -> None:
    """A register that exists, with a NULL pointer, is EFAULT."""
    vcpu = place.vcpu()
    for which in (_X0, reg("ID_AA64PFR0_EL1"), _TTBR0, RegId.firmware(0)):
        refuses("EFAULT", vcpu.get_one_reg_null, which)
        refuses("EFAULT", vcpu.set_one_reg_null, which)


@scenario(f"{_SYSREGS} (kvm_sys_reg_get_user, kvm_sys_reg_set_user)")
def system_register_ids(place: Place) -> None:
    """An encoding without a row, a size other than 64 bits, or bits 31:28 set: ENOENT; a write reads its
    pointer first, so with a NULL pointer it is EFAULT.
    """
    vcpu = place.vcpu()
    _both("ENOENT", vcpu, _RESERVED_SYSREG, _sized(_TTBR0, 2), _sized(_TTBR0, 4), _TTBR0 | 1 << 28)
    refuses("EFAULT", vcpu.set_one_reg_null, _RESERVED_SYSREG)
    refuses("ENOENT", vcpu.get_one_reg_null, _RESERVED_SYSREG)


@scenario(f"{_SYSREGS} (demux_c15_get, demux_c15_set)")
def cache_geometry_ids(place: Place) -> None:
    """A demultiplexed id is a 32-bit CCSIDR of level 0 to 13; anything else is ENOENT."""
    vcpu = place.vcpu()
    ccsidr = RegId.ccsidr(0)
    _both("ENOENT", vcpu, ccsidr | 14, ccsidr | 0xFF, ccsidr | 1 << 8, _sized(ccsidr, 3), ccsidr | 1 << 28)


@scenario("arch/arm64/kvm/hypercalls.c (kvm_arm_get_fw_reg, kvm_arm_set_fw_reg)")
def firmware_ids(place: Place) -> None:
    """An unknown firmware register is ENOENT; on a write of 64 bits the pointer is read first."""
    vcpu = place.vcpu()
    for unknown in (RegId.firmware(0x0FFF), RegId.bitmap(0x0FFF)):
        _both("ENOENT", vcpu, unknown, _sized(unknown, 2))
        refuses("EFAULT", vcpu.set_one_reg_null, unknown)


@scenario(f"{_GUEST} (sve_reg_to_region)")
def vector_ids_without_sve(place: Place) -> None:
    """On a vCPU without scalable vectors a well-formed SVE id is ENOENT and a malformed one EINVAL."""
    place.need_finalize()
    vcpu = place.vcpu()
    _both("ENOENT", vcpu, RegId.z(0), RegId.z(31, 31), RegId.p(15), RegId.ffr(), RegId.sve_vls())
    _both("EINVAL", vcpu, *_malformed_vector_ids())


def _malformed_vector_ids() -> tuple[int, ...]:
    z, p, vls = RegId.z(0), RegId.p(0), RegId.sve_vls()
    return (_sized(z, 7), _sized(p, 3), _sized(vls, 3), RegId.ffr() + 32, z | 1 << 28, vls - 1)


@scenario(f"{_GUEST} (sve_reg_to_region)")
def vector_ids_with_sve(place: Place) -> None:
    """With SVE, V registers are EINVAL and slices beyond the first ENOENT, also before finalizing."""
    place.need_feature(F.SVE)
    place.need_finalize()
    vcpu = place.vcpu(F.SVE, ready=False)
    _both("EINVAL", vcpu, RegId.v(0), RegId.v(31), *_malformed_vector_ids())
    _both("ENOENT", vcpu, RegId.z(0, 1), RegId.p(3, 31), RegId.ffr(1))
    _both("EPERM", vcpu, RegId.z(0), RegId.p(0), RegId.ffr())
    read(vcpu, "FPCR")
    write(vcpu, "FPSR", 0)


@scenario(f"{_GUEST} (set_core_reg)")
def pstate_modes(place: Place) -> None:
    """PSTATE.M may be EL0t, EL1t or EL1h; EL2 modes need HAS_EL2; EL3 and unallocated modes are EINVAL."""
    vcpu = place.vcpu()
    for mode in (0b0000, 0b0100, 0b0101):
        write(vcpu, "PSTATE", 0x3C0 | mode)
    for mode in (0b1000, 0b1001, 0b1100, 0b1101, 0b0001, 0b0111, 0b1111):
        refuses("EINVAL", vcpu.set_one_reg, reg("PSTATE"), (0x3C0 | mode).to_bytes(8, "little"))


@scenario(f"{_GUEST} (set_core_reg)")
def el2_modes(place: Place) -> None:
    """With HAS_EL2 the modes EL2t and EL2h are accepted."""
    place.need_feature(F.HAS_EL2)
    vcpu = place.vcpu(F.HAS_EL2)
    for mode in (0b1000, 0b1001):
        write(vcpu, "PSTATE", 0x3C0 | mode)
    refuses("EINVAL", vcpu.set_one_reg, reg("PSTATE"), (0x3CD).to_bytes(8, "little"))
