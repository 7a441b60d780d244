"""The codec of what `enfilade::actor::receive` gives.

Most of what guests receive is plain data, or a request with plain data. These are written in one go, byte for
byte as `enfilade.hostcalls.codec.rkyv` writes them.
"""

from __future__ import annotations

import functools
import struct
from typing import Any

from enfilade.hostcalls.abi.actor_types import ActorReceive, ActorReceived, PlainMessage, RequestMessage
from enfilade.hostcalls.codec.rkyv import Codec, DecodeError, codec, layout

# The tags of the option and of the variant; the message's tag, or the request; the data's place, relative to
# the field that tells it, and size; the same for the resources, of which there are none.
_PLAIN = struct.Struct("<B7xB7xQiIiI")
_REQUEST = struct.Struct("<B7xB3xIiIiI8x")
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


def takes_bytes(wanted: ActorReceive) -> bool:
    """Return whether this receive takes messages without a tag and resources."""
    return (not wanted.kinds or bool(wanted.kinds & 1)) and not wanted.tag


@functools.lru_cache(maxsize=1024)
def bytes_limit(arguments: bytes) -> int:
    """Return how long a message without a tag and resources may be for this receive, which is encoded.

    It is -1 for one that takes none, and for one that does not decode.
    """
    try:
        wanted: ActorReceive = _RECEIVE.decode(arguments) if len(arguments) == _RECEIVE.size else _NOTHING
    except DecodeError:
        return -1
    return wanted.data_limit if takes_bytes(wanted) else -1


_RECEIVE: Codec[ActorReceive] = codec(ActorReceive)
_NOTHING = ActorReceive(timeout_ms=None, kinds=16, tag=None, data_limit=0)


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
