"""The client's side of the NATS protocol: the same events whatever the pieces, and bounds for the server."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enfilade.transport.mesh import protocol
from enfilade.transport.mesh.protocol import (
    INFO_LIMIT,
    LINE_LIMIT,
    Event,
    Failure,
    Info,
    Message,
    Parser,
    Ping,
    Pong,
    ProtocolError,
    encode_connect,
    encode_publish,
    encode_subscribe,
    encode_unsubscribe,
)

SUBJECTS = st.text("abcXYZ019_=-.", min_size=1, max_size=30)
MESSAGES = st.builds(
    Message,
    st.integers(1, 10**9),
    SUBJECTS,
    st.one_of(st.just(""), SUBJECTS),
    st.binary(max_size=300),
    st.one_of(
        st.just(b""),
        st.binary(max_size=40).map(lambda value: b"NATS/1.0\r\nkey: " + value.hex().encode() + b"\r\n\r\n"),
    ),
)
EVENTS = st.one_of(
    MESSAGES,
    st.just(Ping()),
    st.just(Pong()),
    st.text("abc de", min_size=1).map(lambda text: Failure(text.strip() or "x")),
    st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=3).map(Info),
)


def encode(event: Event) -> bytes:
    """Say an event as a server does."""
    match event:
        case Message(number, subject, reply, payload, headers):
            middle = f"{subject} {number} {reply}".strip()
            size = len(headers) + len(payload)
            sizes = f"{len(headers)} {size}" if headers else str(size)
            verb = "HMSG" if headers else "MSG"
            return f"{verb} {middle} {sizes}\r\n".encode() + headers + payload + b"\r\n"
        case Ping():
            return b"PING\r\n"
        case Pong():
            return b"PONG\r\n+OK\r\n"
        case Failure(text):
            return f"-ERR '{text}'\r\n".encode()
        case Info(fields):
            return b"INFO " + msgspec.json.encode(fields) + b"\r\n"
    raise AssertionError(event)


@given(st.lists(EVENTS, max_size=12), st.data())
def test_any_split_of_a_stream_gives_the_same_events(events: list[Event], data: st.DataObject) -> None:
    stream = b"".join(map(encode, events))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    parser = Parser()
    heard = [
        event
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for event in parser.feed(stream[begin:end])
    ]
    assert heard == events
    single = Parser()
    assert [event for byte in stream for event in single.feed(bytes([byte]))] == events


@pytest.mark.parametrize(
    ("stream", "fault"),
    [
        (b"HTTP/1.1 200 OK\r\n", "expected a line of a NATS server, got b'HTTP/1.1 200 OK'"),
        (b"MSG a\r\n", "expected subject, number and size"),
        (b"MSG a 1 b c 1\r\n", "expected subject, number and size"),
        (b"MSG a x 1\r\n", "expected the numbers"),
        (b"MSG a 1 -1\r\n", "expected the numbers"),
        (b"HMSG a 1 9 3\r\n", "headers of at most 3 bytes, got 9"),
        (b"MSG a 1 1048577\r\n", "at most 1048576 bytes, got 1048577"),
        (b"MSG a 1 9999999999999999999\r\n", "expected the numbers"),
        (b"MSG \xff 1 1\r\n", "expected a subject"),
        (b"MSG a 1 1\r\nxyz", "expected the end of a message after 1 bytes"),
        (b"INFO {\r\n", "expected the server's introduction"),
        (b"INFO []\r\n", "expected the server's introduction"),
        (b"x" * (LINE_LIMIT + 1), "a line of at most 4096 bytes"),
        (b"INFO " + b" " * INFO_LIMIT, "a line of at most 65536 bytes"),
        (b"\r\n", "expected a line of a NATS server"),
    ],
    ids=range(15),
)
def test_what_no_server_sends_is_refused(stream: bytes, fault: str) -> None:
    with pytest.raises(ProtocolError, match=fault):
        Parser().feed(stream)
    parser = Parser()
    with pytest.raises(ProtocolError, match=fault.partition(",")[0]):
        [parser.feed(bytes([byte])) for byte in stream]


@given(st.binary(max_size=200))
def test_mesh_123_no_stream_makes_the_parser_fail_otherwise(noise: bytes) -> None:
    parser = Parser()
    try:
        for _ in range(3):
            parser.feed(noise)
    except ProtocolError:
        return
    assert len(parser._buffer) <= max(LINE_LIMIT, protocol.MESSAGE_LIMIT) + 2


def test_a_request_that_nobody_hears() -> None:
    (answer,) = Parser().feed(b"HMSG inbox 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n")
    assert isinstance(answer, Message)
    assert answer.has_no_responders
    assert answer.payload == b""
    assert not Message(1, "a", "", b"", b"NATS/1.0 404 No Messages\r\n\r\n").has_no_responders
    assert not Message(1, "a", "", b"NATS/1.0 503").has_no_responders


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (encode_connect({"verbose": False}), b'CONNECT {"verbose":false}\r\n'),
        (encode_subscribe("a.>", 7), b"SUB a.> 7\r\n"),
        (encode_unsubscribe(7), b"UNSUB 7\r\n"),
        (encode_publish("a.b", b"\r\nx"), b"PUB a.b 3\r\n\r\nx\r\n"),
        (encode_publish("a.b", b"", "c"), b"PUB a.b c 0\r\n\r\n"),
    ],
)
def test_what_a_client_says(said: Any, expected: bytes) -> None:
    assert said == expected
