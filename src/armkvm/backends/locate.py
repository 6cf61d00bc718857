"""From a URI to a place: ``model:...``, ``kvm:``, ``ssh://...``, ``unix:...``, ``exec:...``, ``lab:...``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from armkvm.errors import UnknownPlace

if TYPE_CHECKING:
    from armkvm.backends.base import System

# scheme -> (module whose `open_place` makes the place, whether options follow a "?", an example)
PLACES: dict[str, tuple[str, bool, str]] = {
    "model": ("armkvm.backends.model", True, "model:HOST[?kernel=PROFILE]"),
    "kvm": ("armkvm.backends.devkvm", True, "kvm: or kvm:/dev/kvm"),
    "ssh": ("armkvm.backends.remote", True, "ssh://HOST"),
    "unix": ("armkvm.backends.remote", True, "unix:PATH"),
    "exec": ("armkvm.backends.remote", False, "exec:COMMAND"),
    "lab": ("armkvm.backends.lab", True, "lab:CPU[?kernel=VERSION]"),
}
_BY_SCHEME = frozenset(("ssh", "unix", "exec"))


def connect(uri: str) -> System:
    """The place a URI names; close it after use.

    UnknownPlace if it names none, PlaceError if it cannot be reached, InputError or MissingFacts if
    a host's facts do not do.
    """
    scheme, rest, options = parse(uri)
    extra = {"scheme": scheme} if scheme in _BY_SCHEME else {}
    place: Any = import_module(PLACES[scheme][0])
    system: System = place.open_place(rest, options, **extra)
    return system


def parse(uri: str) -> tuple[str, str, dict[str, str]]:
    """(scheme, what follows it, options) of a URI; UnknownPlace if it can name no place."""
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme not in PLACES:
        forms = ", ".join(form for _, _, form in PLACES.values())
        raise UnknownPlace(f"{uri!r} names no place; places are {forms}")
    return (scheme, *(_options(uri, rest) if PLACES[scheme][1] else (rest, {})))


def _options(uri: str, rest: str) -> tuple[str, dict[str, str]]:
    """What stands before the last "?", and the key=value pairs after it."""
    rest, mark, query = rest.rpartition("?") if "?" in rest else (rest, "", "")
    options: dict[str, str] = {}
    for part in query.split("&") if mark else ():
        key, equals, value = part.partition("=")
        if not equals or not key or key in options:
            raise UnknownPlace(f"{uri!r}: after the ? come options key=value, each once; got {part!r}")
        options[key] = value
    return rest, options
