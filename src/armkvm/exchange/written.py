"""What a writer hands back, and what writers have to ask of a vCPU before they write.

A VMM initialises a vCPU as its host does and then changes what it was told to. A text therefore
needs to say only what differs from the hosts it is for: `changes` and `identity_changes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from armkvm.abi.regid import RegId
from armkvm.arch.fields import Field
from armkvm.arch.idfields import fields_of
from armkvm.catalog import parse
from armkvm.model.sysregs.idregs import IMPLEMENTATION
from armkvm.state import GuestCpu

IDENTITY = tuple(map(parse, IMPLEMENTATION))
"""Registers that name the implementation; a VM has its own only after KVM_ENABLE_CAP."""

Initial = Mapping[RegId, int]
"""A host's ID registers as KVM_ARM_VCPU_INIT leaves them for the vCPU's features (`Acceptance.initial`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A text in someone's format. `lost`: what it does not carry; `needs`: what it takes to be obeyed."""

    text: str
    lost: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def changes(guest: GuestCpu, hosts: Sequence[Initial]) -> list[tuple[Field, int]]:
    """The ID fields to be set and their values: those that not every host starts with as wanted.

    All of them, reserved bits included, if no host is given.
    """
    return [
        (field, field.extract(value))
        for reg, value in sorted(guest.id_registers.items())
        if reg not in IDENTITY and reg.encoding is not None
        for field in fields_of(reg.encoding)
        if not hosts or any(reg not in host or field.extract(host[reg] ^ value) for host in hosts)
    ]


def identity_changes(guest: GuestCpu, hosts: Sequence[Initial]) -> dict[RegId, int]:
    """MIDR_EL1 and its like, where the vCPU's differ from those of some host."""
    return {
        reg: guest.id_registers[reg]
        for reg in IDENTITY
        if reg in guest.id_registers
        and (not hosts or any(host.get(reg) != guest.id_registers[reg] for host in hosts))
    }
