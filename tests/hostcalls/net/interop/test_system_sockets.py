"""The system's sockets tell guests what those in memory do."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
import trio

from enfilade.actors import Node, open_node
from enfilade.actors.guests import Guest
from enfilade.hostcalls.abi import IoRead, IoWrite, NetAccept, NetConnect, NetCreateListener, NetProtocol
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.capability import Capability
from tests.hostcalls.guests import PUPPET, GuestError, Puppet
from tests.hostcalls.net.offices import receive_all
from tests.ports import free_port

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@contextlib.asynccontextmanager
async def open_puppet() -> AsyncIterator[tuple[Node, Puppet]]:
    with trio.fail_after(100):
        async with open_node("test") as node:
            yield node, Puppet(await node.spawn(Guest(PUPPET, capabilities=list(Capability))))


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


DOMAINS = ["127.0.0.1", *(["::1", "[::1]", "localhost"] if _has_ipv6() else [])]


@pytest.mark.parametrize("domain", DOMAINS)
async def test_nobody_listens(domain: str) -> None:
    """The text is the same for every address, also where the system refuses it late."""
    async with open_puppet() as (_, puppet):
        nowhere = NetConnect(NetProtocol.HTTP, domain, free_port(), None)
        with pytest.raises(GuestError) as refused:
            await puppet.do(c.NET_HTTP_CONNECT, nowhere)
        assert str(refused.value) == "internal error: failed to connect: Connection refused (os error 111)"


async def test_the_end_of_a_guest_answers_its_client() -> None:
    port = free_port()
    async with open_puppet() as (_, puppet):
        wanted = NetCreateListener(NetProtocol.HTTP, "localhost", port, None)
        listener = (await puppet.do(c.NET_HTTP_BIND, wanted)).handle
        client = await trio.open_tcp_stream("127.0.0.1", port)
        await client.send_all(GET)
        request = await puppet.do(c.NET_HTTP_ACCEPT, NetAccept(listener))
        assert (await puppet.do(c.NET_HTTP_READ, IoRead(request.reader, 4096))).payload.startswith(b"GET /")
        await puppet.do(c.NET_HTTP_WRITE, IoWrite(request.writer, b"HTTP/1.1 200 OK\r\n"))
        await puppet.ref.stop()
        told = await receive_all(client)
    assert told.startswith(b"HTTP/1.1 502 ")
    assert told.endswith(b"\r\n\r\ninvalid response")
