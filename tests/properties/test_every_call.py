"""Any calls in any order, on any kernel and host shape: what always holds.

* Nothing is raised but `KvmError`, and ValueError for bytes of the wrong length.
* A refused call changes nothing, but for the named effects in `EFFECTS`.
* Every listed register can be read, and takes back what was read (but for lengths that are final).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.made_up_hosts import facts

from armkvm.abi.caps import Cap
from armkvm.abi.core import REGISTERS
from armkvm.abi.regid import CLASS_NAMES, KVM_REG_ARM64, RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.encoding import SysReg
from armkvm.backends.model import ModelSystem, ModelVcpu
from armkvm.catalog import parse
from armkvm.errors import KvmError
from armkvm.model import lifecycle as calls
from armkvm.model.profile import PROFILES
from armkvm.model.sysregs.catalogue import BY_ID
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import VM_WIDE_FEATURES
from armkvm.model.vector_behaviours import IMPLICIT_FINALIZATION
from armkvm.state import Phase
from armkvm.value import replace

# CPUs as (SVE lengths, SME lengths), and what else is not usual about the host.
SHAPES: dict[str, tuple[tuple[tuple[str, str], ...], dict[str, bool]]] = {
    "no vectors": ((("", ""),), {}),
    "sve": ((("1,2,4", ""),), {"fpmr": False}),
    "sve and sme": ((("1,2", "1,4"),), {}),
    "streaming only, sme1": ((("", "4"),), {"sme2": False, "fa64": False}),
    "disjoint": ((("1", "2,4"),), {"fa64": False}),
    "widest, with EL2": ((("1-16", "16"),), {"el2": True}),
    "unlike cpus": ((("1,2,8", "2,8"), ("1,2,4,8", "2,4,8")), {}),
    "nothing virtualisable": ((("1", "1,2"), ("1,2", "2,4")), {}),
    "nothing in common": ((("", "2"), ("", "4")), {}),
    "a cpu without sme": ((("1", "1"), ("1", "")), {}),
}

_CLASSES = [*CLASS_NAMES, 0x18, 0xFFF]

named_ids = st.one_of(
    st.sampled_from(sorted(BY_ID)),
    st.sampled_from([RegId.core(word, size) for word, size in REGISTERS.values()]),
    st.builds(RegId.z, st.integers(0, 31), st.integers(0, 1)),
    st.builds(RegId.p, st.integers(0, 15)),
    st.builds(RegId.za, st.integers(0, 255), st.integers(0, 1)),
    st.sampled_from([RegId.ffr(), RegId.zt0(), RegId.sve_vls(), RegId.sme_vls(), parse("SVCR")]),
    st.builds(RegId.firmware, st.integers(0, 4)),
    st.builds(RegId.bitmap, st.integers(0, 4)),
    st.builds(RegId.ccsidr, st.integers(0, 15)),
)
odd_ids = st.one_of(
    st.builds(
        lambda size, kind, low: RegId(KVM_REG_ARM64 | size << 52 | kind << 16 | low),
        st.integers(0, 11),
        st.sampled_from(_CLASSES),
        st.integers(0, 0xFFFF),
    ),
    st.builds(lambda number: RegId.sysreg(SysReg(number)), st.integers(0, 0xFFFF)),
    st.builds(RegId, st.integers(0, (1 << 64) - 1)),
)
ids = st.one_of(named_ids, named_ids, odd_ids).map(int)
features = st.frozensets(st.one_of(st.sampled_from(F), st.integers(0, 223)), max_size=3)
usual = st.sampled_from(
    [(), (F.SVE,), (F.SME,), (F.SVE, F.SME), (F.SVE, F.SME, F.HAS_EL2), (F.PMU_V3,), (F.EL1_32BIT,)]
)
fills = st.one_of(
    st.sampled_from([b"\0", b"\xff", b"\x01", b"\x02", b"\x03", b"\x00\x01"]),
    st.binary(min_size=1, max_size=9),
)


def data_for(reg: int, fill: bytes) -> bytes:
    """As many bytes as an id says: the filling at the front, then zeroes; or all of it for one byte."""
    size = 1 << (reg >> 52 & 15)
    whole = fill * size if fill == b"\xff" else fill
    return whole[:size].ljust(size, b"\0")


# -- a VM's whole state, and what a refused call may change of it ------------------------------------

Photograph = dict[str, Any]
_MOVES = {"counter"}


def photograph(vcpu: Vcpu) -> Photograph:
    """Everything the model keeps for a vCPU and its VM; containers copied one level deep."""
    vm = vcpu.vm
    picture = {
        f"vm.{name}": _copied(value)
        for name, value in vars(vm).items()
        if name not in _MOVES | {"vcpus", "platform"}
    }
    for other in vm.vcpus.values():
        for name in Vcpu.__slots__:
            if name not in ("vm", "refuses", "life") and hasattr(other, name):
                picture[f"{other.id}.{name}"] = _copied(getattr(other, name))
    return picture


def _copied(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, list) else value


FIRST_RUN = {"has_run", "has_settled", "id_regs", "sysregs", "timers_enabled"}


def _run(vcpu: Vcpu, refused: KvmError, changed: set[str]) -> bool:
    """KVM_RUN does the work of a first run before immediate_exit or an unready device is found."""
    fields = {name.partition(".")[2] for name in changed}
    finalized = {"phase"} if IMPLICIT_FINALIZATION in vcpu.vm.profile else set()
    too_early = refused.errno in (errno.ENOEXEC, errno.EPERM)
    return refused.operation == calls.RUN and not too_early and fields <= FIRST_RUN | finalized


def _init(vcpu: Vcpu, refused: KvmError, changed: set[str]) -> bool:
    """Kernels whose features belong to each vCPU take them bit by bit, and fix the VM's width."""
    taken = {"requested", "is_32bit"}
    return (
        VM_WIDE_FEATURES not in vcpu.vm.profile
        and refused.operation == calls.INIT
        and {name.partition(".")[2] for name in changed} <= taken
    )


def _finalization(vcpu: Vcpu, refused: KvmError, changed: set[str]) -> bool:
    """Late calls finalize before they are refused."""
    late = refused.operation in (calls.GET_REG_LIST, calls.GET_ONE_REG, calls.SET_ONE_REG)
    return IMPLICIT_FINALIZATION in vcpu.vm.profile and late and changed == {f"{vcpu.id}.phase"}


EFFECTS: list[Callable[[Vcpu, KvmError, set[str]], bool]] = [_run, _init, _finalization]


class EveryCall(RuleBasedStateMachine):
    """One VM of a modelled host and its vCPUs."""

    profile = ""
    shape = ""

    @initialize(width=st.booleans())
    def start(self, *, width: bool) -> None:
        cpus, parts = SHAPES[self.shape]
        profile = PROFILES[self.profile]
        host = facts(*cpus, profile=self.profile, **parts)
        extra = {F.PMU_V3, F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC, *([F.EL1_32BIT] if width else [])}
        offered = (host.features | extra) & profile.feature_bits.keys()
        self.system = ModelSystem(replace(host, features=frozenset(offered)), profile)
        self.vm = self.system.create_vm()
        self.vcpus: list[ModelVcpu] = []

    def vcpu(self, n: int) -> ModelVcpu:
        return self.vcpus[n % len(self.vcpus)]

    def attempt(self, vcpu: ModelVcpu, call: Callable[[], object]) -> KvmError | None:
        """Make a call; if it is refused, nothing but a named effect has happened."""
        before = photograph(vcpu.vcpu)
        refused = None
        try:
            call()
        except KvmError as error:
            refused = error
        if refused is not None:
            after = photograph(vcpu.vcpu)
            changed = {name for name in before if before[name] != after[name]}
            named = not changed or any(effect(vcpu.vcpu, refused, changed) for effect in EFFECTS)
            assert named, f"{refused} changed {sorted(changed)}"
        return refused

    # -- VM --------------------------------------------------------------------------------

    @precondition(lambda self: len(getattr(self, "vcpus", ())) < 3)
    @rule(number=st.one_of(st.integers(0, 2), st.integers(-1, 600)))
    def create_vcpu(self, number: int) -> None:
        refused = None
        try:
            self.vcpus.append(self.vm.create_vcpu(number))
        except KvmError as error:
            refused = error.errno
        assert refused in (None, errno.EINVAL, errno.EEXIST)

    def has_vcpus(self) -> bool:
        return bool(getattr(self, "vcpus", None))

    @precondition(has_vcpus)
    @rule(cap=st.one_of(st.sampled_from(Cap), st.integers(0, 400)), argument=st.integers(0, 1 << 40))
    def enable_cap(self, cap: int, argument: int) -> None:
        self.attempt(self.vcpus[0], lambda: self.vm.enable_cap(cap, argument))

    @rule(cap=st.one_of(st.sampled_from(Cap), st.integers(0, 400)))
    def check_extension(self, cap: int) -> None:
        assert self.vm.check_extension(cap) >= 0
        assert self.system.check_extension(cap) >= 0

    @precondition(has_vcpus)
    @rule(range_=st.integers(0, 1))
    def writable_masks(self, range_: int) -> None:
        self.attempt(self.vcpus[0], lambda: self.vm.writable_masks(range_))

    @precondition(has_vcpus)
    @rule(offset=st.integers(0, (1 << 64) - 1), reserved=st.integers(0, 1))
    def set_counter_offset(self, offset: int, reserved: int) -> None:
        self.attempt(self.vcpus[0], lambda: self.vm.set_counter_offset(offset, reserved))

    # -- life cycle ------------------------------------------------------------------------

    @precondition(has_vcpus)
    @rule(
        n=st.integers(0, 2),
        wanted=st.one_of(usual, usual, features),
        cpu=st.sampled_from([None, None, 4, 7]),
    )
    def init(self, n: int, wanted: tuple[F | int, ...], cpu: int | None) -> None:
        vcpu = self.vcpu(n)
        self.attempt(vcpu, lambda: vcpu.init(wanted, cpu))

    @precondition(has_vcpus)
    @rule(n=st.integers(0, 2), feature=st.sampled_from([4, 4, 4, F.SVE, F.VEC, F.SME, 9, -1]))
    def finalize(self, n: int, feature: F | int) -> None:
        vcpu = self.vcpu(n)
        self.attempt(vcpu, lambda: vcpu.finalize(feature))

    @precondition(has_vcpus)
    @rule(n=st.integers(0, 2))
    def run_immediate_exit(self, n: int) -> None:
        vcpu = self.vcpu(n)
        refused = self.attempt(vcpu, lambda: vcpu.run(immediate_exit=True))
        assert refused is not None

    # -- registers -------------------------------------------------------------------------

    @precondition(has_vcpus)
    @rule(n=st.integers(0, 2), reg=ids)
    def get(self, n: int, reg: int) -> None:
        vcpu = self.vcpu(n)
        read: list[bytes] = []
        if self.attempt(vcpu, lambda: read.append(vcpu.get_one_reg(reg))) is None:
            assert len(read[0]) == 1 << (reg >> 52 & 15)
        null = self.attempt(vcpu, lambda: vcpu.get_one_reg_null(reg))
        assert null is not None
        assert not read or null.errno == errno.EFAULT

    @precondition(has_vcpus)
    @rule(n=st.integers(0, 2), reg=ids, fill=fills)
    def put(self, n: int, reg: int, fill: bytes) -> None:
        vcpu = self.vcpu(n)
        self.attempt(vcpu, lambda: vcpu.set_one_reg(reg, data_for(reg, fill)))

    @precondition(has_vcpus)
    @rule(n=st.integers(0, 2), reg=ids)
    def put_null(self, n: int, reg: int) -> None:
        vcpu = self.vcpu(n)
        assert self.attempt(vcpu, lambda: vcpu.set_one_reg_null(reg)) is not None

    @precondition(has_vcpus)
    @rule(n=st.integers(0, 2), reg=ids, more=st.sampled_from([-1, 1, 8]))
    def wrong_length(self, n: int, reg: int, more: int) -> None:
        vcpu = self.vcpu(n)
        with pytest.raises(ValueError, match="holds"):
            vcpu.set_one_reg(reg, bytes((1 << (reg >> 52 & 15)) + more))

    @precondition(has_vcpus)
    @rule(n=st.integers(0, 2), svcr=st.integers(0, 4))
    def set_svcr(self, n: int, svcr: int) -> None:
        vcpu = self.vcpu(n)
        self.attempt(vcpu, lambda: vcpu.set_one_reg(parse("SVCR"), svcr.to_bytes(8, "little")))

    @precondition(has_vcpus)
    @rule(n=st.integers(0, 2), vqs=st.integers(0, 0xFFFF), which=st.booleans())
    def set_lengths(self, n: int, vqs: int, *, which: bool) -> None:
        vcpu, data = self.vcpu(n), vqs.to_bytes(64, "little")
        reg = RegId.sve_vls() if which else RegId.sme_vls()
        self.attempt(vcpu, lambda: vcpu.set_one_reg(reg, data))
        self.attempt(vcpu, lambda: vcpu.set_sve_vls(data))
        self.attempt(vcpu, vcpu.get_sve_vls)

    @precondition(has_vcpus)
    @rule(n=st.integers(0, 2), room=st.integers(0, 700))
    def list_with_room(self, n: int, room: int) -> None:
        vcpu = self.vcpu(n)
        refused = self.attempt(vcpu, lambda: vcpu.reg_list(room))
        if refused is not None and refused.errno == errno.E2BIG:
            assert refused.count is not None
            assert len(vcpu.reg_list(refused.count)) == refused.count > room

    @precondition(has_vcpus)
    @rule(n=st.integers(0, 2))
    def every_listed_register_reads_and_takes_back_what_it_read(self, n: int) -> None:
        vcpu = self.vcpu(n)
        listed: list[RegId] = []
        if self.attempt(vcpu, lambda: listed.extend(vcpu.reg_list())) is not None:
            return
        assert len(set(listed)) == len(listed)
        for reg in listed:
            data = vcpu.get_one_reg(reg)
            refused = None
            try:
                vcpu.set_one_reg(reg, data)
            except KvmError as error:
                refused = error.errno
            is_final = reg in (RegId.sve_vls(), RegId.sme_vls())
            assert refused == (errno.EPERM if is_final else None), RegId(reg)

    # -- other state -------------------------------------------------------------------------

    @precondition(has_vcpus)
    @rule(n=st.integers(0, 2), state=st.integers(0, 12))
    def mp_state(self, n: int, state: int) -> None:
        vcpu = self.vcpu(n)
        if self.attempt(vcpu, lambda: vcpu.set_mp_state(state)) is None:
            assert vcpu.get_mp_state() == state

    @precondition(has_vcpus)
    @rule(n=st.integers(0, 2), head=st.binary(min_size=16, max_size=16))
    def events(self, n: int, head: bytes) -> None:
        vcpu = self.vcpu(n)
        self.attempt(vcpu, lambda: vcpu.set_vcpu_events(head.ljust(64, b"\0")))
        self.attempt(vcpu, vcpu.get_vcpu_events)

    @precondition(has_vcpus)
    @rule(n=st.integers(0, 2), group=st.integers(0, 5), attr=st.integers(0, 6))
    def has_attr(self, n: int, group: int, attr: int) -> None:
        vcpu = self.vcpu(n)
        self.attempt(vcpu, lambda: vcpu.has_attr(group, attr))

    # -- always --------------------------------------------------------------------------------

    @invariant()
    def lengths_and_mode_fit(self) -> None:
        for handle in getattr(self, "vcpus", ()):
            vcpu = handle.vcpu
            if vcpu.phase is Phase.CREATED:
                continue
            assert (F.SME in vcpu.features) or not vcpu.svcr
            assert len(vcpu.z) == 32
            assert len(vcpu.p) == 17
            assert all(len(z) == 256 for z in vcpu.z)
            assert all(len(p) == 32 for p in vcpu.p)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("profile", PROFILES)
def test_any_calls_in_any_order(profile: str, shape: str) -> None:
    """See the module's text."""
    machine = type("Case", (EveryCall,), {"profile": profile, "shape": shape})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=8, stateful_step_count=30, deadline=None)
    )
