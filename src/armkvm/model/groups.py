"""Attributes by group: one shape for devices, vCPUs and VMs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from armkvm.model import device_rules, rules
from armkvm.model.outcome import Refused
from armkvm.value import Value

Of = TypeVar("Of")


class Group(Value, Generic[Of]):
    """What a group of attributes answers; an attribute number is the handlers' to know.

    `get` yields as many bytes as the attribute's type has; None means that nothing of the group is
    read or written. `put` gets None where the pointer is bad.
    """

    has: Callable[[Of, int], Refused | None]
    get: Callable[[Of, int], bytes | Refused] | None = None
    put: Callable[[Of, int, bytes | None], Refused | None] | None = None


Groups = Mapping[int, Group[Of]]


def has(groups: Groups[Of], of: Of, group: int, attr: int) -> Refused | None:
    """KVM_HAS_DEVICE_ATTR."""
    row = groups.get(group)
    return _unknown(group, attr) if row is None else row.has(of, attr)


def get(groups: Groups[Of], of: Of, group: int, attr: int) -> bytes | Refused:
    """KVM_GET_DEVICE_ATTR. A bad pointer is the caller's to report: it is found out last."""
    row = groups.get(group)
    if row is None or row.get is None:
        return _unknown(group, attr)
    return row.get(of, attr)


def put(groups: Groups[Of], of: Of, group: int, attr: int, data: bytes | None) -> Refused | None:
    """KVM_SET_DEVICE_ATTR."""
    row = groups.get(group)
    if row is None or row.put is None:
        return _unknown(group, attr)
    return row.put(of, attr, data)


def _unknown(group: int, attr: int) -> Refused:
    return Refused(device_rules.NO_SUCH_ATTR, f"group {group}, attribute {attr:#x}")


def number(data: bytes | None, size: int) -> int | Refused:
    """The value of an attribute that is a number of `size` bytes."""
    if data is None:
        return Refused(rules.BAD_POINTER)
    return int.from_bytes(sized(data, size), "little")


def sized(data: bytes, size: int) -> bytes:
    """As much of the caller's buffer as the kernel reads; ValueError if the buffer ends before."""
    if len(data) < size:
        raise ValueError(f"the attribute has {size} bytes, not {len(data)}")
    return data[:size]
