"""Many registers at once: KVM_{GET,SET}_ONE_REG over buffers made ready beforehand.

The cost of a register through Python is the call itself, so everything else is done for the
whole list: one memory block holds all values, one table all `struct kvm_one_reg`s.
"""

from __future__ import annotations

import fcntl
from collections.abc import Sequence
from errno import EINTR
from itertools import chain
from struct import Struct

from armkvm.abi.ioctls import Ioctl
from armkvm.abi.regid import RegId
from armkvm.abi.structs import ONE_REG
from armkvm.backends.devkvm.descriptor import Scratch, packed
from armkvm.backends.register_layout import RegisterLayout
from armkvm.catalog import name_of
from armkvm.errors import KvmError

_TAIL = 16  # the kernel reads a system register's eight bytes even if its id claims fewer
_GET, _SET = int(Ioctl.KVM_GET_ONE_REG), int(Ioctl.KVM_SET_ONE_REG)


def size_of(reg: int) -> int:
    """Bytes of a register's value, as bits 55:52 of its id say."""
    return 1 << (reg >> 52 & 15)


def refusal(error: OSError, operation: Ioctl, reg: int) -> KvmError:
    """The error of a call on one register, with the register's name."""
    reg = RegId(reg)
    return KvmError(error.errno or 0, operation.name, reg=reg, reg_name=name_of(reg))


class RegisterBuffers:
    """Ready-made buffers for a list of registers. One user at a time, like its vCPU."""

    def __init__(self, regs: list[int]) -> None:
        self.layout = layout = RegisterLayout(regs)
        self._scratch = Scratch(layout.total + _TAIL)
        base = self._scratch.address
        addresses = [base + start for start in layout.starts]
        pairs = chain.from_iterable(zip(regs, addresses, strict=True))
        table = packed(Struct(f"<{2 * len(regs)}Q"), *pairs)
        self._calls = [table[at : at + 16] for at in range(0, len(table), 16)]

    def read(self, fd: int) -> list[bytes]:
        """KVM_GET_ONE_REG of each; the first refusal raises."""
        self._issue(fd, _GET)
        return self.layout.split(self._scratch.memory[: self.layout.total])

    def write(self, fd: int, values: Sequence[bytes]) -> None:
        """KVM_SET_ONE_REG of each; the first refusal raises, earlier writes stay."""
        block = self.layout.join(values)
        self._scratch.memory[: len(block)] = block
        self._issue(fd, _SET)

    def _issue(self, fd: int, request: int) -> None:
        ioctl = fcntl.ioctl
        calls = iter(self._calls)
        call = b""
        while True:
            try:
                for call in calls:
                    ioctl(fd, request, call)
            except OSError as error:
                if error.errno != EINTR:
                    raise refusal(error, Ioctl(request), ONE_REG.unpack(call)[0]) from None
                calls = chain((call,), calls)
            else:
                return

    def close(self) -> None:
        self._scratch.close()
