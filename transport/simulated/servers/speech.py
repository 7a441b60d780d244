"""The NATS protocol: a client's commands, cut out of its bytes, and a server's answers, as bytes."""

import functools
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

__all__ = [
    "MAX_PAYLOAD",
    "NO_RESPONDERS",
    "Command",
    "Connect",
    "Nonsense",
    "Ping",
    "Pong",
    "Publish",
    "Reader",
    "Subscribe",
    "Unsubscribe",
    "encode_info",
    "encode_message",
    "header",
    "matches",
]

END: Final = b"\r\n"

MAX_PAYLOAD: Final = 1024 * 1024
"""Bytes of a message, headers included."""

KNOWN: Final = 100_000
"""Pairs of a pattern and a subject of which it is known whether they match: few are asked for, and often."""

NO_RESPONDERS: Final = b"NATS/1.0 503\r\n\r\n"
"""The headers of the answer to a request that nobody has subscribed to."""


class Nonsense(Exception):
    """A client said something that a server does not understand; its text is the server's complaint."""


class Connect(NamedTuple):
    """The client introduces itself."""

    fields: dict[str, Any]


class Ping(NamedTuple):
    """The client asks for a sign of life."""


class Pong(NamedTuple):
    """The client gives one."""


class Publish(NamedTuple):
    """A message for whoever has subscribed.

    Attributes:
        subject: where it is published.
        reply: where an answer is expected; empty for nowhere.
        payload: its bytes.
        headers: as they came; empty without any.
    """

    subject: str
    reply: str
    payload: bytes
    headers: bytes = b""


class Subscribe(NamedTuple):
    """The client wants what is published under subjects of a pattern, by a number of its own."""

    pattern: str
    number: str


class Unsubscribe(NamedTuple):
    """The client wants no more of that number."""

    number: str


Command: TypeAlias = Connect | Ping | Pong | Publish | Subscribe | Unsubscribe


class Reader:
    """Cuts the stream of a client into commands."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Command]:
        """Take more bytes, and give the commands that they complete.

        Raises:
            Nonsense: they are nothing that a client says.
        """
        self._buffer += data
        while END in self._buffer:
            line, _, rest = self._buffer.partition(END)
            verb, *words = line.decode().split()
            size = 0
            if verb in ("PUB", "HPUB"):
                size = int(words[-1])
                if size > MAX_PAYLOAD:
                    raise Nonsense("Maximum Payload Violation")
                if len(rest) < size + len(END):
                    return
                if rest[size : size + len(END)] != END:
                    raise Nonsense("Unknown Protocol Operation")
            command = _read(verb, words, bytes(line), bytes(rest[:size]))
            del self._buffer[: len(line) + len(END) + (size + len(END) if verb in ("PUB", "HPUB") else 0)]
            yield command


def _read(verb: str, words: list[str], line: bytes, data: bytes) -> Command:
    match verb, words:
        case "PUB", [subject, *reply, _]:
            return Publish(subject, "".join(reply), data)
        case "HPUB", [subject, *reply, head, _]:
            return Publish(subject, "".join(reply), data[int(head) :], data[: int(head)])
        case "SUB", [pattern, number]:
            return Subscribe(pattern, number)
        case "UNSUB", [number]:
            return Unsubscribe(number)
        case "PING", []:
            return Ping()
        case "PONG", []:
            return Pong()
        case "CONNECT", _:
            return Connect(msgspec.json.decode(line.partition(b" ")[2], type=dict[str, Any]))
    raise Nonsense("Unknown Protocol Operation")


def encode_info(fields: dict[str, Any]) -> bytes:
    """Encode the server's introduction."""
    return b"INFO " + msgspec.json.encode(fields) + END


def encode_message(number: str, message: Publish) -> bytes:
    """Encode a message for one subscription."""
    middle = f" {message.reply} " if message.reply else " "
    payload, headers = message.payload, message.headers
    if headers:
        sizes = f"{len(headers)} {len(headers) + len(payload)}"
        head = f"HMSG {message.subject} {number}{middle}{sizes}\r\n"
    else:
        head = f"MSG {message.subject} {number}{middle}{len(payload)}\r\n"
    return b"".join((head.encode(), headers, payload, END))


def header(headers: bytes, name: str) -> str | None:
    """Return the value of a header, if a message has it."""
    found = re.search(rf"(?m)^{re.escape(name)}: *([^\r\n]*)".encode(), headers)
    return None if found is None else found[1].decode()


@functools.lru_cache(maxsize=KNOWN)
def matches(pattern: str, subject: str) -> bool:
    """Tell whether a subject is one of a pattern, in which `*` stands for one token and `>` for the rest."""
    wanted, given = pattern.split("."), subject.split(".")
    for place, token in enumerate(wanted):
        if token == ">":
            return len(given) > place
        if place >= len(given) or token not in ("*", given[place]):
            return False
    return len(wanted) == len(given)
