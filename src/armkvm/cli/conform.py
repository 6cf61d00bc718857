"""``armkvm conform URI``."""

from __future__ import annotations

import argparse

from armkvm.cli.outcome import DONE, FINDINGS, Outcome, UsageError
from armkvm.cli.places import open_place, record_option
from armkvm.cli.terminal import progress
from armkvm.report import conforming
from armkvm.testing.conformance import Status, run_one, scenarios


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("place", metavar="URI", help="the place to hold against the rules")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this scenario; may be repeated")
    parser.add_argument("--verbose", action="store_true", help="list the scenarios that passed, too")
    record_option(parser)


def run(args: argparse.Namespace) -> Outcome:
    """Try the scenarios; findings where one fails."""
    every = {one.name: one for one in scenarios()}
    unknown = [name for name in args.only or () if name not in every]
    if unknown:
        raise UsageError(f"no scenario is called {', '.join(unknown)}; `--verbose` lists them all")
    chosen = [every[name] for name in args.only or every]
    with open_place(args.place, args.record) as system:
        results = [run_one(system, one) for one in progress(chosen, "trying")]
        tree = conforming.tree(results, system.uri, system.kernel)
    failed = any(result.status is Status.FAILED for result in results)
    parts = conforming.text(results, show_passed=args.verbose)
    return Outcome(FINDINGS if failed else DONE, parts, tree)
