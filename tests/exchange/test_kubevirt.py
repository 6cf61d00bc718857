"""KubeVirt: labels that Kubernetes takes, and a VM that asks for them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, strategies as st
from tests.exchange import samples
from tests.exchange.programs import kubectl_label, needs_kubectl, needs_qemu, qmp
from tests.exchange.samples import N1_LIKE, V1_HOST, V1_LIKE, guests

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import parse
from armkvm.exchange.assumed import host_facts
from armkvm.exchange.firecracker import read_fingerprint
from armkvm.exchange.kubevirt import (
    baseline_name,
    label_value,
    node_labels,
    takes_label,
    write_node,
    write_vm,
)
from armkvm.exchange.qemu import read_expansion
from armkvm.state import CpuVectors, GuestCpu, HostFacts
from armkvm.value import replace

VALUE = re.compile(r"(?=.{0,63}\Z)(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
"""A label's value as Kubernetes states it."""


def host(*vqs: int, midr: int = samples.VCPU["MIDR_EL1"]) -> HostFacts:
    registers = {**samples.VCPU, "MIDR_EL1": midr}
    facts = host_facts(read_fingerprint(samples.fingerprint(registers=registers), "f"), "f")
    return replace(facts, cpus=(CpuVectors(VectorLengths(vqs)),))


def vm(guest: GuestCpu) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(write_vm(guest).text)["spec"]["template"]["spec"]
    return spec


# -- names -----------------------------------------------------------------------------------------


def test_a_baselines_name_is_the_same_for_everyone_for_ever() -> None:
    assert (baseline_name(N1_LIKE), baseline_name(V1_LIKE)) == ("f1472514df033cf0", "5042673113cb006c")


@given(guests(), st.randoms(use_true_random=False))
def test_a_baselines_name_depends_on_nothing_but_the_vcpu(guest: GuestCpu, shuffle: Any) -> None:  # noqa: ANN401
    rows: list[tuple[RegId, int]] = list(guest.id_registers.items())
    shuffle.shuffle(rows)
    assert baseline_name(guest._replace(id_registers=dict(rows))) == baseline_name(guest)
    assert baseline_name(guest._replace(features=guest.features ^ {F.POWER_OFF})) == baseline_name(guest)


@pytest.mark.parametrize(
    "changes",
    [
        {"features": V1_LIKE.features - {F.PMU_V3}},
        {"sve": VectorLengths([1])},
        {"sme": VectorLengths([1])},
        {"id_registers": {parse("ID_AA64ISAR0_EL1"): 0}},
        {"bitmaps": {}},
        {"psci_version": None},
    ],
)
def test_another_vcpu_has_another_name(changes: dict[str, Any]) -> None:
    assert baseline_name(V1_LIKE._replace(**changes)) != baseline_name(V1_LIKE)


# -- labels ----------------------------------------------------------------------------------------


@given(st.text())
def test_any_text_becomes_a_legal_label(text: str) -> None:
    assert VALUE.fullmatch(label_value(text))


@given(st.from_regex(VALUE, fullmatch=True))
def test_a_legal_label_stays_as_it_is(text: str) -> None:
    assert label_value(text) == text


def test_a_nodes_labels_say_what_it_is_and_what_it_takes() -> None:
    assert node_labels(host(1, 2, 4), [N1_LIKE, V1_LIKE]) == {
        "armkvm/cpu": "Neoverse-V1",
        "armkvm/kernel": "6.18",
        "armkvm/sve": "1_2_4",
        takes_label(N1_LIKE): "true",
        takes_label(V1_LIKE): "true",
    }
    assert node_labels(host(midr=0x610F0230), prefix="cpu.example.org") == {
        "cpu.example.org/cpu": "midr-610f0230",
        "cpu.example.org/kernel": "6.18",
        "cpu.example.org/sve": "none",
    }


def test_every_set_of_lengths_fits_a_label() -> None:
    worst = node_labels(host(*range(1, 17, 2)))["armkvm/sve"]
    assert (worst, VALUE.fullmatch(worst) is not None) == ("1_3_5_7_9_11_13_15", True)


def test_labels_that_no_longer_hold_are_taken_away() -> None:
    before = {takes_label(V1_LIKE): "true", "armkvm/sve": "1", "kubernetes.io/arch": "arm64"}
    labels = json.loads(write_node(host(1), [N1_LIKE], before=before).text)["metadata"]["labels"]
    assert labels[takes_label(V1_LIKE)] is None
    assert (labels[takes_label(N1_LIKE)], labels["armkvm/sve"]) == ("true", "1")
    assert "kubernetes.io/arch" not in labels


@pytest.mark.parametrize("prefix", ["", "Upper", "a..b", "-a", "a/b", "a" * 254, "a b", "a\n"])
def test_a_prefix_is_a_dns_name(prefix: str) -> None:
    with pytest.raises(ValueError, match="a label's prefix is a DNS name"):
        takes_label(N1_LIKE, prefix=prefix)


@needs_kubectl
def test_kubectl_takes_the_labels() -> None:
    labels = node_labels(host(*range(1, 17, 2)), [N1_LIKE, V1_LIKE], prefix="cpu.example.org")
    assert kubectl_label(labels) == labels
    with pytest.raises(RuntimeError, match="invalid label value"):
        kubectl_label({"armkvm/sve": "1,2"})


# -- VMs -------------------------------------------------------------------------------------------


def test_a_vm_asks_for_nodes_that_take_its_baseline() -> None:
    spec = vm(V1_LIKE)
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms == {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": takes_label(V1_LIKE), "operator": "Exists"}]},
        ]
    }
    assert takes_label(V1_LIKE) in node_labels(host(1, 2), [V1_LIKE])
    assert spec["architecture"] == "arm64"


def test_a_vm_switches_off_the_lengths_that_its_baseline_lacks() -> None:
    cpu = vm(V1_LIKE)["domain"]["cpu"]
    assert cpu["model"] == "host-passthrough"
    assert cpu["features"] == [{"name": f"sve{bits}", "policy": "disable"} for bits in range(384, 2049, 128)]
    assert vm(N1_LIKE)["domain"]["cpu"]["features"] == [{"name": "sve", "policy": "disable"}]


@given(guests())
def test_a_vm_requires_no_cpu_feature(guest: GuestCpu) -> None:
    """What is required becomes a node label, which no arm64 node has."""
    assert {feature["policy"] for feature in vm(guest)["domain"]["cpu"]["features"]} <= {"disable"}


def test_what_kubevirt_leaves_to_the_node_is_said() -> None:
    assert write_vm(GuestCpu(features=frozenset((F.PSCI_0_2, F.HAS_EL2)))).lost == (
        "a vCPU without PMU: KubeVirt gives it one where the node has it",
        "a vCPU without pointer authentication: KubeVirt gives it that where the node has it",
        "HAS_EL2: KubeVirt has no words for it",
    )
    assert write_vm(V1_LIKE, [V1_HOST]).lost == (
        "KVM_REG_ARM_STD_BMAP 0x1: QEMU leaves it as the host has it",
        "PSCI version: each host gives its newest; kvm-psci-version would set it",
        "ID register fields: each host gives its own; SYSREG_ID_AA64ISAR0_EL1_SHA3 would set it",
    )


@needs_qemu
@pytest.mark.parametrize("vqs", [(), (1,), (1, 2), (1, 2, 4), (1, 2, 3, 4), (1, 2, 4, 8, 16)])
def test_switching_lengths_off_leaves_the_baselines(vqs: tuple[int, ...]) -> None:
    """KubeVirt hands the features to libvirt, and libvirt these to QEMU."""
    features = V1_LIKE.features - {F.SVE} | (frozenset((F.SVE,)) if vqs else frozenset[F]())
    off = vm(GuestCpu(features=features, sve=VectorLengths(vqs)))["domain"]["cpu"]["features"]
    arguments = ["-cpu", ",".join(("max", *(f"{feature['name']}=off" for feature in off)))]
    expand = {
        "execute": "query-cpu-model-expansion",
        "arguments": {"type": "full", "model": {"name": "max"}},
    }
    (reply,) = qmp(arguments, expand)
    assert read_expansion(json.dumps(reply).encode(), "qmp").sve == VectorLengths(vqs)
