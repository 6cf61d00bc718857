"""A guest's PE has the extensions of the CPU that the host's facts tell of, and no others."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

import armkvm
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.cpu.features import PeFeatures

if TYPE_CHECKING:
    from armkvm.backends.model import ModelVcpu

LATER = {"bitperm", "bf16", "i8mm", "sve2", "pmull128", "f32mm", "f64mm", "b16b16", "sve2p1"}


def features_on(host: str, *features: F) -> PeFeatures:
    from armkvm.model.execution import features_of

    vcpu: ModelVcpu = armkvm.connect(f"model:{host}").create_vm().create_vcpu(0)  # type: ignore[assignment]
    vcpu.init({F.PSCI_0_2, *features})
    return features_of(vcpu.vcpu)


@pytest.mark.parametrize(
    ("host", "has"),
    [
        ("a64fx", set()),
        ("neoverse-v1", {"bf16", "i8mm"}),
        ("neoverse-n2", {"sve2", "bitperm", "pmull128", "bf16", "i8mm"}),
        ("max", LATER - {"sve2p1", "b16b16"}),
        ("sme-max", LATER),
    ],
)
def test_extensions_of_sve_are_the_cpus(host: str, has: set[str]) -> None:
    """A64FX is SVE and no more; Neoverse N2 has SVE2; QEMU's max almost everything."""
    found = features_on(host, F.SVE)
    assert {name for name in LATER if getattr(found, name)} == has


def test_every_extension_has_a_field() -> None:
    """No flag of the PE is left at what it says when nobody asked."""
    from armkvm.model.execution import _EXTENSIONS

    decided = {"sve", "sme", "sve_trapped", "sme_trapped", "sme2_trapped", "fa64", "sme2", "fpmr"}
    assert {one.name for one in fields(PeFeatures)} == decided | set(_EXTENSIONS)
