"""``armkvm diff A B``."""

from __future__ import annotations

import argparse
from pathlib import Path

from armkvm.cli.outcome import DONE, FINDINGS, Outcome
from armkvm.migration import files
from armkvm.migration.compare import differences
from armkvm.report import moving


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("before", type=Path, metavar="A", help="a snapshot")
    parser.add_argument("after", type=Path, metavar="B", help="another snapshot")


def run(args: argparse.Namespace) -> Outcome:
    """Compare two snapshots; findings if they differ in more than running clocks."""
    found = differences(files.load(args.before), files.load(args.after))
    status = FINDINGS if any(not each.volatile for each in found) else DONE
    return Outcome(status, moving.comparison(found), moving.comparison_tree(found))
