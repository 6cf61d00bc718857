"""SME hosts made from recordings: the rules that made them, held against recordings of both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from tests.differential.sme_lab import errno_of
from tests.model_hosts import capture_file

from armkvm.abi import vls
from armkvm.abi.caps import SME_CAPS
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import field
from armkvm.backends.model import ModelSystem
from armkvm.catalog import id_of, parse
from armkvm.hosts import recording
from armkvm.hosts.derived_sme import HOSTS, MadeHost, make, make_all, without_fa64
from armkvm.model.profile import PROFILES

if TYPE_CHECKING:
    from armkvm.backends.base import System, Vcpu
    from armkvm.state import HostFacts

pytestmark = pytest.mark.shared


def recorded(name: str) -> HostFacts:
    return recording.facts(capture_file(f"sme-v12/{name}"), name)


@pytest.mark.parametrize(
    ("there", "host"),
    [
        ("sve1-sme-2-4-8-16", MadeHost("max", ((1, "1", "2,4,8,16"),))),
        ("sme-1", MadeHost("max", ((1, "1-4", "1"),))),
        ("sve-1-2-4_sme-1-4", MadeHost("max", ((1, "1,2,4", "1,4"),))),
        ("nofa64", MadeHost("max", ((1, "1-16", "1,2,4,8,16"),), (without_fa64,))),
        ("nosve", MadeHost("nosve", ((1, "", "1,2,4,8,16"),))),
    ],
)
def test_a_recorded_host_made_from_another_is_the_recorded_one(there: str, host: MadeHost) -> None:
    """Lengths and every ID register, where both sides were recorded."""
    made, real = make(there, host, recorded(host.base)), recorded(there)
    assert made.cpus == real.cpus
    assert made.features == real.features
    assert made.values == real.values


def _made(name: str) -> HostFacts:
    return make_all({host.base: recorded(host.base) for host in HOSTS.values()})[name]


def _vcpu(facts: HostFacts, profile: str, *features: F) -> Vcpu:
    vcpu = cast("System", ModelSystem(facts, PROFILES[profile])).create_vm().create_vcpu(0)
    vcpu.init(features)
    return vcpu


# host -> what a guest with all it can have is shown: SVE and SME lengths, PFR1.SME, FA64
SHOWN = {
    "streaming-512": ("none", "4", 2, 0),
    "sme2-max": ("1,2,4,8,16", "1,2,4,8,16", 2, 1),
    "disjoint": ("1", "2,4", 1, 1),
    "streaming-sme1-128": ("none", "1", 1, 0),
    "sme2-no-fa64": ("1,2", "2,4", 2, 0),
    "sme-unlike": ("1,2", "2", 2, 1),
    "sme-none": ("1-4", "none", 0, 0),
}


@pytest.mark.parametrize("name", HOSTS)
def test_what_each_made_host_shows(name: str) -> None:
    """Lengths, SME's version and FA64 as a guest is shown them; the capability follows the lengths."""
    sve, sme, version, fa64 = SHOWN[name]
    facts = _made(name)
    system = ModelSystem(facts, PROFILES["sme-v12"])
    assert system.check_extension(SME_CAPS["sme-v12"]) == (sme != "none")
    features = [F.SVE] * (sve != "none") + [F.SME] * (sme != "none")
    vcpu = _vcpu(facts, "sme-v12", *features)
    for reg, lengths in ((RegId.sve_vls(), sve), (RegId.sme_vls(), sme)):
        if lengths == "none":
            assert errno_of(lambda: vcpu.get_one_reg(reg)) == "ENOENT"  # noqa: B023 - called at once
        else:
            assert str(vls.decode(vcpu.get_one_reg(reg))) == lengths
    for register, part, shown in (("ID_AA64PFR1_EL1", "SME", version), ("ID_AA64SMFR0_EL1", "FA64", fa64)):
        reg = id_of(field(register, part).register)
        value = int.from_bytes(vcpu.get_one_reg(reg), "little")
        assert field(register, part).extract(value) == shown


def test_every_made_host_says_that_it_is_made_up() -> None:
    """Nobody should take one for a recording."""
    for name in HOSTS:
        facts = _made(name)
        assert facts.name == name
        assert facts.notes[0].startswith("nobody recorded this host")


def test_sme1_shows_no_field_that_came_with_sme2() -> None:
    """What is left of SMFR0 is a part of what a recorded SME1 CPU shows."""
    smfr0 = parse("ID_AA64SMFR0_EL1")
    made = _made("streaming-sme1-128").values["plain"][smfr0]
    real = recorded("qemu10-sme1-host").values["plain"][smfr0]
    assert made
    assert made & ~real == 0
