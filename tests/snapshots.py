"""Snapshots that Hypothesis makes: any registers, named and not, any features, any events."""

from __future__ import annotations

import errno

from hypothesis import strategies as st

from armkvm.abi import vls
from armkvm.abi.caps import Cap
from armkvm.abi.core import REGISTERS
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.encoding import SysReg
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import name_of
from armkvm.migration.snapshot import EnabledCap, Origin, Snapshot, VcpuEvents, VcpuState, VmConfig
from armkvm.state import RegisterSet

NAMED = [
    *(RegId.core(word, size) for word, size in REGISTERS.values()),
    *(RegId.firmware(n) for n in range(4)),
    *(RegId.bitmap(n) for n in range(4)),
    *(RegId.ccsidr(n) for n in range(14)),
    *(RegId.z(n) for n in range(32)),
    *(RegId.p(n) for n in range(16)),
    RegId.ffr(),
    RegId.zt0(),
    RegId.za(0),
    RegId.za(255),
]


def nameless(number: int) -> RegId:
    """An arm64 id that the catalogue has no name for: bits 31:28 are set."""
    return RegId(0x60 << 56 | (number % 9) << 52 | 1 << 28 | number & 0xFFF_FFFF)


u64 = st.integers(0, (1 << 64) - 1)
regs = st.one_of(
    st.sampled_from(NAMED),
    st.integers(0, 0xFFFF).map(lambda number: RegId.sysreg(SysReg(number))),
    st.integers(0, 0xFFF_FFFF).map(nameless),
)
labels = st.text(st.characters(exclude_categories=("C", "Z")), max_size=40)
errnos = st.one_of(st.sampled_from([errno.EINVAL, errno.ENOENT, errno.EBUSY]), st.integers(1, 9999))
features = st.frozensets(st.one_of(st.sampled_from(VcpuFeature), st.integers(0, 223)), max_size=6)
caps = st.builds(
    EnabledCap,
    st.one_of(st.sampled_from(Cap), st.integers(256, (1 << 32) - 1)),
    st.lists(u64, max_size=4).map(tuple),
)
events = st.builds(
    VcpuEvents,
    serror_pending=st.integers(0, 255),
    serror_has_esr=st.integers(0, 255),
    ext_dabt_pending=st.integers(0, 255),
    serror_esr=u64,
)


@st.composite
def register_sets(draw: st.DrawFn) -> RegisterSet:
    """Registers with contents of their width, perhaps with vector lengths."""
    chosen = draw(st.lists(regs, unique=True, max_size=12))
    pairs = [(reg, draw(st.binary(min_size=reg.size, max_size=reg.size))) for reg in chosen]
    if draw(st.booleans()):
        lengths = VectorLengths(draw(st.sets(st.integers(1, 512), max_size=4)))
        pairs.append((RegId.sve_vls(), vls.encode(lengths)))
    return RegisterSet(pairs)


@st.composite
def vcpu_states(draw: st.DrawFn, vcpu_id: int = 0) -> VcpuState:
    """Any state of one vCPU."""
    registers = draw(register_sets())
    refused = draw(st.dictionaries(regs.filter(lambda reg: reg not in registers), errnos, max_size=3))
    return VcpuState(
        id=vcpu_id,
        features=tuple(draw(features)),
        registers=registers,
        refused=refused,
        mp_state=draw(st.integers(0, (1 << 32) - 1)),
        events=draw(events),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Any snapshot."""
    ids = draw(st.lists(st.integers(0, 511), unique=True, min_size=1, max_size=3))
    return Snapshot(
        Origin(draw(labels), draw(labels), draw(labels)),
        VmConfig(draw(u64), tuple(draw(st.lists(caps, max_size=2)))),
        tuple(draw(vcpu_states(vcpu_id)) for vcpu_id in ids),
    )


assert not any(name_of(nameless(number)) for number in range(64))
