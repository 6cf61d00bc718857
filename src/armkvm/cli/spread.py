"""All moves between the kinds of a fleet: tried here, over processes, or over machines by Dask.

One task asks one host about all others. The hosts' facts go to each worker once; a worker makes
the models and what each would send, and keeps them for its next task.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

from armkvm.backends.model import ModelSystem
from armkvm.cli.outcome import UsageError
from armkvm.cli.terminal import progress
from armkvm.migration.arrivals import Departure, arrivals, departures
from armkvm.model.profile import profile_named

if TYPE_CHECKING:
    from armkvm.cli.fleet import Fleet
    from armkvm.state import HostFacts

PATIENCE = "10s"

Hosts = Mapping[str, tuple["HostFacts", str]]
"""Facts and the profile's name by label: what travels."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare over what the work is spread."""
    spread = parser.add_mutually_exclusive_group()
    spread.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="try moves in this many processes (default 1)"
    )
    spread.add_argument(
        "--dask", metavar="ADDRESS", help="try moves on the machines of a Dask cluster, tcp://host:8786"
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"a number of processes is 1..1024, not {text!r}")
    return int(text)


def arrived(fleet: Fleet, *, workers: int = 1, dask: str | None = None) -> dict[str, frozenset[str]]:
    """By kind, the kinds whose VMs can move there."""
    hosts = {label: (host.facts, host.profile.name) for label, host in fleet.platforms.items()}
    start = partial(_on_dask, dask) if dask else partial(_in_processes, workers) if workers > 1 else _here
    with start(hosts) as answers:
        return dict(zip(hosts, progress(answers, "trying moves", total=len(hosts)), strict=True))


@contextmanager
def _here(hosts: Hosts) -> Iterator[Iterator[frozenset[str]]]:
    yield (ask(label, hosts) for label in hosts)


@contextmanager
def _in_processes(workers: int, hosts: Hosts) -> Iterator[Iterator[frozenset[str]]]:
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(hosts,)) as pool:
        yield pool.map(_ask_again, hosts)


@contextmanager
def _on_dask(address: str, hosts: Hosts) -> Iterator[Iterator[frozenset[str]]]:
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise UsageError("--dask needs Dask: pip install armkvm[cluster]") from None
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as bad:
        raise UsageError(f"--dask {address}: no cluster answers there ({bad})") from None
    with client:
        (there,) = client.scatter([dict(hosts)], broadcast=True, hash=False)
        yield iter(client.gather(client.map(ask, [*hosts], hosts=there, pure=False)))


# -- in a worker -----------------------------------------------------------------------------------

_kept: list[tuple[Hosts, dict[str, ModelSystem], dict[str, Departure]]] = []


def _begin(hosts: Hosts) -> None:
    """What a process does first."""
    places = {label: ModelSystem(facts, profile_named(name), label) for label, (facts, name) in hosts.items()}
    _kept[:] = [(hosts, places, departures(places))]


def _ask_again(label: str) -> frozenset[str]:
    _, places, sent = _kept[0]
    return arrivals(places[label], sent)


def ask(label: str, hosts: Hosts) -> frozenset[str]:
    """The kinds whose VMs can move to one of the hosts."""
    if not _kept or _kept[0][0] is not hosts:
        _begin(hosts)
    return _ask_again(label)
