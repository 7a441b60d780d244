"""Types of the standard library that travel without being registered, as records of builtins.

What comes is made into objects by constructors that take more than what we send, and some of them take very
long over it. So each gets nothing else than what its own encoding makes.
"""

import datetime
import decimal
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from enfilade.transport.records import PayloadError, shown

__all__ = ["BY_NAME", "STANDARD"]

RANGE_BITS: Final = 4096
"""Bits of a number of a range."""


def _decimal(text: Any) -> decimal.Decimal:
    """Make a number of its digits: making one of an integer takes time with the square of its length."""
    if type(text) is not str:
        raise PayloadError(f"expected the digits of a decimal, got {shown(text)}")
    return decimal.Decimal(text)


def _range(parts: Sequence[Any]) -> range:
    """Make a range, which divides its ends by its step: also with the square of their lengths."""
    if any(type(part) is not int or part.bit_length() > RANGE_BITS for part in parts):
        raise PayloadError(f"the numbers of a range may have {RANGE_BITS} bits")
    return range(*parts)


STANDARD: Final[Mapping[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]]] = {
    complex: ("complex", lambda value: [value.real, value.imag], lambda parts: complex(*parts)),
    range: ("range", lambda value: [value.start, value.stop, value.step], _range),
    decimal.Decimal: ("decimal", str, _decimal),
    uuid.UUID: ("uuid", lambda value: value.bytes, lambda data: uuid.UUID(bytes=data)),
    datetime.datetime: ("datetime", datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    datetime.date: ("date", datetime.date.isoformat, datetime.date.fromisoformat),
    datetime.time: ("time", datetime.time.isoformat, datetime.time.fromisoformat),
    datetime.timedelta: (
        "timedelta",
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: datetime.timedelta(*parts),
    ),
}
"""Types of the standard library that always travel: name, lowering and revival."""

BY_NAME: Final = {name: revive for name, _, revive in STANDARD.values()}
