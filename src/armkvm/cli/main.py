"""From words to an exit code: find the verb, run it, print what it returns.

A verb is a module with ``arguments(parser)`` and ``run(args) -> Outcome``; only the one that was
asked for is imported. Start-up has a budget, so neither this module nor `regs --decode` imports
anything heavier than argparse.
"""

from __future__ import annotations

import argparse
import os
import sys

from armkvm import __version__
from armkvm.cli.outcome import BACKEND, BUG, FINDINGS, UNREADABLE, USAGE, UsageError
from armkvm.cli.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from armkvm.cli.outcome import Outcome

# verb -> what it does, in the order of `armkvm --help`; each is the module armkvm.cli.<verb>
VERBS = {
    "hosts": "list the built-in hosts, or tell what a host file says",
    "probe": "write what can be known of a place's host as a host file",
    "migrate": "move a VM's vCPU state from one place to another, and compare every register",
    "check": "tell whether what runs on one host can move to another, and what stands in the way",
    "baseline": "compute the largest vCPU that every given host accepts, and what it costs",
    "pools": "divide hosts into pools that can share a baseline, with what-if questions",
    "drift": "tell what a kernel's update changes for VMs on the same CPU, and what to do about it",
    "save": "make a VM on a place and save its vCPU state in a file",
    "restore": "restore a saved state on a place, and compare every register",
    "diff": "compare two saved states",
    "regs": "list registers, and decode register ids and names both ways",
    "explain": "tell what the ABI says of a register, an errno, a rule, a kernel or a refused call",
    "replay": "replay recorded calls on a place and list every answer that differs",
    "conform": "hold a place against the rules of the ABI, one scenario for each",
    "fuzz": "try generated call sequences on two places and shrink every difference",
    "lab": "fetch, list and use the lab: real kernels under QEMU on this machine",
    "agent": "serve a place over standard input and output or a Unix socket",
}

_REPORT = "This is a bug in armkvm. Please report it with the command and what ARMKVM_DEBUG=1 adds to this."


def run(words: Sequence[str]) -> int:
    """Carry out one command line; returns the exit code. Usage errors leave through SystemExit(2)."""
    args = _parse(words)
    try:
        return _print(args.verb_run(args), as_json=args.json)
    except BrokenPipeError:
        # whoever read our output has seen enough; Python's own flush at exit must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except BaseException as error:  # the end of the line: everything becomes an exit code
        if isinstance(error, (SystemExit, GeneratorExit)):
            raise
        return _failure(error)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="armkvm",
        description="KVM/arm64's vCPU state ABI: a model that runs anywhere, and the real thing.",
        epilog="exit codes: 0 done or compatible, 1 findings, 2 usage, 3 unreadable input,\n"
        "4 the place failed, 70 a bug in armkvm",
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"armkvm {__version__}")
    if words and words[0] == "--version":
        return parser.parse_args(words)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, prog="armkvm")
    asked = next((word for word in words if not word.startswith("-")), "")
    if asked not in VERBS:  # help, or a mistake
        for verb, says in VERBS.items():
            verbs.add_parser(verb, help=says, add_help=False)
        return parser.parse_args(words)
    from importlib import import_module

    module, says = import_module(f"armkvm.cli.{asked}"), VERBS[asked]
    own = verbs.add_parser(
        asked, help=says, description=f"{says[0].upper()}{says[1:]}.", formatter_class=_Formatter
    )
    own.add_argument("--json", action="store_true", help="print the result as JSON")
    module.arguments(own)
    own.set_defaults(verb_run=module.run)
    return parser.parse_args(words)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Knows how wide the terminal is; argparse itself would import shutil for every option to learn it."""

    def __init__(self, prog: str) -> None:
        try:
            width = int(os.environ.get("COLUMNS", "")) or 80
        except ValueError:
            try:
                width = os.get_terminal_size().columns or 80
            except OSError:
                width = 80
        super().__init__(prog, width=width - 2)


def _print(outcome: Outcome, *, as_json: bool) -> int:
    if as_json:
        import json

        print(json.dumps(outcome.tree, indent=1))
    else:
        for part in outcome.parts:
            if isinstance(part, str):
                print(printable(part))
            elif sys.stdout.isatty():
                from armkvm.cli.terminal import show_table

                show_table(part)
            else:
                print(printable(part.text()))
    sys.stdout.flush()
    return outcome.status


def _failure(error: BaseException) -> int:
    """Say what went wrong; the exit code for it."""
    from armkvm.errors import InputError, KvmError, MissingFacts, PlaceError, UnknownPlace, UnlistedState

    if os.environ.get("ARMKVM_DEBUG"):
        import traceback

        traceback.print_exception(error)
    codes = (
        (UnknownPlace, USAGE),
        (UsageError, USAGE),
        (InputError, UNREADABLE),
        (PlaceError, BACKEND),
        (MissingFacts, BACKEND),
        (KvmError, FINDINGS),
        (UnlistedState, FINDINGS),
    )
    for kind, code in codes:
        if isinstance(error, kind):
            _say(str(error))
            return code
    if isinstance(error, OSError):  # KvmError, which is one, was told above
        _say(": ".join(filter(None, (error.filename, error.strerror or str(error)))))
        return BACKEND
    _say(f"{type(error).__name__}: {error}")
    _say(_REPORT)
    return BUG


def _say(text: str) -> None:
    for line in text.splitlines():
        print(f"armkvm: {printable(line)}", file=sys.stderr)
