"""The road to KVM_ARM_VCPU_FINALIZE: what each proposal's rules of sequence allow and refuse.

``sve-ioctl-2017``: ioctls for the lengths (kvmarm list, 13 December 2017). ``sve-v5``: implicit
finalization, with early, late and relaxed registers (as described in
<20190301145503.GI3567@e103592.cambridge.arm.com>, 1 March 2019). ``sve-v7``: explicit finalization
(<1553864452-15080-28-git-send-email-Dave.Martin@arm.com>, 29 March 2019).

A scenario is one column of calls with, per proposal, the errno of each; what the sources leave open
is marked in the behaviour rows (`armkvm.model.vector_behaviours`).
"""

from __future__ import annotations

from functools import partial

import pytest
from tests.differential.sme_lab import errno_of
from tests.made_up_hosts import host

from armkvm.abi import vls
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.model import ModelVcpu
from armkvm.catalog import parse
from armkvm.errors import KvmError

SVE = RegId.sve_vls()
Z0, FFR, PC = RegId.z(0), RegId.ffr(), parse("PC")
SHORT = vls.encode(VectorLengths([1, 2]))
ONES = b"\xff" * 256
NOT_THE_HOSTS = vls.encode(VectorLengths([1, 3]))
ROADS = ("sve-ioctl-2017", "sve-v5", "sve-v7")

CALLS = {
    "init sve": lambda v: v.init([F.SVE]),
    "init": lambda v: v.init([]),
    "finalize": lambda v: v.finalize(4),
    "run": lambda v: v.run(immediate_exit=True),
    "list": lambda v: v.reg_list(),
    "list, no room": lambda v: v.reg_list(0),
    "get vls": lambda v: v.get_one_reg(SVE),
    "set vls": lambda v: v.set_one_reg(SVE, SHORT),
    "set wrong vls": lambda v: v.set_one_reg(SVE, NOT_THE_HOSTS),
    "get vls by call": lambda v: v.get_sve_vls(),
    "set vls by call": lambda v: v.set_sve_vls(SHORT),
    "set wrong vls by call": lambda v: v.set_sve_vls(NOT_THE_HOSTS),
    "get z0": lambda v: v.get_one_reg(Z0),
    "set z0": lambda v: v.set_one_reg(Z0, ONES),
    "get z0 to nowhere": lambda v: v.get_one_reg_null(Z0),
    "set z0 from nowhere": lambda v: v.set_one_reg_null(Z0),
    "get ffr": lambda v: v.get_one_reg(FFR),
    "get slice 1": lambda v: v.get_one_reg(RegId.z(0, 1)),
    "get odd sve id": lambda v: v.get_one_reg(RegId(Z0 & ~(0xF << 52) | 6 << 52)),
    "get pc": lambda v: v.get_one_reg(PC),
    "set zcr": lambda v: v.set_one_reg(parse("ZCR_EL1"), bytes(8)),
}

# scenario -> call, then the errno under sve-ioctl-2017, sve-v5, sve-v7; ok for success
SCENARIOS = {
    "before KVM_ARM_VCPU_INIT nothing answers": """
        get pc              ENOEXEC  ENOEXEC  ENOEXEC
        get z0              ENOEXEC  ENOEXEC  ENOEXEC
        get vls             ENOEXEC  ENOEXEC  ENOEXEC
        get vls by call     ENOEXEC  EINVAL   EINVAL
        set vls by call     ENOEXEC  EINVAL   EINVAL
        finalize            EINVAL   EINVAL   ENOEXEC
        list                ENOEXEC  ENOEXEC  ENOEXEC
        run                 ENOEXEC  ENOEXEC  ENOEXEC
    """,
    "the flow of the mail of 1 March 2019": """
        init sve            ok       ok       ok
        set vls             EINVAL   ok       ok
        set z0              ok       ok       EPERM
        get pc              ok       ok       ok
        finalize            EINVAL   EINVAL   ok
        finalize            EINVAL   EINVAL   EPERM
        list                ok       ok       ok
        set vls             EINVAL   EPERM    EPERM
        set z0              ok       ok       ok
        run                 EINTR    EINTR    EINTR
        finalize            EINVAL   EINVAL   EPERM
    """,
    "running too early": """
        init sve            ok       ok       ok
        run                 EINTR    EINTR    EPERM
        list                ok       ok       EPERM
        get z0              ok       ok       EPERM
        set vls             EINVAL   EPERM    ok
        finalize            EINVAL   EINVAL   ok
        run                 EINTR    EINTR    EINTR
    """,
    "listing is a late call, also where it is refused": """
        init sve            ok       ok       ok
        list, no room       E2BIG    E2BIG    EPERM
        get vls             EINVAL   ok       ok
        set vls             EINVAL   EPERM    ok
    """,
    "a late register, read": """
        init sve            ok       ok       ok
        get z0              ok       ok       EPERM
        set vls             EINVAL   EPERM    ok
        set wrong vls       EINVAL   EPERM    EINVAL
    """,
    "a late register, at a bad address": """
        init sve            ok       ok       ok
        set z0 from nowhere EFAULT   EFAULT   EPERM
        set vls             EINVAL   EPERM    ok
    """,
    "a late register that has no such slice": """
        init sve            ok       ok       ok
        get slice 1         ENOENT   ENOENT   ENOENT
        set vls             EINVAL   EPERM    ok
    """,
    "an id of the SVE class that is none": """
        init sve            ok       ok       ok
        get odd sve id      EINVAL   ENOENT   EINVAL
        set vls             EINVAL   EPERM    ok
    """,
    "early and relaxed registers leave the lengths open": """
        init sve            ok       ok       ok
        get vls             EINVAL   ok       ok
        set vls             EINVAL   ok       ok
        set zcr             ok       ok       ok
        get pc              ok       ok       ok
        set vls             EINVAL   ok       ok
        set wrong vls       EINVAL   EINVAL   EINVAL
    """,
    "without SVE": """
        init                ok       ok       ok
        get z0              ENOENT   ENOENT   ENOENT
        get odd sve id      EINVAL   ENOENT   EINVAL
        get vls             EINVAL   ENOENT   ENOENT
        set vls by call     EINVAL   EINVAL   EINVAL
        get vls by call     EINVAL   EINVAL   EINVAL
        finalize            EINVAL   EINVAL   EINVAL
        list                ok       ok       ok
        run                 EINTR    EINTR    EINTR
    """,
    "lengths by calls, until the vCPU first runs": """
        init sve                ok      ok      ok
        get vls by call         ok      EINVAL  EINVAL
        set wrong vls by call   EINVAL  EINVAL  EINVAL
        set vls by call         ok      EINVAL  EINVAL
        get z0                  ok      ok      EPERM
        set vls by call         ok      EINVAL  EINVAL
        run                     EINTR   EINTR   EPERM
        set vls by call         EPERM   EINVAL  EINVAL
        get vls by call         ok      EINVAL  EINVAL
    """,
    "KVM_ARM_VCPU_INIT again": """
        init sve            ok       ok       ok
        set vls             EINVAL   ok       ok
        get z0              ok       ok       EPERM
        init sve            ok       ok       ok
        set vls             EINVAL   EPERM    ok
        list                ok       ok       EPERM
    """,
}


def sve_vcpu(profile: str) -> ModelVcpu:
    vcpu = host(("1,2,4", ""), profile=profile).create_vm().create_vcpu(0)
    assert isinstance(vcpu, ModelVcpu)
    return vcpu


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_sequence(scenario: str, road: str) -> None:
    """Each call of a scenario, in order, is refused or admitted as the proposal's rules say."""
    vcpu = sve_vcpu(road)
    for line in SCENARIOS[scenario].strip().splitlines():
        *words, ioctl_2017, v5, v7 = line.split()
        call = " ".join(words)
        expected = dict(zip(ROADS, (ioctl_2017, v5, v7), strict=True))[road]
        assert (errno_of(partial(CALLS[call], vcpu)) or "ok") == expected, call


@pytest.mark.parametrize("profile", ["6.1", "7.3", "sme-v12"])
def test_the_2017_calls_exist_nowhere_else(profile: str) -> None:
    """An ioctl no kernel knows is EINVAL in every phase."""
    vcpu = sve_vcpu(profile)
    for prepare in ("init sve", "finalize"):
        assert errno_of(vcpu.get_sve_vls) == errno_of(lambda: vcpu.set_sve_vls(SHORT)) == "EINVAL"
        CALLS[prepare](vcpu)
    assert errno_of(vcpu.get_sve_vls) == errno_of(lambda: vcpu.set_sve_vls(SHORT)) == "EINVAL"


def test_sve_v7_is_what_was_merged() -> None:
    """Nothing separates it from the oldest recorded kernel but the name."""
    from armkvm.model.profile import PROFILES

    assert PROFILES["sve-v7"].behaviours == PROFILES["6.1"].behaviours


@pytest.mark.parametrize(
    ("road", "z0_survives"), [("sve-ioctl-2017", False), ("sve-v5", True), ("sve-v7", True)]
)
def test_restoring_z_ahead_of_the_lengths(road: str, *, z0_survives: bool) -> None:
    """The order the mails worry about: data first, then the set of lengths. Refused where there is a
    register for the set, and lost without a word where there are calls.
    """
    vcpu = sve_vcpu(road)
    vcpu.init([F.SVE])
    if road == "sve-v7":
        vcpu.finalize(4)
    vcpu.set_one_reg(Z0, ONES)
    write = vcpu.set_sve_vls if road == "sve-ioctl-2017" else lambda data: vcpu.set_one_reg(SVE, data)
    assert errno_of(lambda: write(SHORT)) == ("EPERM" if z0_survives else None)
    assert any(vcpu.get_one_reg(Z0)) is z0_survives


@pytest.mark.parametrize("road", ROADS)
def test_a_list_names_what_the_calls_leave_out(road: str) -> None:
    """With calls of their own the lengths are no register, so a list-driven VMM would lose them."""
    vcpu = sve_vcpu(road)
    vcpu.init([F.SVE])
    if road == "sve-v7":
        vcpu.finalize(4)
    listed = vcpu.reg_list()
    assert (SVE in listed) is (road != "sve-ioctl-2017")
    assert Z0 in listed


def test_a_chosen_set_survives_init_only_once_it_is_final() -> None:
    """The lengths a second KVM_ARM_VCPU_INIT finds: open ones go back to the host's, final ones stay."""
    for road, finish in (("sve-v5", "get z0"), ("sve-v7", "finalize")):
        vcpu = sve_vcpu(road)
        for final in (False, True):
            CALLS["init sve"](vcpu)
            CALLS["set vls"](vcpu)
            if final:
                CALLS[finish](vcpu)
            CALLS["init sve"](vcpu)
            assert (vcpu.get_one_reg(SVE) == SHORT) is final, (road, final)


@pytest.mark.parametrize(
    ("road", "calls", "rule", "names"),
    [
        ("sve-v5", ["init sve", "list", "set vls"], "vls-final-by-use", "KVM_ARM_VCPU_INIT"),
        ("sve-v7", ["init sve", "finalize", "set vls"], "vls-final", "KVM_ARM_VCPU_FINALIZE"),
        ("sve-v5", ["init sve", "finalize"], "no-finalize", "KVM_ARM_VCPU_INIT"),
        ("sve-ioctl-2017", ["init sve", "finalize"], "no-finalize", "KVM_ARM_VCPU_INIT"),
        ("sve-ioctl-2017", ["init sve", "get vls"], "no-lengths-register", "KVM_ARM_VCPU_GET_SVE_VLS"),
        ("sve-v5", ["init sve", "get vls by call"], "no-lengths-call", "KVM_REG_ARM64_SVE_VLS"),
        ("sve-v7", ["init sve", "set vls by call"], "no-lengths-call", "KVM_REG_ARM64_SVE_VLS"),
    ],
)
def test_a_remedy_names_only_what_its_kernel_has(road: str, calls: list[str], rule: str, names: str) -> None:
    """Each refusal's way out is a call or register of that kernel."""
    vcpu = sve_vcpu(road)
    for call in calls[:-1]:
        CALLS[call](vcpu)
    with pytest.raises(KvmError) as refused:
        CALLS[calls[-1]](vcpu)
    assert refused.value.rule is not None
    assert refused.value.rule.name == rule
    assert names in refused.value.rule.remedy
    assert ("KVM_ARM_VCPU_FINALIZE" in refused.value.rule.remedy) == (
        road == "sve-v7" and rule == "vls-final"
    )
