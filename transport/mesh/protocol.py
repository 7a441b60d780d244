"""The client's side of the NATS protocol, without input or output.

A `Parser` is fed whatever the server sends, in pieces of any size, and returns the events in them. It holds
what a server may send to bounds: whoever breaks one is no server to stay with. The functions encode what a
client says.

Nothing here checks subjects: `subjects` makes them, of characters that mean nothing to a server.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import msgspec

from enfilade.transport.printable import printable

__all__ = [
    "MESSAGE_LIMIT",
    "PING",
    "PONG",
    "Event",
    "Failure",
    "Info",
    "Message",
    "Parser",
    "Ping",
    "Pong",
    "ProtocolError",
    "decoded",
    "encode_connect",
    "encode_publish",
    "encode_subscribe",
    "encode_unsubscribe",
    "opening_of",
]

LINE_LIMIT: Final = 4 * 1024
"""Bytes of a control line."""

INFO_LIMIT: Final = 64 * 1024
"""Bytes of the line in which a server introduces itself."""

MESSAGE_LIMIT: Final = 1024 * 1024
"""Bytes of a message, headers included."""

NO_RESPONDERS: Final = 503
"""The status of the answer to a request that nobody has subscribed to."""

MOST_DIGITS: Final = 12
"""Digits of a number in the line of a message."""

PING: Final = b"PING\r\n"
PONG: Final = b"PONG\r\n"

T = TypeVar("T")

_STATUS: Final = re.compile(rb"NATS/1\.0 +(\d{3})")


class ProtocolError(Exception):
    """A server said something that a NATS server does not say, or more than it may."""


class Info(NamedTuple):
    """The server's introduction: what it is, and what it allows."""

    fields: dict[str, Any]


class Message(NamedTuple):
    """A message for one of the client's subscriptions.

    Attributes:
        number: of the subscription.
        subject: where it was published.
        reply: where an answer is expected; empty for nowhere.
        payload: its bytes.
        headers: as they came; empty without any.
    """

    number: int
    subject: str
    reply: str
    payload: bytes
    headers: bytes = b""

    @property
    def has_no_responders(self) -> bool:
        """True for the server's own answer to a request that nobody hears."""
        status = _STATUS.match(self.headers)
        return status is not None and int(status[1]) == NO_RESPONDERS


class Ping(NamedTuple):
    """The server asks for a sign of life."""


class Pong(NamedTuple):
    """The server has carried out everything that was sent before a ping."""


class Failure(NamedTuple):
    """The server refuses something; it may close the connection."""

    text: str


Event: TypeAlias = Info | Message | Ping | Pong | Failure


class Parser:
    """A reader that cuts the stream of a server into events.

    Attributes:
        message_limit: bytes that a message may have, headers included.
    """

    def __init__(self) -> None:
        self.message_limit = MESSAGE_LIMIT
        # What has come of a line, or of the message whose line has been read.
        self._buffer = bytearray()
        self._head: _Head | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Take more bytes, and return the events that they complete.

        Raises:
            ProtocolError: they are nothing that a server sends. The parser is of no use any more.
        """
        events: list[Event] = []
        head, at = self._head, 0
        if self._buffer:
            if head is None:
                data = self._with_line(data)
            else:
                at = self._complete(head, data, events)
                head = self._head
        size = len(data)
        while at < size:
            if head is None:
                end = data.find(b"\r\n", at)
                if end < 0:
                    self._check_line(size - at, data[at : at + 5])
                    break
                head = self._read(data[at:end], events)
                at = end + 2
            if head is not None:
                number, subject, reply, headers, length = head
                end = at + length
                if size < end + 2:
                    break
                if data[end : end + 2] != b"\r\n":
                    raise ProtocolError(f"expected the end of a message after {length} bytes")
                payload = data[at + headers : end]
                events.append(Message(number, subject, reply, payload, data[at : at + headers]))
                head = None
                at = end + 2
        self._head = head
        if at < size:
            self._buffer += memoryview(data)[at:]
        return events

    def _with_line(self, data: bytes) -> bytes:
        """Return what has come of a line, with the bytes that follow it, when they end it; else none."""
        held = len(self._buffer)
        self._buffer += data
        if self._buffer.find(b"\r\n", held - 1) < 0:
            self._check_line(len(self._buffer), bytes(self._buffer[:5]))
            return b""
        whole = bytes(self._buffer)
        self._buffer.clear()
        return whole

    def _complete(self, head: "_Head", data: bytes, events: list[Event]) -> int:
        """Add bytes to the message that has begun to come; return how many of them are its own."""
        number, subject, reply, headers, length = head
        used = min(len(data), length + 2 - len(self._buffer))
        self._buffer += memoryview(data)[:used]
        if len(self._buffer) == length + 2:
            with memoryview(self._buffer) as whole:
                if bytes(whole[length:]) != b"\r\n":
                    raise ProtocolError(f"expected the end of a message after {length} bytes")
                payload = bytes(whole[headers:length])
                events.append(Message(number, subject, reply, payload, bytes(whole[:headers])))
            self._buffer.clear()
            self._head = None
        return used

    def _check_line(self, size: int, opening: bytes) -> None:
        limit = INFO_LIMIT if opening == b"INFO " else LINE_LIMIT
        if size > limit:
            raise ProtocolError(f"expected a line of at most {limit} bytes, got {size}")

    def _read(self, line: bytes, events: list[Event]) -> "_Head | None":
        """Read a line: of a message, or an event of its own."""
        if len(line) > LINE_LIMIT:
            self._check_line(len(line), line[:5])
        verb, _, rest = line.partition(b" ")
        match verb:
            case b"MSG":
                return self._read_head(line, rest.split(), has_headers=False)
            case b"HMSG":
                return self._read_head(line, rest.split(), has_headers=True)
            case b"PING":
                events.append(Ping())
            case b"PONG":
                events.append(Pong())
            case b"+OK":
                pass
            case b"-ERR":
                text = rest.strip(b" '").decode("ascii", "backslashreplace")
                events.append(Failure(printable(text, LINE_LIMIT)))
            case b"INFO":
                events.append(Info(_read_info(rest)))
            case _:
                raise ProtocolError(f"expected a line of a NATS server, got {line[:40]!r}")
        return None

    def _read_head(self, line: bytes, words: list[bytes], *, has_headers: bool) -> "_Head":
        sizes = 2 if has_headers else 1
        others = len(words) - sizes
        if others not in (2, 3):
            raise ProtocolError(f"expected subject, number and size of a message, got {line[:40]!r}")
        for word in (words[1], *words[others:]):
            if len(word) > MOST_DIGITS or not word.isdigit():
                raise ProtocolError(f"expected the numbers of a message, got {line[:40]!r}")
        size = int(words[-1])
        head = int(words[others]) if has_headers else 0
        if head > size:
            raise ProtocolError(f"expected headers of at most {size} bytes, got {head}")
        if size > self.message_limit:
            raise ProtocolError(f"expected a message of at most {self.message_limit} bytes, got {size}")
        try:
            reply = words[2].decode() if others == 3 else ""
            return int(words[1]), words[0].decode(), reply, head, size
        except UnicodeDecodeError as error:
            raise ProtocolError(f"expected a subject of a message, got {line[:40]!r}") from error


_Head: TypeAlias = tuple[int, str, str, int, int]
"""The line of a message: its number, subject and reply, and the bytes of its headers and of all."""


def decoded(payload: bytes, kind: type[T], decode: Callable[..., T] = msgspec.msgpack.decode) -> T:
    """Decode what another node or a server has said, as a value of one kind.

    Raises:
        ValueError: it is none, whatever it is.
    """
    try:
        return decode(payload, type=kind)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _read_info(text: bytes) -> dict[str, Any]:
    try:
        return decoded(text, dict[str, Any], msgspec.json.decode)
    except ValueError as error:
        raise ProtocolError(f"expected the server's introduction, got {text[:40]!r}: {error}") from error


def encode_connect(fields: dict[str, Any]) -> bytes:
    """Encode the client's introduction."""
    return b"CONNECT " + msgspec.json.encode(fields) + b"\r\n"


def encode_subscribe(subject: str, number: int) -> bytes:
    """Encode a subscription, by the number that its messages carry."""
    return f"SUB {subject} {number}\r\n".encode()


def encode_unsubscribe(number: int) -> bytes:
    """Encode the end of a subscription."""
    return f"UNSUB {number}\r\n".encode()


def opening_of(subject: str) -> bytes:
    """Return the line before all messages under a subject that expect no answer, to be filled with their
    length by `%`. The bytes follow, and a line break.
    """
    return f"PUB {subject} %d\r\n".encode()


def encode_publish(
    subject: str, payload: bytes, reply: str = "", headers: Mapping[str, str] | None = None
) -> bytes:
    """Encode a message; with headers, whose names and values are plain text without line breaks."""
    middle = f" {reply} " if reply else " "
    if headers is None:
        return b"".join((f"PUB {subject}{middle}{len(payload)}\r\n".encode(), payload, b"\r\n"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"NATS/1.0\r\n{lines}\r\n".encode()
    sizes = f"{len(head)} {len(head) + len(payload)}"
    return b"".join((f"HPUB {subject}{middle}{sizes}\r\n".encode(), head, payload, b"\r\n"))
