"""Which exception refuses a vector instruction, and which level takes it, with EL2's controls in play.

Each row is read off the Arm ARM's pseudocode (CheckFPEnabled64, CheckSVEEnabled, CheckSMEEnabled,
CheckSMEZT0Enabled and their callers): first EL1's controls over every unit, then EL2's.
"""

from __future__ import annotations

import pytest

from armkvm.arch.vectors import VectorLengths
from armkvm.cpu.exceptions import GuestException
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.legality import CHECKS, Check, Hypervisor, Situation

LENGTHS = VectorLengths([1, 2])
BOTH = PeFeatures(sve=LENGTHS, sme=LENGTHS)
FA64, EZT0 = 1 << 31, 1 << 30
ALL = FA64 | EZT0
OPEN = 3 << 16 | 3 << 20 | 3 << 24
TZ, TFP, TSM = 1 << 8, 1 << 10, 1 << 12
ZEN, FPEN, SMEN = 3 << 16, 3 << 20, 3 << 24
FP, SVE, SME, UNDEF = 0x07, 0x19, 0x1D, 0x00


def taken(
    check: Check,
    *,
    el: int = 1,
    svcr: int = 3,
    cpacr: int = OPEN,
    smcr: int = ALL,
    e2h: bool = True,
    tge: bool = False,
    cptr: int | None = None,
    smcr_el2: int = ALL,
    features: PeFeatures = BOTH,
) -> tuple[int, int, int] | None:
    """Level, class and SMTC of the exception; None if the instruction executes."""
    cptr = (OPEN if e2h else 0) if cptr is None else cptr
    try:
        CHECKS[check](Situation(features, el, svcr, cpacr, smcr, Hypervisor(e2h, tge, cptr, smcr_el2)))
    except GuestException as refusal:
        return refusal.to_el, refusal.ec, refusal.iss if refusal.ec == SME else 0
    return None


@pytest.mark.parametrize("e2h", [False, True])
@pytest.mark.parametrize(
    ("check", "svcr", "closed", "expected"),
    [
        (Check.SVE, 0, "z", (2, SVE, 0)),
        (Check.SVE, 0, "f", (2, FP, 0)),
        (Check.SVE, 0, "zf", (2, SVE, 0)),  # the narrower unit's trap first
        (Check.SVE, 0, "s", None),
        (Check.SVE, 1, "z", None),  # streaming: SVE instructions are SME's
        (Check.SVE, 1, "s", (2, SME, 0)),
        (Check.NON_STREAMING, 0, "z", (2, SVE, 0)),
        (Check.STREAMING, 1, "s", (2, SME, 0)),
        (Check.STREAMING, 0, "s", (2, SME, 0)),  # disabled before not streaming
        (Check.STREAMING, 0, "", (1, SME, 2)),
        (Check.SME, 0, "f", (2, FP, 0)),
        (Check.SME, 0, "sf", (2, SME, 0)),
        (Check.SME_ACCESS, 0, "f", None),  # SVCR needs no FP
        (Check.SME_ACCESS, 0, "s", (2, SME, 0)),
        (Check.ZA, 0, "s", (2, SME, 0)),
        (Check.ZA, 0, "", (1, SME, 3)),
        (Check.ZT0, 2, "s", (2, SME, 0)),
    ],
)
def test_both_forms_of_cptr_trap_the_same_accesses(
    check: Check, svcr: int, closed: str, expected: tuple[int, int, int] | None, e2h: bool
) -> None:
    """TZ, TFP and TSM of the nVHE form mean what ZEN, FPEN and SMEN mean in the VHE form."""
    if e2h:
        cptr = OPEN & ~sum({"z": ZEN, "f": FPEN, "s": SMEN}[unit] for unit in closed)
    else:
        cptr = sum({"z": TZ, "f": TFP, "s": TSM}[unit] for unit in closed)
    assert taken(check, svcr=svcr, cptr=cptr, e2h=e2h) == expected


def test_el1s_refusal_of_any_unit_comes_before_el2s() -> None:
    assert taken(Check.SVE, svcr=0, cpacr=OPEN & ~FPEN, cptr=0) == (1, FP, 0)
    assert taken(Check.SME, cpacr=OPEN & ~SMEN, cptr=0) == (1, SME, 0)
    assert taken(Check.SVE, svcr=0, cpacr=OPEN & ~ZEN, cptr=0) == (1, SVE, 0)


@pytest.mark.parametrize(("el", "tge", "refused"), [(0, False, False), (0, True, True), (1, False, False)])
def test_the_vhe_forms_middle_setting_traps_a_hosts_programs_only(el: int, tge: bool, refused: bool) -> None:
    cptr = OPEN & ~ZEN | 1 << 16
    assert (taken(Check.SVE, el=el, svcr=0, tge=tge, cptr=cptr) == (2, SVE, 0)) is refused


def test_a_hosts_programs_and_el2_do_not_heed_el1s_controls() -> None:
    for el, tge in ((0, True), (2, False), (2, True)):
        assert taken(Check.SVE, el=el, tge=tge, svcr=0, cpacr=0, smcr=0) is None
        assert taken(Check.NON_STREAMING, el=el, tge=tge, svcr=1, cpacr=0, smcr=0) is None
        assert taken(Check.ZT0, el=el, tge=tge, cpacr=0, smcr=0) is None


@pytest.mark.parametrize("el", [0, 1, 2])
@pytest.mark.parametrize("level", [1, 2])
def test_fa64_needs_every_level_that_counts(el: int, level: int) -> None:
    """And the exception goes to the current level's own operating system."""
    smcr, smcr_el2 = (EZT0, ALL) if level == 1 else (ALL, EZT0)
    expected = None if el == 2 and level == 1 else (2 if el == 2 else 1, SME, 1)
    assert taken(Check.NON_STREAMING, el=el, svcr=1, smcr=smcr, smcr_el2=smcr_el2) == expected


@pytest.mark.parametrize(
    ("el", "smcr", "smcr_el2", "expected"),
    [
        (1, FA64, FA64, (1, SME, 4)),
        (1, ALL, FA64, (2, SME, 4)),
        (0, FA64, ALL, (1, SME, 4)),
        (2, FA64, ALL, None),
        (2, ALL, FA64, (2, SME, 4)),
        (1, ALL, ALL, None),
    ],
)
def test_zt0_is_enabled_level_by_level(
    el: int, smcr: int, smcr_el2: int, expected: tuple[int, int, int] | None
) -> None:
    assert taken(Check.ZT0, el=el, smcr=smcr, smcr_el2=smcr_el2) == expected


def test_under_a_hypervisor_that_takes_general_exceptions_an_fp_trap_is_undefined() -> None:
    """HCR_EL2.TGE without E2H: AdvSIMDFPAccessTrap changes its class, its siblings keep theirs."""
    assert taken(Check.SME, el=0, e2h=False, tge=True, cpacr=OPEN & ~FPEN) == (2, UNDEF, 0)
    assert taken(Check.SVE, el=0, e2h=False, tge=True, svcr=0, cpacr=OPEN & ~ZEN) == (2, SVE, 0)


def test_sme_without_sve_traps_as_not_streaming_not_as_undefined() -> None:
    alone = PeFeatures(sme=LENGTHS)
    assert taken(Check.SVE, svcr=0, features=alone) == (1, SME, 2)
    assert taken(Check.SVE, svcr=0, features=alone, cptr=OPEN & ~SMEN) == (2, SME, 0)
    assert taken(Check.NON_STREAMING, svcr=0, features=alone) == (1, UNDEF, 0)
