"""SME hosts that nobody recorded: real ones with other vector lengths, or with parts taken away.

What is taken away follows rules that the recordings bear out where they hold both sides; nothing is
added. `HOSTS` names what is made from what; the recordings are called by their file names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from armkvm.abi.caps import SME_CAPS
from armkvm.abi.regid import RegId
from armkvm.arch.fields import Field
from armkvm.arch.idfields import field, fields_of
from armkvm.arch.sysregs import sysreg
from armkvm.arch.vectors import VectorLengths, virtualisable
from armkvm.catalog import id_of
from armkvm.state import CpuVectors, HostFacts
from armkvm.value import replace

Values = dict[RegId, int]
Change = Callable[[Values], None]

_SME = field("ID_AA64PFR1_EL1", "SME")
_FA64 = field("ID_AA64SMFR0_EL1", "FA64")
_F64MM = field("ID_AA64ZFR0_EL1", "F64MM")
_SMFR0 = sysreg("ID_AA64SMFR0_EL1")
_WITH_SME1 = frozenset(("FA64", "I16I64", "F64F64", "I8I32", "F16F32", "B16F32", "F32F32"))


def _put(values: Values, part: Field, value: int) -> None:
    reg = id_of(part.register)
    values[reg] = part.insert(values.get(reg, 0), value)


def without_fa64(values: Values) -> None:
    """FFR and the rest of A64 stay out of streaming mode."""
    _put(values, _FA64, 0)


def sme1_only(values: Values) -> None:
    """No SME2: no ZT0, and of SMFR0 only what there was before it."""
    _put(values, _SME, 1)
    for part in fields_of(_SMFR0):
        if part.name not in _WITH_SME1:
            _put(values, part, 0)


def with_128_bit_sve(values: Values) -> None:
    """The double-precision matrix instructions need vectors of 256 bits."""
    _put(values, _F64MM, 0)


@dataclass(frozen=True, slots=True)
class MadeHost:
    """A recorded host with other CPUs: how many with which (SVE lengths, SME lengths), in quadwords."""

    base: str
    cpus: tuple[tuple[int, str, str], ...]
    changes: tuple[Change, ...] = ()


_POWERS = "1,2,4,8,16"

HOSTS: Mapping[str, MadeHost] = {
    # SME2 at 512 bits only, no SVE and so no FA64
    "streaming-512": MadeHost("nosve", ((4, "", "4"),)),
    # everything there is, in the lengths both extensions can share
    "sme2-max": MadeHost("max", ((4, _POWERS, _POWERS),)),
    # SVE and SME have no length in common
    "disjoint": MadeHost("qemu10-sme1-host", ((4, "1", "2,4"),)),
    # the smallest streaming host: SME1, no SVE, no FA64, 128 bits
    "streaming-sme1-128": MadeHost("nosve", ((4, "", "1"),), (sme1_only,)),
    # SME2 without FA64, beside SVE
    "sme2-no-fa64": MadeHost("max", ((4, "1,2", "2,4"),), (without_fa64,)),
    # two kinds of CPU: guests get 2 quadwords of 2,4 and 2,8 for SME, and all of SVE
    "sme-unlike": MadeHost("max", ((2, "1,2", "2,4"), (2, "1,2", "2,8"))),
    # two kinds of CPU that differ in the smallest length: no SME for guests
    "sme-none": MadeHost("max", ((2, "1-4", "1,2"), (2, "1-4", "2,4"))),
}


def make(name: str, host: MadeHost, base: HostFacts) -> HostFacts:
    """The facts of one made-up host. Its length sets say what its CPUs do, not what guests get."""
    cpus = tuple(
        CpuVectors(VectorLengths.parse(sve), VectorLengths.parse(sme))
        for count, sve, sme in host.cpus
        for _ in range(count)
    )
    changes = list(host.changes)
    if max(cpu.sve.max for cpu in cpus) == 1:
        changes.append(with_128_bit_sve)
    values = {variant: dict(registers) for variant, registers in base.values.items()}
    for registers in values.values():
        for change in changes:
            change(registers)
    groups = " and ".join(f"{count} with SVE {sve or '-'}, SME {sme or '-'}" for count, sve, sme in host.cpus)
    note = f"nobody recorded this host: it is {base.name} with other CPUs ({groups})"
    if host.changes:
        note += "; " + ", ".join(change.__name__.replace("_", " ") for change in host.changes)
    caps = dict(base.caps)
    if not virtualisable(cpu.sme for cpu in cpus):
        caps.pop(SME_CAPS[base.profile], None)
    origin = f"derived from {base.name}"
    return replace(base, name=name, cpus=cpus, caps=caps, values=values, origin=origin, notes=(note,))


def make_all(recorded: Mapping[str, HostFacts]) -> dict[str, HostFacts]:
    """Every made-up SME host, by name; `recorded` holds captures/sme-v12 by file name."""
    return {name: make(name, host, recorded[host.base]) for name, host in HOSTS.items()}
