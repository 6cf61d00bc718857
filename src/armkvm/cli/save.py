"""``armkvm save URI FILE``."""

from __future__ import annotations

import argparse
from pathlib import Path

from armkvm.cli import wishes
from armkvm.cli.outcome import DONE, FINDINGS, Outcome
from armkvm.cli.places import open_place, record_option
from armkvm.migration import files
from armkvm.migration.move import prepare
from armkvm.report import moving


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("place", metavar="URI", help="the place to make the VM on")
    parser.add_argument("file", type=Path, metavar="FILE", help="the snapshot to write")
    wishes.arguments(parser)
    record_option(parser)


def run(args: argparse.Namespace) -> Outcome:
    """Make a VM, fill it from the seed, and write its snapshot; findings if it cannot be made."""
    with open_place(args.place, args.record) as system:
        prepared = prepare(system, wishes.wanted(args, system), seed=args.seed)
    if prepared.snapshot is None:
        lines = [line for finding in prepared.findings for line in moving.finding_lines(finding)]
        tree = {"file": None, "findings": list(map(moving.finding_tree, prepared.findings))}
        return Outcome(FINDINGS, lines, tree)
    files.save(args.file, prepared.snapshot)
    path = str(args.file)
    return Outcome(DONE, moving.saved(prepared.snapshot, path), moving.saved_tree(prepared.snapshot, path))
