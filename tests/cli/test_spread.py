"""Moves tried here, over processes, and over a Dask cluster are the same moves."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from armkvm.cli import fleet, spread
from armkvm.cli.main import run
from armkvm.cli.outcome import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTS = ("max", "max-vq4", "max-nosve", "neoverse-v1")


@pytest.fixture(scope="module")
def hosts() -> fleet.Fleet:
    return fleet.gather(HOSTS, skip_broken=False)


@pytest.fixture(scope="module")
def here(hosts: fleet.Fleet) -> dict[str, frozenset[str]]:
    return spread.arrived(hosts)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Two workers that are processes of their own, as on other machines."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(  # type: ignore[no-untyped-call, unused-ignore]
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as started:
        yield started.scheduler_address


def test_every_host_takes_its_own_and_what_is_less(here: dict[str, frozenset[str]]) -> None:
    assert all(host in arrived for host, arrived in here.items())
    assert here["max"] == {"max", "max-vq4", "max-nosve"}
    assert here["max-vq4"] == {"max-vq4", "max-nosve"}


def test_processes_say_the_same(hosts: fleet.Fleet, here: dict[str, frozenset[str]]) -> None:
    assert spread.arrived(hosts, workers=2) == here


@pytest.mark.filterwarnings("default")  # Dask's own
def test_machines_say_the_same(hosts: fleet.Fleet, here: dict[str, frozenset[str]], cluster: str) -> None:
    assert spread.arrived(hosts, dask=cluster) == here


@pytest.mark.filterwarnings("default")
def test_a_cluster_that_is_not_there_is_said(hosts: fleet.Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(spread, "PATIENCE", "0.2s")
    with pytest.raises(UsageError, match="no cluster answers there"):
        spread.arrived(hosts, dask="tcp://127.0.0.1:9")


def test_without_dask_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert run(["pools", "max", "--moves", "--dask", "tcp://127.0.0.1:9"]) == 2
    assert "pip install armkvm[cluster]" in capsys.readouterr().err
