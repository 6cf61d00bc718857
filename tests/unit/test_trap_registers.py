"""What EL2's trap registers hold while a guest runs."""

from __future__ import annotations

import pytest
from tests.hosts import made_up, recorded, vcpu_on
from tests.unit.test_traps import access, lower

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.fgt import BITS
from armkvm.cpu.legality import FP, SME, SVE, Hypervisor
from armkvm.model import traps
from armkvm.model.trap_registers import cptr, fine_grained
from armkvm.model.traps import Outcome

SME_HOST = "captures/sme-v12/max.json"
FEATURES = [(), (F.SVE,), (F.SME,), (F.SVE, F.SME)]


@pytest.mark.shared
@pytest.mark.parametrize("owns", [False, True])
@pytest.mark.parametrize("features", FEATURES, ids=str)
def test_both_forms_of_cptr_trap_what_the_guest_may_not_reach(features: tuple[F, ...], owns: bool) -> None:
    """A unit is open to the guest that has it and whose state is in the registers, whatever the form."""
    vcpu = vcpu_on(recorded(SME_HOST), *features).vcpu
    has = {FP: True, SVE: F.SVE in features, SME: F.SME in features}
    for vhe in (False, True):
        el2 = Hypervisor(vhe, tge=False, cptr=cptr(vcpu, vhe=vhe, owns=owns), smcr=0)
        for unit, is_there in has.items():
            for el in (0, 1):
                assert el2.traps(unit, el) is not (owns and is_there)


def test_cptr_bit_by_bit() -> None:
    """TAM and TTA always trap; TSM, TFP, TZ without E2H; FPEN, ZEN and SMEN with."""
    vcpu = vcpu_on(made_up("7.3"), F.SVE).vcpu
    assert cptr(vcpu, vhe=True, owns=False) == 1 << 30 | 1 << 28
    assert cptr(vcpu, vhe=True, owns=True) == 1 << 30 | 1 << 28 | 3 << 20 | 3 << 16
    assert cptr(vcpu, vhe=False, owns=False) == 1 << 30 | 1 << 20 | 1 << 12 | 1 << 10 | 1 << 8 | 0x22FF
    assert cptr(vcpu, vhe=False, owns=True) == 1 << 30 | 1 << 20 | 1 << 12 | 0x22FF


def test_each_side_of_a_pair_has_its_own_bits() -> None:
    """Read-only registers have none in HFGWTR_EL2, write-only ones none in HDFGRTR_EL2."""
    sides = {bit.name: bit.sides for bit in BITS}
    assert (sides["ERXFR_EL1"], sides["OSLAR_EL1"], sides["TCR_EL1"]) == ("r", "w", "rw")
    for bit in BITS:
        assert bit.control(is_write=False).split(".")[0] in bit.registers.values()
        assert ("w" in bit.registers) == bit.has_side(is_write=True) or bit.sides == "x"


def test_a_side_without_a_bit_is_not_trapped_by_it() -> None:
    """A register that only HFGRTR_EL2 has a bit for is read-only; PMCR_EL0's reads have no fine trap."""
    vcpu = vcpu_on(made_up("7.3"))
    assert access(vcpu, "ERXFR_EL1").outcome is Outcome.RAZ_WI
    refused = access(vcpu, "ERXFR_EL1", write=True)
    assert (refused.outcome, refused.control, refused.note) == (Outcome.UNDEFINED, "", "it is read-only")
    assert access(vcpu, "PMCR_EL0").control == "MDCR_EL2.TPM"
    assert access(vcpu, "PMCR_EL0", write=True).control == "HDFGWTR_EL2.PMCR_EL0"


def test_nothing_traps_that_the_vm_shows_and_negative_bits_say_so_with_ones() -> None:
    """7.3 on a CPU that has everything: each register's value is its FGU mask, turned over where the
    polarity is negative."""
    vcpu = vcpu_on(made_up("7.3")).vcpu
    masks, values = traps.fgu(vcpu), fine_grained(vcpu)
    assert set(values) >= {"HFGRTR_EL2", "HFGWTR_EL2", "HFGITR_EL2", "HDFGRTR_EL2", "HDFGWTR_EL2"}
    for bit in BITS:
        for register in bit.registers.values():
            if register in values:
                is_trapped = bool(values[register] & bit.mask) == bool(bit.traps_when)
                assert is_trapped == bool(masks.get(bit.group, 0) & bit.mask), (bit, register)


def test_a_lowered_field_traps_on_both_sides() -> None:
    vcpu = vcpu_on(made_up("7.3"))
    before = fine_grained(vcpu.vcpu)
    lower(vcpu, "MMFR3", "S1PIE")
    after = fine_grained(vcpu.vcpu)
    for register in ("HFGRTR_EL2", "HFGWTR_EL2"):
        assert before[register] & ~after[register] == 3 << 57
    assert access(vcpu, "PIR_EL1").control == "HFGRTR_EL2.nPIR_EL1"
    assert access(vcpu, "PIR_EL1", write=True).control == "HFGWTR_EL2.nPIR_EL1"


def test_without_fgt_there_is_nothing_to_set() -> None:
    assert fine_grained(vcpu_on(made_up("7.2", MMFR0_FGT=0)).vcpu) == {}
    assert fine_grained(vcpu_on(made_up("6.1")).vcpu) == {}
    assert not any(name.endswith("2_EL2") for name in fine_grained(vcpu_on(made_up("7.2", MMFR0_FGT=1)).vcpu))


@pytest.mark.shared
@pytest.mark.parametrize(("profile", "sides"), [("sme-v4", "rw"), ("sme-v12", "w")])
def test_streaming_priorities_trap_without_being_undefined(profile: str, sides: str) -> None:
    """SMPRI_EL1 of a guest that is shown SME: v4 traps both sides, v12 writes alone, and both answer
    zero; hidden, it is UNDEFINED on both sides."""
    vcpu = vcpu_on(recorded(SME_HOST), F.SVE, F.SME, profile=profile)
    bit = 1 << 54
    values = fine_grained(vcpu.vcpu)
    trapped = {side: not values[f"HFG{side.upper()}TR_EL2"] & bit for side in "rw"}
    assert trapped == {"r": "r" in sides, "w": True}
    assert (
        access(vcpu, "SMPRI_EL1").outcome is access(vcpu, "SMPRI_EL1", write=True).outcome is Outcome.RAZ_WI
    )
    assert access(vcpu, "SMPRI_EL1", write=True).control == "HFGWTR_EL2.nSMPRI_EL1"
    assert access(vcpu, "SMPRI_EL1").control == ("HFGRTR_EL2.nSMPRI_EL1" if "r" in sides else "")
    lower(vcpu, "PFR1", "SME")
    values = fine_grained(vcpu.vcpu)
    assert not values["HFGRTR_EL2"] & bit
    assert not values["HFGWTR_EL2"] & bit
    assert access(vcpu, "SMPRI_EL1").outcome is Outcome.UNDEFINED
