"""The interrupt translation service: its existence, address and commands, not its tables.

Source: Linux arch/arm64/kvm/vgic/vgic-its.c.
"""

from __future__ import annotations

from typing import NoReturn

from armkvm.abi.attributes import ADDR_UNDEF, VgicAddr, VgicCtrl, VgicGroup
from armkvm.errors import PlaceError
from armkvm.model import device_rules
from armkvm.model.groups import Group, number
from armkvm.model.outcome import Refused
from armkvm.model.vgic.addresses import check_frame
from armkvm.model.vgic.record import INITIAL_TABLE
from armkvm.model.vm import Vm

_SIZE = 128 << 10
_COMMANDS = (VgicCtrl.INIT, VgicCtrl.ITS_SAVE_TABLES, VgicCtrl.ITS_RESTORE_TABLES, VgicCtrl.ITS_RESET)
# GITS_CTLR, GITS_IIDR; TYPER; CBASER, CWRITER, CREADR; BASER<n>; identification
_REGISTERS = ((0x0, 0x8), (0x8, 0x10), (0x80, 0x98), (0x100, 0x140), (0xFFD0, 0x10000))
_WORDS_BELOW, _WORDS_FROM = 0x8, 0xFFD0


class Its:
    """One ITS of a VM."""

    __slots__ = ("base", "vm")

    def __init__(self, vm: Vm) -> None:
        self.vm = vm
        self.base = ADDR_UNDEF


def create(vm: Vm) -> Its:
    """KVM_CREATE_DEVICE of an ITS; a VM can have several, and then its GIC knows LPIs."""
    vm.has_its = True
    if vm.gic is not None:
        vm.gic.propbaser = INITIAL_TABLE
    return Its(vm)


def _tables() -> NoReturn:
    raise PlaceError("the model keeps no ITS registers or tables; use a real KVM")


def _has_address(its: Its, attr: int) -> Refused | None:
    return None if attr == VgicAddr.ITS else Refused(device_rules.NO_SUCH_ATTR, f"address type {attr}")


def _get_address(its: Its, attr: int) -> bytes | Refused:
    if attr != VgicAddr.ITS:
        return Refused(device_rules.NO_SUCH_DEVICE, f"address type {attr}")
    return its.base.to_bytes(8, "little")


def _put_address(its: Its, attr: int, data: bytes | None) -> Refused | None:
    if attr != VgicAddr.ITS:
        return Refused(device_rules.NO_SUCH_DEVICE, f"address type {attr}")
    word = number(data, 8)
    if isinstance(word, Refused):
        return word
    refused = check_frame(its.vm, its.base, word, _SIZE)
    if refused is None:
        its.base = word
    return refused


def _has_command(its: Its, attr: int) -> Refused | None:
    return None if attr in _COMMANDS else Refused(device_rules.NO_SUCH_ATTR, f"control {attr}")


def _put_command(its: Its, attr: int, data: bytes | None) -> Refused | None:
    """There is nothing to initialise, and without tables nothing to reset."""
    if attr in (VgicCtrl.ITS_SAVE_TABLES, VgicCtrl.ITS_RESTORE_TABLES):
        _tables()
    return _has_command(its, attr)


def _has_register(its: Its, attr: int) -> Refused | None:
    step = 4 if attr < _WORDS_BELOW or attr >= _WORDS_FROM else 8
    if attr % step:
        return Refused(device_rules.ITS_MISALIGNED, f"offset {attr:#x}, registers here have {step} bytes")
    if any(start <= attr < end for start, end in _REGISTERS):
        return None
    return Refused(device_rules.NO_SUCH_ATTR, f"offset {attr:#x}")


def _get_register(its: Its, attr: int) -> bytes | Refused:
    _tables()


def _put_register(its: Its, attr: int, data: bytes | None) -> Refused | None:
    _tables()


GROUPS: dict[int, Group[Its]] = {
    VgicGroup.ADDR: Group(_has_address, _get_address, _put_address),
    VgicGroup.CTRL: Group(_has_command, None, _put_command),
    VgicGroup.ITS_REGS: Group(_has_register, _get_register, _put_register),
}
