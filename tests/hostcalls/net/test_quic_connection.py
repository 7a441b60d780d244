"""QUIC connections between guests, in memory: reading, writing, and how halves go."""

from __future__ import annotations

import trio
import trustme

from tests.hostcalls.net.quic_world import get, world


async def test_bytes_go_both_ways(
    autojump_clock: trio.abc.Clock, authority: trustme.CA, certificate: trustme.LeafCert
) -> None:
    async with world(authority, certificate) as w:
        listener = w.listen()
        client = await w.connect()
        await get(client.writer.write(b"ping"))
        server = await w.accept(listener)
        assert await get(server.reader.read(100)) == b"ping"
        await get(server.writer.write(b"pong"))
        assert await get(client.reader.read(100)) == b"pong"
        assert server.remote_addr == "127.0.0.1:49153"
        assert client.remote_addr == "127.0.0.1:4433"
