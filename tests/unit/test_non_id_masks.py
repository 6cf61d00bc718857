"""The proposed range for registers with read-only fields that are no ID registers: its effect, tried out."""

from __future__ import annotations

from errno import EINVAL

import pytest
from tests.small_hosts import EL2, PLAIN, gic_of, host, number, refused, u64, vm_with_vcpus

from armkvm.abi.attributes import VgicCtrl, VgicGroup, cpu_sysreg
from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.fields import accepts
from armkvm.arch.gicfields import field
from armkvm.arch.sysregs import sysreg
from armkvm.backends.model import ModelDevice, ModelSystem

PROPOSED = "7.3+non-id-masks"
CTLR, VTR = sysreg("ICC_CTLR_EL1"), sysreg("ICH_VTR_EL2")
SEIS, A3V, IDBITS, PRIBITS = (field("ICC_CTLR_EL1", name) for name in ("SEIS", "A3V", "IDbits", "PRIbits"))
CTLRS = tuple(
    SEIS.insert(0, seis) | A3V.insert(0, a3v) | IDBITS.insert(0, id_bits) | PRIBITS.insert(0, pri_bits)
    for seis in (0, 1)
    for a3v in (0, 1)
    for id_bits in (0, 1)
    for pri_bits in (4, 6)
)


def ready(system: ModelSystem, features: frozenset[VcpuFeature] = PLAIN) -> ModelDevice:
    gic = gic_of(vm_with_vcpus(system, 1, features))
    gic.set_attr(VgicGroup.CTRL, VgicCtrl.INIT)
    return gic


def read(gic: ModelDevice, reg: int) -> int:
    return number(gic.get_attr(VgicGroup.CPU_SYSREGS, int(reg)))


def write(gic: ModelDevice, reg: int, value: int) -> None:
    gic.set_attr(VgicGroup.CPU_SYSREGS, int(reg), u64(value))


# -- the ioctl ---------------------------------------------------------------------------------


def test_the_capability_announces_the_range() -> None:
    assert host("7.3").check_extension(Cap.ARM_SUPPORTED_REG_MASK_RANGES) == 0b01
    system = host(PROPOSED)
    assert system.check_extension(Cap.ARM_SUPPORTED_REG_MASK_RANGES) == 0b11
    assert system.create_vm().check_extension(Cap.ARM_SUPPORTED_REG_MASK_RANGES) == 0b11


def test_masks_cover_the_fields_that_can_change() -> None:
    vm = host(PROPOSED).create_vm()
    assert vm.writable_masks(1) == {RegId.sysreg(CTLR): 0xFF03, RegId.sysreg(VTR): 0xFC40_0000}
    assert vm.writable_masks(0) == host("7.3").create_vm().writable_masks(0)


def test_vtr_is_covered_where_guests_can_have_el2() -> None:
    assert set(host("6.12+non-id-masks").create_vm().writable_masks(1)) == {RegId.sysreg(CTLR)}


@pytest.mark.parametrize(("range_", "reserved"), [(1, (1,)), (2, ())])
def test_other_ranges_and_reserved_words_are_refused_still(range_: int, reserved: tuple[int, ...]) -> None:
    with refused(EINVAL, "mask-range-unknown"):
        host(PROPOSED).create_vm().writable_masks(range_, reserved)


def test_released_kernels_know_no_such_range() -> None:
    with refused(EINVAL, "mask-range-unknown", "range 1"):
        host("7.3").create_vm().writable_masks(1)


# -- its effect --------------------------------------------------------------------------------


@pytest.mark.parametrize("source", CTLRS, ids=hex)
@pytest.mark.parametrize("target", CTLRS, ids=hex)
def test_a_vm_moves_wherever_its_promises_can_be_kept(source: int, target: int) -> None:
    """Between any two GICs: SEIS may be promised in vain, A3V, INTIDs and priorities may shrink."""
    fields = (PRIBITS, IDBITS, SEIS, A3V)
    keeps = all(accepts(part, part.extract(target), part.extract(source)) for part in fields)
    gic = ready(host(PROPOSED, icc_ctlr=target))
    if keeps:
        write(gic, cpu_sysreg(CTLR), source)
        assert read(gic, cpu_sysreg(CTLR)) == source
    else:
        with refused(
            EINVAL, "cpuif-wider" if is_wider(source, target) else "cpuif-not-below", "ICC_CTLR_EL1."
        ):
            write(gic, cpu_sysreg(CTLR), source)


def is_wider(source: int, target: int) -> bool:
    return any(part.extract(source) > part.extract(target) for part in (PRIBITS, IDBITS))


@pytest.mark.parametrize("source", CTLRS, ids=hex)
@pytest.mark.parametrize("target", CTLRS, ids=hex)
def test_released_kernels_are_stricter_never_laxer(source: int, target: int) -> None:
    """What a released kernel takes, the proposal takes; it adds exactly unlike SEIS and A3V."""
    gic = ready(host("7.3", icc_ctlr=target))
    released = not is_wider(source, target) and not (source ^ target) & (SEIS.mask | A3V.mask)
    if released:
        write(gic, cpu_sysreg(CTLR), source)
        write(ready(host(PROPOSED, icc_ctlr=target)), cpu_sysreg(CTLR), source)
    else:
        with refused(EINVAL, "cpuif-wider" if is_wider(source, target) else "cpuif-differs"):
            write(gic, cpu_sysreg(CTLR), source)


def test_unlike_fields_can_change_back_but_narrowed_ones_cannot() -> None:
    gic = ready(host(PROPOSED, icc_ctlr=0x8C00))
    write(gic, cpu_sysreg(CTLR), 0x4C00)
    write(gic, cpu_sysreg(CTLR), 0x8C00)
    write(gic, cpu_sysreg(CTLR), 0x8B00)
    with refused(EINVAL, "cpuif-wider"):
        write(gic, cpu_sysreg(CTLR), 0x8C00)


def test_with_el2_the_two_registers_say_the_same() -> None:
    gic = ready(host(PROPOSED, icc_ctlr=0x8E00, ich_vtr=0xD818_0003), EL2)
    assert read(gic, cpu_sysreg(VTR)) == 0xD818_0003
    write(gic, cpu_sysreg(CTLR), 0xCC00)
    assert read(gic, cpu_sysreg(VTR)) == 0x9058_0003  # five bits of both priorities, SEIS
    write(gic, cpu_sysreg(VTR), 0x6C18_0003)
    assert read(gic, cpu_sysreg(CTLR)) == 0x8B00
    with refused(EINVAL, "cpuif-wider", "ICH_VTR_EL2.PREbits is 0x3, allowed are 0x0, 0x1, 0x2"):
        write(gic, cpu_sysreg(VTR), 0x4C18_0003)  # no more preemption bits than priority bits
    assert read(gic, cpu_sysreg(VTR)) == 0x4818_0003


@pytest.mark.parametrize(
    ("value", "rule", "words"),
    [
        (0xB018_0003, "cpuif-wider", "ICH_VTR_EL2.PRIbits is 0x5"),
        (0x9418_0003, "cpuif-wider", "ICH_VTR_EL2.PREbits is 0x5"),
        (0x9018_0004, "el2-cpuif-fixed", "ICH_VTR_EL2.ListRegs is 0x4, allowed is 0x3"),
    ],
)
def test_vtr_has_limits_too(value: int, rule: str, words: str) -> None:
    gic = ready(host(PROPOSED, ich_vtr=0x9018_0003), EL2)
    with refused(EINVAL, rule, words):
        write(gic, cpu_sysreg(VTR), value)
    assert read(gic, cpu_sysreg(VTR)) == 0x9018_0003


def test_sre_of_el2_stays_fixed() -> None:
    gic = ready(host(PROPOSED), EL2)
    with refused(EINVAL, "el2-cpuif-fixed"):
        write(gic, cpu_sysreg(sysreg("ICC_SRE_EL2")), 0x7)
