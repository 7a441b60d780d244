"""The codec of what `enfilade::actor::receive` gives, and of other bytes that guests are given.

Most of what guests receive is plain data, or a request with plain data. These are written in one go, byte for
byte as `enfilade.hostcalls.codec.rkyv` writes them.
"""

from __future__ import annotations

import functools
import struct
from typing import Any

import attrs

from enfilade.hostcalls.abi.actor_types import (
    ActorReceive,
    ActorReceived,
    Kinds,
    PlainMessage,
    RequestMessage,
)
from enfilade.hostcalls.codec.rkyv import Codec, DecodeError, codec, layout

# The tags of the option and of the variant; the message's tag, or the request; the data's place, relative to
# the field that tells it, and size; the same for the resources, of which there are none.
_PLAIN = struct.Struct("<B7xB7xQiIiI")
_REQUEST = struct.Struct("<B7xB3xIiIiI8x")
# The data's place, relative to the field that tells it, and size; the same for the resources.
_BODY = struct.Struct("<iIiI")
_ZEROS = bytes(8)


class Encoded(bytes):
    """An output that is encoded already."""

    __slots__ = ()


def plain_bytes(data: bytes) -> bytes:
    """Encode a plain message of `data`, without a tag and resources."""
    end = len(data)
    resources = end + -end % 4
    root = resources + -resources % 8
    return data + _ZEROS[: root - end] + _PLAIN.pack(1, 0, 0, -root - 24, end, resources - root - 32, 0)


def request_bytes(request: int, data: bytes) -> bytes:
    """Encode the request in slot `request` with `data`, without resources."""
    end = len(data)
    resources = end + -end % 4
    root = resources + -resources % 8
    return (
        data + _ZEROS[: root - end] + _REQUEST.pack(1, 1, request, -root - 16, end, resources - root - 24, 0)
    )


def body_bytes(data: bytes) -> bytes:
    """Encode an `ActorBody` of `data`, without resources."""
    end = len(data)
    root = end + -end % 4
    return data + _ZEROS[: root - end] + _BODY.pack(-root, end, -8, 0)


@attrs.frozen(eq=False)
class Wish:
    """The wish of a receive, as its encoded arguments say it.

    Attributes:
        arguments: these.
        wanted: what they say.
        takes_bytes: whether it takes messages without a tag and resources.
        takes_requests: whether it takes requests.
        is_patient: whether it waits for ever.
        limit: bytes of data that the guest has room for.
    """

    arguments: bytes
    wanted: ActorReceive
    takes_bytes: bool
    takes_requests: bool
    is_patient: bool
    limit: int


@functools.lru_cache(maxsize=1024)
def wish_of(arguments: bytes) -> Wish | None:
    """Read the arguments of a receive. None if they do not decode, or are longer than they need to be."""
    if len(arguments) != _RECEIVE.size:
        return None
    try:
        wanted: ActorReceive = _RECEIVE.decode(arguments)
    except DecodeError:
        return None
    kinds = wanted.kinds or Kinds.USUAL
    return Wish(
        arguments=arguments,
        wanted=wanted,
        takes_bytes=bool(kinds & Kinds.PLAIN) and not wanted.tag,
        takes_requests=bool(kinds & Kinds.REQUEST),
        is_patient=wanted.timeout_ms is None,
        limit=wanted.data_limit,
    )


_RECEIVE: Codec[ActorReceive] = codec(ActorReceive)


class ReceivedCodec(Codec[Any]):
    """As `enfilade.hostcalls.codec.rkyv.codec(ActorReceived)`, and faster; what is encoded stays so."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(layout(ActorReceived))

    def encode(self, value: Any) -> bytes:
        if type(value) is Encoded:
            return value
        message = value.message
        if not isinstance(message, (PlainMessage, RequestMessage)) or message.resources != ():
            return super().encode(value)
        data = message.data
        if type(data) is not bytes:
            return super().encode(value)
        end = len(data)
        resources = end + -end % 4
        root = resources + -resources % 8
        try:
            if isinstance(message, PlainMessage):
                rest = _PLAIN.pack(1, 0, message.tag, -root - 24, end, resources - root - 32, 0)
            else:
                rest = _REQUEST.pack(1, 1, message.request, -root - 16, end, resources - root - 24, 0)
        except struct.error:
            return super().encode(value)
        return data + _ZEROS[: root - end] + rest
