"""Guests with EL2: their hypervisor must not notice that it runs at EL1, nor its guest whose it is."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given, settings, strategies as st
from tests import gics
from tests.hosts import recorded, system
from tests.recordings import GOLDEN

from armkvm.abi.structs import ExitReason
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.accesses import find_access
from armkvm.arch.sysregs import NAMES
from armkvm.backends.model import ModelSystem, ModelVcpu, ModelVm
from armkvm.catalog import parse
from armkvm.errors import KvmError, PlaceError
from armkvm.migration.capture import capture
from armkvm.migration.restore import restore
from armkvm.migration.snapshot import VmConfig

RAM, DEVICE = 0x4000_0000, 0x0900_0000
EL1H, EL2H = 0x3C5, 0x3C9
E2H, RW, TGE, TSC, TWI, VM, API_APK = 1 << 34, 1 << 31, 1 << 27, 1 << 19, 1 << 13, 1, 3 << 40
OPEN = 3 << 20 | 3 << 16


# -- words ---------------------------------------------------------------------------------------


def msr(name: str, rt: int) -> int:
    reg = find_access(name)
    assert reg is not None, name
    return 0xD500_0000 | int(reg) << 5 | rt


def mrs(rt: int, name: str) -> int:
    return msr(name, rt) | 1 << 21


def mov(rt: int, value: int) -> list[int]:
    parts = [(value >> 16 * n & 0xFFFF, n) for n in range(4)]
    return [(0xD280_0000 if n == 0 else 0xF280_0000) | n << 21 | part << 5 | rt for part, n in parts]


def put(name: str, value: int) -> list[int]:
    return [*mov(0, value), msr(name, 0)]


ERET, WFI, NOP = 0xD69F_03E0, 0xD503_207F, 0xD503_201F
RDVL_X1 = 0x04BF_5021


def svc(number: int) -> int:
    return 0xD400_0001 | number << 5


def hvc(number: int) -> int:
    return 0xD400_0002 | number << 5


def smc(number: int) -> int:
    return 0xD400_0003 | number << 5


def tell(rt: int) -> int:
    """STR Xt, [X9]: an access to a device, so that KVM_RUN returns with it."""
    return 0xF900_0120 | rt


@dataclass
class Guest:
    """A vCPU with EL2 at its first instruction."""

    vm: ModelVm
    vcpu: ModelVcpu

    def told(self) -> int:
        """Run until the guest tells something."""
        left = self.vcpu.run()
        assert left.reason == ExitReason.MMIO
        assert left.mmio is not None
        return int.from_bytes(left.mmio.data, "little")

    def reg(self, name: str) -> int:
        return int.from_bytes(self.vcpu.get_one_reg(parse(name)), "little")


VECTORS, GUEST = RAM + 0x1000, RAM + 0x2000
REPORT = (mrs(1, "ESR_EL2"), tell(1), mrs(1, "ELR_EL2"), tell(1), mrs(1, "SPSR_EL2"), tell(1))
SETUP = (*mov(9, DEVICE), *put("VBAR_EL2", VECTORS), *put("CPTR_EL2", OPEN))


def machine(hypervisor: list[int], guest: list[int], *features: F, e2h: bool = True) -> Guest:
    """A hypervisor that reports what it takes from its guest (1) and from itself (2) with the syndrome."""
    vm = system(recorded("captures/7.3/max-nested.json")).create_vm()
    vcpu = vm.create_vcpu(0)
    wanted = {F.PSCI_0_2, F.HAS_EL2, *features}
    vcpu.init(wanted if e2h else {*wanted, F.HAS_EL2_E2H0})
    if F.SVE in features:
        vcpu.finalize(F.SVE)
    gics.ready(vm)
    vm.set_memory(0, RAM, 0x10000)
    for at, words in (
        (RAM, [*SETUP, *hypervisor]),
        (GUEST, guest),
        (VECTORS + 0x400, [*mov(8, 1), tell(8), *REPORT]),
        (VECTORS + 0x200, [*mov(8, 2), tell(8), *REPORT]),
    ):
        vm.write_memory(at, struct.pack(f"<{len(words)}I", *words))
    vcpu.set_one_reg(parse("PC"), RAM.to_bytes(8, "little"))
    return Guest(vm, vcpu)


def enter(hcr: int, spsr: int = EL1H) -> list[int]:
    return [*put("HCR_EL2", hcr), *put("ELR_EL2", GUEST), *put("SPSR_EL2", spsr), ERET]


def reported(guest: Guest) -> tuple[int, int, int, int]:
    """From where (1 the guest, 2 the hypervisor), syndrome, return address, saved PSTATE."""
    return (guest.told(), guest.told(), guest.told(), guest.told())


pytestmark = pytest.mark.shared
both_forms = pytest.mark.parametrize("e2h", [True, False], ids=["vhe", "nvhe"])


def esr(ec: int, iss: int = 0) -> int:
    return ec << 26 | 1 << 25 | iss


# -- levels --------------------------------------------------------------------------------------


@both_forms
def test_a_hypervisor_sees_itself_at_el2(e2h: bool) -> None:
    """CurrentEL is 2, HCR_EL2.E2H is as the vCPU was made, and userspace sees EL2h."""
    guest = machine([mrs(1, "CurrentEL"), tell(1), mrs(1, "HCR_EL2"), tell(1)], [], e2h=e2h)
    assert guest.told() == 8
    assert guest.reg("PSTATE") == EL2H
    assert guest.told() == (E2H if e2h else 0)


@both_forms
def test_its_own_exceptions_stay_at_el2(e2h: bool) -> None:
    """HVC at EL2 is EL2's, by the vector for the current level, with EL2h in SPSR_EL2."""
    guest = machine([hvc(4)], [], e2h=e2h)
    assert reported(guest) == (2, esr(0x16, 4), RAM + 4 * (len(SETUP) + 1), EL2H)
    assert guest.reg("ESR_EL2") == esr(0x16, 4)
    undefined = machine([0], [], e2h=e2h)
    assert reported(undefined) == (2, esr(0), RAM + 4 * len(SETUP), EL2H)


@both_forms
def test_its_guests_calls_are_its_own(e2h: bool) -> None:
    guest = machine(enter(RW | API_APK), [mrs(1, "CurrentEL"), tell(1), hvc(4)], e2h=e2h)
    assert guest.told() == 4
    assert guest.reg("PSTATE") == EL1H
    assert reported(guest) == (1, esr(0x16, 4), GUEST + 12, EL1H)


def test_names_of_el1_mean_el2_with_e2h_and_el12_means_el1() -> None:
    """Without E2H, EL1's names are EL1's, and there are none of EL12."""
    writes = [*put("CONTEXTIDR_EL1", 0x22)]
    vhe = machine([*writes, *put("SCTLR_EL12", 0x30D0_0800), tell(9)], [])
    vhe.told()
    assert vhe.reg("CONTEXTIDR_EL2") == 0x22
    assert vhe.reg("SCTLR_EL1") == 0x30D0_0800
    nvhe = machine([*writes, tell(9)], [], e2h=False)
    nvhe.told()
    assert nvhe.reg("CONTEXTIDR_EL1") == 0x22
    undefined = machine([mrs(1, "SCTLR_EL12")], [], e2h=False)
    assert reported(undefined)[:2] == (2, esr(0))


def test_each_level_has_its_own_stack_and_return_state() -> None:
    """SP_EL1, ELR_EL1 and SPSR_EL1 as EL2 sees them are those that the guest then finds."""
    told = [mrs(1, "ELR_EL1"), tell(1), mrs(1, "SPSR_EL1"), tell(1), 0x9100_03E1, tell(1)]  # MOV X1, SP
    values = [*put("ELR_EL12", 0x1234), *put("SPSR_EL12", 0x3C0), *put("SP_EL1", 0x5678)]
    guest = machine([*values, *enter(RW | API_APK)], told)
    assert [guest.told() for _ in range(3)] == [0x1234, 0x3C0, 0x5678]
    assert (guest.reg("ELR_EL1"), guest.reg("SPSR_EL1"), guest.reg("ELR_EL2")) == (0x1234, 0x3C0, GUEST)


def test_a_hypervisors_programs_run_without_el1() -> None:
    """HCR_EL2.TGE: SVC at EL0 goes to EL2."""
    guest = machine(enter(RW | TGE | API_APK, spsr=0x3C0), [NOP, svc(7)])
    assert reported(guest) == (1, esr(0x15, 7), GUEST + 8, 0x3C0)


def test_a_guest_of_a_guest_has_no_el2() -> None:
    guest = machine(enter(RW | API_APK), [mrs(1, "HCR_EL2")])
    guest.vm.write_memory(RAM + 0x3200, struct.pack("<6I", mrs(1, "ESR_EL1"), tell(1), *[NOP] * 4))
    guest.vcpu.set_one_reg(parse("VBAR_EL1"), (RAM + 0x3000).to_bytes(8, "little"))
    assert guest.told() == esr(0)


# -- what a hypervisor takes ---------------------------------------------------------------------


def test_a_trapped_call_of_firmware_returns_to_the_call() -> None:
    guest = machine(enter(RW | TSC | API_APK), [smc(5)])
    assert reported(guest) == (1, esr(0x17, 5), GUEST, EL1H)


def test_waiting_is_taken_where_it_is_trapped() -> None:
    guest = machine(enter(RW | TWI | API_APK), [WFI])
    assert reported(guest) == (1, esr(0x01, 0x1E0_0000), GUEST, EL1H)


def test_cpacr_traps_by_tcpac() -> None:
    guest = machine([*put("CPTR_EL2", OPEN | 1 << 31), *enter(RW | API_APK)], [mrs(3, "CPACR_EL1")])
    iss = 3 << 20 | 2 << 17 | 1 << 10 | 3 << 5 | 1
    assert reported(guest)[:3] == (1, esr(0x18, iss), GUEST)


@both_forms
@pytest.mark.parametrize("unit", ["FP", "SVE"])
def test_a_closed_unit_is_the_hypervisors_exception(unit: str, e2h: bool) -> None:
    """CPTR_EL2 in both its forms: class 0x19 for SVE, 0x07 with its condition for FP."""
    fmov, rdvl = 0x9E67_0020, RDVL_X1  # FMOV D0, X1
    if e2h:
        cptr = OPEN & ~(3 << (20 if unit == "FP" else 16))
    else:
        cptr = 0x32FF & ~(1 << 10 | 1 << 8) | 1 << (10 if unit == "FP" else 8)
    own_cpacr = put("CPACR_EL12" if e2h else "CPACR_EL1", OPEN)
    code = [*own_cpacr, *put("CPTR_EL2", cptr), *enter(RW | API_APK)]
    guest = machine(code, [fmov if unit == "FP" else rdvl], F.SVE, e2h=e2h)
    expected = esr(0x07, 0x1E0_0000) if unit == "FP" else esr(0x19)
    assert reported(guest) == (1, expected, GUEST, EL1H)


@both_forms
def test_a_length_is_clamped_when_it_is_used(e2h: bool) -> None:
    """ZCR_EL2 keeps what is written; the guest's guest has the smaller of both, and reads its own LEN."""
    name = "ZCR_EL12" if e2h else "ZCR_EL1"
    opened = put("CPTR_EL2", OPEN if e2h else 0x32FF & ~(1 << 10 | 1 << 8))
    code = [*opened, *put("CPACR_EL12" if e2h else "CPACR_EL1", OPEN), *put(name, 15), *put("ZCR_EL2", 0)]
    code += [RDVL_X1, tell(1), *enter(RW | API_APK)]
    guest = machine(code, [RDVL_X1, tell(1), mrs(1, "ZCR_EL1"), tell(1)], F.SVE, e2h=e2h)
    assert guest.told() == 16  # the hypervisor's own length is that of ZCR_EL2
    assert guest.told() == 16
    assert guest.told() == 15
    assert guest.reg("ZCR_EL2") == 0


# -- the edges -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (enter(RW | VM | API_APK), "stage 2"),
        (enter(RW | API_APK | 1 << 26), "bits 0x4000000 of its hypervisor's HCR_EL2"),
        (enter(RW | API_APK, spsr=EL1H | 0x10), "illegal exception return"),
        (enter(RW | TGE | API_APK, spsr=EL1H), "illegal exception return"),
    ],
)
def test_what_is_not_modelled_is_said(code: list[int], words: str) -> None:
    with pytest.raises(PlaceError, match=words):
        machine(code, [NOP]).vcpu.run()


def test_registers_that_the_vcpu_lacks_are_undefined() -> None:
    """SMCR_EL2 and SMPRIMAP_EL2 of a vCPU without SME."""
    for name in ("SMCR_EL2", "SMPRIMAP_EL2"):
        assert reported(machine([mrs(1, name)], []))[:2] == (2, esr(0))


_NAMED = st.sampled_from(sorted(NAMES)).map(int)
_RT = st.integers(0, 30)
_WORDS = st.one_of(
    st.builds(
        lambda reg, rt, way: 0xD500_0000 | reg << 5 | rt | way << 21,
        _NAMED,
        st.integers(0, 30),
        st.booleans(),
    ),
    st.integers(0, 2**22 - 1).map(lambda low: 0xD500_0000 | low),
    st.sampled_from([ERET, 0xD69F_0BFF, WFI, svc(1), hvc(1), smc(0), 0xD503_477F, RDVL_X1, tell(1)]),
    st.integers(0, 2**32 - 1),
)
_HCRS = st.sampled_from([RW | API_APK, RW | TGE | API_APK, 0, TSC | TWI | API_APK, (1 << 64) - 1])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(_WORDS, max_size=20),
    st.lists(_WORDS, max_size=20),
    _HCRS,
    st.sampled_from([EL1H, EL2H, 0x3C0, 0x3DF]),
    st.booleans(),
)
def test_a_hostile_hypervisor_hurts_itself_alone(
    before: list[int], after: list[int], hcr: int, spsr: int, e2h: bool
) -> None:
    """Any words at both levels: an exit, a documented refusal, or a gap that is named, within the budget."""
    guest = machine([*before, *enter(hcr, spsr)], after, F.SVE, e2h=e2h)
    with suppress(KvmError, PlaceError):
        for _ in range(3):
            guest.vcpu.run(instructions=200)


# -- two levels, with ZA -------------------------------------------------------------------------

# In order what `two_levels.S` logs; both its forms see the same but for HCR_EL2.
LOGGED = (
    ("CurrentEL", 8),
    ("HCR_EL2", None),
    ("VBAR_EL2 as written", 0),
    ("SVE closed to EL2 itself", esr(0x19)),
    ("... from EL2h", EL2H),
    ("the guest's CurrentEL", 4),
    ("SMSTART with SME closed", esr(0x1D, 0)),
    ("RDSVL under SMCR_EL2.LEN of 1", 32),
    ("SMCR_EL1 as written", 15 | 3 << 30),
    ("HVC #7", esr(0x16, 7)),
    ("ZT0 without SMCR_EL2.EZT0", esr(0x1D, 4)),
    *((f"ZA, doubleword {n}", sum((3 + 8 * n + k) << 8 * k for k in range(8))) for n in range(4)),
    ("SP_EL1", 0),
    ("SVC #3 at EL1", esr(0x15, 3)),
    ("... from EL1h", EL1H),
    ("HVC #8", esr(0x16, 8)),
    ("TPIDR2_EL0 into X5 with HFGRTR_EL2.nTPIDR2_EL0 of 0", esr(0x18, 0x3A_F4A1)),
    ("RDSVL again", 32),
    ("HVC #9", esr(0x16, 9)),
    ("CurrentEL again", 8),
    ("SPSR_EL2", EL1H),
    ("RDSVL of the hypervisor", 64),
)


def two_levels(place: ModelSystem, code: bytes, *features: F) -> tuple[ModelVm, ModelVcpu]:
    vm = place.create_vm()
    vcpu = vm.create_vcpu(0)
    vcpu.init(features)
    vcpu.finalize(F.SVE)
    gics.ready(vm)
    vm.set_memory(0, RAM, 0x10000)
    vm.write_memory(RAM, code)
    vcpu.set_one_reg(parse("PC"), RAM.to_bytes(8, "little"))
    return vm, vcpu


def expected_log(e2h: bool) -> dict[str, int]:
    return {name: (E2H if e2h else 0) if value is None else value for name, value in LOGGED}


@both_forms
def test_a_guests_guest_uses_za(e2h: bool) -> None:
    """SME traps go to the hypervisor with class 0x1D and their code, ZA survives them, and lengths are
    the smaller of both levels'."""
    code = (GOLDEN / "guests" / f"two_levels_{int(e2h)}.bin").read_bytes()
    features = (F.PSCI_0_2, F.SVE, F.SME, F.HAS_EL2, *(() if e2h else (F.HAS_EL2_E2H0,)))
    vm, vcpu = two_levels(system(recorded("captures/sme-v12/nested.json")), code, *features)
    assert vcpu.run().reason == ExitReason.SYSTEM_EVENT
    expected = expected_log(e2h)
    assert dict(zip(expected, log_of(vm, RAM + len(code)), strict=True)) == expected


def log_of(vm: ModelVm, at: int) -> tuple[int, ...]:
    return struct.unpack(f"<{len(LOGGED)}Q", vm.read_memory(at, 8 * len(LOGGED)))


@both_forms
def test_two_levels_can_be_moved_between_any_two_instructions(e2h: bool) -> None:
    """Wherever it is stopped, at EL2 or in the guest's guest, registers and memory are all there is."""
    host = recorded("captures/sme-v12/nested.json")
    features = (F.PSCI_0_2, F.SVE, F.SME, F.HAS_EL2, *(() if e2h else (F.HAS_EL2_E2H0,)))
    code = (GOLDEN / "guests" / f"two_levels_{int(e2h)}.bin").read_bytes()
    levels = set()
    for stop in range(1, 190, 17):
        source = system(host)
        vm, vcpu = two_levels(source, code, *features)
        with pytest.raises(KvmError, match="EINTR"):
            vcpu.run(instructions=stop)
        taken = capture(source, VmConfig(), [(vcpu, features)])
        levels.add(int.from_bytes(vcpu.get_one_reg(parse("PSTATE")), "little") & 0xF)
        with restore(system(host), taken) as restored:
            assert restored.report.verified, restored.report.findings
            moved = restored.vm
            assert isinstance(moved, ModelVm)
            gics.ready(moved)
            moved.set_memory(0, RAM, 0x10000)
            moved.write_memory(RAM, vm.read_memory(RAM, 0x10000))
            assert restored.vcpus[0].run().reason == ExitReason.SYSTEM_EVENT
            seen = dict(zip((name for name, _ in LOGGED), log_of(moved, RAM + len(code)), strict=True))
            assert seen == expected_log(e2h), stop
    assert levels == {EL1H & 0xF, EL2H & 0xF}
