"""What VMs of one baseline meet when they move: what no configuration settles.

A baseline makes features, vector lengths and ID registers alike. Kernels still list unlike
registers, and some hosts promise more than others in what no VM may choose; a VMM that saves and
restores every register meets that. So a VM is made on each host and restored on every other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from armkvm.abi.regid import RegId
from armkvm.backends.base import System
from armkvm.migration.check import check_states
from armkvm.migration.ordering import VOLATILE
from armkvm.migration.provision import provision
from armkvm.migration.snapshot import VcpuState, VmConfig
from armkvm.state import GuestCpu
from armkvm.value import Value

Watch = Callable[[Iterable[str]], Iterable[str]]
"""Passes labels on, and may tell how far they are."""


class Difference(Value):
    """A register that VMs of the `sources` cannot have restored on the `destinations`."""

    what: str
    because: str
    sources: tuple[str, ...]
    destinations: tuple[str, ...]


def journeys(
    guest: GuestCpu, places: Mapping[str, System], watch: Watch = lambda labels: labels
) -> tuple[Difference, ...]:
    """All that stands between hosts that accept `guest`; nothing if its VMs move freely."""
    met: dict[tuple[str, str, frozenset[str]], set[str]] = {}
    groups = _alike({label: provision(place, guest) for label, place in places.items()})
    found: list[dict[tuple[str, str], set[str]]] = [{} for _ in groups]
    for label in watch(sorted(places)):
        for (_, config, state), seen in zip(groups, found, strict=True):
            for finding in check_states((state,), config, places[label]).forth.findings:
                if finding.blocking:
                    because = ": ".join(filter(None, (finding.behaviour, finding.why)))
                    seen.setdefault((finding.subject, because), set()).add(label)
    for (sources, _, _), seen in zip(groups, found, strict=True):
        for (what, because), there in seen.items():
            met.setdefault((what, because, frozenset(there)), set()).update(sources)
    return tuple(
        Difference(
            what=what, because=because, sources=tuple(sorted(sources)), destinations=tuple(sorted(there))
        )
        for (what, because, there), sources in met.items()
    )


def _alike(
    made: Mapping[str, tuple[VmConfig, VcpuState]],
) -> list[tuple[list[str], VmConfig, VcpuState]]:
    """Hosts by what their VMs hold, but for what changes by itself."""
    groups: dict[tuple[tuple[RegId, bytes], ...], tuple[list[str], VmConfig, VcpuState]] = {}
    for label, (config, state) in made.items():
        held = tuple((reg, data) for reg, data in state.registers.items() if reg not in _VOLATILE)
        groups.setdefault(held, ([], config, state))[0].append(label)
    return [*groups.values()]


_VOLATILE = frozenset(row.reg for row in VOLATILE)
