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
]

LINE_LIMIT: Final = 4 * 1024
"""Bytes of a control line."""

INFO_LIMIT: Final = 64 * 1024
"""Bytes of the line in which a server introduces itself."""

MESSAGE_LIMIT: Final = 1024 * 1024
"""Bytes of a message, headers included."""

NO_RESPONDERS: Final = 503
"""The status of the answer to a request that nobody has subscribed to."""

PING: Final = b"PING\r\n"
PONG: Final = b"PONG\r\n"

T = TypeVar("T")

_STATUS: Final = re.compile(rb"NATS/1\.0 +(\d{3})")
_NUMBER: Final = re.compile(rb"\d{1,12}")


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
        self._buffer = bytearray()
        self._at = 0
        self._scanned = 0
        # The message whose line has been read: its number, subject and reply, and the bytes of its headers
        # and of all.
        self._head: tuple[int, str, str, int, int] | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Take more bytes, and return the events that they complete.

        Raises:
            ProtocolError: they are nothing that a server sends. The parser is of no use any more.
        """
        self._buffer += data
        events: list[Event] = []
        while (event := self._next()) is not None:
            if event:
                events.append(event[0])
        del self._buffer[: self._at]
        self._scanned -= self._at
        self._at = 0
        return events

    def _next(self) -> tuple[Event, ...] | None:
        """Read one line, or one message's bytes: an event, or none; None when there is not enough yet."""
        buffer = self._buffer
        if self._head is not None:
            number, subject, reply, head, size = self._head
            begin = self._at
            end = begin + size
            if len(buffer) < end + 2:
                return None
            if buffer[end : end + 2] != b"\r\n":
                raise ProtocolError(f"expected the end of a message after {size} bytes")
            self._head = None
            self._at = self._scanned = end + 2
            headers = bytes(buffer[begin : begin + head]) if head else b""
            return (Message(number, subject, reply, bytes(buffer[begin + head : end]), headers),)
        end = buffer.find(b"\r\n", max(self._at, self._scanned))
        if end < 0:
            self._scanned = max(self._at, len(buffer) - 1)
            self._check_line(len(buffer) - self._at, bytes(buffer[self._at : self._at + 5]))
            return None
        line = bytes(buffer[self._at : end])
        self._check_line(len(line), line[:5])
        self._at = self._scanned = end + 2
        return self._read(line)

    def _check_line(self, size: int, opening: bytes) -> None:
        limit = INFO_LIMIT if opening == b"INFO " else LINE_LIMIT
        if size > limit:
            raise ProtocolError(f"expected a line of at most {limit} bytes, got {size}")

    def _read(self, line: bytes) -> tuple[Event, ...]:
        verb, _, rest = line.partition(b" ")
        match verb:
            case b"MSG" | b"HMSG":
                self._head = self._read_head(line, rest.split(), has_headers=verb == b"HMSG")
                return ()
            case b"PING":
                return (Ping(),)
            case b"PONG":
                return (Pong(),)
            case b"+OK":
                return ()
            case b"-ERR":
                text = rest.strip(b" '").decode("ascii", "backslashreplace")
                return (Failure(printable(text, LINE_LIMIT)),)
            case b"INFO":
                return (Info(_read_info(rest)),)
        raise ProtocolError(f"expected a line of a NATS server, got {line[:40]!r}")

    def _read_head(
        self, line: bytes, words: list[bytes], *, has_headers: bool
    ) -> tuple[int, str, str, int, int]:
        sizes = 2 if has_headers else 1
        if len(words) - sizes not in (2, 3):
            raise ProtocolError(f"expected subject, number and size of a message, got {line[:40]!r}")
        subject, number, *reply = words[: len(words) - sizes]
        numbers = (number, *words[len(words) - sizes :])
        if not all(map(_NUMBER.fullmatch, numbers)):
            raise ProtocolError(f"expected the numbers of a message, got {line[:40]!r}")
        size = int(numbers[-1])
        head = int(numbers[1]) if has_headers else 0
        if head > size:
            raise ProtocolError(f"expected headers of at most {size} bytes, got {head}")
        if size > self.message_limit:
            raise ProtocolError(f"expected a message of at most {self.message_limit} bytes, got {size}")
        try:
            return int(number), subject.decode(), reply[0].decode() if reply else "", head, size
        except UnicodeDecodeError as error:
            raise ProtocolError(f"expected a subject of a message, got {line[:40]!r}") from error


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
