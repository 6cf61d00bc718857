"""``armkvm hosts [HOST...]``."""

from __future__ import annotations

import argparse

from armkvm.cli.outcome import DONE, Outcome
from armkvm.cli.terminal import say
from armkvm.errors import MissingFacts
from armkvm.hosts import library
from armkvm.model.acceptance import offered
from armkvm.model.host import Platform
from armkvm.report import hosts


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument(
        "host", nargs="*", metavar="HOST", help="a built-in host or a host file (default: all)"
    )
    parser.add_argument("--kernel", metavar="PROFILE", help="see the hosts through this kernel")


def run(args: argparse.Namespace) -> Outcome:
    """List hosts."""
    built_in = library.names()
    listed: list[hosts.Listed] = []
    for name in args.host or built_in:
        try:
            facts, profile = library.find(name, args.kernel)
        except MissingFacts as lacking:
            if args.host:
                raise
            say(f"left out: {lacking}")
            continue
        platform = Platform(facts, profile)
        kernels = built_in.get(name, (facts.profile,))
        listed.append((facts, kernels, platform.sve, platform.sme, offered(platform)))
        if args.host:
            for note in (*facts.notes, *platform.assumptions):
                say(f"note: {name}: {note}")
    return Outcome(DONE, [hosts.table(listed)], hosts.tree(listed))
