"""What the places that run guests themselves have in common: a limit, and data for a load."""

from __future__ import annotations

from collections.abc import Mapping

from armkvm.errors import UnknownPlace

RUN_LIMIT = 10.0
"""Seconds after which a run is ended with EINTR unless the place was opened with another limit."""


def run_limit(options: Mapping[str, str]) -> float:
    """The option ``run_limit`` of a place; UnknownPlace if it is no useful number of seconds."""
    text = options.get("run_limit", str(RUN_LIMIT))
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 0 < limit < 3600:
        raise UnknownPlace(f"run_limit={text}: give seconds, more than 0 and less than an hour")
    return limit


def check_mmio_data(data: bytes, size: int) -> None:
    """ValueError unless `data` is empty or completes the pending load of `size` bytes (0: there is none)."""
    if data and not size:
        raise ValueError("no load of the guest waits for data")
    if data and len(data) != size:
        raise ValueError(f"the guest's load of {size} bytes cannot be completed with {len(data)}")


def debug_registers(data: bytes) -> bytes:
    """The registers of struct kvm_guest_debug, zeroes if none are given; ValueError for another length."""
    if data and len(data) != _DEBUG_REGISTERS:
        raise ValueError(f"struct kvm_guest_debug_arch has {_DEBUG_REGISTERS} bytes, not {len(data)}")
    return data or bytes(_DEBUG_REGISTERS)


_DEBUG_REGISTERS = 4 * 16 * 8
