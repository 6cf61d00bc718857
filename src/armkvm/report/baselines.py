"""Baselines: the vCPU, what each host costs it, and what stands in the way of one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from armkvm.catalog import name_of
from armkvm.migration.baseline import Baseline
from armkvm.migration.fold import Loss, Obstacle
from armkvm.report.table import Table
from armkvm.state import GuestCpu

if TYPE_CHECKING:
    from armkvm.migration.journeys import Difference

_MANY = 4
"""As many hosts are named in a line; of more the count and the first."""

# -- text ------------------------------------------------------------------------------------------


def text(found: Baseline, sizes: Mapping[str, int]) -> list[str | Table]:
    """A baseline for people, with all its losses. `sizes`: how many hosts are like each that is named."""
    hosts, kinds = sum(sizes.values()), len(sizes)
    parts: list[str | Table] = [
        f"the largest vCPU for {hosts:,} host{'s' * (hosts > 1)}"
        + (f" of {kinds:,} kind{'s' * (kinds > 1)}" if hosts > kinds else "")
    ]
    parts += summary(found, sizes)
    if found.guest is not None and found.guest.id_registers:
        rows = [(name_of(reg), f"{value:#018x}") for reg, value in sorted(found.guest.id_registers.items())]
        parts += ["", Table(("REGISTER", "VALUE"), rows)]
    return parts


def summary(found: Baseline, sizes: Mapping[str, int] | None = None) -> list[str | Table]:
    """The vCPU and its costs, or the obstacles; without register values."""
    parts: list[str | Table] = []
    if found.guest is not None:
        rows = [*guest_rows(found.guest), *_bitmaps(found.guest)]
        parts += [f"  {word:12} {says}" for word, says in rows]
        if found.losses:
            parts += ["", losses(found.losses, sizes or {})]
        return parts
    parts.append("  there is none: no value of these suits every host")
    parts += ["", _obstacles(found.obstacles, sizes or {})]
    if found.to_leave_out:
        parts.append(f"\nleave out {named(sorted(found.to_leave_out), sizes or {})}, and the others have one")
    return parts


def journeys_text(met: Sequence[Difference], sizes: Mapping[str, int]) -> list[str | Table]:
    """What VMs made to a baseline meet between its hosts."""
    if not met:
        return ["", "VMs made to it move between all of them"]
    groups: dict[tuple[str, str, str], list[str]] = {}
    for each in met:
        key = (each.because, named(each.sources, sizes), named(each.destinations, sizes))
        groups.setdefault(key, []).append(each.what)
    rows = [
        (names[0] if len(names) == 1 else f"{names[0]} .. {names[-1]} ({len(names)})", *key)
        for key, names in groups.items()
    ]
    return ["", "VMs made to it do not move freely", Table(("REGISTER", "BECAUSE", "FROM", "TO"), rows)]


def brief(found: Baseline, names: Sequence[str]) -> list[str | Table]:
    """The same where the fields were told before: they are counted."""
    if found.guest is None:
        return summary(found)
    fields = [loss for loss in found.losses if loss.is_field]
    parts = summary(found._replace(losses=tuple(loss for loss in found.losses if not loss.is_field)))
    if fields:
        command = shlex.join(("armkvm", "baseline", *names))
        parts.append(f"  and {len(fields)} ID register fields lowered: {command}")
    return parts


def guest_rows(guest: GuestCpu) -> list[tuple[str, str]]:
    """What a vCPU is made of, without its registers: a word and what is to be said of it."""
    rows = [("features", "+".join(sorted(map(str, guest.features))))]
    rows += [
        (name, f"{vls} (up to {vls.max * 128} bits)")
        for name, vls in (("SVE", guest.sve), ("SME", guest.sme))
        if vls
    ]
    if guest.psci_version is not None:
        rows.append(("PSCI", f"{guest.psci_version >> 16}.{guest.psci_version & 0xFFFF}"))
    return rows


def _bitmaps(guest: GuestCpu) -> list[tuple[str, str]]:
    return [(name_of(reg).removeprefix("KVM_REG_ARM_"), hex(bits)) for reg, bits in guest.bitmaps.items()]


def losses(lost: Sequence[Loss], sizes: Mapping[str, int]) -> Table:
    """What is given up, and the hosts that cost it."""
    rows = [(loss.what, loss.best, loss.kept, loss.because, named(loss.hosts, sizes)) for loss in lost]
    return Table(("LOST", "BEST", "KEPT", "BECAUSE", "HOSTS"), rows)


def _obstacles(obstacles: Sequence[Obstacle], sizes: Mapping[str, int]) -> Table:
    rows = [
        (obstacle.what if first else "", obstacle.because if first else "", value, named(hosts, sizes))
        for obstacle in obstacles
        for first, (value, hosts) in zip([True] + [False] * len(obstacle.camps), obstacle.camps, strict=False)
    ]
    return Table(("OBSTACLE", "BECAUSE", "VALUE", "HOSTS"), rows)


def aarch32_last(obstacles: Sequence[Obstacle]) -> list[Obstacle]:
    """Obstacles with those of the AArch32 view at the end: there are many, and few guests mind them."""
    return sorted(
        obstacles,
        key=lambda one: one.what.startswith(("ID_", "MVFR")) and not one.what.startswith("ID_AA64"),
    )


def named(hosts: Sequence[str], sizes: Mapping[str, int]) -> str:
    """Hosts for a line of text, each with how many are like it; only the first few."""
    first, rest = (hosts, []) if len(hosts) <= _MANY else (hosts[: _MANY - 1], hosts[_MANY - 1 :])
    told = ", ".join(f"{host} (x{sizes[host]:,})" if sizes.get(host, 1) > 1 else host for host in first)
    return f"{told} and {sum(sizes.get(host, 1) for host in rest):,} more" if rest else told


# -- JSON ------------------------------------------------------------------------------------------


def tree(found: Baseline) -> dict[str, Any]:
    """A baseline for programs, hosts in full."""
    return {
        "hosts": list(found.hosts),
        "guest": None if found.guest is None else guest_tree(found.guest),
        "losses": list(map(loss_tree, found.losses)),
        "obstacles": list(map(obstacle_tree, found.obstacles)),
        "leave_out": sorted(found.to_leave_out),
    }


def loss_tree(loss: Loss) -> dict[str, Any]:
    """Something given up."""
    return {
        "what": loss.what,
        "best": loss.best,
        "kept": loss.kept,
        "because": loss.because,
        "hosts": list(loss.hosts),
    }


def journeys_tree(met: Sequence[Difference]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "what": each.what,
            "because": each.because,
            "sources": list(each.sources),
            "destinations": list(each.destinations),
        }
        for each in met
    ]


def obstacle_tree(obstacle: Obstacle) -> dict[str, Any]:
    """An obstacle, with the hosts by what they insist on."""
    return {
        "what": obstacle.what,
        "because": obstacle.because,
        "camps": [{"value": value, "hosts": list(hosts)} for value, hosts in obstacle.camps],
    }


def guest_tree(guest: GuestCpu) -> dict[str, Any]:
    """A vCPU configuration; register values in hex, by name."""
    return {
        "features": sorted(map(str, guest.features)),
        "sve_vqs": [int(vq) for vq in guest.sve],
        "sme_vqs": [int(vq) for vq in guest.sme],
        "psci_version": guest.psci_version,
        "id_registers": {name_of(reg): hex(value) for reg, value in sorted(guest.id_registers.items())},
        "bitmaps": {name_of(reg): hex(value) for reg, value in sorted(guest.bitmaps.items())},
    }
