"""``armkvm restore FILE --on URI``."""

from __future__ import annotations

import argparse
from pathlib import Path

from armkvm.cli.outcome import DONE, FINDINGS, Outcome
from armkvm.cli.places import open_place, record_option
from armkvm.migration import files
from armkvm.migration.restore import restore
from armkvm.report import moving


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a snapshot")
    parser.add_argument("--on", required=True, metavar="URI", help="the place to restore it on")
    record_option(parser)


def run(args: argparse.Namespace) -> Outcome:
    """Restore and read back; the VM is closed again. Findings if it is not the same bit for bit."""
    snapshot = files.load(args.file)
    with open_place(args.on, args.record) as system, restore(system, snapshot) as restored:
        report = restored.report
    return Outcome(
        DONE if report.verified else FINDINGS,
        moving.restoring(report, snapshot),
        moving.restoring_tree(report, snapshot),
    )
