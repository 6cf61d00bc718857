"""What starting the command line costs, in bare interpreters of the same kind.

The measure is ``python3 -c pass`` with the interpreter that runs armkvm, taken in turn with the
commands; the best round of each counts, as everything else on the machine only adds.

    python bench/startup.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from time import perf_counter

COMMANDS = {
    "armkvm --version": ["-m", "armkvm", "--version"],
    "armkvm regs --decode 0x603000000013c020": ["-m", "armkvm", "regs", "--decode", "0x603000000013c020"],
}
BARE = ["-c", "pass"]
ROUNDS, AT_MOST = 30, 3


def main() -> int:
    bare = float("inf")
    best = dict.fromkeys(COMMANDS, float("inf"))
    for _ in range(ROUNDS):
        bare = min(bare, time_run(BARE))
        for command, words in COMMANDS.items():
            best[command] = min(best[command], time_run(words))
    for command, seconds in best.items():
        print(f"{command:<42} {seconds * 1e3:6.1f} ms  {seconds / bare:5.2f} interpreters")
    print(f"one interpreter: {bare * 1e3:.1f} ms; a command costs at most {AT_MOST}")
    return int(max(best.values()) > AT_MOST * bare)


# Compiled once and kept, as everywhere but where someone forbids it.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def time_run(words: list[str]) -> float:
    began = perf_counter()
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, env=ENVIRONMENT, check=True)
    return perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
