"""The outline of a module: what its section headers say, read before anything is compiled.

To compile takes time and memory that the author of a module does not pay for. A few numbers tell how much,
and cost nothing to read.
"""

from __future__ import annotations

from enfilade.hostcalls.engine.config import EngineConfig
from enfilade.hostcalls.engine.errors import InvalidModule

MAGIC = b"\0asm"

MOST_EXTERNS = 10_000
"""Imports and exports that a module may have in all: to describe them takes time that others wait for."""

_IMPORTS, _FUNCTIONS, _EXPORTS, _CODE = 2, 3, 7, 10
_HEADER = 8


def check_outline(source: bytes, config: EngineConfig) -> None:
    """Raise `InvalidModule` if `source` is no binary module, or larger than `config` permits.

    Its numbers are believed: the compiler finds a wrong one.
    """
    if len(source) > config.max_source:
        raise InvalidModule(
            f"expected a module of at most {config.max_source} bytes (max_source), got {len(source)}"
        )
    if source[: len(MAGIC)] != MAGIC:
        raise InvalidModule(f"a binary module begins with {MAGIC!r}, and this with {bytes(source[:4])!r}")
    externs = 0
    place = _HEADER
    while place < len(source):
        section = source[place]
        size, start = _number(source, place + 1)
        place = start + size
        if section in (_IMPORTS, _EXPORTS):
            externs += _number(source, start)[0]
            if externs > MOST_EXTERNS:
                raise InvalidModule(f"expected at most {MOST_EXTERNS} imports and exports, got {externs}")
        elif section == _FUNCTIONS:
            functions, _ = _number(source, start)
            if functions > config.max_functions:
                raise InvalidModule(
                    f"expected at most {config.max_functions} functions (max_functions), got {functions}"
                )
        elif section == _CODE:
            _check_bodies(source, start, min(place, len(source)), config.max_function)


def _check_bodies(source: bytes, place: int, end: int, limit: int) -> None:
    count, place = _number(source, place)
    for index in range(count):
        if place >= end:
            return
        size, place = _number(source, place)
        if size > limit:
            raise InvalidModule(
                f"expected functions of at most {limit} bytes (max_function), got {size} bytes for "
                f"function {index} of the code section"
            )
        place += size


def _number(source: bytes, place: int) -> tuple[int, int]:
    """The LEB128 number at this place, and the place behind it; 0 where the module is cut off."""
    value = shift = 0
    for place in range(place, min(place + 5, len(source))):  # noqa: B020 - it is the same place
        byte = source[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    return 0, len(source)
