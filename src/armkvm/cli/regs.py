"""``armkvm regs [PATTERN...]``, ``armkvm regs --field --host H`` and ``armkvm regs --decode REG[=VALUE]``."""

from __future__ import annotations

from armkvm import catalog
from armkvm.abi.regid import RegId
from armkvm.cli.outcome import DONE, FINDINGS, Outcome, UsageError
from armkvm.report import registers

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from armkvm.backends.base import Feature
    from armkvm.state import Acceptance

    Row = TypeVar("Row")

_EXAMPLES = """\
examples:
  armkvm regs 'ID_*'                                        names and ids
  armkvm regs --decode 0x603000000013c020                   what an id says
  armkvm regs --host a64fx 'KVM_REG_ARM64_*'                what a vCPU there lists, with values
  armkvm regs --field --host a64fx                          its ID registers, and what may be written
  armkvm regs --field --host a64fx --host max '*.SVE'       two hosts side by side
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("pattern", nargs="*", metavar="PATTERN", help="only names that match: ID_*, *TIMER*")
    parser.add_argument(
        "--decode", action="append", metavar="REG[=VALUE]", help="an id, name or encoding; may be repeated"
    )
    parser.add_argument(
        "--host",
        metavar="HOST",
        action="append",
        default=[],
        help="what KVM_GET_REG_LIST names there, with values: a host or a URI",
    )
    parser.add_argument(
        "--field",
        action="store_true",
        help="the feature ID registers of --host by field, and what may be written; two hosts side by side",
    )
    parser.add_argument(
        "--features", metavar="F,F", type=_features, help="the vCPU's features (default: all the host has)"
    )


def _features(text: str) -> tuple[Feature, ...]:
    from armkvm.cli.wishes import parse_features

    return parse_features(text)


def run(args: argparse.Namespace) -> Outcome:
    """Decode, or list."""
    if args.decode:
        if args.pattern or args.host or args.field or args.features is not None:
            raise UsageError("--decode goes with none of PATTERN, --host, --field and --features")
        return _decode(args.decode)
    if (args.features is not None or args.field) and not args.host:
        raise UsageError(f"{'--field' if args.field else '--features'} goes with --host")
    if len(args.host) > 1 + args.field:
        raise UsageError("give one --host, or with --field up to two")
    if args.field:
        return _by_field(args)
    rows = _on_host(args) if args.host else [(reg, None) for reg in catalog.named()]
    rows = _matching(rows, args.pattern, lambda row: catalog.name_of(row[0]))
    return Outcome(DONE, [registers.table(rows, with_values=bool(args.host))], registers.tree(rows))


def _decode(words: list[str]) -> Outcome:
    asked = [_asked(word) for word in words]
    known = all(catalog.name_of(reg) for reg, _ in asked)
    lines = [line for reg, value in asked for line in registers.decoded(reg, value)]
    return Outcome(
        DONE if known else FINDINGS, lines, [registers.decoded_tree(reg, value) for reg, value in asked]
    )


def _asked(word: str) -> tuple[RegId, int | None]:
    name, equals, text = word.partition("=")
    try:
        reg = catalog.parse(name)
        value = int(text, 0) if equals else None
    except ValueError as bad:
        raise UsageError(str(bad)) from None
    if value is not None and not 0 <= value < 1 << 8 * reg.size:
        raise UsageError(f"{name} has {reg.size} bytes; {text} does not fit")
    return reg, value


def _matching(rows: Iterable[Row], patterns: Iterable[str], name: Callable[[Row], str]) -> list[Row]:
    """The rows whose name matches one of the patterns; all if there are none."""
    from fnmatch import fnmatchcase

    wanted = [pattern.upper() for pattern in patterns] or ["*"]
    return [row for row in rows if any(fnmatchcase(name(row).upper(), want) for want in wanted)]


def _by_field(args: argparse.Namespace) -> Outcome:
    """ID registers by field, of one host or of two."""
    from armkvm.report import idregs
    from armkvm.report.table import Table

    hosts = [_acceptance(host, args.features) for host in args.host]
    headings: tuple[str, ...]
    rows: list[idregs.FieldRow] | list[idregs.PairRow]
    if len(hosts) == 1:
        headings = idregs.FIELD_HEADINGS
        rows = _matching(idregs.by_field(hosts[0]), _registers_too(args.pattern), lambda row: str(row.field))
    else:
        named = [f"{host.host} ({host.kernel})" for host in hosts]
        headings = (*idregs.PAIR_HEADINGS[:2], *named, idregs.PAIR_HEADINGS[4])
        rows = _matching(
            idregs.side_by_side(*hosts), _registers_too(args.pattern), lambda row: str(row.one.field)
        )
    return Outcome(DONE, [Table(headings, [row.words() for row in rows])], [row.tree() for row in rows])


def _registers_too(patterns: Iterable[str]) -> list[str]:
    """Patterns of fields; one without a dot names registers, and stands for all their fields."""
    return [pattern if "." in pattern else f"{pattern}.*" for pattern in patterns]


def _acceptance(host: str, features: tuple[Feature, ...] | None) -> Acceptance:
    """What a modelled host accepts for a vCPU with these features, or with all it can have."""
    from shlex import quote

    from armkvm.abi.vcpu_features import RESHAPING, VcpuFeature as F
    from armkvm.backends.model import ModelSystem
    from armkvm.cli import given
    from armkvm.model.acceptance import accepts, offered

    with given.host_or_place(host) as system:
        if not isinstance(system, ModelSystem):
            raise UsageError(
                "--field is about a host's facts; record them with "
                f"`armkvm probe {quote(host)} -o HOST.json` and name that file"
            )
        if features is None:
            return accepts(system.platform, offered(system.platform) - RESHAPING)
        named = [feature for feature in features if isinstance(feature, F)]
        if len(named) < len(features):
            raise UsageError("--field takes features by name, not by number")
        return accepts(system.platform, named)


def _on_host(args: argparse.Namespace) -> list[tuple[RegId, bytes | None]]:
    """Every register a vCPU there lists, with its initial contents."""
    from armkvm.abi.vcpu_features import RESHAPING, VcpuFeature as F
    from armkvm.cli import given
    from armkvm.migration.build import features_taken
    from armkvm.migration.bulk import read_all
    from armkvm.migration.lengths import finalize
    from armkvm.migration.plan import finalizing
    from armkvm.migration.snapshot import VmConfig

    everything = tuple(feature for feature in F if feature not in RESHAPING)
    with given.host_or_place(args.host[0]) as system, system.create_vm() as vm:
        features = args.features
        if features is None:
            features = features_taken(system, VmConfig(), everything)
        vcpu = vm.create_vcpu(0)
        vcpu.init(features)
        lengths, _ = read_all(vcpu, (RegId.sve_vls(), RegId.sme_vls()))
        what = finalizing(lengths)
        if what is not None:
            finalize(vcpu, what)
        listed = vcpu.reg_list()
        values, _ = read_all(vcpu, listed)
    return [(reg, values.get(reg)) for reg in listed]
