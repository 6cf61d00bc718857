"""System registers by name and by encoding."""

from __future__ import annotations

from armkvm.arch.encoding import SysReg
from armkvm.arch.tables.sysregs import FAMILIES, ROWS

NAMES: dict[SysReg, str] = {SysReg.of(*row[:5]): row[5] for row in ROWS}
for _pattern, _encodings in FAMILIES:
    for _n, _encoding in enumerate(_encodings):
        NAMES[SysReg.of(*_encoding)] = _pattern.format(n=_n)

BY_NAME: dict[str, SysReg] = {name.upper(): reg for reg, name in NAMES.items()}


def name_of(reg: SysReg) -> str:
    """Arm's name, or the generic ``S3_0_C0_C3_3`` for an encoding without one."""
    return NAMES.get(reg) or reg.generic_name


def sysreg(name: str) -> SysReg:
    """The register of that name (any case), or of a generic ``S3_0_C0_C3_3``.

    >>> sysreg("ID_AA64PFR0_EL1")
    SysReg.of(3, 0, 0, 4, 0)
    """
    found = BY_NAME.get(name.upper())
    if found is not None:
        return found
    parts = name.upper().replace("C", "").split("_")
    if len(parts) == 5 and parts[0][:1] == "S" and all(p.isdecimal() for p in (parts[0][1:], *parts[1:])):
        return SysReg.of(int(parts[0][1:]), *(int(p) for p in parts[1:]))
    raise ValueError(f"no system register is called {name!r}")
