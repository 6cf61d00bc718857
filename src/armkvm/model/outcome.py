"""What a modelled call comes to: a result, or a `Refused` value."""

from __future__ import annotations

from armkvm.errors import Rule


class Refused:
    """A call KVM refuses: which rule, and what about this call broke it."""

    __slots__ = ("count", "detail", "rule")

    def __init__(self, rule: Rule, detail: str = "", count: int | None = None) -> None:
        self.rule = rule
        self.detail = detail
        self.count = count

    @property
    def errno(self) -> int:
        return self.rule.errno

    def __repr__(self) -> str:
        return f"Refused({self.rule.name!r}, {self.detail!r})"
