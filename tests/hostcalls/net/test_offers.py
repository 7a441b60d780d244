"""Answers that a guest drops without having polled them: nothing is taken, held or lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from trio.abc import Clock

from enfilade.actors import open_node
from enfilade.actors.guests import Guest, open_guests
from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.hostcall import Hostcall
from enfilade.hostcalls.contracts.offer import Offer
from enfilade.hostcalls.net.memory_sockets import MemorySockets
from enfilade.hostcalls.resources.futures import Future
from tests.hostcalls.guests import PUPPET, Puppet
from tests.hostcalls.net.offices import (
    HTTP,
    HTTPS,
    PORT,
    QUIC,
    Clerk,
    Office,
    answer,
    done,
    get,
    receive_until,
)

ACCEPT = {HTTP: c.NET_HTTP_ACCEPT, QUIC: c.NET_QUIC_ACCEPT}
READ = {HTTP: c.NET_HTTP_READ, QUIC: c.NET_QUIC_READ}
WRITE = {HTTP: c.NET_HTTP_WRITE, QUIC: c.NET_QUIC_WRITE}


def begin(guest: Clerk, hostcall: Hostcall[Any, Any], value: Any) -> Any:
    """Make a hostcall; its answer as the host has it: an `Offer`, or a future of one."""
    made = guest.office.begin(guest.caller, hostcall, value)
    return made.result() if made.done else made


async def offered(outcome: Any) -> Offer[Any]:
    """The offer that a hostcall comes to."""
    offer = await done(outcome)
    assert isinstance(offer, Offer)
    return offer


def begin_accept(guest: Clerk, listener: int) -> Any:
    return begin(guest, c.NET_HTTP_ACCEPT, abi.NetAccept(listener))


def slots(guest: Clerk) -> list[int]:
    return [slot for slot, _ in guest.caller.slots]


def read(guest: Clerk, slot: int, length: int = 65536) -> Any:
    return begin(guest, c.NET_HTTP_READ, abi.IoRead(slot, length))


# Accepts.


async def test_net_93_the_next_accept_gets_what_an_accept_that_was_dropped_had(office: Office) -> None:
    guest = office.guest()
    listener = guest.bind()
    for path in ("/first", "/second"):
        await (await office.dial()).send_all(get(path))
        await trio.testing.wait_all_tasks_blocked()
    held = guest.caller.account.held
    begin_accept(guest, listener).take_back()
    assert slots(guest) == [listener]
    assert guest.caller.account.held == held
    accepted = await done(guest.accept(listener))
    assert sorted((accepted.reader, accepted.writer)) == [listener + 1, listener + 2]
    assert b"/first" in await guest.read(accepted.reader)
    assert b"/second" in await guest.read((await done(guest.accept(listener))).reader)


async def test_a_waiting_accept_gets_what_is_put_back(office: Office) -> None:
    guest = office.guest()
    listener = guest.bind()
    dropped, waiting = begin_accept(guest, listener), guest.accept(listener)
    assert isinstance(dropped, Future)
    stream = await office.dial()
    await stream.send_all(get("/once"))
    (await offered(dropped)).take_back()
    accepted = await done(waiting)
    assert b"/once" in await guest.read(accepted.reader)
    await guest.write(accepted.writer, answer(b"yes"))
    assert b"yes" in await receive_until(stream, b"yes")


async def test_it_counts_for_who_has_the_port(office: Office) -> None:
    """The guest that has dropped it is not the one that has bound the port first."""
    first, second = office.guest(), office.guest()
    first.bind()
    listener = second.bind()
    await (await office.dial()).send_all(get())
    await trio.testing.wait_all_tasks_blocked()
    offer = begin_accept(second, listener)
    assert (first.caller.account.held > 0, second.caller.account.held > 0) == (False, True)
    offer.take_back()
    assert (first.caller.account.held > 0, second.caller.account.held > 0) == (True, False)


async def test_a_request_that_its_peer_has_given_up_is_not_put_back(office: Office) -> None:
    guest = office.guest()
    listener = guest.bind()
    stream = await office.dial()
    await stream.send_all(get())
    offer = await offered(begin_accept(guest, listener))
    stream.reset()
    await trio.testing.wait_all_tasks_blocked()
    offer.take_back()
    assert slots(guest) == [listener]
    assert isinstance(guest.accept(listener), Future), "nothing waits"
    assert guest.caller.account.held == 0


async def test_a_request_whose_listener_has_gone_is_refused(office: Office) -> None:
    guest = office.guest()
    listener = guest.bind()
    stream = await office.dial()
    await stream.send_all(get())
    offer = await offered(begin_accept(guest, listener))
    guest.detach(listener)
    offer.take_back()
    assert slots(guest) == []
    assert b" 502 " in await receive_until(stream, b"invalid response")
    assert guest.caller.account.held == 0


async def test_halves_that_the_guest_has_used_are_not_put_back(office: Office) -> None:
    """It has guessed their numbers. Nobody else shall get half a request."""
    guest = office.guest()
    listener = guest.bind()
    stream = await office.dial()
    await stream.send_all(get())
    offer = await offered(begin_accept(guest, listener))
    assert len(await guest.read(offer.value.reader, 4)) == 4
    offer.take_back()
    assert slots(guest) == [listener]
    assert b" 502 " in await receive_until(stream, b"invalid response")


async def test_halves_that_the_guest_has_shared_stay_with_whoever_has_them(office: Office) -> None:
    guest, other = office.guest(), office.guest()
    listener = guest.bind()
    stream = await office.dial()
    await stream.send_all(get("/shared"))
    offer = await offered(begin_accept(guest, listener))
    handle = guest.begin(c.CHANNEL_SHARE, offer.value.reader)
    reader = other.begin(c.CHANNEL_ATTACH, handle)
    offer.take_back()
    assert b"/shared" in await other.read(reader)


async def test_a_slot_that_the_guest_has_freed_itself_is_not_freed_again(office: Office) -> None:
    guest = office.guest()
    listener = guest.bind()
    await (await office.dial()).send_all(get())
    offer = await offered(begin_accept(guest, listener))
    guest.detach(offer.value.reader)
    again = guest.bind()
    assert again == offer.value.reader, "the number is used again"
    offer.take_back()
    assert slots(guest) == [listener, again]


# Reads.


async def test_what_a_read_that_was_dropped_has_taken_is_read_next(office: Office) -> None:
    guest = office.guest()
    listener = guest.bind()
    await (await office.dial()).send_all(get("/whole"))
    reader = (await done(guest.accept(listener))).reader
    held = guest.caller.account.held
    for length in (7, 65536):
        read(guest, reader, length).take_back()
        assert guest.caller.account.held == held
    assert (await guest.read(reader, 4)) == b"GET "
    read(guest, reader, 6).take_back()
    assert (await guest.read(reader)).startswith(b"/whole HTTP/1.1\r\n")
    assert await guest.read(reader) == b""


async def test_what_was_read_since_is_not_followed_by_what_came_before(office: Office) -> None:
    """The guest has gone on without it; bytes must not change their order."""
    guest = office.guest()
    listener = guest.bind()
    await (await office.dial()).send_all(get())
    reader = (await done(guest.accept(listener))).reader
    dropped = read(guest, reader, 4)
    assert await guest.read(reader, 1) == b"/"
    dropped.take_back()
    assert await guest.read(reader, 9) == b" HTTP/1.1"


async def test_a_half_that_has_gone_takes_nothing_back(office: Office) -> None:
    guest = office.guest()
    listener = guest.bind()
    await (await office.dial()).send_all(get())
    reader = (await done(guest.accept(listener))).reader
    dropped = read(guest, reader)
    guest.detach(reader)
    dropped.take_back()
    assert guest.caller.account.held == 0


async def test_responses_are_read_again(office: Office) -> None:
    guest = office.guest()
    listener = guest.bind()
    async with trio.open_nursery() as nursery:
        for body in (b"one", b"two"):
            nursery.start_soon(guest.serve, listener, answer(body))
        connected = await done(guest.connect())
        request = b"GET / HTTP/1.1\r\nhost: localhost:8080\r\n\r\n"
        for _ in range(2):
            await guest.write(connected.writer, request)
    held = guest.caller.account.held
    whole = read(guest, connected.reader)
    whole.take_back()
    assert guest.caller.account.held == held
    seen = b""
    for length in (3, 30, 1, 5000):
        read(guest, connected.reader, 10).take_back()
        read(guest, connected.reader, length).take_back()
        seen += await guest.read(connected.reader, length)
    assert seen == whole.value.payload
    assert seen.count(b"HTTP/1.1 200") == 2
    assert guest.caller.account.held == 0


async def test_a_waiting_read_can_be_put_back_too(office: Office) -> None:
    guest = office.guest()
    listener = guest.bind()
    connected = await done(guest.connect())
    waiting = read(guest, connected.reader, 5)
    assert isinstance(waiting, Future)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(guest.serve, listener, answer(b"late"))
        await guest.write(connected.writer, b"GET / HTTP/1.1\r\nhost: localhost:8080\r\n\r\n")
    (await offered(waiting)).take_back()
    assert (await guest.read(connected.reader, 8)) == b"HTTP/1.1"


# Connections, listeners, settings.


async def test_a_connection_that_nobody_has_heard_of_is_closed(office: Office) -> None:
    guest = office.guest(connections=1)
    wanted = abi.NetConnect(HTTP, "localhost", PORT, None)
    office.guest().bind()
    for _ in range(3):
        (await offered(begin(guest, c.NET_HTTP_CONNECT, wanted))).take_back()
        assert slots(guest) == []
    assert isinstance(office.sockets, MemorySockets)
    await trio.testing.wait_all_tasks_blocked()
    assert guest.caller.account.has_place


async def test_a_port_that_nobody_has_heard_of_is_free(office: Office) -> None:
    guest = office.guest()
    for protocol in (HTTP, HTTPS, QUIC):
        hostcall = c.NET_QUIC_BIND if protocol is QUIC else c.NET_HTTP_BIND
        wanted = abi.NetCreateListener(protocol, "localhost", PORT, None)
        begin(guest, hostcall, wanted).take_back()
        assert slots(guest) == []
    assert isinstance(office.sockets, MemorySockets)
    with pytest.raises(ConnectionRefusedError):
        await office.dial()
    assert guest.bind() == 0


async def test_settings_that_nobody_has_heard_of_count_for_nobody(office: Office) -> None:
    server = abi.NetTlsServerConfig(abi.TlsServerBundle(b"certificate", b"key", None, None, False))
    client = abi.NetTlsClientConfig(abi.TlsClientBundle(b"a bundle", None, None, None))
    guest = office.guest(tls_bytes=30)
    for _ in range(3):
        begin(guest, c.NET_TLS_SERVER_CONFIG_CREATE, server).take_back()
        begin(guest, c.NET_TLS_CLIENT_CONFIG_CREATE, client).take_back()
    assert slots(guest) == []


# QUIC.


async def test_net_93_quic_loses_no_connection_and_no_byte(autojump_clock: Clock, office: Office) -> None:
    guest = office.guest()
    listener = guest.bind(protocol=QUIC)
    async with trio.open_nursery() as nursery:
        connected = []

        async def connect() -> None:
            made = await done(guest.connect(protocol=QUIC))
            await guest.write(made.writer, b"from the client", c.NET_QUIC_WRITE)
            connected.append(made)

        nursery.start_soon(connect)
        accepting = begin(guest, c.NET_QUIC_ACCEPT, abi.NetAccept(listener))
        offer = await offered(accepting)
        offer.take_back()
        accepted = await done(guest.accept(listener, c.NET_QUIC_ACCEPT))
    dropped = begin(guest, c.NET_QUIC_READ, abi.IoRead(accepted.reader, 8))
    (await offered(dropped)).take_back()
    received = b""
    while len(received) < 15:
        received += await guest.read(accepted.reader, 65536, c.NET_QUIC_READ)
    assert received == b"from the client"
    await guest.write(accepted.writer, b"back", c.NET_QUIC_WRITE)
    assert await guest.read(connected[0].reader, 4, c.NET_QUIC_READ) == b"back"


async def test_a_window_is_not_opened_by_bytes_that_were_put_back(
    autojump_clock: Clock, office: Office
) -> None:
    """However often a guest drops its reads, its peer may send no more than it may."""
    guest = office.guest()
    listener = guest.bind(protocol=QUIC)
    async with trio.open_nursery() as nursery:
        made = await done(guest.connect(protocol=QUIC))
        nursery.start_soon(guest.write, made.writer, bytes(2_000_000), c.NET_QUIC_WRITE)
        accepted = await done(guest.accept(listener, c.NET_QUIC_ACCEPT))
        await trio.sleep(5)
        for _ in range(50):
            begin(guest, c.NET_QUIC_READ, abi.IoRead(accepted.reader, 65536)).take_back()
            await trio.sleep(0.1)
        reader = guest.caller.slots.get(accepted.reader).payload
        assert reader._reader.charge.held <= 2 * 262_144
        received = 0
        while received < 2_000_000:
            received += len(await guest.read(accepted.reader, 65536, c.NET_QUIC_READ))


# A real guest.


@pytest.fixture
async def puppet() -> AsyncIterator[tuple[Puppet, MemorySockets]]:
    sockets = MemorySockets()
    async with open_node("offers") as node:
        open_guests(node, sockets=sockets)
        capabilities = ("ActorMessage", "ChannelLifecycle", "NetHttpBind", "NetHttpAccept", "NetHttpRead")
        guest = Guest(PUPPET, capabilities=(*capabilities, "NetHttpWrite"), entrypoint="start")
        yield Puppet(await node.spawn(guest)), sockets


async def test_a_guest_drops_answers_and_loses_nothing(puppet: tuple[Puppet, MemorySockets]) -> None:
    guest, sockets = puppet
    wanted = abi.NetCreateListener(HTTP, "localhost", PORT, None)
    listener = (await guest.do(c.NET_HTTP_BIND, wanted)).handle
    stream = await sockets.connect_from("127.0.0.1", "127.0.0.1", PORT)
    await stream.send_all(get("/kept"))
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(20):
        await guest.drop(await guest.begin(c.NET_HTTP_ACCEPT, abi.NetAccept(listener)))
    accepted = await guest.do(c.NET_HTTP_ACCEPT, abi.NetAccept(listener))
    assert sorted((accepted.reader, accepted.writer)) == [listener + 1, listener + 2]
    for _ in range(20):
        await guest.drop(await guest.begin(c.NET_HTTP_READ, abi.IoRead(accepted.reader, 100)))
    taken = await guest.begin(c.NET_HTTP_READ, abi.IoRead(accepted.reader, 4))
    assert (await guest.wait(c.NET_HTTP_READ, taken)).payload == b"GET "
    frame = await guest.do(c.NET_HTTP_READ, abi.IoRead(accepted.reader, 5))
    assert frame.payload == b"/kept"
    await guest.do(c.NET_HTTP_WRITE, abi.IoWrite(accepted.writer, answer(b"done")))
    assert b"done" in await receive_until(stream, b"done")
