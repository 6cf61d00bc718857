"""KubeVirt: which nodes a vCPU can live on, as node labels and a node affinity that asks for them.

KubeVirt gives an arm64 VM its node's CPU and picks nodes by labels, so a pool is a label: every node
that accepts a baseline carries ``PREFIX/takes-NAME``, NAME being made of the baseline itself.
Everything is JSON, which kubectl takes wherever it takes YAML.

Source: Kubernetes, "Labels and Selectors" (syntax); KubeVirt pkg/virt-controller/services
(nodeselectorrenderer.go: CPU features that are required become node labels, which no arm64 node has;
disabled ones do not).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.cpus import cpu_of
from armkvm.arch.vectors import virtualisable
from armkvm.catalog import parse
from armkvm.exchange.qemu import properties
from armkvm.exchange.written import Initial, Written
from armkvm.state import GuestCpu, HostFacts

PREFIX = "armkvm"
LONGEST = 63
_PREFIX = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_ILLEGAL = re.compile(r"[^A-Za-z0-9_.-]+")
_ENDS = "_.-"
_TAKES = "takes-"
_MIDR = parse("MIDR_EL1")


def baseline_name(guest: GuestCpu) -> str:
    """A name that equal vCPUs share, whoever computes it: 16 hex digits of a SHA-256.

    POWER_OFF, which differs within one VM, does not count.
    """
    document = {
        "features": sorted(guest.features - {F.POWER_OFF}),
        "sve": hex(guest.sve.bitmap),
        "sme": hex(guest.sme.bitmap),
        "id_registers": {reg.hex: hex(value) for reg, value in guest.id_registers.items()},
        "bitmaps": {reg.hex: hex(value) for reg, value in guest.bitmaps.items()},
        "psci_version": guest.psci_version,
    }
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def label_value(text: str) -> str:
    """A text as a label's value: at most 63 of ``A-Z a-z 0-9 - _ .``, alphanumeric at both ends."""
    return _ILLEGAL.sub("-", text)[:LONGEST].strip(_ENDS)


def node_labels(host: HostFacts, takes: Iterable[GuestCpu] = (), *, prefix: str = PREFIX) -> dict[str, str]:
    """A node's labels: what its host is, and the baselines that it takes."""
    _check(prefix)
    midr = host.values["plain"].get(_MIDR, 0)
    cpu = cpu_of(midr)
    sve = virtualisable((cpu.sve for cpu in host.cpus), required=1)
    return {
        f"{prefix}/cpu": label_value(cpu.name if cpu else f"midr-{midr:x}"),
        f"{prefix}/kernel": label_value(host.profile),
        f"{prefix}/sve": label_value(str(sve).replace(",", "_")),
        **{takes_label(guest, prefix=prefix): "true" for guest in takes},
    }


def takes_label(guest: GuestCpu, *, prefix: str = PREFIX) -> str:
    """The label of nodes that accept this vCPU."""
    _check(prefix)
    return f"{prefix}/{_TAKES}{baseline_name(guest)}"


def write_node(
    host: HostFacts,
    takes: Iterable[GuestCpu] = (),
    *,
    before: Mapping[str, str] | None = None,
    prefix: str = PREFIX,
) -> Written:
    """The patch for ``kubectl patch node NAME --patch-file FILE``.

    `before` are the labels that the node has: those of ours that no longer hold are taken away.
    """
    labels: dict[str, str | None] = {**node_labels(host, takes, prefix=prefix)}
    for name in before or ():
        if name.startswith(f"{prefix}/"):
            labels.setdefault(name, None)
    return Written(text=_text({"metadata": {"labels": labels}}))


def write_vm(guest: GuestCpu, hosts: Sequence[Initial] = (), *, prefix: str = PREFIX) -> Written:
    """The patch for ``kubectl patch vm NAME --type merge --patch-file FILE``: where it may run, and its CPU.

    Vector lengths are cut down to the baseline's by switching the others off. Of `hosts`, the initial
    values of the nodes, only what is said to be lost depends.
    """
    told = properties(guest, hosts)
    off = [name for name, value in told.cpu if name.startswith("sve") and value == "off"]
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [_exists(takes_label(guest, prefix=prefix))]}]
            }
        }
    }
    spec = {
        "architecture": "arm64",
        "affinity": affinity,
        "domain": {
            "cpu": {
                "model": "host-passthrough",
                "features": [{"name": name, "policy": "disable"} for name in off],
            }
        },
    }
    lost = [
        *told.lost,
        *(words for feature, words in _AS_THE_NODE_HAS.items() if feature not in guest.features),
    ]
    lost += [f"{feature}: KubeVirt has no words for it" for feature in _NO_WORDS if feature in guest.features]
    needs = (f"nodes labelled {takes_label(guest, prefix=prefix)}: those that accept this vCPU",)
    return Written(text=_text({"spec": {"template": {"spec": spec}}}), lost=tuple(lost), needs=needs)


_AS_THE_NODE_HAS = {
    F.PMU_V3: "a vCPU without PMU: KubeVirt gives it one where the node has it",
    F.PTRAUTH_ADDRESS: "a vCPU without pointer authentication: KubeVirt gives it that where the node has it",
}
_NO_WORDS = (F.EL1_32BIT, F.HAS_EL2)


def _exists(label: str) -> dict[str, object]:
    return {"key": label, "operator": "Exists"}


def _check(prefix: str) -> None:
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"a label's prefix is a DNS name such as cpu.example.org, not {prefix!r}")


def _text(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"
