"""Fill gives every register contents that are legal for it, the same from the same seed."""

from __future__ import annotations

import errno

import pytest
from tests.fakes import Host

from armkvm.abi import vls
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import parse
from armkvm.migration.fill import ROWS, fill

SVE = (VcpuFeature.SVE,)


def number(vcpu_values: bytes) -> int:
    return int.from_bytes(vcpu_values, "little")


def test_the_same_seed_gives_the_same_state_on_any_host_in_any_order() -> None:
    small, large = Host(), Host(more={parse("TPIDR_EL1"): bytes(8)})
    one, other = small.vcpu(*SVE), large.vcpu(*SVE)
    fill(one, 7)
    fill(other, 7)
    shared = [reg for reg in one.reg_list() if reg != parse("KVM_REG_ARM_TIMER_CNT")]
    assert one.get_regs(shared) == other.get_regs(shared)


def test_another_seed_and_another_vcpu_give_another_state() -> None:
    x0 = RegId.x(0)
    values = set()
    for seed in range(4):
        vcpu = Host().vcpu()
        fill(vcpu, seed)
        values.add(vcpu.get_one_reg(x0))
    assert len(values) == 4


@pytest.mark.parametrize("vqs", [[1], [1, 2], [1, 2, 4, 8, 16]])
def test_vectors_are_filled_to_their_length_and_no_further(vqs: list[int]) -> None:
    vcpu = Host(lengths=VectorLengths(vqs)).vcpu(*SVE)
    fill(vcpu, 1)
    vl = 16 * vqs[-1]
    z, p, ffr = (vcpu.get_one_reg(reg) for reg in (RegId.z(0), RegId.p(0), RegId.ffr()))
    assert z[vl:] == bytes(256 - vl)
    assert z[vl - 8 : vl] != bytes(8)
    assert p[vl // 8 :] == bytes(32 - vl // 8)
    assert not number(ffr) & (number(ffr) + 1), "FFR is ones below zeros"
    assert number(ffr) < 1 << 8 * (vl // 8)


def test_ffr_takes_every_length_of_ones_there_is() -> None:
    seen = set()
    for seed in range(400):
        vcpu = Host(lengths=VectorLengths([1])).vcpu(*SVE)
        fill(vcpu, seed)
        seen.add(number(vcpu.get_one_reg(RegId.ffr())).bit_length())
    assert seen == set(range(17))


@pytest.mark.parametrize(
    ("svcr", "sve", "sme", "z_bytes"),
    [(0, [1, 2], [4], 32), (1, [1, 2], [4], 64), (2, [1, 2], [4], 32), (3, [1, 2], [4], 64)],
)
def test_streaming_mode_decides_how_long_z_is(
    svcr: int, sve: list[int], sme: list[int], z_bytes: int
) -> None:
    """sme-oracle 11: the SVE length when SM is 0, the SME length when it is 1."""

    more = {
        parse("SVCR"): svcr.to_bytes(8, "little"),
        RegId.sme_vls(): vls.encode(VectorLengths(sme)),
        RegId.za(0): bytes(256),
        RegId.zt0(): bytes(64),
    }
    vcpu = Host(lengths=VectorLengths(sve), more=more).vcpu(*SVE)
    fill(vcpu, 1)
    z, za, zt0 = (vcpu.get_one_reg(reg) for reg in (RegId.z(0), RegId.za(0), RegId.zt0()))
    assert len(z.rstrip(b"\0")) in range(z_bytes - 3, z_bytes + 1)
    assert len(za.rstrip(b"\0")) in range(61, 65)
    assert len(zt0.rstrip(b"\0")) in range(61, 65)
    assert vcpu.get_one_reg(parse("SVCR")) == svcr.to_bytes(8, "little")


@pytest.mark.parametrize(
    ("name", "before", "fixed"),
    [
        ("PSTATE", 0x3C5, ~(0xF << 28 | 0xF << 6)),
        ("FPSR", 0, ~0x0800_009F),
        ("FPCR", 0, ~0x07C0_0000),
        ("PC", 0, 3),
        ("MIDR_EL1", 0x411FD402, -1),
        ("OSLSR_EL1", 8, ~2),
        ("DBGBCR3_EL1", 0, ~0xFFFF_FFFE),
        ("PMCR_EL0", 0x3000, -1),
        ("PMCNTENCLR_EL0", 5, -1),
        ("PMMIR_EL1", 4, -1),
        ("KVM_REG_ARM_TIMER_CTL", 0, ~3),
        ("KVM_REG_ARM_PSCI_VERSION", 0x10003, -1),
        ("CCSIDR_EL1(0)", 0x701FE00A, -1),
    ],
)
def test_bits_that_are_not_the_guests_to_choose_stay(name: str, before: int, fixed: int) -> None:
    reg = parse(name)
    host = Host(more={reg: before.to_bytes(reg.size, "little")})
    changed = 0
    for seed in range(16):
        vcpu = host.vcpu()
        filled = fill(vcpu, seed)
        after = number(vcpu.get_one_reg(reg))
        assert not (after ^ before) & fixed & ((1 << 8 * reg.size) - 1)
        assert (reg in filled.left) == (fixed == -1)
        changed += after != before
    assert bool(changed) == (fixed != -1)


def test_a_refused_write_is_reported_and_the_rest_is_filled() -> None:
    ttbr = parse("TTBR0_EL1")
    host = Host(refuse_set={ttbr: errno.EINVAL}, refuse_get={RegId.x(1): errno.ENOENT})
    filled = fill(host.vcpu(), 3)
    assert filled.left[ttbr] == "refused: EINVAL"
    assert filled.left[RegId.x(1)] == "cannot be read: ENOENT"
    assert ttbr not in filled.written
    assert RegId.x(0) in filled.written
    assert filled.bytes_written == sum(reg.size for reg in filled.written)


def test_every_row_has_its_reason() -> None:
    assert all(row.because for row in ROWS)
