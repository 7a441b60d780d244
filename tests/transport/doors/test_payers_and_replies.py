"""Who pays for closing what comes with a call, and what a reply is while somebody still looks into it."""

import os
from collections.abc import Iterator

import pytest

from enfilade.transport.doors import Door, Request
from enfilade.transport.doors.descriptor import number_of, sent_by_caller, sent_by_server

LONG = 300_000
"""Bytes of a reply that gets a mapping of its own."""

seen: list[tuple[int, int]] = []


def serve(request: Request) -> bytes:
    seen.append(sent_by_caller())
    return b"r" * LONG


@pytest.fixture
def door() -> Iterator[Door]:
    with Door(serve) as door:
        yield door


def test_callers_pay(door: Door) -> None:
    seen.clear()
    with door.client() as client:
        client.call(b"").close()
    assert seen == [(os.geteuid(), os.getpid())]
    assert sent_by_caller() == (-1, -1)


def test_servers_pay(door: Door) -> None:
    read, write = os.pipe()
    try:
        assert sent_by_server(door.fileno()) == (-1, os.getpid())
        assert sent_by_server(read) == (-1, -1)
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("file", [True, False, None, "0", 1.0])
def test_what_is_no_descriptor(file: object) -> None:
    with pytest.raises(TypeError, match="number of a descriptor"):
        number_of(file)  # type: ignore[arg-type]


def test_a_reply_that_is_looked_into_stays(door: Door) -> None:
    """`close` refuses, and the reply can be read on."""
    with door.client() as client:
        reply = client.call(b"")
    part = reply.view[10:20]
    with pytest.raises(BufferError, match="slices"):
        reply.close()
    assert (bytes(part), reply.view.nbytes, reply.view[-1]) == (b"r" * 10, LONG, ord("r"))
    assert f"{LONG} bytes, 0 descriptors" in repr(reply)
    part.release()
    reply.close()
    reply.close()
    assert "closed" in repr(reply)
    with pytest.raises(ValueError, match="closed"):
        _ = reply.data
