"""``armkvm`` and ``python3 -m armkvm``."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    from armkvm.cli.main import run

    gc.set_threshold(
        200_000
    )  # what a command reads it keeps; to look for garbage among that takes half its time
    status = run(sys.argv[1:])
    gc.freeze()  # nor is it looked for in what goes with the process
    return status


if __name__ == "__main__":
    sys.exit(main())
