"""The fleet that the words of a command line name, for the verbs that reason about many hosts."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from armkvm.cli import given
from armkvm.cli.outcome import UsageError
from armkvm.cli.terminal import progress, say
from armkvm.errors import Fault, InputError, KvmError, MissingFacts
from armkvm.hosts import library
from armkvm.hosts.inventory import Inventory, is_inventory, read_into
from armkvm.migration.pools import Kind
from armkvm.model.acceptance import accepts, check_plain_vm, offered
from armkvm.model.host import Platform
from armkvm.report.baselines import named

if TYPE_CHECKING:
    from armkvm.abi.vcpu_features import VcpuFeature
    from armkvm.state import Acceptance, HostFacts

FAULTS_SHOWN = 100
NOTES_SHOWN = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the hosts, and what to do about broken ones."""
    parser.add_argument(
        "hosts",
        nargs="+",
        metavar="HOST",
        help="a host as `armkvm check` takes it, a folder of host files, or a file of JSON lines or Parquet",
    )
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave out hosts that cannot be read, naming each"
    )


class Fleet:
    """Kinds of hosts with their models; what a kind accepts is worked out once for each set of features."""

    def __init__(self, kinds: tuple[Kind, ...], platforms: Mapping[str, Platform]) -> None:
        self.kinds = kinds
        self.platforms = platforms
        self.offers = {speaker: offered(platform) for speaker, platform in platforms.items()}
        self._known: dict[tuple[str, frozenset[VcpuFeature]], Acceptance] = {}

    def accepts(self, speaker: str, features: frozenset[VcpuFeature]) -> Acceptance:
        """What hosts of a kind accept for a vCPU with these features."""
        key = speaker, features
        if key not in self._known:
            self._known[key] = accepts(self.platforms[speaker], features)
        return self._known[key]

    @property
    def sizes(self) -> dict[str, int]:
        """How many hosts each kind has, by speaker."""
        return {kind.speaker: len(kind.hosts) for kind in self.kinds}

    def joined_by(self, host: str, platform: Platform) -> Fleet:
        """The fleet with one more host."""
        wider = Fleet((*self.kinds, Kind(speaker=host, hosts=(host,))), {**self.platforms, host: platform})
        wider._known = self._known
        return wider


def gather(words: Sequence[str], *, skip_broken: bool, kernels: Mapping[str, str] | None = None) -> Fleet:
    """The fleet of these hosts. `kernels`: hosts, by label or pattern, to be seen through another kernel.

    InputError with every broken host, unless they are to be skipped.
    """
    inventory = _inventory(words, skip_broken=skip_broken)
    _report_broken(inventory, skip=skip_broken)
    if not inventory.labels:
        why = "all are left out" if inventory.broken else "no file *.json and no line with a host is there"
        raise UsageError(f"{', '.join(words)}: no host is left; {why}")
    for pattern, kernel in (kernels or {}).items():
        _reseat(inventory, pattern, kernel)
    kinds, platforms = [], {}
    for kind, labels in inventory.labels.items():
        try:
            platform = _platform(inventory.facts[kind], labels)
        except (MissingFacts, InputError) as bad:
            if not skip_broken:
                raise
            say(f"left out: {bad}")
            continue
        speaker = min(labels)
        platforms[speaker] = platform
        kinds.append(Kind(speaker=speaker, hosts=tuple(sorted(labels))))
    if not kinds:
        raise UsageError(f"{', '.join(words)}: no host is left; all are left out")
    return Fleet(tuple(sorted(kinds, key=lambda kind: kind.speaker)), platforms)


def _inventory(words: Iterable[str], *, skip_broken: bool) -> Inventory:
    """The hosts that the words name, alike ones as one kind."""
    inventory = Inventory()
    for word in words:
        name = given.name_of(word)
        if not name:
            raise UsageError(f"{word!r} names no host and no inventory; the current folder is .")
        path = Path(name)
        if is_inventory(path) and not library.is_builtin(word):
            if name != word:
                many = "`armkvm pools --kernel HOST=PROFILE` sees some of a fleet through another kernel"
                raise UsageError(f"{word}: ?kernel= goes with one host, and {name} holds many; {many}")
            for _ in progress(read_into(inventory, path, given.read_fingerprint), f"reading {word}"):
                pass
            continue
        try:
            inventory.add(word, given.host_facts(word), word)
        except (InputError, MissingFacts) as bad:
            if not skip_broken:
                raise
            inventory.broken.append(
                bad if isinstance(bad, InputError) else InputError(word, [Fault("$", str(bad))])
            )
    return inventory


def _platform(facts: HostFacts, labels: Sequence[str]) -> Platform:
    """The model of alike hosts; InputError if no VM can be made on them."""
    platform = Platform(*library.seen_through(facts))
    try:
        check_plain_vm(platform)
    except KvmError as refused:
        fault = Fault("facts", f"no VM can be made there: {refused}")
        raise InputError(", ".join(sorted(labels)), [fault]) from refused
    return platform


def tell(fleet: Fleet) -> None:
    """Say on stderr what a user of these hosts should know of them, alike notes once."""
    noted: dict[str, list[str]] = {}
    for kind in fleet.kinds:
        for note in fleet.platforms[kind.speaker].facts.notes:
            noted.setdefault(note, []).append(kind.speaker)
    for note, speakers in list(noted.items())[:NOTES_SHOWN]:
        say(f"note: {note} ({named(speakers, fleet.sizes)})")
    if len(noted) > NOTES_SHOWN:
        say(f"note: and {len(noted) - NOTES_SHOWN} more, which --html lists")


def _report_broken(inventory: Inventory, *, skip: bool) -> None:
    broken = inventory.broken
    if not broken:
        return
    if not skip:
        faults = [f"{bad.source}: {fault}" for bad in broken for fault in bad.faults]
        for fault in faults[:FAULTS_SHOWN]:
            say(fault)
        more = f"{len(faults) - FAULTS_SHOWN} more faults; " if len(faults) > FAULTS_SHOWN else ""
        count = f"{len(broken)} of {len(inventory) + len(broken)} hosts"
        raise InputError(count, [Fault("cannot be used", f"{more}--skip-broken leaves them out")])
    for bad in broken:
        say(f"left out: {bad}")


def _reseat(inventory: Inventory, pattern: str, kernel: str) -> None:
    """The hosts that a pattern names as they would be under another kernel."""
    found = False
    for kind, labels in [*inventory.labels.items()]:
        chosen = [
            label
            for label in labels
            if label == pattern or (pattern not in inventory and fnmatchcase(label, pattern))
        ]
        if chosen:
            inventory.move(chosen, kind, library.updated(inventory.facts[kind], kernel))
            found = True
    if not found:
        raise UsageError(f"no host of the fleet is called {pattern!r}")
