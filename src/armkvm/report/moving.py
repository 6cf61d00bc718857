"""What was moved, in which order and why; or what stood in the way and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from armkvm.abi.regid import RegId
from armkvm.catalog import name_of
from armkvm.errors import errno_name
from armkvm.report.table import Table

if TYPE_CHECKING:  # `check` tells findings too, and has nothing moved
    from armkvm.migration.compare import Difference
    from armkvm.migration.findings import Finding
    from armkvm.migration.move import MigrationReport, Offered
    from armkvm.migration.plan import Plan, Step
    from armkvm.migration.snapshot import Origin, Snapshot, VcpuState
    from armkvm.migration.verdict import RestoreReport, VcpuOutcome

# -- text ------------------------------------------------------------------------------------------


def migration(
    report: MigrationReport, offers: Sequence[Offered], more: Sequence[str] = ()
) -> list[str | Table]:
    """A migration for people; `offers`: the vector lengths that source and destination have.

    `more` is told after what was moved with what.
    """
    source, destination = map(_offer, offers)
    parts: list[str | Table] = [
        _place("from", report.source) + source,
        _place("to", report.destination) + destination,
        *_machine(report.prepared.snapshot),
        *more,
    ]
    if report.restored is not None:
        parts += ["", *_restored(report.restored, report.registers, report.bytes_held)]
    elif report.findings:
        parts += ["", "nothing was moved: the source cannot make this VM", *findings_text(report.findings)]
    return parts


def restoring(report: RestoreReport, snapshot: Snapshot) -> list[str | Table]:
    """A restore for people."""
    held = sum(len(vcpu.registers) for vcpu in snapshot.vcpus)
    return [
        _place("from", snapshot.origin),
        _place("to", report.destination),
        *_machine(snapshot),
        "",
        *_restored(report, held, sum(vcpu.bytes_held for vcpu in snapshot.vcpus)),
    ]


def saved(snapshot: Snapshot, path: str) -> list[str]:
    """A snapshot that was just written."""
    held = sum(len(vcpu.registers) for vcpu in snapshot.vcpus)
    return [_place("from", snapshot.origin), *_machine(snapshot), "", f"{held:,} registers saved in {path}"]


def _place(word: str, origin: Origin) -> str:
    return f"{word:5} {origin.uri}, kernel {origin.kernel}" if origin.kernel else f"{word:5} {origin.uri}"


def _offer(offered: Offered) -> str:
    return "".join(f", {name} {offered[reg]}" for name, reg in _SETS.items() if reg in offered)


_SETS = {"SVE": RegId.sve_vls(), "SME": RegId.sme_vls()}


def _machine(snapshot: Snapshot | None) -> list[str]:
    if snapshot is None:
        return []
    first = snapshot.vcpus[0]
    count = len(snapshot.vcpus)
    words = [f"{count} vCPU{'s' if count > 1 else ''}", "+".join(map(str, first.features)) or "no features"]
    words += [f"{cap.name} enabled" for cap in snapshot.vm.caps]
    return [f"{'with':5} {', '.join([*words, *_lengths(first)])}"]


def _lengths(vcpu: VcpuState) -> list[str]:
    sets = (("SVE", vcpu.sve_lengths), ("SME", vcpu.sme_lengths))
    return [f"{name} lengths {vls} (up to {vls.max * 128} bits)" for name, vls in sets if vls]


def _restored(report: RestoreReport, registers: int, size: int) -> list[str | Table]:
    """The order of a restore, and how it went."""
    if not report.verified:
        found = [finding for finding in report.findings if finding.blocking]
        count = f"{len(found)} obstacle{'s' if len(found) > 1 else ''}"
        return [f"not moved: {count}; nothing is left at the destination", *findings_text(report.findings)]
    exact = Counter(result for vcpu in report.vcpus for _, result in vcpu.results())
    parts: list[str | Table] = [_steps(report.vcpus[0].plan)]
    if len(report.vcpus) > 1:
        parts.append(f"and the same for {len(report.vcpus) - 1} more, without what belongs to the whole VM")
    parts += ["", f"moved {registers:,} registers, {size:,} bytes, and read every one back:"]
    parts += [f"  {count:,} {result.value}" for result, count in exact.items()]
    return [*parts, *findings_text(report.findings)]


def _steps(plan: Plan) -> Table:
    rows = [(_stage(step), _some(step), step.because) for step in plan.steps()]
    return Table(("STEP", "REGISTERS", "WHY THEN"), rows)


def _stage(step: Step) -> str:
    return step.stage.name.lower().replace("_", " ")


def _some(step: Step) -> str:
    """How many registers a step writes, with the first by name."""
    if not step.regs:
        return "-"
    more = ", ..." if len(step.regs) > 1 else ""
    return f"{len(step.regs)}: {name_of(step.regs[0]) or step.regs[0].hex}{more}"


def findings_text(findings: Iterable[Finding]) -> list[str]:
    """Findings in the order they were made, those alike in all but the register told together."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for each in findings:
        alike = (each.blocking, each.vcpu, each.code, each.operation, each.errno, each.rule, each.remedy)
        why = "" if each.rule else each.why
        groups.setdefault((*alike, why, each.acceptable, each.reg is None), []).append(each)
    return [line for group in groups.values() for line in ("", *finding_lines(*group))]


def finding_lines(first: Finding, *alike: Finding) -> list[str]:
    """One finding, or several alike but for the register: what was asked, what is there, why, what to do."""
    where = "" if first.vcpu is None else f"vCPU {first.vcpu}: "
    what = f"{1 + len(alike)} {'fields' if first.field else 'registers'}" if alike else first.subject
    subject = " ".join(filter(None, (first.operation, what))) or first.code.value
    errno = "" if first.errno is None else f": {errno_name(first.errno)}"
    note = "" if first.blocking else "note: "
    return [f"{note}{where}{subject}{errno}", *(_alike([first, *alike]) if alike else _alone(first))]


def _alone(finding: Finding) -> list[str]:
    return _rows(
        ("asked", finding.asked),
        ("there", finding.there),
        ("takes", finding.acceptable),
        ("why", _why(finding)),
        ("do", finding.remedy),
    )


def _alike(findings: Sequence[Finding]) -> list[str]:
    """A line for each register with what is its own, and once what holds for all."""
    first, widest = findings[0], max(len(finding.subject) for finding in findings)
    own_reasons = len({finding.why for finding in findings}) > 1
    lines = [
        f"  {finding.subject:{widest}}  {finding.why if own_reasons else _values(finding)}".rstrip()
        for finding in findings
    ]
    return [*lines, *_rows(("why", first.rule if own_reasons else _why(first)), ("do", first.remedy))]


def _values(finding: Finding) -> str:
    told = (("asked", finding.asked), ("there", finding.there))
    return ", ".join(f"{word} {value}" for word, value in told if value)


def _why(finding: Finding) -> str:
    return " ".join(filter(None, (finding.why, f"({finding.rule})" if finding.rule else "")))


def _rows(*rows: tuple[str, str]) -> list[str]:
    return [f"  {word:5} {text}" for word, text in rows if text]


def comparison(differences: Sequence[Difference]) -> list[str | Table]:
    """Two snapshots side by side."""
    if not differences:
        return ["no difference"]
    rows = [
        (
            "-" if each.vcpu is None else str(each.vcpu),
            each.what,
            each.before or "absent",
            each.after or "absent",
            "changes by itself" if each.volatile else "",
        )
        for each in differences
    ]
    return [Table(("VCPU", "WHAT", "BEFORE", "AFTER", ""), rows)]


# -- data ------------------------------------------------------------------------------------------


def migration_tree(report: MigrationReport, offers: Sequence[Offered]) -> dict[str, Any]:
    """A migration for programs."""
    source, destination = (
        {
            "vls": [int(vq) for vq in offered.get(RegId.sve_vls(), ())],
            "sme_vls": [int(vq) for vq in offered.get(RegId.sme_vls(), ())],
        }
        for offered in offers
    )
    return {
        "moved": report.moved,
        "source": origin_tree(report.source) | source,
        "destination": origin_tree(report.destination) | destination,
        "seed": report.seed,
        "machine": _machine_tree(report.prepared.snapshot),
        "registers": report.registers,
        "bytes": report.bytes_held,
        "vcpus": [] if report.restored is None else list(map(_vcpu_tree, report.restored.vcpus)),
        "findings": list(map(finding_tree, report.findings)),
    }


def restoring_tree(report: RestoreReport, snapshot: Snapshot) -> dict[str, Any]:
    """A restore for programs."""
    return {
        "moved": report.verified,
        "source": origin_tree(snapshot.origin),
        "destination": origin_tree(report.destination),
        "machine": _machine_tree(snapshot),
        "registers": sum(len(vcpu.registers) for vcpu in snapshot.vcpus),
        "bytes": sum(vcpu.bytes_held for vcpu in snapshot.vcpus),
        "vcpus": list(map(_vcpu_tree, report.vcpus)),
        "findings": list(map(finding_tree, report.findings)),
    }


def saved_tree(snapshot: Snapshot, path: str) -> dict[str, Any]:
    """A snapshot that was just written, for programs."""
    return {
        "file": path,
        "source": origin_tree(snapshot.origin),
        "machine": _machine_tree(snapshot),
        "registers": sum(len(vcpu.registers) for vcpu in snapshot.vcpus),
        "bytes": sum(vcpu.bytes_held for vcpu in snapshot.vcpus),
    }


def origin_tree(origin: Origin) -> dict[str, Any]:
    """A place."""
    return {"uri": origin.uri, "kernel": origin.kernel}


def _machine_tree(snapshot: Snapshot | None) -> dict[str, Any] | None:
    if snapshot is None:
        return None
    first = snapshot.vcpus[0]
    return {
        "vcpus": len(snapshot.vcpus),
        "features": [str(feature) for feature in first.features],
        "caps": [cap.name for cap in snapshot.vm.caps],
        "vls": [int(vq) for vq in first.sve_lengths or ()],
        "sme_vls": [int(vq) for vq in first.sme_lengths or ()],
    }


def _vcpu_tree(vcpu: VcpuOutcome) -> dict[str, Any]:
    return {
        "vcpu": vcpu.id,
        "steps": [
            {
                "step": _stage(step),
                "because": step.because,
                "registers": [name_of(reg) or reg.hex for reg in step.regs],
                "rules": [{"name": rule.name, "because": rule.because} for rule in step.rules],
            }
            for step in vcpu.plan.steps()
        ],
        "results": {result.name.lower(): count for result, count in _counted(vcpu).items()},
    }


def _counted(vcpu: VcpuOutcome) -> Counter[Any]:
    return Counter(result for _, result in vcpu.results())


def finding_tree(finding: Finding) -> dict[str, Any]:
    """A finding for programs; absent parts are null or empty."""
    return {
        "code": finding.code.value,
        "blocking": finding.blocking,
        "severity": finding.severity,
        "vcpu": finding.vcpu,
        "operation": finding.operation,
        "register": finding.reg_name,
        "id": None if finding.reg is None else finding.reg.hex,
        "field": finding.field,
        "errno": None if finding.errno is None else errno_name(finding.errno),
        "asked": finding.asked,
        "there": finding.there,
        "acceptable": finding.acceptable,
        "behaviour": finding.behaviour,
        "rule": finding.rule,
        "why": finding.why,
        "remedy": finding.remedy,
    }


def comparison_tree(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    """Two snapshots' differences for programs."""
    return [
        {
            "vcpu": each.vcpu,
            "what": each.what,
            "id": None if each.reg is None else each.reg.hex,
            "before": each.before,
            "after": each.after,
            "volatile": each.volatile,
        }
        for each in differences
    ]
