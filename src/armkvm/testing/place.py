"""A place under test: the protocol, with the few words that scenarios repeat.

Everything here goes through `backends.base`, so a scenario runs unchanged on the model, on /dev/kvm,
behind an agent and in the lab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Self

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.fields import Field
from armkvm.arch.idfields import field
from armkvm.backends.base import Feature, System, Vcpu, Vm
from armkvm.catalog import id_of, name_of, parse
from armkvm.errors import KvmError, errno_name


class Broken(AssertionError):
    """A place did not do what the rule says."""


class Skipped(Exception):  # raised to leave a scenario, not to report an error
    """A scenario cannot be tried here; the message says why."""


class Place:
    """One system with what scenarios create on it. Closing it closes all of that, not the system."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    # -- what there is ---------------------------------------------------------------------------

    def has(self, cap: Cap) -> bool:
        return self.system.check_extension(cap) > 0

    def offers(self, *features: Feature) -> bool:
        """Whether KVM_ARM_VCPU_INIT takes these features together."""
        with self.system.create_vm() as vm, vm.create_vcpu(0) as vcpu:
            try:
                vcpu.init({F.PSCI_0_2, *features})
            except (KvmError, ValueError):  # ValueError: the kernel there has no number for it
                return False
        return True

    @cached_property
    def has_writable_ids(self) -> bool:
        """Since 6.7: ID registers can be written, and features belong to the VM."""
        return self.has(Cap.ARM_SUPPORTED_REG_MASK_RANGES)

    @cached_property
    def finalizes(self) -> bool:
        """Whether there is a KVM_ARM_VCPU_FINALIZE, as in every kernel with SVE that was released.

        Where there is none it is EINVAL in every phase, and Z0 can be read right after KVM_ARM_VCPU_INIT.
        """
        with self.system.create_vm() as vm, vm.create_vcpu(0) as vcpu:
            if attempts(vcpu.finalize, F.SVE) != "EINVAL":
                return True
            initialised = not attempts(vcpu.init, {F.PSCI_0_2, F.SVE})
            return initialised and bool(attempts(vcpu.get_one_reg, RegId.z(0)))

    def need(self, condition: bool, reason: str) -> None:
        """Leave the scenario unless `condition` holds."""
        if not condition:
            raise Skipped(reason)

    def need_feature(self, *features: F) -> None:
        self.need(self.offers(*features), f"no vCPU here can have {' and '.join(features)}")

    def need_finalize(self) -> None:
        """Leave the scenario where SVE is as it was proposed before KVM_ARM_VCPU_FINALIZE."""
        self.need(self.finalizes, "there is no KVM_ARM_VCPU_FINALIZE here")

    # -- making things ---------------------------------------------------------------------------

    def vm(self) -> Vm:
        return self._open.enter_context(self.system.create_vm())

    def raw_vcpu(self, vm: Vm | None = None, number: int = 0) -> Vcpu:
        """A vCPU before KVM_ARM_VCPU_INIT."""
        return self._open.enter_context((vm or self.vm()).create_vcpu(number))

    def vcpu(self, *features: Feature, vm: Vm | None = None, number: int = 0, ready: bool = True) -> Vcpu:
        """A vCPU with PSCI_0_2 and these features; finalized if `ready` and they and the place need it."""
        vcpu = self.raw_vcpu(vm, number)
        vcpu.init({F.PSCI_0_2, *features})
        if ready and {F.SVE, F.SME} & set(features) and self.finalizes:
            vcpu.finalize(F.SVE)
        return vcpu


# -- reading and writing ---------------------------------------------------------------------------


def reg(name: str) -> RegId:
    """A register id by name."""
    return parse(name)


def id_field(register: str, name: str) -> Field:
    """A field of ID_AA64<register>_EL1."""
    return field(f"ID_AA64{register}_EL1", name)


def read(vcpu: Vcpu, which: int | str) -> int:
    """A register's value."""
    number = parse(which) if isinstance(which, str) else which
    return int.from_bytes(vcpu.get_one_reg(number), "little")


def write(vcpu: Vcpu, which: int | str, value: int) -> None:
    """Set a register."""
    number = RegId(parse(which) if isinstance(which, str) else which)
    vcpu.set_one_reg(number, value.to_bytes(number.size, "little"))


def get_field(vcpu: Vcpu, part: Field) -> int:
    """A field of an ID register."""
    return part.extract(read(vcpu, id_of(part.register)))


def set_field(vcpu: Vcpu, part: Field, value: int) -> None:
    """Change one field of an ID register."""
    which = id_of(part.register)
    write(vcpu, which, part.insert(read(vcpu, which), value))


def run_once(vcpu: Vcpu) -> None:
    """KVM_RUN with immediate_exit: the work of a first run, and no guest code."""
    refuses("EINTR", vcpu.run, True)


# -- expecting ------------------------------------------------------------------------------------


def refuses(errno: str, call: Callable[..., object], *args: object) -> KvmError:
    """The call fails with that errno."""
    try:
        call(*args)
    except KvmError as error:
        if errno_name(error.errno or 0) != errno:
            raise Broken(f"{_words(call, args)} gave {errno_name(error.errno or 0)}, not {errno}") from error
        return error
    raise Broken(f"{_words(call, args)} succeeded; it should be {errno}")


def attempts(call: Callable[..., object], *args: object) -> str:
    """The errno of a call by name, "" if it succeeds."""
    try:
        call(*args)
    except KvmError as error:
        return errno_name(error.errno or 0)
    return ""


def equal(found: object, expected: object, what: str) -> None:
    """Two values agree."""
    if found != expected:
        raise Broken(f"{what} is {_shown(found)}, not {_shown(expected)}")


def holds(condition: object, otherwise: str) -> None:
    """Something is true."""
    if not condition:
        raise Broken(otherwise)


def _words(call: Callable[..., object], args: Iterable[object]) -> str:
    return f"{getattr(call, '__name__', 'the call')}({', '.join(_shown(arg) for arg in args)})"


def _shown(value: object) -> str:
    if isinstance(value, RegId):
        return name_of(value) or value.hex
    if isinstance(value, bytes):
        return value.hex() if len(value) <= 16 else f"{value[:16].hex()}... ({len(value)} bytes)"
    return f"{value:#x}" if isinstance(value, int) and not isinstance(value, bool) else repr(value)
