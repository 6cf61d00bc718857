"""Many registers at once answer, and leave behind, what one call each would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

import armkvm
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.catalog import parse
from armkvm.errors import KvmError

if TYPE_CHECKING:
    from armkvm.backends.base import Vcpu

SVCR = parse("SVCR")
NAMES = (
    "PC",
    "PSTATE",
    "X0",
    "X30",
    "V3",
    "FPSR",
    "TPIDR_EL1",
    "ZCR_EL1",
    "ID_AA64ISAR0_EL1",
    "MIDR_EL1",
    "SVCR",
)
IDS = st.one_of(
    st.sampled_from([parse(name) for name in NAMES]),
    st.integers(0, 31).map(RegId.z),
    st.integers(0, 15).map(RegId.p),
    st.integers(0, 80).map(RegId.za),
    st.sampled_from([RegId.ffr(), RegId.zt0(), RegId.sve_vls(), RegId.z(1, 2), RegId(0x603000000013FFFF)]),
)
STARTS = st.tuples(
    st.sampled_from([(F.PSCI_0_2,), (F.PSCI_0_2, F.SVE), (F.PSCI_0_2, F.SME), (F.PSCI_0_2, F.SVE, F.SME)]),
    st.booleans(),
    st.integers(0, 3),
)


def started(start: tuple[tuple[F, ...], bool, int]) -> Vcpu:
    features, finalized, svcr = start
    vcpu = armkvm.connect("model:sme-max").create_vm().create_vcpu(0)
    vcpu.init(features)
    if len(features) > 1 and finalized:
        vcpu.finalize(F.SVE)
    if F.SME in features:
        vcpu.set_one_reg(SVCR, svcr.to_bytes(8, "little"))
    return vcpu


def everything(vcpu: Vcpu, ids: list[RegId]) -> list[object]:
    found: list[object] = []
    for reg in [*ids, parse("X1"), parse("PC")]:
        try:
            found.append(vcpu.get_one_reg(reg))
        except KvmError as refused:
            found.append(refused.errno)
    return found


@given(STARTS, st.lists(IDS, max_size=12))
def test_reading_many_is_reading_each(start: tuple[tuple[F, ...], bool, int], ids: list[RegId]) -> None:
    """The same values, or the first refusal with its register and rule."""
    vcpu = started(start)
    try:
        together: object = vcpu.get_regs(ids)
    except KvmError as refused:
        together = (refused.reg, refused.errno, refused.rule and refused.rule.name)
    try:
        singly: object = [vcpu.get_one_reg(reg) for reg in ids]
    except KvmError as refused:
        singly = (refused.reg, refused.errno, refused.rule and refused.rule.name)
    assert together == singly


@given(STARTS, st.lists(st.tuples(IDS, st.binary(min_size=1, max_size=4)), max_size=12))
def test_writing_many_is_writing_each(
    start: tuple[tuple[F, ...], bool, int], writes: list[tuple[RegId, bytes]]
) -> None:
    """The same refusal, and the same state, earlier writes included, afterwards."""
    pairs = [(reg, (seed * reg.size)[: reg.size]) for reg, seed in writes]
    together, singly = started(start), started(start)
    answers: list[object] = []
    try:
        together.set_regs(pairs)
        answers.append(None)
    except KvmError as refused:
        answers.append((refused.reg, refused.errno))
    try:
        for reg, data in pairs:
            singly.set_one_reg(reg, data)
        answers.append(None)
    except KvmError as refused:
        answers.append((refused.reg, refused.errno))
    assert answers[0] == answers[1]
    ids = [reg for reg, _ in pairs]
    assert everything(together, ids) == everything(singly, ids)


ID_IDS = [parse(f"ID_AA64{name}_EL1") for name in ("ISAR0", "ISAR1", "PFR0", "PFR1", "MMFR2", "DFR0", "ZFR0")]


@given(
    st.sampled_from(["model:max", "model:max?kernel=6.1", "model:neoverse-v1", "model:sme-max"]),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from([*ID_IDS, parse("ID_PFR0_EL1")]), st.integers(0, 15)), max_size=10),
)
def test_id_registers_written_together_keep_their_rules(
    uri: str, has_run: bool, writes: list[tuple[RegId, int]]
) -> None:
    """What each may be lowered to, its own check, and the freeze at the first run, in a run of writes."""
    together, singly = (armkvm.connect(uri).create_vm().create_vcpu(0) for _ in range(2))
    pairs: list[tuple[RegId, bytes]] = []
    answers: list[object] = []
    for vcpu in (together, singly):
        vcpu.init((F.PSCI_0_2,))
        if has_run:
            with pytest.raises(KvmError, match="EINTR"):
                vcpu.run(immediate_exit=True)
    for reg, nibble in writes:
        value = int.from_bytes(singly.get_one_reg(reg), "little")
        lowered = value ^ (value & 0xF << 4 * nibble) if nibble else value  # one field to 0, which some allow
        pairs.append((reg, lowered.to_bytes(8, "little")))
    for vcpu in (together, singly):
        try:
            if vcpu is together:
                vcpu.set_regs(pairs)
            else:
                for reg, data in pairs:
                    vcpu.set_one_reg(reg, data)
            answers.append(None)
        except KvmError as refused:
            answers.append((refused.reg, refused.errno))
    assert answers[0] == answers[1]
    assert everything(together, ID_IDS) == everything(singly, ID_IDS)


def test_a_wrong_length_is_the_callers_mistake() -> None:
    """ValueError naming both lengths, and nothing after it is written."""
    vcpu = started(((F.PSCI_0_2, F.SVE), True, 0))
    pairs = [(RegId.x(0), b"\1" * 8), (RegId.x(1), b"\1" * 7), (RegId.x(2), b"\1" * 8)]
    with pytest.raises(ValueError, match="holds 8 bytes, not 7"):
        vcpu.set_regs(pairs)
    assert vcpu.get_one_reg(RegId.x(2)) == bytes(8)
