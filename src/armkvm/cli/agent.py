"""``armkvm agent [URI]``: serve a place, or write the agent as one file to copy to another machine."""

from __future__ import annotations

import argparse

from armkvm.backends.locate import connect
from armkvm.backends.remote.agent import serve_socket, serve_stdio
from armkvm.backends.remote.zipapp import write_zipapp
from armkvm.cli.outcome import DONE, Outcome
from armkvm.cli.terminal import say


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("place", nargs="?", default="kvm:", metavar="URI", help="what to serve (kvm:)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--socket", metavar="PATH", help="serve on a Unix socket of mode 0600 made there")
    how.add_argument(
        "--zipapp",
        metavar="FILE",
        help="serve nothing; write the agent as one file that Python 3.11 runs on a bare arm64 host",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Serve until the client leaves (or, on a socket, until interrupted)."""
    if args.zipapp:
        size = write_zipapp(args.zipapp)
        words = (
            f"wrote {args.zipapp}: {size:,} bytes; Python 3.11 runs it (ssh://HOST finds ~/armkvm-agent.pyz)"
        )
        return Outcome(DONE, [words], {"file": args.zipapp, "bytes": size})

    if args.socket:
        words = f"serving {args.place} on {args.socket}; connect to unix:{args.socket}"
        serve_socket(args.socket, lambda: connect(args.place), lambda: say(words))
    else:
        serve_stdio(lambda: connect(args.place))
    return Outcome(DONE, [], {})
