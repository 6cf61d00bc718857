"""Differences that are known: named, with a reason, in a list that only shrinks (``explained.toml``)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from armkvm.abi.regid import RegId
from armkvm.catalog import name_of
from armkvm.traces.replay import Difference

_FILE = Path(__file__).with_name("explained.toml")


@dataclass(frozen=True, slots=True)
class Explained:
    """One known difference. Patterns are the shell's; an empty `kernels` means all."""

    name: str
    because: str
    ioctl: str = "*"
    reg: str = "*"
    what: str = "*"
    after: str = ""
    feature: str = ""
    kernels: tuple[str, ...] = ()

    def covers(self, steps: Sequence[Mapping[str, Any]], difference: Difference, kernel: str) -> bool:
        """Whether this is what was found in the last of these steps."""
        step = steps[-1]
        reg = (
            name_of(RegId(int(step["id"], 16))) if "ioctl" in step and isinstance(step.get("id"), str) else ""
        )
        return (
            fnmatchcase(step["ioctl"], self.ioctl)
            and fnmatchcase(reg, self.reg)
            and fnmatchcase(difference.what, self.what)
            and (not self.after or any(earlier["ioctl"] == self.after for earlier in steps[:-1]))
            and (not self.feature or any(self.feature in one.get("features", ()) for one in steps))
            and (not self.kernels or kernel.startswith(self.kernels))
        )


def explained() -> tuple[Explained, ...]:
    """The list."""
    rows = tomllib.loads(_FILE.read_text()).get("explained", ())
    return tuple(Explained(**{**row, "kernels": tuple(row.get("kernels", ()))}) for row in rows)
