"""Exceptions on the wire: each class of them has one kind of frame, and arrives as it left."""

from __future__ import annotations

from collections.abc import Callable

from armkvm.abi.regid import RegId
from armkvm.backends.remote import wire
from armkvm.backends.remote.wire import Kind
from armkvm.errors import ArmKvmError, KvmError, MisreadCall, MissingFacts, PlaceError, Rule

_OPTIONAL_U64 = wire.optional(wire.U64)


def encode_error(error: Exception) -> tuple[Kind, bytes]:
    """The frame that says `error` to the client."""
    if isinstance(error, KvmError):
        return Kind.REFUSED, _encode_refusal(error)
    if isinstance(error, MissingFacts):
        out: wire.Chunks = []
        for text in (error.host, error.purpose, "\n".join(error.missing)):
            wire.TEXT.write(out, text)
        return Kind.UNKNOWN, b"".join(out)
    if isinstance(error, (ValueError, TypeError)):
        return Kind.MISTAKE, wire.encode(wire.TEXT, str(error))
    if isinstance(error, ArmKvmError):
        return Kind.FAILED, wire.encode(wire.TEXT, str(error))
    return Kind.FAILED, wire.encode(wire.TEXT, f"{type(error).__name__}: {error}")


def _encode_refusal(error: KvmError) -> bytes:
    out: wire.Chunks = []
    wire.U32.write(out, error.errno or 0)
    _OPTIONAL_U64.write(out, error.reg)
    _OPTIONAL_U64.write(out, error.count)
    for text in (error.operation, error.reg_name, error.detail, error.state):
        wire.TEXT.write(out, text)
    wire.BOOL.write(out, error.rule is not None)
    if error.rule is not None:
        wire.U32.write(out, error.rule.errno)
        for text in (error.rule.name, error.rule.sentence, error.rule.remedy):
            wire.TEXT.write(out, text)
    return b"".join(out)


def _decode_refusal(body: bytes) -> KvmError:
    reader = wire.Reader(body)
    errno, reg, count = wire.U32.read(reader), _OPTIONAL_U64.read(reader), _OPTIONAL_U64.read(reader)
    operation, reg_name, detail, state = (wire.TEXT.read(reader) for _ in range(4))
    rule = None
    if wire.BOOL.read(reader):
        rule_errno = wire.U32.read(reader)
        name, sentence, remedy = (wire.TEXT.read(reader) for _ in range(3))
        rule = Rule(name, rule_errno, sentence, remedy)
    reader.done()
    return KvmError(
        errno,
        operation,
        reg=None if reg is None else RegId(reg),
        reg_name=reg_name,
        rule=rule,
        detail=detail,
        state=state,
        count=count,
    )


def _decode_unknown(body: bytes) -> MissingFacts:
    reader = wire.Reader(body)
    host, purpose, missing = (wire.TEXT.read(reader) for _ in range(3))
    reader.done()
    return MissingFacts(host, purpose, missing.split("\n"))


_ERRORS: dict[int, Callable[[bytes], Exception]] = {
    Kind.REFUSED: _decode_refusal,
    Kind.MISTAKE: lambda body: MisreadCall(wire.decode(wire.TEXT, body)),
    Kind.FAILED: lambda body: PlaceError(wire.decode(wire.TEXT, body)),
    Kind.UNKNOWN: _decode_unknown,
}


def decode_error(kind: int, body: bytes) -> Exception:
    """The exception that a frame other than ANSWER stands for."""
    decoder = _ERRORS.get(kind)
    if decoder is None:
        raise wire.WireError(f"a frame of kind {kind} is no answer")
    return decoder(body)
