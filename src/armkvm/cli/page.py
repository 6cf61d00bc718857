"""The option ``--html FILE``: a verb's result as one page."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from armkvm.cli.terminal import progress, say
from armkvm.documents import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from armkvm.cli.fleet import Fleet
    from armkvm.migration.pools import Partition
    from armkvm.report.page import fleet as told
    from armkvm.report.page.parts import Page

MOST_PAIRS = 24
"""Kinds that are compared each with each; of more, each with the pools."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the option."""
    parser.add_argument(
        "--html", type=_page, metavar="FILE", help="also write a self-contained page with every reason"
    )


def _page(text: str) -> Path:
    """A file that can be, which is known before there is a page to lose."""
    from pathlib import Path

    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; name a file")
    return path


def write(path: Path, page: Page) -> None:
    """Draw the page into a file."""
    from armkvm.report.page.render import render

    write_whole(path, render(page).encode())
    say(f"the page is in {path}")


def fleet(
    hosts: Fleet, division: Partition | None, arrived: Mapping[str, frozenset[str]] | None = None
) -> told.Fleet:
    """The hosts with all that their page compares, which takes a moment."""
    from armkvm.backends.model import ModelSystem
    from armkvm.migration.pairs import pairs
    from armkvm.migration.pools import admit
    from armkvm.report.page import fleet as told

    kinds = []
    for kind in hosts.kinds:
        platform = hosts.platforms[kind.speaker]
        kinds.append(told.KindOfHost(kind=kind, facts=platform.facts, sve=platform.sve, sme=platform.sme))
    if len(kinds) <= MOST_PAIRS:

        def place(speaker: str) -> ModelSystem:
            platform = hosts.platforms[speaker]
            return ModelSystem(platform.facts, platform.profile, speaker)

        compared = pairs(hosts.kinds, hosts.offers, hosts.accepts, place)
        both = tuple(progress(compared, "comparing hosts"))
        return told.Fleet(kinds=kinds, pairs=both, arrived=arrived or {})
    if division is None:
        return told.Fleet(kinds=kinds)
    columns = division.pools[: told.MOST_POOLS]
    admissions = {
        kind.speaker: tuple(admit(pool, kind, hosts.offers, hosts.accepts) for pool in columns)
        for kind in progress(told.shown(hosts.kinds), "comparing hosts with pools")
    }
    return told.Fleet(kinds=kinds, admissions=admissions, arrived=arrived or {})
