"""What can go wrong, drawn first.

::

    ArmKvmError
    ├── KvmError(OSError)      KVM refused a call: an errno, with its reason
    ├── InputError             a file or message is not what it claims: every fault, with its path
    ├── PlaceError             a place (host, agent, lab) cannot be reached or has died
    │   ├── UnknownPlace       the URI names nothing
    │   └── MisreadCall        an agent says that a call makes no sense; a ValueError as well
    └── MissingFacts           a host's facts do not say what was asked of them

    ModelBug                   armkvm contradicts itself; never caught, never caused by a caller

A caller's own mistake (bytes of the wrong length, a name that is none) is an ordinary
``ValueError`` or ``TypeError``.
"""

from __future__ import annotations

import errno as _errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from armkvm.abi.regid import RegId


def errno_name(number: int) -> str:
    """Return the symbolic name of an errno, ``"EINVAL"`` for 22."""
    return _errno.errorcode.get(number, str(number))


class Rule:
    """Why a call is refused: one row of the rule book.

    `name` is stable and short, `sentence` states the rule, `remedy` says what to do about it.
    """

    __slots__ = ("errno", "name", "remedy", "sentence")

    def __init__(self, name: str, errno: int, sentence: str, remedy: str) -> None:
        self.name = name
        self.errno = errno
        self.sentence = sentence
        self.remedy = remedy

    def __repr__(self) -> str:
        return f"Rule({self.name!r}, {errno_name(self.errno)})"


class ArmKvmError(Exception):
    """Root of everything armkvm raises on purpose."""


class KvmError(ArmKvmError, OSError):
    """KVM refused a call.

    `errno` is the kernel's, `operation` the ioctl by name, `reg` the register id (or None) and
    `reg_name` its name if it has one, `state` the vCPU's state in words. `rule` and `detail` are
    filled where the place is the model; a real kernel gives the errno alone. `count` is the
    number of registers that KVM_GET_REG_LIST wrote back with E2BIG, or of instructions that a KVM_RUN
    with a limit on them executed before EINTR.
    """

    def __init__(
        self,
        errno: int,
        operation: str,
        *,
        reg: RegId | None = None,
        reg_name: str = "",
        rule: Rule | None = None,
        detail: str = "",
        state: str = "",
        count: int | None = None,
    ) -> None:
        OSError.__init__(self, errno, os.strerror(errno))
        self.operation = operation
        self.reg = reg
        self.reg_name = reg_name
        self.rule = rule
        self.detail = detail
        self.state = state
        self.count = count

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.errno, self.operation, dict(self.__dict__)))

    def __str__(self) -> str:
        text = self.operation
        if self.reg is not None:
            text += f"({' '.join(filter(None, (self.reg_name, self.reg.hex)))})"
        text += f": {errno_name(self.errno or 0)}"
        if self.state:
            text += f" [{self.state}]"
        if self.detail:
            text += f": {self.detail}"
        if self.rule is not None:
            text += f" ({self.rule.name}: {self.rule.sentence} {self.rule.remedy})"
        return text


def _rebuild(errno: int, operation: str, fields: dict[str, object]) -> KvmError:
    error = KvmError(errno, operation)
    error.__dict__.update(fields)
    return error


class Fault:
    """One thing wrong with an input: where (`path` inside it) and what was expected."""

    __slots__ = ("message", "path")

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        self.message = message

    def __repr__(self) -> str:
        return f"Fault({self.path!r}, {self.message!r})"

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class InputError(ArmKvmError):
    """An input is unreadable. `source` names it, `faults` lists everything wrong with it."""

    def __init__(self, source: str, faults: Iterable[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        super().__init__(source, self.faults)

    def __str__(self) -> str:
        return "\n".join(f"{self.source}: {fault}" for fault in self.faults)


class PlaceError(ArmKvmError):
    """A place to run cannot be reached, or stopped answering."""


class UnknownPlace(PlaceError):
    """A URI names no place."""


class MisreadCall(PlaceError, ValueError):
    """An agent says that the arguments of a call make no sense, as a place here would by ValueError."""


class MissingFacts(ArmKvmError):
    """A host's facts do not say what was asked; `missing` lists what is not known."""

    def __init__(self, host: str, purpose: str, missing: Iterable[str]) -> None:
        self.host = host
        self.purpose = purpose
        self.missing = tuple(missing)
        super().__init__(host, purpose, self.missing)

    def __str__(self) -> str:
        return f"{self.host}: cannot {self.purpose}; not known: {', '.join(self.missing)}"


class UnlistedState(ArmKvmError):
    """A kernel's register list leaves out state that a vCPU has, so it cannot be captured whole."""


class ModelBug(BaseException):
    """armkvm contradicts itself. Not an Exception, so that nobody swallows it by accident."""
