"""Guests that die with everything of the network open: no descriptor of theirs stays."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trustme

from enfilade.actors import KILL, Down, Node, ProcessDied, open_node
from enfilade.actors.guests import Guest, open_guests
from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.catalogue import CATALOGUE
from enfilade.hostcalls.net.settings import NetworkSettings
from tests.descriptors import open_descriptors
from tests.hostcalls.guests import PUPPET, Puppet
from tests.hostcalls.net.offices import HTTP, HTTPS, QUIC, answer, get
from tests.ports import free_port

GUEST = Guest(PUPPET, capabilities=list(Capability), entrypoint="start", label="puppet")
BIND = {HTTP: c.NET_HTTP_BIND, HTTPS: c.NET_HTTP_BIND, QUIC: c.NET_QUIC_BIND}
CONNECT = {HTTP: c.NET_HTTP_CONNECT, HTTPS: c.NET_HTTP_CONNECT, QUIC: c.NET_QUIC_CONNECT}


def sockets() -> int:
    """Descriptors of this process that are sockets."""
    found = 0
    for number in open_descriptors():
        try:
            found += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
        except FileNotFoundError:  # that of the listing itself
            continue
    return found


async def until(wanted: int) -> None:
    """Wait until so many sockets are open: connections end by themselves when the other side has."""
    with trio.fail_after(20):
        while sockets() != wanted:  # noqa: ASYNC110 - the system tells nobody
            await trio.sleep(0.01)


@pytest.fixture
async def node(authority: trustme.CA, certificate: trustme.LeafCert) -> AsyncIterator[Node]:
    """A node on which a guest was on the network, and stopped; nothing of it is open any more."""
    settings = NetworkSettings(
        certificate=b"".join(blob.bytes() for blob in certificate.cert_chain_pems),
        key=certificate.private_key_pem.bytes(),
        roots=authority.cert_pem.bytes(),
    )
    async with open_node("web") as opened:
        open_guests(opened, network=settings)
        before = sockets()
        first = await opened.spawn(GUEST)
        peers: list[trio.SocketStream] = []
        await use(Puppet(first), peers)
        await first.stop()
        for peer in peers:
            await peer.aclose()
        await until(before)
        yield opened


async def use(guest: Puppet, peers: list[trio.SocketStream]) -> None:
    """Listen and connect with every protocol, with peers in every state."""
    ports = {protocol: free_port() for protocol in (HTTP, HTTPS, QUIC)}
    listeners = {}
    for protocol, port in ports.items():
        bind = abi.NetCreateListener(protocol, "localhost", port, None)
        listeners[protocol] = (await guest.do(BIND[protocol], bind)).handle
    connected: Any = None
    for protocol, port in ports.items():
        connected = await guest.do(CONNECT[protocol], abi.NetConnect(protocol, "localhost", port, None))
    await guest.do(c.NET_QUIC_WRITE, abi.IoWrite(connected.writer, b"hello"))
    await guest.do(c.NET_QUIC_ACCEPT, abi.NetAccept(listeners[QUIC]))
    for sent in (b"", b"GET / HT", get(), get("/queued"), get("/queued")):
        stream = await trio.open_tcp_stream("127.0.0.1", ports[HTTP])
        peers.append(stream)
        await stream.send_all(sent)
    peers.append(await trio.open_tcp_stream("127.0.0.1", ports[HTTPS]))  # in its handshake
    accepted = await guest.do(c.NET_HTTP_ACCEPT, abi.NetAccept(listeners[HTTP]))
    await guest.do(c.NET_HTTP_WRITE, abi.IoWrite(accepted.writer, answer(bytes(50_000))))
    await guest.do(c.NET_HTTP_ACCEPT, abi.NetAccept(listeners[HTTP]))
    await guest.begin(c.NET_HTTP_ACCEPT, abi.NetAccept(listeners[HTTPS]))


@pytest.mark.real
@pytest.mark.parametrize("end", ["kill", "stop", "trap"])
async def test_nothing_of_a_guest_stays_open(node: Node, end: str) -> None:
    before = sockets()
    ref = await node.spawn(GUEST)
    peers: list[trio.SocketStream] = []
    await use(Puppet(ref), peers)
    assert sockets() > before + len(peers) + 6
    async with node.mailbox() as me:
        me.monitor(ref)
        if end == "kill":
            me.exit(ref, KILL)
        elif end == "stop":
            await ref.stop()
        else:
            with pytest.raises(ProcessDied, match="misused hostcall"):
                await ref.call(Guest.request, CATALOGUE.index(c.NET_HTTP_BIND).to_bytes(4, "little"))
        await me.receive(Down, timeout=60)
    for peer in peers:
        await peer.aclose()
    await until(before)


@pytest.mark.real
async def test_nothing_of_a_node_stays_open(authority: trustme.CA, certificate: trustme.LeafCert) -> None:
    """Everything goes with the node, whatever its guests have open."""
    before = open_descriptors()
    peers: list[trio.SocketStream] = []
    settings = NetworkSettings(
        certificate=b"".join(blob.bytes() for blob in certificate.cert_chain_pems),
        key=certificate.private_key_pem.bytes(),
        roots=authority.cert_pem.bytes(),
    )
    async with open_node("web") as opened:
        open_guests(opened, network=settings)
        await use(Puppet(await opened.spawn(GUEST)), peers)
    for peer in peers:
        await peer.aclose()
    assert open_descriptors() == before
