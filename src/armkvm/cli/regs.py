"""``armkvm regs [PATTERN...]`` and ``armkvm regs --decode REG[=VALUE]``."""

from __future__ import annotations

from armkvm import catalog
from armkvm.abi.regid import RegId
from armkvm.cli.outcome import DONE, FINDINGS, Outcome, UsageError
from armkvm.report import registers

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from armkvm.backends.base import Feature


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("pattern", nargs="*", metavar="PATTERN", help="only names that match: ID_*, *TIMER*")
    parser.add_argument(
        "--decode", action="append", metavar="REG[=VALUE]", help="an id, name or encoding; may be repeated"
    )
    parser.add_argument(
        "--host", metavar="HOST", help="what KVM_GET_REG_LIST names there, with values: a host or a URI"
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
        if args.pattern or args.host or args.features is not None:
            raise UsageError("--decode goes with none of PATTERN, --host and --features")
        asked = [_asked(word) for word in args.decode]
        known = all(catalog.name_of(reg) for reg, _ in asked)
        lines = [line for reg, value in asked for line in registers.decoded(reg, value)]
        return Outcome(
            DONE if known else FINDINGS, lines, [registers.decoded_tree(reg, value) for reg, value in asked]
        )
    if args.features is not None and not args.host:
        raise UsageError("--features goes with --host")
    rows = _matching(_on_host(args) if args.host else [(reg, None) for reg in catalog.named()], args.pattern)
    return Outcome(DONE, [registers.table(rows, with_values=bool(args.host))], registers.tree(rows))


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


def _matching(
    rows: list[tuple[RegId, bytes | None]], patterns: Iterable[str]
) -> list[tuple[RegId, bytes | None]]:
    from fnmatch import fnmatchcase

    wanted = [pattern.upper() for pattern in patterns]
    if not wanted:
        return rows
    return [row for row in rows if any(fnmatchcase(catalog.name_of(row[0]).upper(), want) for want in wanted)]


def _on_host(args: argparse.Namespace) -> list[tuple[RegId, bytes | None]]:
    """Every register a vCPU there lists, with its initial contents."""
    from armkvm.abi.vcpu_features import VcpuFeature as F
    from armkvm.backends.locate import PLACES
    from armkvm.cli.places import open_place
    from armkvm.migration.build import features_taken
    from armkvm.migration.bulk import read_all
    from armkvm.migration.plan import finalizing
    from armkvm.migration.snapshot import VmConfig

    is_uri = args.host.partition(":")[0] in PLACES and ":" in args.host
    everything = tuple(feature for feature in F if feature not in _LEFT_OUT)
    with open_place(args.host if is_uri else f"model:{args.host}") as system, system.create_vm() as vm:
        features = args.features
        if features is None:
            features = features_taken(system, VmConfig(), everything)
        vcpu = vm.create_vcpu(0)
        vcpu.init(features)
        lengths, _ = read_all(vcpu, (RegId.sve_vls(), RegId.sme_vls()))
        finalize = finalizing(lengths)
        if finalize is not None:
            vcpu.finalize(finalize)
        listed = vcpu.reg_list()
        values, _ = read_all(vcpu, listed)
    return [(reg, values.get(reg)) for reg in listed]


# Features that change what a vCPU is rather than add to it.
_LEFT_OUT = frozenset(("POWER_OFF", "EL1_32BIT", "HAS_EL2_E2H0", "PMU_V3_STRICT", "VEC"))
