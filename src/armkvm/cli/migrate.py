"""``armkvm migrate SRC DST``."""

from __future__ import annotations

import argparse
from pathlib import Path

from armkvm.cli import wishes
from armkvm.cli.outcome import DONE, FINDINGS, Outcome, UsageError
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
    guest = parser.add_argument_group("a guest that runs, is stopped, moved and resumed")
    guest.add_argument(
        "--guest", type=Path, metavar="FILE", help="run this program: a flat binary, or a static ELF file"
    )
    guest.add_argument(
        "--at-marker", type=_count, metavar="N", help="stop at its N-th marker (default: the first)"
    )
    guest.add_argument(
        "--after", type=_count, metavar="N", help="stop N instructions after that marker, or after the start"
    )
    guest.add_argument("--memory", type=_count, default=1, metavar="MIB", help="MiB of memory (default 1)")


def _count(text: str) -> int:
    """A number of instructions, markers or MiB."""
    try:
        count = int(text)
    except ValueError:
        count = 0
    if not 0 < count < 1 << 63:
        raise argparse.ArgumentTypeError(f"a whole number from 1, not {text!r}")
    return count


def run(args: argparse.Namespace) -> Outcome:
    """Move a VM; findings if it did not arrive bit for bit."""
    if args.guest is not None:
        return _run_guest(args)
    if args.at_marker is not None or args.after is not None:
        raise UsageError("--at-marker and --after say where to stop a guest; give one with --guest FILE")
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


def _run_guest(args: argparse.Namespace) -> Outcome:
    """Move a guest; findings if it did not finish as it does unmoved."""
    from armkvm.documents import read_bounded
    from armkvm.migration.board import StopAt
    from armkvm.migration.guest_move import move_guest
    from armkvm.migration.program import MOST_BYTES, parse
    from armkvm.report.guests import guest, guest_tree

    memory = args.memory << 20
    if args.vcpus != 1:
        raise UsageError("a guest is moved with one vCPU; leave --vcpus out")
    if memory > MOST_BYTES:
        raise UsageError(f"a guest has at most {MOST_BYTES >> 20} MiB of memory, not {args.memory}")
    program = parse(read_bounded(args.guest, MOST_BYTES), str(args.guest), memory)
    first = 1 if args.after is None else None
    stop = StopAt(args.at_marker or first, args.after)
    with open_place(args.source) as source, open_place(args.destination, args.record) as destination:
        wanted = wishes.wanted(args, source)
        offers = [offered_lengths(place, wanted) for place in (source, destination)]
        report = move_guest(source, destination, wanted, program, stop)
    if args.save is not None and report.halfway is not None:
        files.save(args.save, report.halfway.snapshot)
    status = DONE if report.agrees else FINDINGS
    return Outcome(status, guest(report, offers), guest_tree(report, offers))
