"""Errors say what was refused, where, why, and what to do."""

from __future__ import annotations

import copy
import errno
import pickle

import pytest

from armkvm.abi.regid import RegId
from armkvm.errors import (
    ArmKvmError,
    Fault,
    InputError,
    KvmError,
    MissingFacts,
    ModelBug,
    PlaceError,
    Rule,
    UnknownPlace,
    errno_name,
)

RULE = Rule("vls-after-finalize", errno.EPERM, "Lengths are fixed by FINALIZE.", "Set them before.")


def test_a_refusal_is_an_oserror_with_the_kernels_errno() -> None:
    error = KvmError(errno.EPERM, "KVM_SET_ONE_REG")
    assert isinstance(error, OSError)
    assert isinstance(error, ArmKvmError)
    assert (error.errno, error.strerror) == (errno.EPERM, "Operation not permitted")
    assert type(error) is KvmError, "not the subclass that Python has for an errno"


def test_a_refusal_names_operation_register_state_rule_and_remedy() -> None:
    error = KvmError(
        errno.EPERM,
        "KVM_SET_ONE_REG",
        reg=RegId.sve_vls(),
        reg_name="KVM_REG_ARM64_SVE_VLS",
        rule=RULE,
        detail="1,2 offered",
        state="ready",
    )
    assert str(error) == (
        "KVM_SET_ONE_REG(KVM_REG_ARM64_SVE_VLS 0x606000000015ffff): EPERM [ready]: 1,2 offered "
        "(vls-after-finalize: Lengths are fixed by FINALIZE. Set them before.)"
    )


def test_a_refusal_of_an_unnamed_register_gives_its_number() -> None:
    assert str(KvmError(errno.ENOENT, "KVM_GET_ONE_REG", reg=RegId(1))) == (
        "KVM_GET_ONE_REG(0x0000000000000001): ENOENT"
    )


def test_a_refusal_crosses_a_process_boundary_whole() -> None:
    error = KvmError(errno.E2BIG, "KVM_GET_REG_LIST", reg=RegId.x(0), reg_name="X0", state="ready", count=250)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert str(twin) == str(error)
        assert (twin.errno, twin.count, twin.reg) == (errno.E2BIG, 250, RegId.x(0))


def test_errnos_are_written_by_name() -> None:
    assert errno_name(errno.EINVAL) == "EINVAL"
    assert errno_name(9999) == "9999"


def test_an_unreadable_input_reports_every_fault_with_its_path() -> None:
    error = InputError(
        "vm.json", [Fault("$.vcpus[0]", "a number was expected"), Fault("$.version", "1 was expected")]
    )
    assert str(error) == "vm.json: $.vcpus[0]: a number was expected\nvm.json: $.version: 1 was expected"
    assert [fault.path for fault in error.faults] == ["$.vcpus[0]", "$.version"]


def test_missing_facts_are_listed() -> None:
    error = MissingFacts("cortex-a57", "offer SVE", ["vector lengths", "ZFR0"])
    assert str(error) == "cortex-a57: cannot offer SVE; not known: vector lengths, ZFR0"


@pytest.mark.parametrize(
    ("kind", "root"),
    [
        (InputError, ArmKvmError),
        (PlaceError, ArmKvmError),
        (UnknownPlace, PlaceError),
        (MissingFacts, ArmKvmError),
    ],
)
def test_everything_raised_on_purpose_has_one_root(kind: type[Exception], root: type[Exception]) -> None:
    assert issubclass(kind, root)


def test_a_bug_of_ours_is_not_caught_with_the_rest() -> None:
    assert not issubclass(ModelBug, Exception)
