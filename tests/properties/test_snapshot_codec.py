"""Reading undoes writing, and no damaged file is taken for another snapshot."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, strategies as st
from tests.snapshots import snapshots

from armkvm.errors import Fault, InputError
from armkvm.migration import codec
from armkvm.migration.snapshot import Snapshot


def shown(snapshot: Snapshot) -> object:
    """Everything of a snapshot, order included."""
    return snapshot, [(list(vcpu.registers), list(vcpu.refused)) for vcpu in snapshot.vcpus]


@given(snapshots())
def test_decode_undoes_encode(snapshot: Snapshot) -> None:
    assert shown(codec.decode(codec.encode(snapshot), "x")) == shown(snapshot)


@given(snapshots())
def test_equal_snapshots_have_equal_files(snapshot: Snapshot) -> None:
    data = codec.encode(snapshot)
    assert codec.encode(codec.decode(data, "x")) == data


def read(data: bytes) -> Snapshot | tuple[Fault, ...]:
    try:
        return codec.decode(data, "x")
    except InputError as refused:
        return refused.faults


@given(snapshots(), st.data())
def test_a_damaged_byte_is_found_or_harmless(snapshot: Snapshot, data: st.DataObject) -> None:
    """White space may change; everything else is covered by grammar, schema, widths or checksum."""
    text = bytearray(codec.encode(snapshot))
    where = data.draw(st.integers(0, len(text) - 1))
    text[where] ^= data.draw(st.integers(1, 255))
    found = read(bytes(text))
    assert found
    assert isinstance(found, tuple) or shown(found) == shown(snapshot)


@given(snapshots(), st.data())
def test_a_truncated_file_is_refused(snapshot: Snapshot, data: st.DataObject) -> None:
    text = codec.encode(snapshot)
    kept = data.draw(st.integers(0, len(text) - 2))  # the last byte is a newline
    found = read(text[:kept])
    assert isinstance(found, tuple)
    assert len(found) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=20,
)


@given(snapshots(), json_values, st.data())
def test_a_snapshot_with_anything_in_it_is_read_or_refused(
    snapshot: Snapshot, anything: object, data: st.DataObject
) -> None:
    """No value anywhere raises anything but InputError, even under a checksum that fits."""
    tree: dict[str, Any] = json.loads(codec.encode(snapshot))
    container, key = data.draw(st.sampled_from(_places(tree)))
    container[key] = anything
    sealed = tree | {"sha256": codec.checksum(tree)} if data.draw(st.booleans()) else tree
    found = read(json.dumps(sealed).encode())
    assert not isinstance(found, tuple) or all(len(str(fault)) < 400 for fault in found)


def _places(tree: object) -> list[tuple[Any, str | int]]:
    """Every place in a document where a value stands."""
    members: list[tuple[str | int, object]] = []
    if isinstance(tree, (dict, list)):
        members = list(tree.items() if isinstance(tree, dict) else enumerate(tree))
    return [(tree, key) for key, _ in members] + [place for _, value in members for place in _places(value)]


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    assert isinstance(read(data), tuple)
