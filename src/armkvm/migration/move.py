"""The whole job on two places: make a VM, fill it, capture it, restore it elsewhere, compare."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from armkvm.abi import vls
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import Feature, System, Vcpu
from armkvm.catalog import parse
from armkvm.errors import KvmError
from armkvm.migration import findings
from armkvm.migration.advice import Code
from armkvm.migration.build import build, features_taken
from armkvm.migration.bulk import read_all, write_all
from armkvm.migration.capture import capture
from armkvm.migration.fill import Filled, fill
from armkvm.migration.findings import Finding
from armkvm.migration.lengths import finalize, writing
from armkvm.migration.plan import Plan, finalizing
from armkvm.migration.restore import restore
from armkvm.migration.snapshot import Origin, Snapshot, VcpuState, VmConfig, sorted_features
from armkvm.migration.verdict import RestoreReport

SVCR = parse("SVCR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What VM to make at the source. `vls` and `sme_vls` None mean the host's default set.

    `svcr` (0..3: PSTATE.SM and PSTATE.ZA) None leaves the mode as reset does.
    """

    features: tuple[Feature, ...] = ()
    vls: VectorLengths | None = None
    sme_vls: VectorLengths | None = None
    svcr: int | None = None
    vcpus: int = 1
    vm: VmConfig = field(default_factory=VmConfig)

    def __post_init__(self) -> None:
        if self.vcpus < 1:
            raise ValueError(f"a VM has at least one vCPU, not {self.vcpus}")
        if self.svcr is not None and not 0 <= self.svcr <= 3:
            raise ValueError(f"SVCR is 0..3, not {self.svcr}")
        object.__setattr__(self, "features", sorted_features(self.features))

    def lengths(self) -> list[tuple[RegId, VectorLengths]]:
        """The sets that were asked for, by the pseudo-register that takes them."""
        asked = ((RegId.sve_vls(), self.vls), (RegId.sme_vls(), self.sme_vls))
        return [(reg, lengths) for reg, lengths in asked if lengths is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A VM's state at the source; or None, and the findings that say why there is none."""

    snapshot: Snapshot | None = None
    filled: tuple[Filled, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """What was moved, in which order, and whether it arrived. `restored` is None if nothing could be."""

    source: Origin
    destination: Origin
    seed: int
    prepared: Prepared
    restored: RestoreReport | None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the source said, then what the destination said."""
        return self.prepared.findings + (self.restored.findings if self.restored else ())

    @property
    def moved(self) -> bool:
        """Whether the destination held the same state, bit for bit."""
        return self.restored is not None and self.restored.verified

    @property
    def plans(self) -> tuple[Plan, ...]:
        """How each vCPU was put back, or would have been."""
        return tuple(vcpu.plan for vcpu in self.restored.vcpus) if self.restored else ()

    @property
    def registers(self) -> int:
        """How many registers the snapshot holds, over all vCPUs."""
        return sum(len(vcpu.registers) for vcpu in self._states)

    @property
    def bytes_held(self) -> int:
        """How many bytes of register contents the snapshot holds, over all vCPUs."""
        return sum(vcpu.bytes_held for vcpu in self._states)

    @property
    def _states(self) -> tuple[VcpuState, ...]:
        return self.prepared.snapshot.vcpus if self.prepared.snapshot else ()


def migrate(source: System, destination: System, wanted: Wanted, *, seed: int = 0) -> MigrationReport:
    """Move a new VM's vCPU state from one place to another, and compare every register.

    Both VMs are closed afterwards: what was moved is in the report. Refusals are findings.
    """
    prepared = prepare(source, wanted, seed=seed, destination=destination)
    restored = None
    if prepared.snapshot is not None:
        with restore(destination, prepared.snapshot) as result:
            restored = result.report
    return MigrationReport(
        source=Origin(source.uri, source.kernel),
        destination=Origin(destination.uri, destination.kernel),
        seed=seed,
        prepared=prepared,
        restored=restored,
    )


def prepare(source: System, wanted: Wanted, *, seed: int = 0, destination: System | None = None) -> Prepared:
    """Make a VM, fill its state from `seed`, capture it, and close the VM again.

    `destination` is asked only where the source refuses, so that advice on vector lengths suits both.
    """
    found: list[Finding] = []
    with ExitStack() as undo:
        wishes = [(n, wanted.features) for n in range(wanted.vcpus)]
        built = build(source, wanted.vm, wishes, undo, found)
        vcpus = [] if built is None else built[1]
        for vcpu in vcpus:
            configure(vcpu, wanted, destination, found)
        if found:
            return Prepared(findings=tuple(found))
        filled = tuple(fill(vcpu, seed) for vcpu in vcpus)
        snapshot = capture(source, wanted.vm, [(vcpu, wanted.features) for vcpu in vcpus])
        return Prepared(snapshot=snapshot, filled=filled)


def usual_features(source: System) -> tuple[Feature, ...]:
    """The features a VM gets that is not told any: PSCI, and the vectors the place can give."""
    return features_taken(source, VmConfig(), (VcpuFeature.PSCI_0_2, VcpuFeature.SVE, VcpuFeature.SME))


Offered = Mapping[RegId, VectorLengths]
"""Vector lengths that a place gives a vCPU which does not choose, by the pseudo-register that holds them."""


def offered_lengths(system: System, wanted: Wanted) -> Offered:
    """What a place offers to a vCPU as wanted; nothing where it cannot be made."""
    with ExitStack() as undo:
        built = build(system, wanted.vm, [(0, wanted.features)], undo, [])
        if built is None:
            return {}
        held, _ = read_all(built[1][0], (RegId.sve_vls(), RegId.sme_vls()))
        return {reg: vls.decode(data) for reg, data in held.items()}


def configure(vcpu: Vcpu, wanted: Wanted, destination: System | None, found: list[Finding]) -> None:
    """Vector lengths, FINALIZE and mode, as wanted; a finding for what is refused."""
    offered, _ = read_all(vcpu, (RegId.sve_vls(), RegId.sme_vls()))
    for reg, lengths in wanted.lengths():
        have = vls.decode(offered[reg]) if reg in offered else None
        if have is not None and not (lengths and lengths.is_prefix_of(have)):
            there = {} if destination is None else offered_lengths(destination, wanted)
            both = have.common_prefix(there[reg]) if reg in there else None
            found.append(
                findings.lengths(vcpu.id, reg, lengths, have, both=both, operation=writing(vcpu, reg))
            )
            return
    refused = write_all(vcpu, [(reg, vls.encode(lengths)) for reg, lengths in wanted.lengths()])
    for reg, error in refused.items():
        found.append(findings.refusal(Code.REGISTER_REFUSED, error, vcpu=vcpu.id, reg=reg))
    if refused:
        return
    try:
        what = finalizing(offered)
        if what is not None:
            finalize(vcpu, what)
        if wanted.svcr is not None:
            vcpu.set_one_reg(SVCR, wanted.svcr.to_bytes(8, "little"))
    except KvmError as error:
        code = Code.FINALIZE if error.reg is None else Code.REGISTER_REFUSED
        found.append(findings.refusal(code, error, vcpu=vcpu.id))
