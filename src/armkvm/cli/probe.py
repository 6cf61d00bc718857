"""``armkvm probe URI [-o FILE]``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from armkvm.cli.outcome import DONE, Outcome
from armkvm.cli.places import open_place, record_option
from armkvm.cli.terminal import say
from armkvm.documents import write_whole
from armkvm.hosts import hostfile
from armkvm.probe import probe


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("place", metavar="URI", help="the place whose host to probe")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the host file (default: print it)")
    parser.add_argument("--name", default="", help="what the host is called (default: after its CPU)")
    record_option(parser)


def run(args: argparse.Namespace) -> Outcome:
    """Probe, and write or print the host file."""
    with open_place(args.place, args.record) as system:
        facts = probe(system, args.name)
    data = hostfile.encode(facts)
    hostfile.decode(json.loads(data), str(args.output or args.place))  # what we write, we read
    if args.output is None:
        return Outcome(DONE, [data.decode().rstrip("\n")], json.loads(data))
    write_whole(args.output, data)
    say(f"model:{args.output} behaves as this host")
    registers = len(facts.values["plain"])
    words = f"wrote {args.output}: {facts.cpu}, kernel {facts.kernel}, {registers} registers"
    return Outcome(DONE, [words], {"file": str(args.output), "name": facts.name, "kernel": facts.kernel})
