"""The message format: what is written is read back, and nothing else is accepted."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, strategies as st

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.backends.remote import wire
from armkvm.backends.remote.refusals import decode_error, encode_error
from armkvm.backends.remote.wire import Kind, WireError
from armkvm.errors import KvmError, MisreadCall, MissingFacts, PlaceError, Rule
from armkvm.state import Exit, Mmio, SystemEvent

u8, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 32, 64))
i64 = st.integers(-(1 << 63), (1 << 63) - 1)
regs = u64.map(RegId)
features = st.sampled_from(VcpuFeature) | i64
blobs = st.lists(st.binary(max_size=300), max_size=20)
texts = st.text(max_size=200)
exits = st.builds(
    Exit,
    u32,
    st.none() | st.builds(Mmio, u64, st.binary(max_size=8), st.booleans()),
    st.none() | st.builds(SystemEvent, u32, st.lists(u64, max_size=16).map(tuple)),
    st.binary(max_size=256),
    executed=st.none() | u64,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    wire.U8.name: u8,
    wire.U32.name: u32,
    wire.I64.name: i64,
    wire.U64.name: u64,
    wire.NOTHING.name: st.none(),
    wire.BOOL.name: st.booleans(),
    wire.BYTES.name: st.binary(max_size=5000),
    wire.TEXT.name: texts,
    wire.NUMBERS.name: st.lists(u64, max_size=50).map(tuple),
    wire.REGS.name: st.lists(regs, max_size=50),
    wire.BLOBS.name: blobs,
    wire.MASKS.name: st.dictionaries(regs, u64, max_size=20),
    wire.FEATURE.name: features,
    wire.FEATURES.name: st.lists(features, max_size=10),
    wire.EXIT.name: exits,
    wire.TARGET.name: st.tuples(u32, st.lists(u64, max_size=7).map(tuple)),
    wire.HANDLE.name: u32,
    wire.OPTIONAL_HANDLE.name: st.none() | u32,
    f"{wire.U32.name} or none": st.none() | u32,
    f"{wire.U64.name} or none": st.none() | u64,
}
operations = st.sampled_from(wire.OPERATIONS)


@given(operations, st.data(), u32)
def test_a_call_is_read_back_as_it_was_written(row: wire.Operation, data: st.DataObject, handle: int) -> None:
    arguments = [data.draw(VALUES[codec.name]) for codec in row.arguments]
    body = wire.encode_call(handle, row.method, tuple(arguments))
    assert wire.decode_call(body) == (handle, row, arguments)


@given(operations, st.data())
def test_a_result_is_read_back_as_it_was_written(row: wire.Operation, data: st.DataObject) -> None:
    value = data.draw(VALUES[row.result.name])
    assert wire.decode(row.result, wire.encode(row.result, value)) == value


@given(operations, st.data())
def test_a_call_cut_short_or_continued_is_refused(row: wire.Operation, data: st.DataObject) -> None:
    arguments = tuple(data.draw(VALUES[codec.name]) for codec in row.arguments)
    body = wire.encode_call(1, row.method, arguments)
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(WireError):
        wire.decode_call(body[:cut])
    with pytest.raises(WireError):
        wire.decode_call(body + b"\0")


@given(st.binary(max_size=400))
def test_any_bytes_as_a_call_are_read_or_refused_and_nothing_else(body: bytes) -> None:
    try:
        _, row, arguments = wire.decode_call(body)
    except WireError:
        return
    assert len(arguments) == len(row.arguments)


@given(operations, st.binary(max_size=300))
def test_any_bytes_as_a_call_of_a_known_operation_are_read_or_refused(
    row: wire.Operation, rest: bytes
) -> None:
    body = row.number.to_bytes(2, "little") + bytes(4) + rest
    with contextlib.suppress(WireError):
        wire.decode_call(body)


@given(
    st.sampled_from([k for k in Kind if k in {Kind.REFUSED, Kind.MISTAKE, Kind.FAILED, Kind.UNKNOWN}]),
    st.binary(),
)
def test_any_bytes_as_an_error_are_read_or_refused(kind: Kind, body: bytes) -> None:
    try:
        error = decode_error(kind, body)
    except WireError:
        return
    assert isinstance(error, (KvmError, ValueError, PlaceError, MissingFacts))


refusals = st.builds(
    KvmError,
    st.integers(1, 200),
    texts,
    reg=st.none() | regs,
    reg_name=texts,
    rule=st.none() | st.builds(Rule, texts, st.integers(1, 133), texts, texts),
    detail=texts,
    state=texts,
    count=st.none() | u64,
)


@given(refusals)
def test_a_refusal_keeps_its_errno_and_every_reason(error: KvmError) -> None:
    there = decode_error(*encode_error(error))
    assert isinstance(there, KvmError)
    for name in ("errno", "operation", "reg", "reg_name", "detail", "state", "count"):
        assert getattr(there, name) == getattr(error, name)
    assert (there.rule is None) == (error.rule is None)
    for name in Rule.__slots__ if error.rule else ():
        assert getattr(there.rule, name) == getattr(error.rule, name)
    assert str(there) == str(error)


@pytest.mark.parametrize(
    ("error", "kind", "there"),
    [
        (ValueError("nonsense"), Kind.MISTAKE, MisreadCall),
        (PlaceError("gone"), Kind.FAILED, PlaceError),
        (RuntimeError("bug"), Kind.FAILED, PlaceError),
        (MissingFacts("host", "say", ["a", "b"]), Kind.UNKNOWN, MissingFacts),
    ],
)
def test_other_errors_arrive_as_their_kind(error: Exception, kind: Kind, there: type[Exception]) -> None:
    sent_kind, body = encode_error(error)
    assert sent_kind == kind
    arrived = decode_error(sent_kind, body)
    assert type(arrived) is there
    assert str(error) in str(arrived)


def test_a_claimed_count_beyond_the_message_allocates_nothing() -> None:
    """Four billion register ids are announced in a message of ten bytes."""
    body = wire.BY_METHOD["get_regs"].number.to_bytes(2, "little") + bytes(4) + b"\xff\xff\xff\xff"
    with pytest.raises(WireError, match="ends after"):
        wire.decode_call(body)


def test_numbers_and_methods_are_unique_and_every_protocol_method_has_a_row() -> None:
    from armkvm.backends import base

    assert len(wire.BY_NUMBER) == len(wire.BY_METHOD) == len(wire.OPERATIONS)
    methods = {
        name
        for protocol in (base.System, base.Vm, base.Vcpu, base.Device)
        for name in dir(protocol)
        if not name.startswith("_") and callable(getattr(protocol, name))
    }
    assert methods == set(wire.BY_METHOD)


def test_a_greeting_that_is_none_is_named() -> None:
    with pytest.raises(WireError, match=r"no armkvm is at the other end.*Welcome"):
        wire.decode_hello(b"Welcome ")
    assert wire.decode_hello(wire.encode_hello()) == wire.VERSION


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_a_number_that_does_not_fit_is_refused_before_sending(value: int) -> None:
    with pytest.raises(ValueError, match="number"):
        wire.encode_call(0, "get_one_reg", (value,))
    with pytest.raises(ValueError, match="64 bits"):
        wire.encode_call(0, "get_regs", ([value],))
