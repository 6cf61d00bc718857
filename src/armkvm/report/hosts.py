"""Hosts, one to a line or in full."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.report.table import Table
from armkvm.state import HostFacts

# What nearly every host has tells nothing.
_USUAL = frozenset((F.POWER_OFF, F.PSCI_0_2, F.PMU_V3, F.PMU_V3_STRICT))

Listed = tuple[HostFacts, Sequence[str], VectorLengths, VectorLengths, frozenset[F]]
"""A host, the kernels it was recorded under, and the SVE and SME lengths and features of its guests."""


def table(hosts: Iterable[Listed]) -> Table:
    """One line for each host."""
    return Table(
        ("HOST", "KERNELS", "SVE", "SME", "FEATURES", "CPU"),
        (
            (
                facts.name,
                " ".join(kernels),
                str(sve) if sve else "-",
                str(sme) if sme else "-",
                " ".join(feature.value for feature in F if feature in offered - _USUAL) or "-",
                facts.cpu if facts.origin.startswith("recorded") else f"{facts.cpu} ({facts.origin})",
            )
            for facts, kernels, sve, sme, offered in hosts
        ),
    )


def tree(hosts: Iterable[Listed]) -> list[dict[str, Any]]:
    """The same as data, nothing left out."""
    return [
        {
            "name": facts.name,
            "cpu": facts.cpu,
            "kernel": facts.kernel,
            "profile": facts.profile,
            "kernels": list(kernels),
            "sve": [int(vq) for vq in sve],
            "sme": [int(vq) for vq in sme],
            "cpus": len(facts.cpus),
            "features": [feature.value for feature in F if feature in offered],
            "origin": facts.origin,
            "notes": list(facts.notes),
        }
        for facts, kernels, sve, sme, offered in hosts
    ]
