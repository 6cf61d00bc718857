"""A behaviour: one way in which kernels differ, by name."""

from __future__ import annotations

from typing import NamedTuple

from armkvm.errors import ModelBug


class Behaviour(NamedTuple):
    """One difference between kernels. `needs` names the behaviour it changes, "" if it stands alone."""

    name: str
    sentence: str
    source: str
    since: str
    detect: str
    test: str
    needs: str = ""


BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(
    name: str, sentence: str, *, source: str, since: str, detect: str, test: str, needs: str = ""
) -> str:
    """Add a row; the name is what profiles hold and the model asks for."""
    if name in BEHAVIOURS:
        raise ModelBug(f"two behaviours are called {name}")
    BEHAVIOURS[name] = Behaviour(name, sentence, source, since, detect, test, needs)
    return name
