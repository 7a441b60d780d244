"""The codec of what `enfilade::actor::receive` gives.

Most of what guests receive is plain data, or a request with plain data. These are written in one go, byte for
byte as `enfilade.hostcalls.codec.rkyv` writes them.
"""

from __future__ import annotations

import struct

from enfilade.hostcalls.abi.actor_types import ActorReceived, PlainMessage, RequestMessage
from enfilade.hostcalls.codec.rkyv import Codec, layout

# The tags of the option and of the variant; the message's tag, or the request; the data's place, relative to
# the field that tells it, and size; the same for the resources, of which there are none.
_PLAIN = struct.Struct("<B7xB7xQiIiI")
_REQUEST = struct.Struct("<B7xB3xIiIiI8x")
_ZEROS = bytes(8)


class ReceivedCodec(Codec[ActorReceived]):
    """As `enfilade.hostcalls.codec.rkyv.codec(ActorReceived)`, and faster."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(layout(ActorReceived))

    def encode(self, value: ActorReceived) -> bytes:
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
