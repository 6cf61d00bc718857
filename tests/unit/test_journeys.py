"""What VMs of a baseline meet between its hosts: nothing that the baseline settles, and all else."""

from __future__ import annotations

import pytest

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.model import ModelSystem
from armkvm.hosts import library
from armkvm.migration.baseline import baseline
from armkvm.migration.journeys import Difference, journeys
from armkvm.migration.provision import provision
from armkvm.migration.restore import restore
from armkvm.migration.snapshot import Origin, Snapshot
from armkvm.model.acceptance import accepts, offered
from armkvm.model.host import Platform
from armkvm.state import GuestCpu


def common(*names: str) -> tuple[GuestCpu, dict[str, ModelSystem]]:
    hosts = {name: Platform(*library.find(*name.split("?"))) for name in names}
    found = baseline(
        {name: offered(host) for name, host in hosts.items()},
        lambda name, features: accepts(hosts[name], features),
        frozenset({F.PSCI_0_2, F.PMU_V3, F.SVE}),
    )
    assert found.guest is not None
    return found.guest, {name: ModelSystem(host.facts, host.profile) for name, host in hosts.items()}


def test_vms_of_one_kernel_move_freely() -> None:
    guest, places = common("max?7.3", "max-vq4?7.3", "max-nosve?7.3")
    assert journeys(guest, places) == ()


def test_what_kernels_list_and_firmware_promises_is_told() -> None:
    """6.18 has no PMMIR_EL1, and a workaround level is the host's own."""
    guest, places = common("max?7.3", "neoverse-n2?7.3", "max?6.18")
    found = journeys(guest, places)
    assert {each.what for each in found} == {"PMMIR_EL1", "KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_3"}
    (listed,) = [each for each in found if each.what == "PMMIR_EL1"]
    assert (listed.sources, listed.destinations) == (("max?7.3", "neoverse-n2?7.3"), ("max?6.18",))


@pytest.mark.parametrize("names", [("max?7.3", "neoverse-n2?7.3"), ("max?7.3", "max?6.18", "max?7.2")])
def test_it_says_what_a_restore_says(names: tuple[str, ...]) -> None:
    """Between any two hosts there is a difference exactly where a restore does not arrive."""
    guest, places = common(*names)
    found = journeys(guest, places)
    for source in names:
        config, state = provision(places[source], guest)
        for destination in names:
            with restore(places[destination], Snapshot(Origin("here"), config, (state,))) as restored:
                arrives = restored.report.verified
            assert arrives == (not any(stands_between(each, source, destination) for each in found))


def stands_between(each: Difference, source: str, destination: str) -> bool:
    return source in each.sources and destination in each.destinations
