"""The examples of docs/exchange.md do what the page says."""

from __future__ import annotations

import doctest

from tests.exchange import samples
from tests.recordings import REPOSITORY


def test_the_examples_of_the_page_run() -> None:
    done = doctest.testfile(
        str(REPOSITORY / "docs/exchange.md"),
        module_relative=False,
        globs={"data": samples.fingerprint("5.10.255-253.1008.amzn2.aarch64")},
        optionflags=doctest.FAIL_FAST,
    )
    assert done.attempted > 20
    assert not done.failed
