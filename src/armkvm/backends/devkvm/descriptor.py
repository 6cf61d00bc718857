"""One kernel descriptor, and the ioctls issued on it.

Everything that talks to the kernel goes through `Descriptor`: an interrupted call is made
again, a refusal becomes `KvmError` with the operation's name, and the descriptor is closed
exactly once.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import warnings
from errno import EINTR
from types import TracebackType
from typing import Self

from armkvm.abi.ioctls import Ioctl
from armkvm.abi.structs import DEVICE_ATTR
from armkvm.errors import KvmError

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong)

NULL = 0


def packed(layout: struct.Struct, *values: int) -> bytes:
    """The structure with these values; ValueError if one does not fit its field."""
    try:
        return layout.pack(*values)
    except struct.error as error:
        raise ValueError(f"{values} do not fit: {error}") from None


class Scratch:
    """Memory the kernel may read and write: zeroed, at a fixed address until closed."""

    def __init__(self, size: int, flags: int = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) -> None:
        self.memory = mmap.mmap(-1, max(size, 64), flags)
        # The view that tells the address must not live on: mmap refuses to close under one.
        self.address: int = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))

    def close(self) -> None:
        self.memory.close()


class Descriptor:
    """Owns one descriptor. A context manager; closing twice is harmless."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def fd(self) -> int:
        """The descriptor; ValueError once closed."""
        if self._fd < 0:
            raise ValueError(f"this {type(self).__name__} is closed")
        return self._fd

    def number(self, call: Ioctl, argument: int = 0) -> int:
        """Issue an ioctl whose argument is a number or an address; what it returned."""
        while True:
            result = int(_libc.ioctl(self.fd, call, argument))
            if result >= 0:
                return result
            error = ctypes.get_errno()
            if error != EINTR:
                raise KvmError(error, call.name)

    def structure(self, call: Ioctl, data: bytes | bytearray) -> bytes:
        """Issue an ioctl on a structure; the structure as the kernel left it."""
        while True:
            try:
                # With immutable bytes fcntl hands back what the kernel made of its copy.
                return bytes(fcntl.ioctl(self.fd, call, bytes(data)))
            except OSError as error:
                if error.errno != EINTR:
                    raise KvmError(error.errno or 0, call.name) from None

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            warnings.warn(f"unclosed {type(self).__name__}", ResourceWarning, stacklevel=2, source=self)
            self.close()


class AttributeDescriptor(Descriptor):
    """KVM_{HAS,GET,SET}_DEVICE_ATTR on a descriptor."""

    def _attr(self, call: Ioctl, group: int, attr: int, address: int) -> None:
        self.structure(call, packed(DEVICE_ATTR, 0, group, attr, address))

    def has_attr(self, group: int, attr: int) -> None:
        self._attr(Ioctl.KVM_HAS_DEVICE_ATTR, group, attr, NULL)

    def get_attr(self, group: int, attr: int, size: int = 8) -> bytes:
        scratch = Scratch(size)
        try:
            self._attr(Ioctl.KVM_GET_DEVICE_ATTR, group, attr, scratch.address)
            return scratch.memory[:size]
        finally:
            scratch.close()

    def set_attr(self, group: int, attr: int, data: bytes = b"") -> None:
        scratch = Scratch(len(data))
        try:
            scratch.memory[: len(data)] = data
            self._attr(Ioctl.KVM_SET_DEVICE_ATTR, group, attr, scratch.address)
        finally:
            scratch.close()

    def set_attr_null(self, group: int, attr: int) -> None:
        self._attr(Ioctl.KVM_SET_DEVICE_ATTR, group, attr, NULL)

    def get_attr_null(self, group: int, attr: int) -> None:
        self._attr(Ioctl.KVM_GET_DEVICE_ATTR, group, attr, NULL)


class DevKvmDevice(AttributeDescriptor):
    """A device made by KVM_CREATE_DEVICE."""
