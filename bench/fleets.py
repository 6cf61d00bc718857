"""What reasoning about a fleet costs, against libvirt's, for as many hosts in the same run.

Each of our hosts holds some 60 registers, capabilities and vector lengths. libvirt's are x86 CPU
descriptions, as large as its limit for files leaves room for at 50,000. Of either 200 are distinct.
Both are programs started anew; the processor time of their processes is counted, the best round of
each, in turn. A host costs what its fleet costs beyond a fleet of two, divided by the hosts.

    python bench/fleets.py [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from armkvm.arch.idfields import field
from armkvm.catalog import id_of
from armkvm.hosts import hostfile, library
from armkvm.value import replace

if TYPE_CHECKING:
    from collections.abc import Callable

ARMKVM = [sys.executable, "-m", "armkvm"]
VIRSH = ["virsh", "-c", "test:///default"]
KINDS = 200
SIZES = (1_000, 10_000, 50_000, 100_000)
LARGEST_OF_VIRSH = 10 << 20
"""virsh reads no larger file."""
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

# -- fleets ----------------------------------------------------------------------------------------

LOWERED = [
    *(("ID_AA64ISAR0_EL1", name) for name in ("ATOMIC", "TS", "DP", "SM3", "SM4", "SHA3")),
    ("ID_AA64MMFR1_EL1", "HPDS"),
]


def kinds_of_ours(rng: random.Random) -> list[dict[str, object]]:
    """Host files' trees: three CPUs with fields lowered, as firmware and kernels' options do."""
    base = [library.builtin(name, "7.3") for name in ("neoverse-v1", "max", "max-vq4")]
    found: dict[bytes, dict[str, object]] = {}
    while len(found) < KINDS:
        facts = rng.choice(base)
        plain = dict(facts.values["plain"])
        for part in (field(register, name) for register, name in LOWERED):
            reg = id_of(part.register)
            plain[reg] = part.insert(plain[reg], rng.randint(0, part.extract(plain[reg])))
        made = hostfile.encode(replace(facts, notes=(), values={**facts.values, "plain": plain}))
        found.setdefault(made, json.loads(made))
    return [*found.values()]


MODELS = ["Penryn", "Nehalem", "Westmere", "SandyBridge", "IvyBridge", "Haswell", "Broadwell"]
FEATURES = ["aes", "avx", "avx2", "bmi1", "bmi2", "erms", "fma", "movbe", "pcid", "popcnt", "smep", "xsave"]


def kinds_of_theirs(rng: random.Random) -> list[str]:
    """CPU descriptions of some 200 bytes: a model and six features."""
    found: dict[str, None] = {}
    while len(found) < KINDS:
        features = "".join(f"<feature name='{name}'/>" for name in rng.sample(FEATURES, 6))
        model = rng.choice(MODELS)
        found[f"<cpu><arch>x86_64</arch><model>{model}</model>{features}</cpu>\n"] = None
    return [*found]


def write_lines(path: Path, kinds: list[dict[str, object]], hosts: int) -> None:
    with path.open("w") as file:
        for number in range(hosts):
            tree = kinds[number % KINDS]
            tree["name"] = f"host-{number:06}"
            file.write(json.dumps(tree) + "\n")


def write_columns(path: Path, kinds: list[dict[str, object]], hosts: int) -> None:
    """Parquet, which keeps equal texts once; nothing where pyarrow is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        return
    texts = [json.dumps({name: value for name, value in tree.items() if name != "name"}) for tree in kinds]
    names = [f"host-{number:06}" for number in range(hosts)]
    table = {"name": names, "host": [texts[number % KINDS] for number in range(hosts)]}
    pq.write_table(pa.table(table), path)


def write_theirs(path: Path, kinds: list[str], hosts: int) -> None:
    path.write_text("".join(kinds[number % KINDS] for number in range(hosts)))


# -- measuring -------------------------------------------------------------------------------------


def spent(command: list[str]) -> float:
    """Processor time of a command and all that it starts, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1) or not done.stdout:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def in_turn(
    commands: dict[str, list[str]], rounds: int, measure: Callable[[list[str]], float]
) -> dict[str, float]:
    best = dict.fromkeys(commands, float("inf"))
    for _ in range(rounds):
        for name, command in commands.items():
            best[name] = min(best[name], measure(command))
    return best


def wall(command: list[str]) -> float:
    began = perf_counter()
    spent(command)
    return perf_counter() - began


def baselines(folder: Path, rounds: int) -> None:
    ours, theirs = kinds_of_ours(random.Random(1)), kinds_of_theirs(random.Random(1))
    commands: dict[str, list[str]] = {}
    for hosts in (2, *SIZES):
        lines, columns, other = (folder / f"{hosts}.{form}" for form in ("jsonl", "parquet", "xml"))
        write_lines(lines, ours, hosts)
        write_columns(columns, ours, hosts)
        write_theirs(other, theirs, hosts)
        commands[f"lines {hosts}"] = [*ARMKVM, "baseline", str(lines)]
        if columns.exists():
            commands[f"columns {hosts}"] = [*ARMKVM, "baseline", str(columns)]
        if shutil.which("virsh") and other.stat().st_size <= LARGEST_OF_VIRSH:
            commands[f"virsh {hosts}"] = [*VIRSH, "cpu-baseline", str(other)]
    best = in_turn(commands, rounds, spent)

    def each(form: str, hosts: int) -> float:
        """Microseconds that a host costs beyond what two hosts cost; nan where that was not measured."""
        whole, start = best.get(f"{form} {hosts}", math.nan), best.get(f"{form} 2", math.nan)
        return (whole - start) / hosts * 1e6

    print(f"baseline: microseconds of processor time a host, {KINDS} kinds, reading included")
    print(
        f"{'hosts':>8}{'JSON lines':>12}{'Parquet':>9}{'virsh':>7}{'virsh / JSON lines':>20}{'/ Parquet':>11}"
    )
    for hosts in SIZES:
        lines, columns, virsh = (each(form, hosts) for form in ("lines", "columns", "virsh"))
        ratios = f"{virsh / lines:19.1f}x{virsh / columns:10.1f}x"
        print(f"{hosts:8,}{lines:12.1f}{columns:9.1f}{virsh:7.1f}{ratios}".replace("nanx", "   -"))
    starts = ", ".join(f"{form} {best[f'{form} 2'] * 1e3:.0f} ms" for form in ("lines", "columns", "virsh"))
    print(f"two hosts, which is start-up: {starts}")


def moves(folder: Path) -> None:
    """Every kind's VM tried on every kind; measured once, for it takes seconds."""
    print(f"\nall pairs of {KINDS} kinds: seconds of processor time, reading and pools included")
    for hosts in SIZES:
        command = [*ARMKVM, "pools", str(folder / f"{hosts}.jsonl"), "--moves"]
        print(f"{hosts:8,}{spent(command):9.1f}", flush=True)


def checks(folder: Path, rounds: int) -> None:
    """Two host files by `check`. virsh's test driver compares no CPUs by itself; its baseline of two does."""
    one, two, cpus = folder / "one.json", folder / "two.json", folder / "cpus.xml"
    one.write_bytes(hostfile.encode(library.builtin("max", "7.3")))
    two.write_bytes(hostfile.encode(library.builtin("max-vq4", "7.3")))
    write_theirs(cpus, kinds_of_theirs(random.Random(1)), 2)
    commands = {
        "armkvm check": [*ARMKVM, "check", str(two), str(one)],
        "virsh cpu-baseline": [*VIRSH, "cpu-baseline", str(cpus)],
    }
    if not shutil.which("virsh"):
        del commands["virsh cpu-baseline"]
    print("\ntwo hosts from the command line, start-up included")
    for name, seconds in in_turn(commands, rounds, wall).items():
        print(f"{name:<20}{seconds * 1e3:8.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        baselines(Path(name), rounds)
        checks(Path(name), rounds)
        moves(Path(name))


if __name__ == "__main__":
    main()
