"""``armkvm drift A B``."""

from __future__ import annotations

import argparse

from armkvm.cli import given, page
from armkvm.cli.outcome import DONE, FINDINGS, Outcome
from armkvm.cli.terminal import say
from armkvm.migration.drift import drift
from armkvm.report import drifting


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.epilog = (
        f"A and B are each {given.FORMS}.\nexit codes: 0 nothing that must match differs, 1 something does"
    )
    parser.add_argument("before", metavar="A", help="the CPU under the kernel that VMs come from")
    parser.add_argument("after", metavar="B", help="the same CPU under the kernel that they go to")
    page.arguments(parser)


def run(args: argparse.Namespace) -> Outcome:
    """Compare; findings if something must match and does not."""
    with given.host_or_place(args.before) as before, given.host_or_place(args.after) as after:
        found = drift(before, after)
    if not found.same_cpu:
        say(f"note: {args.before} and {args.after} are unlike CPUs; not all is the kernel's doing")
    if args.html is not None:
        from armkvm.report.page import kernels

        page.write(args.html, kernels.drift((args.before, args.after), found))
    return Outcome(DONE if found.harmless else FINDINGS, drifting.text(found), drifting.tree(found))
