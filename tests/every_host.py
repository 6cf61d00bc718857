"""Every host that is known: built in, recorded, and fingerprinted; each kind once."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

from tests.recordings import SHARED_DATA

from armkvm.errors import MissingFacts
from armkvm.exchange import assumed, firecracker
from armkvm.hosts import hostfile, library, recording
from armkvm.model.host import Platform
from armkvm.value import replace

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from armkvm.state import HostFacts

INSTEAD = "6.1"
"""What fingerprints of kernels without a profile are treated as."""


def _facts() -> Iterator[tuple[str, HostFacts]]:
    for name, kernels in library.names().items():
        yield from ((f"{name}?kernel={kernel}", library.builtin(name, kernel)) for kernel in kernels)
    for path in sorted(SHARED_DATA.glob("captures/*/*.json")):
        label = f"{path.parent.name}/{path.stem}"
        yield label, recording.facts(json.loads(path.read_text()), label.replace("/", "-"))
    for path in sorted(SHARED_DATA.glob("firecracker/*.json")):
        read = firecracker.read_fingerprint(path.read_bytes(), path.name)
        try:
            yield path.stem, assumed.host_facts(read, path.stem)
        except MissingFacts:
            yield path.stem, assumed.host_facts(read, path.stem, treat_as=INSTEAD)


@cache
def every_host() -> dict[str, Platform]:
    """The hosts by label; of hosts that are alike in all that a restore of registers meets only the first."""
    kinds: dict[Hashable, tuple[str, Platform]] = {}
    for label, facts in _facts():
        met = hostfile.fingerprint(replace(facts, writable_masks=None, vgic={}))
        kinds.setdefault(met, (label, Platform(*library.seen_through(facts))))
    return dict(kinds.values())
