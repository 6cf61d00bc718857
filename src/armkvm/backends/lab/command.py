"""Commands inside the lab's machine: what travels over its second port.

The host sends files, then one command; the guest sends output as it comes, then the exit code.
Frames are those of `armkvm.backends.remote.wire`.
"""

from __future__ import annotations

from enum import IntEnum

from armkvm.backends.remote import wire

MAX_PIECE = 1 << 20


class Piece(IntEnum):
    """What a frame on the command port is."""

    FILE = 64  # host: path, whether to append, bytes
    RUN = 65  # host: words, standard input
    OUT = 66  # guest: bytes of standard output
    ERR = 67  # guest: bytes of standard error
    END = 68  # guest: exit code


def encode_file(path: str, append: bool, data: bytes) -> bytes:
    """The body of a FILE frame."""
    out: wire.Chunks = []
    wire.TEXT.write(out, path)
    wire.BOOL.write(out, append)
    wire.BYTES.write(out, data)
    return b"".join(out)


def decode_file(body: bytes) -> tuple[str, bool, bytes]:
    """(path, whether to append, contents) of a FILE frame."""
    reader = wire.Reader(body)
    path, append, data = wire.TEXT.read(reader), wire.BOOL.read(reader), wire.BYTES.read(reader)
    reader.done()
    return path, append, data


def encode_run(words: list[str], stdin: bytes) -> bytes:
    """The body of a RUN frame."""
    out: wire.Chunks = []
    wire.BLOBS.write(out, [word.encode() for word in words])
    wire.BYTES.write(out, stdin)
    return b"".join(out)


def decode_run(body: bytes) -> tuple[list[str], bytes]:
    """(words, standard input) of a RUN frame."""
    reader = wire.Reader(body)
    words, stdin = wire.BLOBS.read(reader), wire.BYTES.read(reader)
    reader.done()
    return [word.decode() for word in words], stdin
