"""``armkvm replay FILE --on URI``."""

from __future__ import annotations

import argparse
from pathlib import Path

from armkvm.cli.outcome import DONE, FINDINGS, Outcome, UsageError
from armkvm.cli.places import open_place
from armkvm.cli.terminal import progress
from armkvm.report import replaying
from armkvm.traces.recordings import read
from armkvm.traces.replay import replay_one


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a recording or trace")
    parser.add_argument("--on", required=True, metavar="URI", help="the place to replay it on")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this sequence; may be repeated")


def run(args: argparse.Namespace) -> Outcome:
    """Replay; findings where an answer differs."""
    sequences = read(args.file)
    if args.only:
        known = {sequence["name"] for sequence in sequences}
        unknown = [name for name in args.only if name not in known]
        if unknown:
            raise UsageError(f"{args.file} has no sequence called {', '.join(unknown)}")
        sequences = [sequence for sequence in sequences if sequence["name"] in args.only]
    with open_place(args.on) as system:
        found = [
            each for sequence in progress(sequences, "replaying") for each in replay_one(sequence, system)
        ]
    counts = len(sequences), sum(len(sequence["steps"]) for sequence in sequences)
    status = FINDINGS if found else DONE
    return Outcome(status, replaying.text(found, *counts), replaying.tree(found, *counts))
