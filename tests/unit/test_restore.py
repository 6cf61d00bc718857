"""Restore keeps a VM that holds the snapshot bit for bit, and otherwise nothing but findings."""

from __future__ import annotations

import errno

import pytest
from tests.fakes import Host

from armkvm.abi import vls
from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import parse
from armkvm.errors import PlaceError
from armkvm.migration.advice import ADVICE, Code
from armkvm.migration.capture import capture
from armkvm.migration.ordering import Stage
from armkvm.migration.restore import restore
from armkvm.migration.snapshot import EnabledCap, Snapshot, VcpuEvents, VcpuState, VmConfig
from armkvm.migration.verdict import RestoreReport, Result
from armkvm.state import RegisterSet
from armkvm.value import replace

SVE = (VcpuFeature.PSCI_0_2, VcpuFeature.SVE)
X0, Z0, VLS = RegId.x(0), RegId.z(0), RegId.sve_vls()
MIDR, CNT, TTBR = parse("MIDR_EL1"), parse("KVM_REG_ARM_TIMER_CNT"), parse("TTBR0_EL1")


def snapshot(host: Host | None = None, config: VmConfig | None = None, vcpus: int = 1) -> Snapshot:
    """What a host with recognisable contents in every register gives."""
    host = host or Host()
    made = []
    for _ in range(vcpus):
        vcpu = host.vcpu(*SVE)
        for reg in vcpu.reg_list():
            if reg not in {VLS, CNT}:
                vcpu.set_one_reg(reg, bytes([reg & 0x7F | 1]) * reg.size)
        made.append((vcpu, SVE))
    taken = capture(host.system(), config or VmConfig(), made[:1])
    states = tuple(replace(taken.vcpus[0], id=number) for number in range(vcpus))
    return replace(taken, vcpus=states)


def report(host: Host, of: Snapshot) -> RestoreReport:
    """A restore's report; what fails must leave no VM open."""
    with restore(host.system(), of) as restored:
        assert (restored.vm is not None) == restored.report.verified
        assert host.open_vms == restored.report.verified
    assert host.open_vms == 0
    return restored.report


def written(host: Host) -> list[RegId]:
    return [reg for call, reg in host.log if call == "KVM_SET_ONE_REG" and isinstance(reg, RegId)]


def test_a_vm_that_took_everything_is_kept_open_and_verified() -> None:
    host = Host()
    with restore(host.system(), snapshot()) as restored:
        assert restored.report.verified
        assert restored.report.findings == ()
        assert restored.vm is not None
        assert restored.vcpus[0].get_one_reg(X0) == snapshot().vcpus[0].registers[X0]
        assert host.open_vms == 1
    assert host.open_vms == 0


def test_every_register_has_its_result_and_the_clock_is_not_compared() -> None:
    outcome = report(Host(), snapshot()).vcpus[0]
    results = dict(outcome.results())
    assert set(results) == set(snapshot().vcpus[0].registers)
    assert results.pop(CNT) is Result.VOLATILE
    assert set(results.values()) == {Result.EXACT}


def test_calls_come_in_the_order_of_the_plan() -> None:
    host = Host()
    made = report(host, snapshot()).vcpus[0].plan
    calls = [call for call, _ in host.log if call != "KVM_GET_ONE_REG"]
    assert calls == [
        "KVM_CREATE_VM",
        "KVM_CREATE_VCPU",
        "KVM_ARM_VCPU_INIT",
        *["KVM_SET_ONE_REG"] * len(made.configuring),
        "KVM_ARM_VCPU_FINALIZE",
        *["KVM_SET_ONE_REG"] * len(made.filling),
        "KVM_SET_VCPU_EVENTS",
        "KVM_SET_MP_STATE",
    ]
    assert tuple(written(host)) == made.written


def test_lengths_beyond_the_common_prefix_are_refused_before_anything_of_them_is_written() -> None:
    """{1,2,4} against {1,2,3,4}: 4 is in both, yet only {1,2} is accepted by both."""
    host = Host(lengths=VectorLengths([1, 2, 3, 4]))
    given = report(host, snapshot(Host(lengths=VectorLengths([1, 2, 4]))))
    (finding,) = given.findings
    assert (finding.code, finding.blocking) == (Code.VECTOR_LENGTHS, True)
    assert (finding.asked, finding.there, finding.acceptable) == ("1,2,4", "1-4", "1,2")
    assert "--vls 1,2" in finding.remedy
    assert not {VLS, Z0, RegId.p(0), RegId.ffr()} & set(written(host))
    results = dict(given.vcpus[0].results())
    assert results[Z0] is results[VLS] is Result.NOT_TRIED
    assert results[X0] is Result.EXACT


def test_lengths_without_a_common_beginning_have_no_way_out() -> None:
    given = report(Host(lengths=VectorLengths([1, 2])), snapshot(Host(lengths=VectorLengths([2]))))
    (finding,) = given.findings
    assert finding.acceptable == "none"
    assert "cannot move" in finding.remedy


def test_an_empty_set_of_lengths_is_never_accepted() -> None:
    taken = snapshot()
    registers = dict(taken.vcpus[0].registers) | {VLS: vls.encode(VectorLengths())}
    empty = replace(taken, vcpus=(replace(taken.vcpus[0], registers=RegisterSet(registers.items())),))
    assert [finding.code for finding in report(Host(), empty).findings] == [Code.VECTOR_LENGTHS]


@pytest.mark.parametrize("named", [True, False])
def test_every_refused_register_is_found_in_one_attempt(named: bool) -> None:
    refuse = {MIDR: errno.EINVAL, X0: errno.EINVAL, TTBR: errno.ENOENT}
    host = Host(refuse_set=refuse, names_culprit=named)
    given = report(host, snapshot())
    assert {finding.reg: finding.errno for finding in given.findings} == refuse
    assert set(given.vcpus[0].refused) == set(refuse)
    assert dict(given.vcpus[0].results())[MIDR] is Result.REFUSED


def test_a_refused_register_says_what_was_asked_what_is_there_why_and_what_helps() -> None:
    (finding,) = report(Host(refuse_set={MIDR: errno.EINVAL}), snapshot()).findings
    assert str(finding) == (
        "vCPU 0: KVM_SET_ONE_REG MIDR_EL1: EINVAL [asked 0x0101010101010101, there 0x0000000000000000]. "
        "the CPU's implementation is the destination's own unless the VM may choose it. "
        "Make the VM with KVM_CAP_ARM_WRITABLE_IMP_ID_REGS if its kernel can, or move between equal CPUs"
    )


def test_long_values_are_shortened_in_text_and_whole_as_data() -> None:
    (finding,) = report(Host(refuse_set={Z0: errno.ENOENT}), snapshot()).findings
    assert len(finding.asked) == 2 + 512
    assert "asked 0x01010101...01010101 (256 bytes)" in str(finding)


def test_a_write_that_vanishes_is_found_by_reading_back() -> None:
    (finding,) = report(Host(ignored={TTBR}), snapshot()).findings
    assert (finding.code, finding.reg, finding.there) == (Code.REGISTER_DIFFERS, TTBR, "0x0000000000000000")


def test_a_register_the_snapshot_lacks_is_noted_and_does_not_block() -> None:
    extra = RegId(0x6030_0000_0019_0042)
    given = report(Host(more={extra: bytes(8)}), snapshot())
    assert given.verified
    (finding,) = given.findings
    assert (finding.code, finding.blocking, finding.there) == (Code.REGISTER_EXTRA, False, extra.hex)
    assert given.vcpus[0].extra == (extra,)


def test_a_register_the_source_could_not_read_blocks() -> None:
    taken = snapshot(Host(refuse_get={TTBR: errno.EBUSY}))
    given = report(Host(), taken)
    (finding,) = given.findings
    assert (finding.code, finding.reg, finding.errno) == (Code.REGISTER_UNREAD, TTBR, errno.EBUSY)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("KVM_CREATE_VM", Code.MACHINE_TYPE),
        ("KVM_ENABLE_CAP", Code.CAPABILITY),
        ("KVM_CREATE_VCPU", Code.VCPU),
        ("KVM_ARM_VCPU_INIT", Code.FEATURES),
        ("KVM_ARM_VCPU_FINALIZE", Code.FINALIZE),
        ("KVM_SET_VCPU_EVENTS", Code.EVENTS),
        ("KVM_SET_MP_STATE", Code.MP_STATE),
    ],
)
def test_a_refused_call_is_a_finding_and_leaves_nothing_behind(call: str, code: Code) -> None:
    config = VmConfig(0x30, (EnabledCap(Cap.ARM_MTE),))
    given = report(Host(refuse_call={call: errno.EINVAL}), snapshot(config=config))
    first = given.findings[0]
    assert (first.code, first.operation, first.errno) == (code, call, errno.EINVAL)
    assert not given.verified


def test_refused_features_are_told_from_those_that_would_be_taken() -> None:
    (finding,) = report(Host(lengths=VectorLengths()), snapshot()).findings
    assert (finding.code, finding.asked, finding.acceptable) == (Code.FEATURES, "PSCI_0_2, SVE", "PSCI_0_2")


def test_the_vms_clock_is_written_once() -> None:
    host = Host()
    given = report(host, snapshot(vcpus=3))
    assert given.verified
    assert written(host).count(CNT) == 1
    assert dict(given.vcpus[2].results())[CNT] is Result.LEFT


def test_all_vcpus_are_made_before_any_is_initialised() -> None:
    host = Host()
    report(host, snapshot(vcpus=2))
    calls = [call for call, _ in host.log if call in {"KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT"}]
    assert calls == ["KVM_CREATE_VCPU"] * 2 + ["KVM_ARM_VCPU_INIT"] * 2


def test_events_and_mp_state_are_restored_and_compared() -> None:
    taken = snapshot()
    state = replace(
        taken.vcpus[0], mp_state=5, events=VcpuEvents(serror_pending=1, serror_has_esr=1, serror_esr=7)
    )
    host = Host()
    assert report(host, replace(taken, vcpus=(state,))).verified
    assert ("KVM_SET_MP_STATE", 5) in host.log
    assert ("KVM_SET_VCPU_EVENTS", state.events.pack()) in host.log


def test_an_esr_without_a_pending_serror_is_not_sent_on() -> None:
    """KVM_GET_VCPU_EVENTS says has_esr on every RAS host; a host without RAS could refuse it."""
    taken = snapshot()
    state = replace(taken.vcpus[0], events=VcpuEvents(serror_has_esr=1))
    host = Host()
    assert report(host, replace(taken, vcpus=(state,))).verified
    assert ("KVM_SET_VCPU_EVENTS", bytes(64)) in host.log


def test_a_place_that_dies_is_no_finding_and_its_vm_is_closed() -> None:
    host = Host()

    def die() -> None:
        raise PlaceError("gone")

    host.on_list = die
    with pytest.raises(PlaceError):
        restore(host.system(), snapshot())
    assert host.open_vms == 0


def test_a_report_of_a_vm_that_was_never_made_still_shows_the_plan() -> None:
    given = report(Host(refuse_call={"KVM_CREATE_VM": errno.EINVAL}), snapshot())
    assert {result for _, result in given.vcpus[0].results()} == {Result.NOT_TRIED}
    assert next(step.stage for step in given.vcpus[0].plan.steps()) is Stage.INIT


def test_every_advice_row_can_be_reached() -> None:
    """A row hidden by an earlier one would never be read."""
    from armkvm import catalog
    from armkvm.arch.sysregs import BY_NAME
    from armkvm.migration.advice import advice

    known = [*catalog._IDS.values(), *map(catalog.id_of, BY_NAME.values()), RegId.za(3)]
    for row in ADVICE:
        number = row.errno or errno.EINVAL
        assert any(advice(row.code, reg, number) is row for reg in known if row.matches(reg)), row.why


def test_states_are_values() -> None:
    assert snapshot() == snapshot()
    assert isinstance(snapshot().vcpus[0], VcpuState)
