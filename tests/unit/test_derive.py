"""A host under another kernel: what is hidden there is hidden, and nothing is invented."""

from __future__ import annotations

import pytest

from armkvm.abi.caps import SME_CAPS
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import field
from armkvm.catalog import id_of, parse
from armkvm.errors import MissingFacts
from armkvm.hosts import library
from armkvm.hosts.derive import SEAMS, derive
from armkvm.model.acceptance import accepts
from armkvm.model.host import Platform
from armkvm.model.profile import PROFILES
from armkvm.value import replace

# Every host that was recorded under two kernels of which the older is not 6.1: the newer recording,
# derived for the older kernel, against the older recording.
PAIRS = [
    pytest.param(name, new, old, id=f"{name}-{new}-as-{old}")
    for name, found in library.names().items()
    for old in found
    for new in found
    if old != "6.1" and found.index(new) > found.index(old)
]


def test_seams_join_every_known_kernel() -> None:
    assert {end for seam in SEAMS for end in (seam.older, seam.newer)} == set(PROFILES)


@pytest.mark.parametrize(("name", "new", "old"), PAIRS)
def test_a_newer_kernels_facts_give_the_older_ones(name: str, new: str, old: str) -> None:
    derived, recorded = derive(library.builtin(name, new), old), library.builtin(name, old)
    assert derived.caps == recorded.caps
    assert derived.vm_caps == recorded.vm_caps
    assert derived.features == recorded.features
    assert derived.device_types == recorded.device_types
    assert derived.preferred_target == recorded.preferred_target
    assert derived.cpus == recorded.cpus
    assert derived.values.keys() == recorded.values.keys()
    assert derived.values == recorded.values


def test_a_cpu_nobody_knows_has_nothing_invented_and_says_so() -> None:
    """6.12 shows NV and later kernels hide it; for known CPUs the table of CPUs tells."""
    host = library.builtin("max", "7.3")
    plain = dict(host.values["plain"]) | {parse("MIDR_EL1"): 0x990F1230}
    derived = derive(replace(host, values={"plain": plain}), "6.12")
    assert derived.notes[-1] == "ID_AA64MMFR2_EL1.NV of this CPU is not known, and taken as 0"


def test_the_sme_series_gives_what_its_base_shows() -> None:
    """The one SME host recorded under the same QEMU as 7.2."""
    derived, recorded = derive(library.builtin("sme-qemu10-sme1-host"), "7.2"), library.builtin("max", "7.2")
    for name in ("caps", "vm_caps", "features", "device_types", "cpus", "values"):
        assert getattr(derived, name) == getattr(recorded, name), name


def test_an_older_revision_of_the_sme_series_has_its_own_capability_number() -> None:
    newer = library.builtin("sme-max")
    older = derive(newer, "sme-v4")
    assert (older.caps[SME_CAPS["sme-v4"]], newer.caps[SME_CAPS["sme-v12"]]) == (1, 1)
    assert SME_CAPS["sme-v12"] not in older.caps
    assert older.cpus == newer.cpus
    assert Platform(older, PROFILES["sme-v4"]).offers(F.SME)


def test_a_derived_host_says_so() -> None:
    facts = derive(library.builtin("neoverse-n2", "7.3"), "6.18")
    assert facts.origin.startswith("derived, recorded under 7.3")
    assert facts.notes == ("facts recorded under kernel 7.3, derived for 6.18",)
    assert facts.kernel == facts.profile == "6.18"


def test_a_newer_kernel_is_derived_where_nothing_has_to_be_invented() -> None:
    derived, recorded = (
        derive(library.builtin("neoverse-v1", "6.18"), "7.0"),
        library.builtin("neoverse-v1", "7.0"),
    )
    assert (derived.caps, derived.values) == (recorded.caps, recorded.values)


@pytest.mark.parametrize(
    ("name", "start", "end", "missing"),
    [
        ("max", "6.12", "7.3", ["ID_AA64ISAR3_EL1.FAMINMAX", "KVM_CAP_ARM_EL2", "PMMIR_EL1"]),
        ("max", "7.2", "7.3", ["KVM_CAP_ARM_PMU_V3_STRICT", "PMMIR_EL1"]),
        ("max-nested", "6.18", "7.0", ["ID_AA64MMFR1_EL1.XNX", "ID_AA64MMFR1_EL1.HAFDBS"]),
        ("max", "7.2", "sme-v12", ["ID_AA64PFR1_EL1.SME", "ID_AA64SMFR0_EL1.FA64", "KVM_CAP_ARM_SME"]),
        ("max", "7.3", "6.1", ["CCSIDR_EL1(0)", "CLIDR_EL1", "PMCR_EL0"]),
        ("max", "6.1", "6.12", ["ID_AA64DFR0_EL1.DebugVer"]),
    ],
)
def test_what_would_have_to_be_invented_is_named(name: str, start: str, end: str, missing: list[str]) -> None:
    with pytest.raises(MissingFacts) as refused:
        derive(library.builtin(name, start), end)
    assert set(missing) <= set(refused.value.missing)
    assert f"cannot be derived for kernel {end} from facts under {start}" in str(refused.value)


def test_el2_is_not_carried_to_a_kernel_without_it() -> None:
    facts = derive(library.builtin("max-nested", "7.3"), "6.12")
    assert set(facts.values) == {"plain"}
    assert not facts.features & {F.HAS_EL2, F.HAS_EL2_E2H0}


def test_a_what_if_takes_nothing_for_granted_and_says_so() -> None:
    """A newer kernel is assumed to show no more than the older one did; going back is still refused."""
    old = library.builtin("neoverse-v1", "6.18")
    found = derive(old, "7.3", assume=True)
    assert (found.profile, found.values) == ("7.3", old.values)
    assert any("taken as not shown under 7.3" in note and "PMMIR_EL1" in note for note in found.notes)
    with pytest.raises(MissingFacts):
        derive(old, "6.1", assume=True)


def test_mpam_is_hidden_where_newer_kernels_hide_it() -> None:
    """And known as the CPU's own, which a VM that was shown it may bring back."""
    old = library.builtin("neoverse-v1", "6.12")
    mpam, dit = field("ID_AA64PFR0_EL1", "MPAM"), field("ID_AA64PFR0_EL1", "DIT")
    reg = id_of(mpam.register)
    plain = {**old.values["plain"], reg: mpam.insert(old.values["plain"][reg], 1)}
    found = derive(replace(old, values={**old.values, "plain": plain}), "6.18", assume=True)
    host = Platform(found, PROFILES["6.18"])
    assert (mpam.extract(host.value(reg)), host.hardware(mpam)) == (0, 1)
    assert accepts(host, frozenset({F.PSCI_0_2})).fields(reg)[dit] == 0b11


def test_a_built_in_host_is_updated_to_what_was_recorded() -> None:
    assert library.updated(library.builtin("max", "6.12"), "7.3") == library.builtin("max", "7.3")
    mine = replace(library.builtin("max", "6.18"), name="mine")
    assert library.updated(mine, "7.3").values["plain"] == mine.values["plain"]


@pytest.mark.parametrize("name", ["ID_AA64PFR0_EL1.MPAM", "ID_AA64MMFR2_EL1.NV"])
def test_what_a_newer_kernel_hides_is_kept_apart_and_shown_again_by_an_older_one(name: str) -> None:
    """A host that showed it under 7.3 could not take back what its registers hold."""
    register, _, part_name = name.partition(".")
    part, reg = field(register, part_name), parse(register)
    host = library.builtin("neoverse-v1", "6.12")
    plain = host.values["plain"]
    shows = replace(host, values={"plain": {**plain, reg: part.insert(plain[reg], 2)}})
    updated = derive(shows, "7.3", assume=True)
    assert part.extract(updated.values["plain"][reg]) == 0
    assert Platform(updated, PROFILES["7.3"]).hardware(part) == 2
    again = derive(updated, "6.12")
    assert part.extract(again.values["plain"][reg]) == 2
