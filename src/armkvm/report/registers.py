"""Registers by id and by name. Imports nothing heavy: decoding an id has a start-up budget."""

from __future__ import annotations

from armkvm import catalog
from armkvm.abi.regid import RegId
from armkvm.arch.sysregs import name_of as sysreg_name
from armkvm.report.table import Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Tree = dict[str, object]

_INDENT = "  "


def decoded(reg: RegId, value: int | None = None) -> list[str]:
    """What an id says, and what a value of that register means, for people."""
    rows = [("id", reg.hex), ("class", catalog.class_name(reg)), ("size", _bytes(reg.size))]
    encoding = reg.encoding
    if encoding is not None:
        rows.append(("encoding", encoding.generic_name))
        accessed = catalog.accessed_register(reg)
        if accessed is not None and accessed != encoding:
            rows.append(("accesses", f"{sysreg_name(accessed)}, by an exchange that became ABI"))
    if not catalog.name_of(reg):
        rows.append(("verdict", _nameless(reg)))
    if value is not None:
        rows += [("value", f"{value:#0{2 * reg.size + 2}x}"), *_meaning(reg, value)]
    width = max(10, *(len(word) + 1 for word, _ in rows))
    return [
        catalog.name_of(reg) or "no register",
        *(f"{_INDENT}{word:{width}}{text}".rstrip() for word, text in rows),
    ]


def decoded_tree(reg: RegId, value: int | None = None) -> Tree:
    """The same for programs."""
    tree: Tree = {
        "name": catalog.name_of(reg),
        "id": reg.hex,
        "class": catalog.class_name(reg),
        "size": reg.size,
    }
    encoding, accessed = reg.encoding, catalog.accessed_register(reg)
    if encoding is not None and accessed is not None:
        names = ("op0", "op1", "CRn", "CRm", "op2")
        tree["encoding"] = dict(zip(names, encoding.parts, strict=True))
        tree["accesses"] = sysreg_name(accessed)
    if value is not None:
        tree["value"] = hex(value)
        tree["fields"] = dict(_meaning(reg, value))
    return tree


def table(registers: Iterable[tuple[RegId, bytes | None]], *, with_values: bool) -> Table:
    """Registers, one to a line, with their contents as one number each."""
    headings = ("ID", "BYTES", "CLASS", "NAME", *(("VALUE",) if with_values else ()))
    return Table(
        headings,
        (
            (
                reg.hex,
                str(reg.size),
                catalog.class_name(reg),
                catalog.name_of(reg) or "-",
                *((_number(data),) if with_values else ()),
            )
            for reg, data in registers
        ),
    )


def tree(registers: Iterable[tuple[RegId, bytes | None]]) -> list[Tree]:
    """The same for programs; values where there are any."""
    rows: list[Tree] = []
    for reg, data in registers:
        row: Tree = {
            "name": catalog.name_of(reg),
            "id": reg.hex,
            "class": catalog.class_name(reg),
            "size": reg.size,
        }
        if data is not None:
            row["value"] = "0x" + data[::-1].hex()
        rows.append(row)
    return rows


def _nameless(reg: RegId) -> str:
    if not reg.is_arm64:
        return "not arm64's: bits 63:56 are 0x60 and bits 51:32 zero in every id (EINVAL)"
    if reg == RegId.sme_vls_posted():
        return "KVM_REG_ARM64_SME_VLS as sme-v4's header has it; other kernels have no register by this id"
    return "well-formed so far, but the ABI has no register by this id"


def _bytes(size: int) -> str:
    return f"{size} bytes" if size > 1 else "1 byte"


def _number(data: bytes | None) -> str:
    """Contents as one number; what is longer than 64 bits and zero is written 0."""
    if data is None:
        return ""
    return "0x" + data[::-1].hex() if len(data) <= 8 or any(data) else "0"


def _meaning(reg: RegId, value: int) -> list[tuple[str, str]]:
    """What a value says, part by part, where armkvm knows."""
    if reg in (RegId.sve_vls(), RegId.sme_vls()):
        from armkvm.arch.vectors import VectorLengths

        return [("lengths", f"{VectorLengths.from_bitmap(value)} quadwords")]
    encoding = catalog.accessed_register(reg)
    if encoding is None:
        return []
    from armkvm.arch import gicfields, idfields, vectorfields

    for known in (idfields.FIELDS, vectorfields.FIELDS, gicfields.FIELDS):
        if encoding in known:
            rows = idfields.described(known[encoding], value)
            return [(row.field.name, f"{row.value:#x}  {row.meaning}".rstrip()) for row in rows]
    return []
