"""What the lab has."""

from __future__ import annotations

from typing import Any

from armkvm.backends.lab.commands import LabState
from armkvm.report.table import Table


def text(lab: LabState) -> list[str | Table]:
    """A few lines, and a table of kernels."""
    saved = sum(size for _, size in lab.machines)
    lines: list[str | Table] = [
        f"folder    {lab.folder}",
        f"qemu      {lab.qemu or 'none'}",
        f"cpus      {' '.join(lab.cpus) or 'none'}",
    ]
    if lab.qemu and lab.lacking_cpus:
        lines.append(f"skipped   {' '.join(lab.lacking_cpus)}: this QEMU does not know them")
    lines += [
        f"runtime   {'there' if lab.runtime else 'none'}",
        f"machines  {len(lab.machines)} saved, {saved / 1e6:,.0f} MB",
    ]
    if lab.kernels:
        rows = [(release, package or "a file of your own") for release, package, _ in lab.kernels]
        return [*lines, "", Table(("KERNEL", "PACKAGE"), rows)]
    return [*lines, "kernels   none; `armkvm lab setup` fetches some"]


def tree(lab: LabState) -> dict[str, Any]:
    """The same as data."""
    return {
        "folder": str(lab.folder),
        "qemu": lab.qemu,
        "cpus": list(lab.cpus),
        "skipped_cpus": list(lab.lacking_cpus),
        "runtime": lab.runtime,
        "kernels": [
            {"release": release, "package": package, "sha256": digest}
            for release, package, digest in lab.kernels
        ],
        "machines": [{"key": key, "bytes": size} for key, size in lab.machines],
    }
