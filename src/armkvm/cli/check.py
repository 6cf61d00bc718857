"""``armkvm check SRC DST``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from armkvm.cli import given, page
from armkvm.cli.outcome import DONE, FINDINGS, Outcome, UsageError
from armkvm.migration.baseline import baseline
from armkvm.migration.check import Config, check, check_states
from armkvm.migration.rehearsal import Order
from armkvm.report import checking

if TYPE_CHECKING:
    from armkvm.backends.base import System
    from armkvm.migration.baseline import Baseline
    from armkvm.migration.check import Check


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.epilog = (
        f"SRC and DST are each {given.FORMS}; SRC can also be a snapshot file, a VM that exists.\n"
        "exit codes: 0 what runs on SRC can move to DST, 1 it cannot"
    )
    parser.add_argument("source", metavar="SRC", help="where it runs")
    parser.add_argument("destination", metavar="DST", help="where it is to go")
    parser.add_argument(
        "--config",
        type=Config,
        choices=[*Config],
        metavar="CONFIG",
        help="the VM: base, sve, sme, sve_sme, or all (default) that SRC grants of PMU_V3, SVE, SME and "
        "pointer authentication",
    )
    page.arguments(parser)
    parser.add_argument(
        "--order",
        type=Order,
        choices=[*Order],
        default=Order.PLANNED,
        metavar="ORDER",
        help="of the restore: planned (default), ids-first, or listed",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Check, and say what both hosts would accept."""
    if given.snapshot(args.destination) is not None:
        raise UsageError(f"{args.destination} is a snapshot, which can only be SRC; DST is a host or place")
    saved = given.snapshot(args.source)
    if saved is not None:
        if args.config is not None:
            raise UsageError("--config goes with a host; a snapshot's vCPUs are what they are")
        with given.host_or_place(args.destination) as destination:
            return _outcome(args, check_states(saved.vcpus, saved.vm, destination, args.order), None)
    with given.host_or_place(args.source) as source, given.host_or_place(args.destination) as destination:
        result = check(source, destination, args.config or Config.ALL, args.order)
        return _outcome(args, result, _both(source, destination))


def _both(source: System, destination: System) -> Baseline | None:
    """The largest vCPU both hosts accept; None where one is no model, whose facts are not known."""
    from armkvm.backends.model import ModelSystem
    from armkvm.model.acceptance import accepts, offered

    if not isinstance(source, ModelSystem) or not isinstance(destination, ModelSystem):
        return None
    hosts = {source.uri: source.platform, destination.uri: destination.platform}
    offers = {label: offered(platform) for label, platform in hosts.items()}
    return baseline(offers, lambda label, features: accepts(hosts[label], features))


def _outcome(args: argparse.Namespace, result: Check, both: Baseline | None) -> Outcome:
    names = (args.source, args.destination)
    if args.html is not None:
        from armkvm.report.page import pair

        page.write(args.html, pair.check(names, result, both))
    return Outcome(
        DONE if result.moves else FINDINGS,
        checking.text(names, result, both),
        checking.tree(names, result, both),
    )
