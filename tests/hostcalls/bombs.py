"""Modules that are expensive to compile, put together byte by byte."""

from __future__ import annotations

_STEP = bytes.fromhex("0240 2000 0d00 2001 2000 6a 2101 0b")
"""A block with a conditional branch and an addition: the more of them, the longer each one takes."""


def number(value: int) -> bytes:
    """A number as LEB128."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def section(identity: int, content: bytes) -> bytes:
    """A section of a module."""
    return bytes([identity]) + number(len(content)) + content


def bomb(functions: int, size: int) -> bytes:
    """A module with so many functions, each of about `size` bytes."""
    body = number(1) + number(20) + b"\x7f" + _STEP * (size // len(_STEP)) + b"\x0b"
    return b"\0asm\1\0\0\0" + b"".join(
        [
            section(1, number(1) + b"\x60\x00\x00"),
            section(3, number(functions) + bytes(functions)),
            section(5, number(1) + b"\x00" + number(1)),
            section(7, number(2) + b"\x06memory\x02\x00" + b"\x05start\x00\x00"),
            section(10, number(functions) + (number(len(body)) + body) * functions),
        ]
    )
