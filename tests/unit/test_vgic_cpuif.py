"""The CPU interface's registers: who may change which field of ICC_CTLR_EL1 to what, and the rest."""

from __future__ import annotations

from errno import EBUSY, EFAULT, EINVAL, ENOENT, ENXIO

import pytest
from tests.small_hosts import EL2, PLAIN, gic_of, host, number, refused, u64, vcpus, vm_with_vcpus

from armkvm.abi.attributes import VgicCtrl, VgicGroup, cpu_sysreg
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.fields import Field
from armkvm.arch.gicfields import FIELDS, field
from armkvm.arch.sysregs import sysreg
from armkvm.backends.model import ModelDevice, ModelSystem
from armkvm.errors import KvmError
from armkvm.model.vgic.cpuif import ROWS

CTLR = sysreg("ICC_CTLR_EL1")
HOSTS = (0x8C00, 0x0500, 0xCE00, 0x4C00)
"""ICC_CTLR_EL1 of unlike GICs: SEIS and A3V in every combination, 5, 6 and 7 bits of priority."""

# How each field answers a write: narrows one way, must equal the host's, is kept, or is dropped.
POLICY = {
    "ExtRange": "dropped",
    "RSS": "dropped",
    "A3V": "equal",
    "SEIS": "equal",
    "IDbits": "narrows",
    "PRIbits": "narrows",
    "PMHE": "dropped",
    "EOImode": "kept",
    "CBPR": "kept",
    "RES0": "dropped",
}


def ready(system: ModelSystem, features: frozenset[VcpuFeature] = PLAIN) -> ModelDevice:
    """An initialised GICv3 of a VM with one vCPU."""
    gic = gic_of(vm_with_vcpus(system, 1, features))
    gic.set_attr(VgicGroup.CTRL, VgicCtrl.INIT)
    return gic


def read(gic: ModelDevice, name: str) -> int:
    return number(gic.get_attr(VgicGroup.CPU_SYSREGS, cpu_sysreg(sysreg(name))))


def write(gic: ModelDevice, name: str, value: int) -> None:
    gic.set_attr(VgicGroup.CPU_SYSREGS, cpu_sysreg(sysreg(name)), u64(value))


# -- ICC_CTLR_EL1, field by field --------------------------------------------------------------


def test_every_field_has_a_policy() -> None:
    assert {part.name for part in FIELDS[CTLR]} == set(POLICY)


@pytest.mark.parametrize("ctlr", HOSTS, ids=hex)
@pytest.mark.parametrize("part", FIELDS[CTLR], ids=lambda part: f"{part.name}[{part.bits}]")
def test_every_value_of_every_field_is_answered_by_its_policy(ctlr: int, part: Field) -> None:
    values = range(1 << part.width) if part.width <= 4 else (0, 1, (1 << part.width) - 1)
    for value in values:
        gic = ready(host(icc_ctlr=ctlr))
        asked, before = part.insert(ctlr, value), part.extract(ctlr)
        policy = POLICY[part.name]
        if (policy == "equal" and value != before) or (policy == "narrows" and value > before):
            rule = "cpuif-differs" if policy == "equal" else "cpuif-wider"
            with refused(EINVAL, rule, f"ICC_CTLR_EL1.{part.name} is {value:#x}, allowed"):
                write(gic, "ICC_CTLR_EL1", asked)
            assert read(gic, "ICC_CTLR_EL1") == ctlr
        else:
            write(gic, "ICC_CTLR_EL1", asked)
            assert read(gic, "ICC_CTLR_EL1") == (ctlr if policy == "dropped" else asked)


@pytest.mark.parametrize("name", [name for name, policy in POLICY.items() if policy == "narrows"])
def test_what_was_lowered_cannot_be_raised_again_nor_is_it_by_a_reset(name: str) -> None:
    part, ctlr = field("ICC_CTLR_EL1", name), 0x8E00
    vm = vm_with_vcpus(host(icc_ctlr=ctlr))
    gic = gic_of(vm)
    gic.set_attr(VgicGroup.CTRL, VgicCtrl.INIT)
    lowered = part.insert(ctlr, 0)
    write(gic, "ICC_CTLR_EL1", lowered)
    vcpus(vm)[0].init(PLAIN)
    with refused(EINVAL, "cpuif-wider", str(part), "allowed is 0x0"):
        write(gic, "ICC_CTLR_EL1", ctlr)
    assert read(gic, "ICC_CTLR_EL1") == lowered


@pytest.mark.parametrize(
    ("lowered", "wrong"), [("PRIbits", "IDbits"), ("PRIbits", "SEIS"), ("IDbits", "A3V")]
)
def test_a_refused_write_leaves_what_it_had_lowered_before(lowered: str, wrong: str) -> None:
    """Fields take effect one by one: PRIbits, IDbits, SEIS, A3V; CBPR and EOImode only if all passed."""
    ctlr = 0x8C00
    gic = ready(host(icc_ctlr=ctlr))
    first, second = field("ICC_CTLR_EL1", lowered), field("ICC_CTLR_EL1", wrong)
    bad = second.insert(0, second.extract(ctlr) ^ (1 << second.width) - 1) | ctlr & ~second.mask
    with refused(EINVAL, "cpuif-wider" if wrong == "IDbits" else "cpuif-differs", str(second)):
        write(gic, "ICC_CTLR_EL1", first.insert(bad, 0) | 3)
    assert read(gic, "ICC_CTLR_EL1") == first.insert(ctlr, 0)


def test_a_host_whose_gic_is_not_known_says_so() -> None:
    gic = ready(host(icc_ctlr=None))
    assert read(gic, "ICC_CTLR_EL1") == 0x8C00
    with refused(EINVAL, "cpuif-differs", "SEIS is 0x1, allowed is 0x0; the host's GIC is not known"):
        write(gic, "ICC_CTLR_EL1", 0xCC00)


def test_each_vcpu_has_its_own() -> None:
    vm = vm_with_vcpus(host(), 2)
    gic = gic_of(vm)
    gic.set_attr(VgicGroup.CTRL, VgicCtrl.INIT)
    gic.set_attr(VgicGroup.CPU_SYSREGS, cpu_sysreg(CTLR, 1), u64(0x8800))
    assert read(gic, "ICC_CTLR_EL1") == 0x8C00
    assert number(gic.get_attr(VgicGroup.CPU_SYSREGS, cpu_sysreg(CTLR, 1))) == 0x8800
    with refused(EINVAL, "no-vcpu-of-affinity", "affinity 0x2"):
        gic.get_attr(VgicGroup.CPU_SYSREGS, cpu_sysreg(CTLR, 2))


# -- the other registers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("ICC_PMR_EL1", 0xFF),
        ("ICC_BPR0_EL1", 7),
        ("ICC_BPR1_EL1", 7),
        ("ICC_IGRPEN0_EL1", 1),
        ("ICC_IGRPEN1_EL1", 1),
    ],
)
def test_state_is_kept_within_its_width(name: str, mask: int) -> None:
    gic = ready(host())
    assert read(gic, name) == 0
    write(gic, name, (1 << 64) - 1)
    assert read(gic, name) == mask


@pytest.mark.parametrize(("pri_bits", "last"), [(3, 0), (4, 0), (5, 1), (6, 3), (7, 0)])
@pytest.mark.parametrize("group", [0, 1])
def test_active_priority_registers_follow_the_bits_of_priority(pri_bits: int, last: int, group: int) -> None:
    """The kernel knows 6 and 7 bits; with all 8 it falls back to one register."""
    gic = ready(host(icc_ctlr=0x8800 | pri_bits << 8))
    for number_ in range(4):
        name = f"ICC_AP{group}R{number_}_EL1"
        if number_ <= last:
            write(gic, name, 0x1_5555_5555)
            assert read(gic, name) == 0x5555_5555
            continue
        with refused(EINVAL, "apr-beyond-priorities", name):
            read(gic, name)
        with refused(EINVAL, "apr-beyond-priorities", f"the last is number {last}"):
            write(gic, name, 0)


def test_lowering_the_bits_of_priority_takes_registers_away() -> None:
    gic = ready(host(icc_ctlr=0x8E00))
    write(gic, "ICC_AP0R3_EL1", 1)
    write(gic, "ICC_CTLR_EL1", 0x8D00)
    write(gic, "ICC_AP0R1_EL1", 1)
    with refused(EINVAL, "apr-beyond-priorities"):
        read(gic, "ICC_AP0R3_EL1")


def test_bpr1_follows_bpr0_while_cbpr_is_set() -> None:
    gic = ready(host())
    write(gic, "ICC_BPR1_EL1", 2)
    write(gic, "ICC_CTLR_EL1", 0x8C01)
    for bpr0, seen in ((0, 1), (3, 4), (6, 7), (7, 7)):
        write(gic, "ICC_BPR0_EL1", bpr0)
        write(gic, "ICC_BPR1_EL1", 5)
        assert read(gic, "ICC_BPR1_EL1") == seen
    write(gic, "ICC_CTLR_EL1", 0x8C00)
    assert read(gic, "ICC_BPR1_EL1") == 2


def test_sre_is_checked_and_dropped() -> None:
    gic = ready(host())
    write(gic, "ICC_SRE_EL1", 0x1)
    assert read(gic, "ICC_SRE_EL1") == 0x7
    with refused(EINVAL, "sre-clear", "ICC_SRE_EL1.SRE is 0, allowed is 0x1"):
        write(gic, "ICC_SRE_EL1", 0x6)


def test_a_run_gives_binary_points_the_hardware_minimum() -> None:
    """The interface passes through the CPU, which has no finer binary point than its preemption bits."""
    vm = vm_with_vcpus(host())
    gic = gic_of(vm)
    for frame, address in ((2, 0x800_0000), (3, 0x80A_0000)):
        gic.set_attr(VgicGroup.ADDR, frame, u64(address))
    gic.set_attr(VgicGroup.CTRL, VgicCtrl.INIT)
    write(gic, "ICC_BPR1_EL1", 6)
    with pytest.raises(KvmError):
        vcpus(vm)[0].run(immediate_exit=True)
    assert (read(gic, "ICC_BPR0_EL1"), read(gic, "ICC_BPR1_EL1")) == (2, 6)


# -- EL2 ---------------------------------------------------------------------------------------

EL2_NAMES = [str(name) for name in ("ICH_HCR_EL2", "ICH_VMCR_EL2", "ICH_VTR_EL2", "ICC_SRE_EL2")] + [
    *(f"ICH_LR{n}_EL2" for n in range(16)),
    *(f"ICH_AP{group}R{n}_EL2" for group in (0, 1) for n in range(4)),
]


def test_the_el2_part_is_all_there() -> None:
    assert {row.reg for row in ROWS.values() if row.el2} == {sysreg(name) for name in EL2_NAMES}


@pytest.mark.parametrize("name", EL2_NAMES)
def test_the_el2_part_exists_with_el2_only(name: str) -> None:
    attr = cpu_sysreg(sysreg(name))
    plain = ready(host())
    with refused(ENXIO, "no-such-attribute", name):
        plain.has_attr(VgicGroup.CPU_SYSREGS, attr)
    with refused(ENOENT, "no-such-cpuif-register", "the vCPU has no EL2"):
        read(plain, name)
    with refused(ENOENT, "no-such-cpuif-register"):
        write(plain, name, 0)
    ready(host(), EL2).has_attr(VgicGroup.CPU_SYSREGS, attr)


def test_list_registers_are_stored_until_the_vcpu_is_reset() -> None:
    vm = vm_with_vcpus(host(), 1, EL2)
    gic = gic_of(vm)
    gic.set_attr(VgicGroup.CTRL, VgicCtrl.INIT)
    for name in ("ICH_LR0_EL2", "ICH_LR15_EL2", "ICH_AP1R0_EL2", "ICH_HCR_EL2", "ICH_VMCR_EL2"):
        write(gic, name, 0x8000_0000_0000_0001)
        assert read(gic, name) == 0x8000_0000_0000_0001
    vcpus(vm)[0].init(EL2)
    assert read(gic, "ICH_LR15_EL2") == 0


def test_active_priorities_of_el2_follow_the_bits_too() -> None:
    gic = ready(host(), EL2)
    with refused(EINVAL, "apr-beyond-priorities", "ICH_AP0R1_EL2"):
        read(gic, "ICH_AP0R1_EL2")


def test_vtr_and_sre_of_el2_are_fixed_and_say_which_field() -> None:
    gic = ready(host(ich_vtr=0x9018_0003), EL2)
    assert read(gic, "ICH_VTR_EL2") == 0x9018_0003
    write(gic, "ICH_VTR_EL2", 0x9018_0003)
    with refused(EINVAL, "el2-cpuif-fixed", "ICH_VTR_EL2.PRIbits is 0x5, allowed is 0x4"):
        write(gic, "ICH_VTR_EL2", 0xB018_0003)
    write(gic, "ICC_SRE_EL2", 0xF)
    with refused(EINVAL, "el2-cpuif-fixed", "ICC_SRE_EL2: asked for 0x7, allowed is 0xf"):
        write(gic, "ICC_SRE_EL2", 0x7)


def test_vtr_follows_the_host_where_it_was_not_recorded() -> None:
    """Priority bits and SEIS are ICC_CTLR_EL1's; KVM shows no direct injection."""
    vtr = read(ready(host(icc_ctlr=0xCE00), EL2), "ICH_VTR_EL2")
    shown = {part.name: part.extract(vtr) for part in FIELDS[sysreg("ICH_VTR_EL2")] if part.name != "RES0"}
    assert shown == {
        "PRIbits": 6,
        "PREbits": 6,
        "IDbits": 0,
        "SEIS": 1,
        "A3V": 0,
        "nV4": 1,
        "TDS": 1,
        "DVIM": 0,
        "ListRegs": 3,
    }


def test_narrowing_does_not_move_vtr() -> None:
    """As recorded: ICH_VTR_EL2 stays the host's."""
    gic = ready(host(ich_vtr=0x9018_0003), EL2)
    write(gic, "ICC_CTLR_EL1", 0x8B00)
    assert read(gic, "ICH_VTR_EL2") == 0x9018_0003


# -- order of checks ---------------------------------------------------------------------------


def test_the_order_of_checks() -> None:
    """vCPU, initialised, pointer, register; and a bad pointer of a read comes last."""
    gic = gic_of(vm_with_vcpus(host()))
    unknown, elsewhere = cpu_sysreg(sysreg("ICC_IAR1_EL1")), cpu_sysreg(CTLR, 7)
    with refused(EINVAL, "no-vcpu-of-affinity"):
        gic.set_attr_null(VgicGroup.CPU_SYSREGS, elsewhere)
    with refused(EBUSY, "vgic-not-initialised"):
        gic.set_attr_null(VgicGroup.CPU_SYSREGS, unknown)
    gic.set_attr(VgicGroup.CTRL, VgicCtrl.INIT)
    with refused(EFAULT, "bad-pointer"):
        gic.set_attr_null(VgicGroup.CPU_SYSREGS, unknown)
    with refused(ENOENT, "no-such-cpuif-register", "ICC_IAR1_EL1"):
        gic.set_attr(VgicGroup.CPU_SYSREGS, unknown, u64(0))
    with refused(ENOENT, "no-such-cpuif-register"):
        gic.get_attr_null(VgicGroup.CPU_SYSREGS, unknown)
    with refused(EINVAL, "apr-beyond-priorities"):
        gic.get_attr_null(VgicGroup.CPU_SYSREGS, cpu_sysreg(sysreg("ICC_AP0R1_EL1")))
    with refused(EFAULT, "bad-pointer"):
        gic.get_attr_null(VgicGroup.CPU_SYSREGS, cpu_sysreg(CTLR))


def test_bits_31_to_16_of_the_attribute_mean_nothing() -> None:
    gic = ready(host())
    assert number(gic.get_attr(VgicGroup.CPU_SYSREGS, 0xABCD << 16 | cpu_sysreg(CTLR))) == 0x8C00


@pytest.mark.parametrize("name", ["ICC_CTLR_EL1", "ICH_VTR_EL2"])
def test_they_are_no_register_ids(name: str) -> None:
    vm = vm_with_vcpus(host(), 1, EL2)
    with refused(ENOENT, "no-such-sysreg", name):
        vcpus(vm)[0].get_one_reg(RegId.sysreg(sysreg(name)))


def test_a_buffer_too_short_is_the_callers_mistake() -> None:
    gic = ready(host())
    with pytest.raises(ValueError, match="8 bytes, not 4"):
        gic.set_attr(VgicGroup.CPU_SYSREGS, cpu_sysreg(CTLR), bytes(4))
    with pytest.raises(ValueError, match="8 bytes, not 4"):
        gic.get_attr(VgicGroup.CPU_SYSREGS, cpu_sysreg(CTLR), 4)
