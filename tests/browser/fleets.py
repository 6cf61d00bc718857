"""Fleets to draw pages of: real hosts under made-up names, and names that no host should have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from armkvm.arch.idfields import field
from armkvm.catalog import id_of
from armkvm.hosts import hostfile, library
from armkvm.value import replace

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "\"><img src=x onerror=document.title='owned'><b>'&amp;{{7*7}}"
HOSTILE_NOTE = "</script><script>document.title='owned'</script>"


def hostile(folder: Path) -> Path:
    """Two unlike hosts, one of which is markup and script wherever it may be."""
    folder.mkdir()
    one, two = library.builtin("neoverse-v1", "7.3"), library.builtin("neoverse-n1", "7.3")
    (folder / f"{HOSTILE}.json").write_bytes(hostfile.encode(replace(one, notes=(HOSTILE_NOTE,))))
    (folder / "plain.json").write_bytes(hostfile.encode(two))
    return folder


def large(path: Path, hosts: int, kinds: int) -> Path:
    """JSON lines of hosts that come in so many kinds: CPUs by two fields of five bits or less."""
    bases = [library.builtin(name, "7.3") for name in ("neoverse-v1", "neoverse-n1")]
    parts = [
        field("ID_AA64ISAR0_EL1", "RNDR"),
        field("ID_AA64ISAR0_EL1", "TLB"),
        field("ID_AA64ISAR0_EL1", "TS"),
    ]
    isar0 = id_of(parts[0].register)
    records = []
    for number in range(kinds):
        base = bases[number % len(bases)]
        value = base.values["plain"][isar0]
        for digit, part in enumerate(parts):
            value = part.insert(value, (number // len(bases) >> 4 * digit) & 15)
        values = {variant: {**held, isar0: value} for variant, held in base.values.items()}
        records.append(json.loads(hostfile.encode(replace(base, values=values))))
    with path.open("w") as out:
        for host in range(hosts):
            out.write(json.dumps({**records[host % kinds], "name": f"host-{host:06}"}) + "\n")
    return path
