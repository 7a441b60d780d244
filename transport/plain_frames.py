"""Frames of plain values, which are encoded in one go with what is in them.

A plain value is one that MessagePack carries as it is and that is short enough to travel in its frame. Most
messages, arguments and replies are. What these functions make is what `encode_frame` makes of the same; of
anything else they make nothing, and its payload has to be encoded first (`payload.Codec`).
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from enfilade.transport.atoms import INLINE_LIMIT, is_plain
from enfilade.transport.wire import Call, Reply, Send, Target

__all__ = ["encode_call", "encode_reply", "encode_send"]

_encode = msgspec.msgpack.Encoder().encode
_NO_KEYWORDS: Final[dict[str, Any]] = {}
_SEND: Final = Send.__struct_config__.tag
_CALL: Final = Call.__struct_config__.tag
_REPLY: Final = Reply.__struct_config__.tag

_UNKNOWN: Final = (OverflowError, UnicodeEncodeError)
"""What is raised for numbers and strings that MessagePack does not have."""


def encode_send(to: Target, message: Any) -> bytes:
    """Encode a Send; nothing if the message is not plain."""
    if is_plain(message):
        try:
            data = _encode((_SEND, to, message, 0))
        except _UNKNOWN:
            return b""
        if len(data) <= INLINE_LIMIT:
            return data
    return b""


def encode_call(number: int, to: Target, method: str, args: Sequence[Any], caller: int) -> bytes:
    """Encode a Call with positional arguments; nothing if one is not plain, or they are long together."""
    if is_plain(args[0]) if len(args) == 1 else all(map(is_plain, args)):
        try:
            data = _encode((_CALL, number, to, method, (args, _NO_KEYWORDS), 0, caller))
        except _UNKNOWN:
            return b""
        if len(data) <= INLINE_LIMIT:
            return data
    return b""


def encode_reply(number: int, value: Any) -> bytes:
    """Encode the Reply of a call that succeeded; nothing if the value is not plain."""
    if is_plain(value):
        try:
            data = _encode((_REPLY, number, True, value, 0, None))
        except _UNKNOWN:
            return b""
        if len(data) <= INLINE_LIMIT:
            return data
    return b""
