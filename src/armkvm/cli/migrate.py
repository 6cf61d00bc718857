"""``armkvm migrate SRC DST``."""

from __future__ import annotations

import argparse
from pathlib import Path

from armkvm.cli import wishes
from armkvm.cli.outcome import DONE, FINDINGS, Outcome
from armkvm.cli.places import open_place, record_option
from armkvm.migration import files
from armkvm.migration.move import migrate, offered_lengths
from armkvm.report import moving


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("source", metavar="SRC", help="the place to move from, a URI")
    parser.add_argument("destination", metavar="DST", help="the place to move to, a URI")
    wishes.arguments(parser)
    record_option(parser, "at the destination")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the snapshot that was moved")


def run(args: argparse.Namespace) -> Outcome:
    """Move a VM; findings if it did not arrive bit for bit."""
    with open_place(args.source) as source, open_place(args.destination, args.record) as destination:
        wanted = wishes.wanted(args, source)
        offers = [offered_lengths(place, wanted) for place in (source, destination)]
        report = migrate(source, destination, wanted, seed=args.seed)
    if args.save is not None and report.prepared.snapshot is not None:
        files.save(args.save, report.prepared.snapshot)
    return Outcome(
        DONE if report.moved else FINDINGS,
        moving.migration(report, offers),
        moving.migration_tree(report, offers),
    )
