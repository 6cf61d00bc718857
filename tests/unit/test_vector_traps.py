"""What KVM answers to a vector instruction that trapped to EL2: undefined, forwarded, or tried again."""

from __future__ import annotations

import pytest

from armkvm.arch.vectors import VectorLengths
from armkvm.cpu.exceptions import FpTrap, GuestException, SmeTrap, Smtc, SveTrap
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.legality import CHECKS, SMCR_EZT0, Check, Hypervisor, Situation
from armkvm.model import vector_traps
from armkvm.model.context.registers import OPEN
from armkvm.model.vector_traps import VectorGuest, answer

PLAIN = VectorGuest(has_sve=False, has_sme=False, has_sme2=False)
ALL = VectorGuest(has_sve=True, has_sme=True, has_sme2=True)
FP, SVE, SME, UNDEF, SYSREG = 0x07, 0x19, 0x1D, 0x00, 0x18
ZEN, FPEN, SMEN = 3 << 16, 3 << 20, 3 << 24
FP_ISS = 0x1E00000


def l1(
    el: int = 1, *, cptr: int = OPEN, e2h: bool = True, tge: bool = False, ezt0: bool = True
) -> VectorGuest:
    """A guest with EL2, at virtual level `el`."""
    return ALL._replace(el=el, el2=Hypervisor(e2h, tge, cptr, SMCR_EZT0 if ezt0 else 0))


def taken(trap: GuestException, guest: VectorGuest) -> tuple[int, int, int] | None:
    found = answer(trap, guest)
    return None if found is None else (found.to_el, found.ec, found.iss)


@pytest.mark.parametrize(
    ("trap", "guest", "expected"),
    [
        # the registers hold someone else's state
        (FpTrap(2), PLAIN, None),
        (SveTrap(2), ALL, None),
        (SmeTrap(Smtc.DISABLED, 2), ALL, None),
        # the guest has no such thing
        (SveTrap(2), PLAIN, (1, UNDEF, 0)),
        (SveTrap(2), PLAIN._replace(has_sme=True), (1, UNDEF, 0)),
        (SmeTrap(Smtc.DISABLED, 2), PLAIN, (1, UNDEF, 0)),
        (SmeTrap(Smtc.DISABLED, 2), ALL._replace(has_sme=False), (1, UNDEF, 0)),
        (SmeTrap(Smtc.ZT0_DISABLED, 2), ALL._replace(has_sme2=False), (1, UNDEF, 0)),
        (GuestException(SYSREG, to_el=2), PLAIN, (1, UNDEF, 0)),  # TPIDR2_EL0
        # its own hypervisor traps it: forwarded with class and code
        (SveTrap(2), l1(cptr=OPEN & ~ZEN), (2, SVE, 0)),
        (FpTrap(2), l1(cptr=OPEN & ~FPEN), (2, FP, FP_ISS)),
        (SmeTrap(Smtc.DISABLED, 2), l1(cptr=OPEN & ~SMEN), (2, SME, 0)),
        (SmeTrap(Smtc.ZT0_DISABLED, 2), l1(ezt0=False), (2, SME, 4)),
        (SveTrap(2), l1(cptr=1 << 8, e2h=False), (2, SVE, 0)),
        (FpTrap(2), l1(cptr=1 << 10, e2h=False), (2, FP, FP_ISS)),
        (SmeTrap(Smtc.DISABLED, 2), l1(cptr=1 << 12, e2h=False), (2, SME, 0)),
        # it traps something else, or not at this level
        (SveTrap(2), l1(cptr=OPEN & ~FPEN), None),
        (SmeTrap(Smtc.DISABLED, 2), l1(cptr=OPEN & ~ZEN), None),
        (SmeTrap(Smtc.ZT0_DISABLED, 2), l1(), None),
        (SveTrap(2), l1(cptr=OPEN & ~ZEN | 1 << 16), None),
        (SveTrap(2), l1(0, cptr=OPEN & ~ZEN | 1 << 16, tge=True), (2, SVE, 0)),
        # what neither has is UNDEFINED before it is anybody's trap, at the level that takes it
        (SveTrap(2), l1(cptr=0)._replace(has_sve=False), (1, UNDEF, 0)),
        (SveTrap(2), l1(2, cptr=0)._replace(has_sve=False), (2, UNDEF, 0)),
        (SveTrap(2), l1(0, tge=True)._replace(has_sve=False), (2, UNDEF, 0)),
    ],
)
def test_what_a_trap_comes_to(
    trap: GuestException, guest: VectorGuest, expected: tuple[int, int, int] | None
) -> None:
    assert taken(trap, guest) == expected


def test_reserved_bits_of_the_syndrome_do_not_hide_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """SMTC is bits 2:0. v4 compared the whole syndrome: a ZT0 trap with a reserved bit set was taken for
    a first use, and a guest without SME2 tried again for ever."""
    trap = GuestException(SME, 1 << 20 | Smtc.ZT0_DISABLED, to_el=2)
    without = ALL._replace(has_sme2=False)
    assert taken(trap, without) == (1, UNDEF, 0)
    monkeypatch.setattr(vector_traps, "smtc_of", lambda iss: iss)
    assert taken(trap, without) is None


LENGTHS = VectorLengths([1, 2])


@pytest.mark.parametrize("check", list(Check))
@pytest.mark.parametrize("svcr", range(4))
@pytest.mark.parametrize("cpacr", [OPEN, OPEN & ~ZEN, OPEN & ~FPEN, OPEN & ~SMEN, 0])
@pytest.mark.parametrize(
    "has",
    [
        (False, False, False),
        (True, False, False),
        (False, True, False),
        (True, True, False),
        (True, True, True),
    ],
)
def test_a_guest_by_traps_and_a_guest_by_features_take_the_same_exception(
    check: Check, svcr: int, cpacr: int, has: tuple[bool, bool, bool]
) -> None:
    """A CPU that has everything, with KVM's traps over the guest, and the guest's PE, that knows what is
    hidden from it, refuse alike; the order of EL1's own controls included."""
    sve, sme, sme2 = has
    svcr = svcr if sme else 0
    smcr = 3 << 30
    cptr = FPEN | (ZEN if sve else 0) | (SMEN if sme else 0)
    whole = PeFeatures(sve=LENGTHS, sme=LENGTHS)
    el2 = Hypervisor(e2h=True, tge=False, cptr=cptr, smcr=1 << 31 | (SMCR_EZT0 if sme2 else 0))
    on_cpu = _refusal(check, Situation(whole, 1, svcr, cpacr, smcr, el2))
    if on_cpu is not None and on_cpu.to_el == 2:
        on_cpu = answer(on_cpu, VectorGuest(sve, sme, sme2))
        assert on_cpu is not None
    hidden = PeFeatures(
        sve=LENGTHS if sve else VectorLengths(),
        sme=LENGTHS if sme else VectorLengths(),
        sve_trapped=not sve,
        sme_trapped=not sme,
        sme2=sme2,
        sme2_trapped=not sme2,
    )
    alone = _refusal(check, Situation(hidden, 1, svcr, cpacr, smcr))
    assert (on_cpu and on_cpu.esr) == (alone and alone.esr)


def _refusal(check: Check, situation: Situation) -> GuestException | None:
    try:
        CHECKS[check](situation)
    except GuestException as refusal:
        return refusal
    return None
