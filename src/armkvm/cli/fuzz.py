"""``armkvm fuzz URI --against URI``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from armkvm.backends.locate import connect, parse
from armkvm.cli.outcome import DONE, FINDINGS, Outcome
from armkvm.cli.terminal import say
from armkvm.fuzzing.campaign import Plan, Tally, run as carry_out
from armkvm.report import fuzzing

_EVERY = 10.0  # seconds between two lines of progress


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("place", metavar="URI", help="the place to try, mostly a model")
    parser.add_argument("--against", required=True, metavar="URI", help="the place whose answers count")
    parser.add_argument("--sequences", type=_positive, default=200, metavar="N", help="how many (200)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="which (0)")
    parser.add_argument("--jobs", type=_positive, default=1, metavar="J", help="processes to spread over (1)")
    parser.add_argument(
        "--folder", type=Path, default=Path("fuzz"), metavar="DIR", help="where results accumulate (fuzz)"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Carry out the campaign, or what is left of it; findings where a difference is not explained."""
    for uri in (args.place, args.against):
        parse(uri)
    plan = Plan(args.place, args.against, args.sequences, args.seed)
    tally = Tally()
    for tally in _told(carry_out(plan, args.folder, connect, args.jobs), args.sequences):  # noqa: B007
        pass
    status = FINDINGS if tally.unexplained else DONE
    return Outcome(status, fuzzing.text(tally), fuzzing.tree(tally))


def _told(states: Iterator[Tally], total: int) -> Iterator[Tally]:
    """The states, with a line of progress now and then."""
    last = time.monotonic()
    for number, tally in enumerate(states):
        now = time.monotonic()
        if number == 0 and tally.done:
            more = tally.done > total
            done = f"{tally.done} sequences" if more else f"{tally.done} of {total} sequences"
            say(f"{done} were done before{f', more than the {total} asked for' if more else ''}")
        elif now - last >= _EVERY or (sys.stderr.isatty() and tally.done == total):
            last = now
            say(
                f"{tally.done} of {total} sequences, {tally.unexplained.total()} with unexplained differences"
            )
        yield tally


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"give a number of at least 1, not {number}")
    return number
