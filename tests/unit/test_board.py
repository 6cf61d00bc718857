"""A guest that does not end is ended by a limit, and told which."""

from __future__ import annotations

import pytest
from tests.guest_vcpus import B_SELF, BASE, MOVZ_X1_DEVICE

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.locate import connect
from armkvm.migration import board
from armkvm.migration.board import Board, End, Ending, StopAt
from armkvm.migration.program import parse

MEMORY = 1 << 20
STRB_W0_X1 = 0x3900_0020
B_BACK = 0x17FF_FFFF
FLOOD = (MOVZ_X1_DEVICE, STRB_W0_X1, B_BACK)


def run(*words: int, place: str = "model:max", stop: StopAt | None = None) -> Ending:
    vm = connect(place).create_vm()
    vcpu = vm.create_vcpu(0)
    vcpu.init({F.PSCI_0_2})
    made = Board(vm, vcpu, MEMORY)
    made.load(parse(b"".join(word.to_bytes(4, "little") for word in words), "guest", MEMORY))
    return made.run(stop)


@pytest.mark.parametrize("stop", [None, StopAt(marker=1), StopAt(instructions=10**9)], ids=str)
@pytest.mark.parametrize(
    ("limit", "value", "told"),
    [
        ("_MOST_PRINTED", 40, "after 40 exits and 40 bytes printed: the console takes no more than 40 bytes"),
        (
            "_MOST_EXITS",
            50,
            "after 50 exits and 50 bytes printed: a guest may access devices no more than 50",
        ),
        ("_MOST_SECONDS", 0.1, "its accesses to devices may take no more than"),
    ],
)
def test_an_endless_store_to_the_console_is_ended(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: float, told: str, stop: StopAt | None
) -> None:
    """Each of the board's limits ends the run and is named, wherever it was to stop."""
    monkeypatch.setattr(board, limit, value)
    ending = run(*FLOOD, stop=stop)
    assert ending.end is End.FAILED
    assert told in ending.words


@pytest.mark.parametrize("stop", [None, StopAt(marker=1)], ids=str)
def test_an_endless_loop_is_ended_by_the_places_run_limit(stop: StopAt | None) -> None:
    """The words name the limit, how long it was, and the option that changes it."""
    ending = run(B_SELF, place="model:max?run_limit=1", stop=stop)
    assert ending.end is End.FAILED
    assert "KVM_RUN: EINTR, the place's run limit ended it after 1 s" in ending.words
    assert "option run_limit, as in model:max?run_limit=60" in ending.words
    assert f"the guest stands before {BASE:#x}" in ending.words
