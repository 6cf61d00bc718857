"""``armkvm explain WORD...``."""

from __future__ import annotations

import argparse
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING

from armkvm import catalog
from armkvm.abi.regid import RegClass, RegId
from armkvm.abi.vcpu_features import RESHAPING, VcpuFeature
from armkvm.arch.accesses import access_name, find_access, is_instruction
from armkvm.arch.idfields import field
from armkvm.catalog import id_of
from armkvm.cli.outcome import DONE, FINDINGS, Outcome, UsageError
from armkvm.cli.places import open_place
from armkvm.cli.wishes import parse_features
from armkvm.model.behaviour import BEHAVIOURS
from armkvm.model.differences import numbers
from armkvm.model.lifecycle import REFUSES
from armkvm.model.profile import PROFILES
from armkvm.model.rulebook import RULES
from armkvm.report import explaining
from armkvm.traces.trials import CALLS, GET_ONE_REG, SET_ONE_REG, try_call

if TYPE_CHECKING:
    from armkvm.backends.base import Feature, Vcpu
    from armkvm.backends.model import ModelVcpu
    from armkvm.traces.trials import Trial

_ACCESSES = ("MRS", "MSR", "SYS")
_EXAMPLES = """\
examples:
  armkvm explain ID_AA64PFR0_EL1          a register, by name or id
  armkvm explain EPERM                    every rule that refuses with it
  armkvm explain vls-not-prefix           a rule, as messages name it
  armkvm explain SET_ONE_REG Z0 EPERM     a call that was refused
  armkvm explain GET_REG_LIST             a call and the life of a vCPU
  armkvm explain MRS TCR2_EL1             what a guest's read comes to; MSR for a write
  armkvm explain MRS ZCR_EL1 --with ID_AA64PFR0_EL1.SVE=0
  armkvm explain SYS "TLBI VAE1OS"        what a guest's instruction comes to
  armkvm explain 7.3                      a kernel, or one of its behaviours
  armkvm explain KVM_CAP_ARM_SME          a number, by kernel; KVM_ARM_VCPU_SME likewise
  armkvm explain --profile 6.12 --profile 7.3
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("word", nargs="*", metavar="WORD", help="register, errno, rule, kernel, or a call")
    parser.add_argument(
        "--profile", action="append", default=[], metavar="KERNEL", help="show how these kernels differ"
    )
    parser.add_argument(
        "--on", metavar="URI", help="where calls are tried (default: a model that has it all)"
    )
    parser.add_argument(
        "--with",
        dest="fields",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="for MRS, MSR and SYS: set this ID field of the guest first, as ID_AA64PFR0_EL1.SVE=0",
    )
    parser.add_argument(
        "--features",
        type=parse_features,
        metavar="F,F",
        help="for MRS, MSR and SYS: the vCPU's features (default: all the host has but HAS_EL2)",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Explain."""
    words: list[str] = args.word
    if args.profile:
        if words:
            raise UsageError("--profile goes without words")
        return _profiles(args.profile)
    if not words:
        raise UsageError("explain what? a register, an errno, a rule, a kernel or a call; see --help")
    if words[0].upper() in _ACCESSES:
        return _access(words[0].upper(), words[1:], args)
    if args.fields or args.features is not None:
        raise UsageError(f"--with and --features go with {', '.join(_ACCESSES)}")
    operation = _operation(words[0])
    if operation is not None:
        return _call(operation, words[1:], args.on)
    if len(words) > 1:
        raise UsageError(f"no call is called {words[0]!r}; calls are {', '.join(CALLS)}")
    return _word(words[0], args.on)


def _word(word: str, on: str | None) -> Outcome:
    upper, lower = word.upper(), word.lower()
    if lower in RULES:
        return Outcome(DONE, explaining.rule(RULES[lower]), explaining.rule_tree(RULES[lower]))
    if lower in BEHAVIOURS:
        one = BEHAVIOURS[lower]
        return Outcome(DONE, explaining.behaviour(one), explaining.behaviour_tree(one))
    if lower in PROFILES:
        return _profiles([lower])
    numbered = {row.name: row for row in numbers(list(PROFILES.values()))}
    if upper in numbered:
        return Outcome(DONE, explaining.number(numbered[upper]), explaining.number_tree(numbered[upper]))
    if upper in errno.errorcode.values():
        number = getattr(errno, upper)
        some = [rule for rule in RULES.values() if rule.errno == number]
        parts = explaining.rules(some) or [f"no rule that armkvm knows refuses with {upper}"]
        return Outcome(DONE if some else FINDINGS, parts, list(map(explaining.rule_tree, some)))
    try:
        reg = catalog.parse(word)
    except ValueError as bad:
        names = [*RULES, *BEHAVIOURS, *PROFILES, *numbered, *errno.errorcode.values(), *CALLS]
        near = get_close_matches(word, names, n=3)
        raise UsageError(f"did you mean {' or '.join(near)}?" if near else str(bad)) from None
    listed = _listed_by(reg, on)
    return Outcome(DONE, explaining.register(reg, listed), explaining.register_tree(reg, listed))


def _access(how: str, words: list[str], args: argparse.Namespace) -> Outcome:
    """What one access of a guest comes to on a modelled host."""
    from armkvm.model.traps import guest_access

    name = " ".join(words)
    reg = find_access(name)
    if reg is None or is_instruction(reg) != (how == "SYS"):
        kind = "instruction" if how == "SYS" else "register"
        raise UsageError(f"{how} takes the name of a system {kind}; {name!r} is none that armkvm knows")
    place = args.on or _default_place(RegId.sysreg(reg) if how != "SYS" else None)
    with _guest(place, args.features, args.fields) as vcpu:
        found = guest_access(vcpu.vcpu, reg, is_write=how != "MRS")
    tree = {
        "access": f"{how} {access_name(reg)}",
        "outcome": found.outcome.name,
        "control": found.control,
        "because": {str(part.field): part.value for part in found.because},
        "value": found.value,
        "note": found.note,
    }
    return Outcome(DONE, [str(found)], tree)


@contextmanager
def _guest(place: str, features: Iterable[Feature] | None, fields: Iterable[str]) -> Iterator[ModelVcpu]:
    """A modelled vCPU, its ID fields set as asked."""
    from armkvm.backends.model import ModelSystem
    from armkvm.model.acceptance import offered

    with open_place(place) as system:
        if not isinstance(system, ModelSystem):
            raise UsageError(f"traps are worked out from a model of a host, and {place} is none")
        if features is None:
            features = offered(system.platform) - RESHAPING - {VcpuFeature.HAS_EL2}
        with system.create_vm() as vm:
            vcpu = vm.create_vcpu(0)
            vcpu.init(features)
            for text in fields:
                _set_field(vcpu, text)
            yield vcpu


def _set_field(vcpu: Vcpu, text: str) -> None:
    path, equals, number = text.partition("=")
    register, dot, name = path.partition(".")
    try:
        if not equals or not dot:
            raise ValueError(f"--with takes REGISTER.FIELD=VALUE, not {text!r}")
        part, value = field(register.upper(), name), int(number, 0)
        reg = id_of(part.register)
        present = int.from_bytes(vcpu.get_one_reg(reg), "little")
        wanted = part.insert(present, value)
    except ValueError as bad:
        raise UsageError(str(bad)) from None
    vcpu.set_one_reg(reg, wanted.to_bytes(reg.size, "little"))


def _profiles(names: list[str]) -> Outcome:
    unknown = [name for name in names if name not in PROFILES]
    if unknown:
        raise UsageError(f"no kernel profile is called {', '.join(unknown)}; known are {', '.join(PROFILES)}")
    some = [PROFILES[name] for name in dict.fromkeys(names)]
    return Outcome(DONE, explaining.profiles(some), explaining.profiles_tree(some))


# -- calls -----------------------------------------------------------------------------------------


def _operation(word: str) -> str | None:
    """A call's full name: ``SET_ONE_REG``, ``KVM_SET_ONE_REG``, ``FINALIZE``."""
    upper = word.upper()
    candidates = (upper, f"KVM_{upper}", f"KVM_ARM_{upper}", f"KVM_ARM_VCPU_{upper}")
    return next((name for name in candidates if name in CALLS), None)


def _call(operation: str, words: list[str], on: str | None) -> Outcome:
    """A call, possibly of a register, possibly with the errno it gave."""
    numbers = [word for word in words if word.upper() in errno.errorcode.values()]
    others = [word for word in words if word not in numbers]
    takes_register = operation in {GET_ONE_REG, SET_ONE_REG}
    if len(numbers) > 1 or len(others) != int(takes_register and bool(others)):
        raise UsageError(
            f"say {operation}{' REGISTER' if takes_register else ''}, and the errno if it gave one"
        )
    table = [explaining.phases(operation)] if operation in REFUSES else []
    if takes_register and not others:
        return Outcome(DONE, table, {"call": operation})
    try:
        reg = catalog.parse(others[0]) if others else None
    except ValueError as bad:
        raise UsageError(str(bad)) from None
    came = _tried(operation, reg, on)
    wanted = getattr(errno, numbers[0].upper()) if numbers else None
    call = " ".join(filter(None, (operation, catalog.name_of(reg) or reg.hex if reg is not None else "")))
    chosen = [trial for trial in came if wanted is None or trial.errno == wanted]
    tree = {"call": call, "answers": explaining.trials_tree(chosen)}
    if not chosen:
        return Outcome(FINDINGS, [f"{call} never gave {numbers[0].upper()} when it was tried"], tree)
    return Outcome(DONE, [call, *([] if numbers else table), *explaining.trials(came, wanted)], tree)


def _tried(operation: str, reg: RegId | None, on: str | None) -> list[Trial]:
    with open_place(on or _default_place(reg)) as system:
        return list(try_call(system, operation, reg))


def _listed_by(reg: RegId, on: str | None) -> list[str]:
    """The kinds of vCPU whose register list names a register."""
    from armkvm.traces.trials import listings

    with open_place(on or _default_place(reg)) as system:
        return explaining.listed_by(listings(system, reg))


def _default_place(reg: RegId | None) -> str:
    """A built-in host that has all that a call may be about."""
    name = "" if reg is None else catalog.name_of(reg)
    is_vector = reg is not None and reg.reg_class in {RegClass.SVE, RegClass.SME}
    return "model:sme-nested" if is_vector or name in _OF_SME else "model:max-nested"


# Beside vectors and matrices, which the mode decides on.
_OF_SME = frozenset(
    (
        *(f"V{n}" for n in range(32)),
        "SVCR",
        "SMCR_EL1",
        "SMCR_EL2",
        "SMPRI_EL1",
        "SMPRIMAP_EL2",
        "TPIDR2_EL0",
        "SMIDR_EL1",
        "ID_AA64SMFR0_EL1",
    )
)
