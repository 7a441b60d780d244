"""Network conformance: where guests may go, how much they may have, and what their end leaves."""

from __future__ import annotations

import contextlib
import errno
import os

import pytest
import trio
from trio.abc import Clock

from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.errors import PermissionDenied
from enfilade.hostcalls.contracts.budget import Place
from enfilade.hostcalls.net.memory_sockets import MemorySockets
from enfilade.hostcalls.net.policy import Bind, Network, Reach
from enfilade.hostcalls.net.settings import NetworkSettings
from tests.hostcalls.desk import DENIED, INVALID
from tests.hostcalls.net.offices import (
    HTTPS,
    PORT,
    QUIC,
    Office,
    answer,
    done,
    failure,
    get,
    receive_all,
    receive_until,
)


def memory(office: Office) -> MemorySockets:
    assert isinstance(office.sockets, MemorySockets)
    return office.sockets


async def test_net_179_listeners_are_on_loopback(office: Office) -> None:
    guest = office.guest()
    guest.bind()
    guest.bind(port=PORT + 1, protocol=QUIC)
    assert [*memory(office).listening, *memory(office).datagrams] == [
        ("127.0.0.1", PORT),
        ("127.0.0.1", PORT + 1),
    ]


async def test_listeners_are_on_all_addresses_of_the_rules_or_on_none(office: Office) -> None:
    network = Network(bind=[Bind("127.0.0.1"), Bind("::1", PORT)])
    guest = office.guest(network=network)
    listener = guest.bind()
    assert list(memory(office).listening) == [("127.0.0.1", PORT), ("::1", PORT)]
    stream = await office.dial(address="::1")
    await stream.send_all(get())
    await done(guest.accept(listener))
    guest.detach(listener)
    assert not memory(office).listening
    taken = memory(office).listen("::1", PORT)
    assert "Address already in use" in await failure(guest.bind)
    assert list(memory(office).listening) == [taken.address]


@pytest.mark.parametrize("domain", ["192.0.2.1", "example.com", "10.0.0.1", "0.0.0.0"])
async def test_net_180_guests_stay_on_this_machine(office: Office, domain: str) -> None:
    """There is neither a packet nor a look-up, and the host is told which rule is missing."""
    guest = office.guest()
    for protocol in (abi.NetProtocol.HTTP, HTTPS, QUIC):
        with pytest.raises(PermissionDenied) as caught:
            guest.connect(domain, protocol=protocol)
        assert domain in caught.value.why
        assert "Reach" in caught.value.why
    assert (memory(office).looked_up, memory(office).connected, memory(office).datagrams) == ([], [], {})


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "fd00::1"]
)
@pytest.mark.parametrize("protocol", [abi.NetProtocol.HTTP, QUIC])
async def test_net_181_a_name_does_not_lead_into_private_networks(
    office: Office, address: str, protocol: abi.NetProtocol
) -> None:
    memory(office).names["n.example"] = (address,)
    guest = office.guest(network=Network(connect=[Reach("n.example")]))
    assert await failure(guest.connect("n.example", protocol=protocol)) == DENIED
    assert (memory(office).connected, memory(office).datagrams) == ([], {})
    assert memory(office).looked_up == ["n.example"]


async def test_a_name_leads_to_those_of_its_addresses_that_are_allowed(office: Office) -> None:
    memory(office).names["n.example"] = ("10.0.0.1", "10.1.0.1", "192.168.0.1")
    rules = [Reach("n.example"), Reach("10.1.0.0/16", PORT)]
    guest = office.guest(network=Network(connect=rules))
    assert "refused" in await failure(guest.connect("N.example."))
    assert memory(office).connected == [("10.1.0.1", PORT)]


async def test_the_addresses_of_a_name_are_tried_in_their_order(
    office: Office, autojump_clock: Clock
) -> None:
    """One that does not answer has its share of the time."""
    memory(office).silent = frozenset({"10.1.0.1"})
    memory(office).names["n.example"] = ("10.1.0.1", "10.1.0.2", "127.0.0.1")
    server = office.guest()
    listener = server.bind("n.example")
    guest = office.guest(
        network=Network(connect=[Reach("n.example"), *(Reach(to) for to in ("10.1.0.0/16", "127.0.0.1"))])
    )
    connected = await done(guest.connect("n.example"))
    assert connected.remote_addr == f"n.example:{PORT}"
    assert [address for address, _ in memory(office).connected] == ["10.1.0.1", "10.1.0.2", "127.0.0.1"]
    writing = guest.begin(c.NET_HTTP_WRITE, abi.IoWrite(connected.writer, b"GET / HTTP/1.1\r\n\r\n"))
    await server.serve(listener, answer(b"hello"))
    assert await done(writing) == 18


async def test_names_that_nobody_knows(office: Office) -> None:
    guest = office.guest(network=Network(connect=[Reach("*")]))
    text = await failure(guest.connect("nowhere.example"))
    assert text == "internal error: failed to connect: Name or service not known"
    assert await failure(guest.connect("nowhere.example", protocol=QUIC)) == INVALID


async def test_net_184_low_ports_are_not_for_guests(office: Office) -> None:
    guest = office.guest()
    for protocol in (abi.NetProtocol.HTTP, HTTPS, QUIC):
        with pytest.raises(PermissionDenied) as caught:
            guest.bind(port=80, protocol=protocol)
        assert "80" in caught.value.why
        assert "Bind" in caught.value.why


async def test_net_186_listeners_are_bounded(office: Office) -> None:
    guest = office.guest(listeners=2)
    first = guest.bind(port=PORT)
    guest.bind(port=PORT + 1, protocol=QUIC)
    assert await failure(lambda: guest.bind(port=PORT + 2)) == INVALID
    guest.detach(first)
    guest.bind(port=PORT + 2)


async def test_a_tree_has_one_account(office: Office) -> None:
    """A guest gains nothing by starting others."""
    first, second = office.guest(listeners=1), office.guest(listeners=1)
    second.caller.place = Place(first.caller.budget, first.caller)
    listener = first.bind()
    assert await failure(lambda: second.bind(port=PORT + 1)) == INVALID
    first.detach(listener)
    second.bind(port=PORT + 1)
    assert second.caller.account is first.caller.account


async def test_connections_are_bounded(office: Office, autojump_clock: Clock) -> None:
    """Accepts wait, and connects are refused, until there is a place."""
    guest = office.guest(connections=1)
    listener = guest.bind()
    streams = [await office.dial() for _ in range(2)]
    for stream in streams:
        await stream.send_all(get())
    first = await done(guest.accept(listener))
    second = guest.accept(listener)
    assert await failure(lambda: guest.connect()) == INVALID
    await trio.sleep(5)
    assert not second.done
    await guest.read(first.reader)
    assert not second.done
    await guest.write(first.writer, answer(b"1"))
    accepted = await done(second)
    await guest.write(accepted.writer, answer(b"2"))


async def test_a_guest_that_frees_nothing_goes_on(office: Office) -> None:
    """Halves of requests that are over take neither a place nor, when there is need, a slot."""
    guest = office.guest(connections=4, resources=40)
    listener = guest.bind()
    stream = await office.dial()
    for number in range(100):
        await stream.send_all(get(f"/{number}"))
        accepted = await done(guest.accept(listener))
        assert f"/{number} ".encode() in await guest.read(accepted.reader)
        assert await guest.read(accepted.reader) == b""
        await guest.write(accepted.writer, answer(b"fine"))
        await receive_until(stream, b"fine")
    assert len(office.kernel.registry) < 45


async def test_bytes_of_settings_are_bounded(office: Office) -> None:
    guest = office.guest(tls_bytes=100)

    def create(size: int) -> int:
        bundle = abi.TlsClientBundle(bytes(size), None, None, None)
        return int(guest.begin(c.NET_TLS_CLIENT_CONFIG_CREATE, abi.NetTlsClientConfig(bundle)).handle)

    first = create(60)
    assert await failure(lambda: create(41)) == INVALID
    create(40)
    guest.detach(first)
    create(60)


async def test_net_188_the_end_of_the_network_leaves_nothing(settings: NetworkSettings) -> None:
    """Guests listen, serve and connect over TCP, TLS and QUIC: all tasks end, and all peers see it."""
    sockets = MemorySockets()
    async with trio.open_nursery() as tasks:
        office = Office(sockets, settings, tasks)
        server, client = office.guest(), office.guest()
        http = server.bind()
        secure = server.bind(port=PORT + 1, protocol=HTTPS)
        quic = server.bind(port=PORT + 2, protocol=QUIC)
        waiting = await office.dial()
        await waiting.send_all(get())
        await done(server.accept(http))
        queued = await office.dial()
        await queued.send_all(get())
        half_sent = await office.dial()
        await half_sent.send_all(b"GET / HT")
        await done(client.connect(port=PORT + 1, protocol=HTTPS))
        connected = await done(client.connect(port=PORT + 2, protocol=QUIC))
        await client.write(connected.writer, b"x", c.NET_QUIC_WRITE)
        await done(server.accept(quic, c.NET_QUIC_ACCEPT))
        server.accept(secure)
        assert len(sockets.listening) == 2
        assert len(sockets.datagrams) == 2
        office.close()
    for stream in (waiting, queued, half_sent):
        with contextlib.suppress(trio.BrokenResourceError):
            assert (await receive_all(stream))[:12] in (b"", b"HTTP/1.1 502", b"HTTP/1.1 503")
    assert (sockets.listening, sockets.datagrams) == ({}, {})


async def test_the_end_of_a_guest_leaves_nothing(office: Office, autojump_clock: Clock) -> None:
    """The node has no task, socket or byte more than before, whatever the guest was in the middle of."""
    other = office.guest()
    echo = other.bind(port=PORT + 9)
    tasks = len(office.nursery.child_tasks)
    before = set(memory(office).listening), set(memory(office).datagrams), len(office.kernel.registry)
    guest = office.guest()
    http, quic = guest.bind(), guest.bind(port=PORT + 1, protocol=QUIC)
    secure = guest.bind(port=PORT + 2, protocol=HTTPS)
    streams = [await office.dial() for _ in range(4)]
    for stream in streams[:3]:
        await stream.send_all(get())
    first = await done(guest.accept(http))
    await guest.read(first.reader, 5)
    second = await done(guest.accept(http))
    await guest.write(second.writer, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal")
    outward = await done(guest.connect(port=PORT + 9))
    guest.begin(c.NET_HTTP_WRITE, abi.IoWrite(outward.writer, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"))
    taken = await done(other.accept(echo))
    guest.connect(port=PORT + 2, protocol=HTTPS)
    connected = await done(guest.connect(port=PORT + 1, protocol=QUIC))
    await guest.write(connected.writer, bytes(200_000), c.NET_QUIC_WRITE)
    guest.accept(quic, c.NET_QUIC_ACCEPT)
    guest.accept(secure)
    await trio.sleep(1)
    guest.end()
    for stream in streams[:2]:
        response = await receive_all(stream)
        assert response.startswith(b"HTTP/1.1 502")
        assert response.endswith(b"invalid response")
    assert (await receive_all(streams[2])).startswith(b"HTTP/1.1 503")
    other.detach(taken.reader)
    other.detach(taken.writer)
    await trio.sleep(10)
    now = set(memory(office).listening), set(memory(office).datagrams), len(office.kernel.registry)
    assert now == (before[0], before[1], before[2] + 1), "beyond the entry of the dead process"
    assert len(office.nursery.child_tasks) == tasks
    account = guest.caller.account
    assert (account.held, account.listeners, account.connecting, account.tls_bytes) == (0, 0, 0, 0)
    assert not account._halves
    assert not account._starved


async def test_net_189_listeners_wait_while_descriptors_are_scarce(
    office: Office, autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The host says so once, does not try all the time, and serves the peer later."""
    guest = office.guest()
    listener = guest.bind()
    socket = memory(office).listening["127.0.0.1", PORT]
    accept, tries = socket.accept, 0

    async def scarce() -> tuple[trio.abc.HalfCloseableStream, tuple[str, int]]:
        nonlocal tries
        tries += 1
        if tries < 20:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return await accept()

    (await office.dial()).reset()  # the accept that waits
    socket.accept = scarce
    await trio.sleep(1)
    assert 5 < tries < 15
    stream = await office.dial()
    await stream.send_all(get("/late"))
    assert b"/late" in await guest.serve(listener, answer(b"served"))
    await receive_until(stream, b"served")
    assert sum("Too many open files" in record.message for record in caplog.records) == 1
