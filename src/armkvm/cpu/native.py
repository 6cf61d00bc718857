"""Batches of engine registers, moved in one native call.

The binding's own register access converts one Python number at a time, about 2 us each; an
emulated instruction needs some seventy registers. A `RegisterBatch` reads or writes a fixed list
of them to and from fixed addresses in about 1 us.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import unicorn
from unicorn.unicorn_py3.unicorn import uclib


class RegisterBatch:
    """`registers[i]` of the engine lives at `addresses[i]` (which must stay valid)."""

    __slots__ = ("_addresses", "_count", "_handle", "_registers")

    def __init__(self, uc: unicorn.Uc, registers: Sequence[int], addresses: Sequence[int]) -> None:
        self._handle = uc._uch  # noqa: SLF001 - the native call needs the native handle
        self._count = len(registers)
        self._registers = (ctypes.c_int * self._count)(*registers)
        self._addresses = (ctypes.c_void_p * self._count)(*addresses)

    def read(self) -> None:
        uclib.uc_reg_read_batch(self._handle, self._registers, self._addresses, self._count)

    def write(self) -> None:
        uclib.uc_reg_write_batch(self._handle, self._registers, self._addresses, self._count)


def address_of(buffer: bytearray | memoryview | ctypes.Array[ctypes.c_uint64]) -> int:
    """Where a writable buffer's first byte is; the buffer must not be resized while that is used."""
    if isinstance(buffer, ctypes.Array):
        return ctypes.addressof(buffer)
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
