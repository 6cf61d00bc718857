"""Text that does to a terminal nothing but appear on it: names in strangers' files may hold anything."""

from __future__ import annotations

_KEPT = "\t\n"
_STEERING = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Control characters of C0 and C1, line separators, and those that turn the direction of writing."""

_SPELLED = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for code in _STEERING
    if chr(code) not in _KEPT
}


def printable(text: str) -> str:
    """The text with characters that steer terminals spelled out, as Python would spell them."""
    return text if text.isascii() and text.isprintable() else text.translate(_SPELLED)
