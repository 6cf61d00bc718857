"""Hosts whose CPUs have different vector lengths: what guests can get, and how kernels differ in it.

The smallest length that only some CPUs have spoils itself and everything above; what remains may be
nothing at all for SME, which has no mandatory length. Expectations are written out from the rules in
Linux's fpsimd.c and the SME series (v4 patch 4, v10 patch 26, v11 patches 4 and 5).
"""

from __future__ import annotations

import errno
from functools import partial

import pytest
from tests.differential.sme_lab import errno_of
from tests.made_up_hosts import host

from armkvm.abi import vls
from armkvm.abi.caps import SME_CAPS
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import System, Vcpu
from armkvm.catalog import parse
from armkvm.errors import KvmError

SVCR = parse("SVCR")
NONE = None


def vcpu_with(system: System, *features: F) -> Vcpu:
    vcpu = system.create_vm().create_vcpu(0)
    vcpu.init(features)
    return vcpu


def lengths(vcpu: Vcpu, reg: RegId) -> str:
    return str(vls.decode(vcpu.get_one_reg(reg)))


def kept_bytes(vcpu: Vcpu, reg: RegId) -> int:
    vcpu.set_one_reg(reg, b"\xff" * reg.size)
    return vcpu.get_one_reg(reg).count(0xFF)


def rows_of_za(vcpu: Vcpu) -> int:
    """How many rows of ZA answer; the next one is refused with EINVAL."""
    vcpu.set_one_reg(SVCR, (2).to_bytes(8, "little"))
    answers = [errno_of(partial(vcpu.get_one_reg, RegId.za(row))) for row in range(256)]
    rows = answers.count(None)
    assert answers == [None] * rows + ["EINVAL"] * (256 - rows)
    return rows


# cpus' SVE sets -> what guests are offered, and the vq of a fresh vCPU: unchecked and checked
SVE = [
    (("1-16",), "1-16", 16, 16),
    (("1-16", "1,2,4"), "1,2", 2, 2),
    (("1,2,8", "1,2,4,8"), "1,2", 3, 2),  # 3 is no length of any CPU
    (("1,4,16", "1,4,8,16"), "1,4", 7, 4),
    (("1,2,4", "1-4"), "1,2", 2, 2),
    (("1-4", "1-8"), "1-4", 4, 4),
    (("1,2,4", "1,2,4,8"), "1,2,4", 4, 4),  # 7, but no CPU's common maximum is above 4
    (("1", "1,2"), "1", 1, 1),
    (("1-2", "1-2", "1,2,3"), "1,2", 2, 2),
]


@pytest.mark.parametrize(("cpus", "offered", "unchecked", "checked"), SVE)
@pytest.mark.parametrize("profile", ["6.1", "6.12", "7.3", "sve-v7", "sme-v4", "sme-v12"])
def test_sve_of_unlike_cpus(
    profile: str, cpus: tuple[str, ...], offered: str, unchecked: int, checked: int
) -> None:
    """A fresh vCPU's Z has the virtualisable limit, which before v11 of the SME series need not be a
    length of any CPU; writing the set makes it one.
    """
    system = host(*((sve, "") for sve in cpus), profile=profile)
    fresh = vcpu_with(system, F.SVE)
    assert lengths(fresh, RegId.sve_vls()) == offered
    fresh.finalize(4)
    limit = checked if profile == "sme-v12" else unchecked
    assert kept_bytes(fresh, RegId.z(0)) == 16 * limit
    assert kept_bytes(fresh, RegId.p(0)) == 2 * limit

    chosen = vcpu_with(system, F.SVE)
    chosen.set_one_reg(RegId.sve_vls(), vls.encode(VectorLengths.parse(offered)))
    chosen.finalize(4)
    assert kept_bytes(chosen, RegId.z(0)) == 16 * VectorLengths.parse(offered).max


# cpus' SME sets -> (offered lengths, ZA rows) on sme-v12 and sme-v4; NONE: SME is refused
SME: list[tuple[tuple[str, ...], tuple[str, int] | None, tuple[str, int] | None]] = [
    (("1,2,4,8,16",), ("1,2,4,8,16", 256), ("1,2,4,8,16", 256)),
    (("4",), ("4", 64), ("4", 64)),
    (("1,2,4", "1,2,8"), ("1,2", 32), ("1,2", 32)),  # one below 4 is 3, but both have no more than 2
    (("1,2,8", "1,2,4,8"), ("1,2", 32), ("1,2", 48)),
    (("2,4", "2,4,8"), ("2,4", 64), ("2,4", 64)),
    (("2,8", "2,4,8"), ("2", 32), ("2", 48)),
    # the CPUs differ in the smallest length: nothing is virtualisable, which v4 takes for everything
    (("1,2", "2,4"), NONE, ("2", 256)),
    (("1", "2"), NONE, ("none", 256)),
    (("1,2,4,8,16", "2,4,8,16"), NONE, ("2,4,8,16", 256)),
    # a CPU without SME takes it from all
    (("1,2", ""), NONE, NONE),
]


@pytest.mark.parametrize(("cpus", "v12", "v4"), SME)
@pytest.mark.parametrize("profile", ["sme-v12", "sme-v4"])
def test_sme_of_unlike_cpus(
    profile: str, cpus: tuple[str, ...], v12: tuple[str, int] | None, v4: tuple[str, int] | None
) -> None:
    """Capability, KVM_ARM_VCPU_INIT, the set of lengths and the size of ZA."""
    system = host(*(("", sme) for sme in cpus), profile=profile)
    expected = v4 if profile == "sme-v4" else v12
    assert system.check_extension(SME_CAPS[profile]) == (expected is not NONE)
    if expected is NONE:
        with pytest.raises(KvmError) as refused:
            vcpu_with(system, F.SME)
        assert refused.value.errno == errno.EINVAL
        return
    vcpu = vcpu_with(system, F.SME)
    assert lengths(vcpu, RegId.sme_vls()) == expected[0]
    vcpu.finalize(4)
    assert rows_of_za(vcpu) == expected[1]
    assert kept_bytes(vcpu, RegId.za(0)) == expected[1]


@pytest.mark.parametrize("cpus", [("2", "4"), ("2,16", "4,8")])
def test_v4_offers_sme_that_cannot_be_finalized(cpus: tuple[str, ...]) -> None:
    """No common length at all, and the smallest is not 128 bits: the limit is cut to 0 bytes, which
    reading SME_VLS (EINVAL) and finalizing (EIO) find out.
    """
    system = host(*(("", sme) for sme in cpus), profile="sme-v4")
    vcpu = vcpu_with(system, F.SME)
    with pytest.raises(KvmError) as refused:
        vcpu.get_one_reg(RegId.sme_vls())
    assert refused.value.errno == errno.EINVAL
    with pytest.raises(KvmError) as refused:
        vcpu.set_one_reg(RegId.sme_vls(), vls.encode(VectorLengths([2])))
    assert refused.value.errno == errno.EINVAL
    with pytest.raises(KvmError) as refused:
        vcpu.finalize(4)
    assert refused.value.errno == errno.EIO
    with pytest.raises(KvmError) as refused:
        vcpu.reg_list()
    assert refused.value.errno == errno.EPERM


def test_v4_finds_a_length_in_the_unchecked_maximum() -> None:
    """Where -1 was taken for 2048 bits, a set that all CPUs share can still be chosen."""
    vcpu = vcpu_with(host(("", "1,2"), ("", "2,4"), profile="sme-v4"), F.SME)
    vcpu.set_one_reg(RegId.sme_vls(), vls.encode(VectorLengths([2])))
    vcpu.finalize(4)
    assert rows_of_za(vcpu) == 32


@pytest.mark.parametrize("profile", ["sme-v4", "sme-v12"])
def test_the_two_kinds_of_lengths_have_nothing_to_do_with_each_other(profile: str) -> None:
    """SVE alike and SME not, and the other way round; no overlap is needed."""
    system = host(("1,2,4", "8,16"), ("1,2,4", "8"), profile=profile)
    vcpu = vcpu_with(system, F.SVE, F.SME)
    assert lengths(vcpu, RegId.sve_vls()) == "1,2,4"
    assert lengths(vcpu, RegId.sme_vls()) == "8"
    system = host(("1,2", "8,16"), ("1,2,4", "8,16"), profile=profile)
    vcpu = vcpu_with(system, F.SVE, F.SME)
    assert lengths(vcpu, RegId.sve_vls()) == "1,2"
    assert lengths(vcpu, RegId.sme_vls()) == "8,16"
