"""Objects that look like messages to guests, and fail whoever calls a method of theirs."""

# mypy: disable-error-code="assignment,misc"

from __future__ import annotations

from typing import Any, NoReturn

from enfilade.hostcalls.resources.message import Message


def fail(*_: Any) -> NoReturn:
    raise LookupError("hostile")


class HostileBytes(bytes):
    """Bytes that are none, if they are asked."""

    __len__ = __getitem__ = __iter__ = __bytes__ = __eq__ = __ne__ = __bool__ = __repr__ = __buffer__ = fail
    __hash__ = __getattribute__ = __add__ = __radd__ = __reduce_ex__ = decode = fail


class HostileByteArray(bytearray):
    """The same."""

    __len__ = __getitem__ = __iter__ = __bytes__ = __bool__ = __buffer__ = __getattribute__ = fail


class HostileTag(int):
    """A number that cannot be compared."""

    __le__ = __lt__ = __gt__ = __ge__ = __eq__ = __add__ = __index__ = __hash__ = fail


class HostileMessage(Message):
    """A message without a content, if it is asked."""

    __getattribute__ = fail


class NoClass:
    """Will not say what it is."""

    __class__ = property(fail)  # type: ignore[assignment]
