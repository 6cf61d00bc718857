"""What a word on the command line names: a host, built in or in a file, a live place, or a snapshot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from armkvm.backends.locate import PLACES
from armkvm.backends.model import ModelSystem
from armkvm.cli.outcome import UsageError
from armkvm.cli.places import open_place, tell
from armkvm.documents import parse_json, read_bounded
from armkvm.errors import MissingFacts, UnknownPlace
from armkvm.hosts import hostfile, library

if TYPE_CHECKING:
    from armkvm.backends.base import System
    from armkvm.migration.snapshot import Snapshot
    from armkvm.model.profile import KernelProfile
    from armkvm.state import HostFacts

FORMS = (
    "a host (built in, or a host file, recording or Firecracker fingerprint; HOST?kernel=PROFILE sees it "
    "through another kernel) or a place's URI"
)


def host_or_place(word: str) -> System:
    """The place a word names: a URI's, or the model of a host."""
    scheme, colon, _ = word.partition(":")
    if colon and scheme in PLACES:
        return open_place(word)
    facts, profile = host(word)
    return tell(ModelSystem(facts, profile, word), word)


def snapshot(word: str) -> Snapshot | None:
    """The snapshot a word names, if it names one."""
    path = name_of(word)
    if not library.is_file(path) or not os.path.isfile(path):
        return None
    tree, _ = library.load_tree(path)
    if not isinstance(tree, dict) or tree.get("format") in (None, hostfile.FORMAT):
        return None
    from pathlib import Path

    from armkvm.migration import codec, files

    return files.load(Path(path)) if tree["format"] == codec.FORMAT else None


def host(word: str) -> tuple[HostFacts, KernelProfile]:
    """A host by name or file, seen through its own kernel or the one the word asks for."""
    name, kernel = _split(word)
    if not library.is_file(name):
        return library.find(name, kernel)
    data = read_bounded(name, library.LIMITS.size)
    known = read_fingerprint(data, name, treat_as=kernel)
    if known is not None:
        return library.seen_through(known)
    tree, faults = parse_json(data, name, library.LIMITS)
    stem, _ = os.path.splitext(os.path.basename(name))
    return library.seen_through(library.from_tree(tree, faults, stem, name), kernel)


def host_facts(word: str) -> HostFacts:
    """The same, the facts alone."""
    scheme, colon, rest = word.partition(":")
    if colon and scheme in PLACES:
        if scheme != "model":
            raise UsageError(f"{word}: of a live place the facts are not known; this takes hosts")
        word = rest
    return host(word)[0]


def read_fingerprint(data: bytes, source: str, treat_as: str | None = None) -> HostFacts | None:
    """The host of a Firecracker fingerprint; None if the bytes are none."""
    if b'"guest_cpu_config"' not in data:
        return None
    from pathlib import Path

    from armkvm.exchange import assumed, firecracker

    try:
        read = firecracker.read_fingerprint(data, source)
        return assumed.host_facts(read, Path(source).stem, treat_as=treat_as)
    except MissingFacts as bad:
        raise MissingFacts(source, bad.purpose, bad.missing) from None
    except ValueError as bad:
        raise UsageError(f"{source}: {bad}") from None


def name_of(word: str) -> str:
    """A word without the kernel it may ask for."""
    return _split(word)[0]


def _split(word: str) -> tuple[str, str | None]:
    """``HOST?kernel=PROFILE`` in two."""
    name, mark, option = word.rpartition("?") if "?" in word else (word, "", "")
    if not mark:
        return word, None
    key, _, kernel = option.partition("=")
    if key != "kernel" or not kernel:
        raise UnknownPlace(f"{word!r}: after the ? comes kernel=PROFILE")
    return name, kernel
