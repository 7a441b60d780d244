"""Ports and connections of QUIC: how they live and go, and what is left of them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
import trio
import trustme
from aioquic._buffer import Buffer
from aioquic.quic import events
from trio.abc import Clock

from enfilade.hostcalls.abi.errors import HostcallError
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.net import quic_private
from enfilade.hostcalls.net.account import Account
from enfilade.hostcalls.net.halves import Connection
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Departure
from tests.hostcalls.net.certificates import make
from tests.hostcalls.net.odd_client import OddClient, hello, initial
from tests.hostcalls.net.quic_world import HOST, PORT, Wire, World, get, read_all, world

RELEASED, ENDED = Departure.RELEASED, Departure.PROCESS_ENDED


@pytest.fixture
async def w(authority: trustme.CA, certificate: trustme.LeafCert) -> AsyncIterator[World]:
    """A network whose server's port nobody listens on yet."""
    async with world(authority, certificate) as made:
        yield made


def release(connection: Connection, departure: Departure = RELEASED) -> None:
    connection.writer.release(departure)
    connection.reader.release(departure)


async def all_sockets_closed(w: World) -> None:
    """Wait until no socket is open, for ten seconds at most, and until what this leads to is done."""
    for _ in range(1000):
        if not w.sockets.datagrams:
            break
        await trio.sleep(0.01)
    assert not w.sockets.datagrams
    await trio.testing.wait_all_tasks_blocked()


async def odd_pair(w: World) -> tuple[OddClient, Connection]:
    """A client whose packets the test sees, and the server's end of its connection."""
    listener = w.listen()
    client = OddClient(w.sockets, w.authority)
    await client.exchange()
    client.quic.send_stream_data(0, b"!")
    await client.exchange()
    server = await w.accept(listener)
    assert await get(server.reader.read(1)) == b"!"
    return client, server


# What the peer sees of halves that go.


async def test_a_released_reader_stops_the_peer(autojump_clock: Clock, w: World) -> None:
    client, server = await odd_pair(w)
    server.reader.release(RELEASED)
    await client.exchange()
    assert events.StopSendingReceived(error_code=0, stream_id=0) in client.seen
    await get(server.writer.write(b"still"))
    await client.exchange()
    assert client.received(0) == b"still"


async def test_a_reader_of_all_stops_nobody(autojump_clock: Clock, w: World) -> None:
    client, server = await odd_pair(w)
    client.quic.send_stream_data(0, b"", end_stream=True)
    await client.exchange()
    assert await get(server.reader.read(1)) == b""
    server.reader.release(RELEASED)
    await client.exchange()
    assert not any(isinstance(event, events.StopSendingReceived) for event in client.seen)


async def test_data_for_a_reader_that_has_gone_is_forgotten(
    autojump_clock: Clock, w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client ignores that it shall stop."""
    client, server = await odd_pair(w)
    stream = client.quic._streams[0]
    monkeypatch.setattr(stream.sender, "reset", lambda error_code: None)
    server.reader.release(RELEASED)
    for _ in range(2):
        client.quic.send_stream_data(0, bytes(100_000))
        await client.exchange()
    assert client.end is None
    assert server.reader.charge.held == 0
    [connection] = w.endpoint._connections
    assert connection.core.stream is not None
    assert len(connection.core.stream.receiver._buffer) == 0


async def test_ends_of_a_process_are_told_with_their_code(autojump_clock: Clock, w: World) -> None:
    client, server = await odd_pair(w)
    server.writer.release(ENDED)
    await client.exchange()
    assert events.StreamReset(error_code=1, stream_id=0) in client.seen
    assert client.end is None
    server.reader.release(ENDED)
    await client.exchange()
    assert client.end == events.ConnectionTerminated(1, None, "process ended")


async def test_the_end_of_a_process_waits_for_nobody(autojump_clock: Clock, w: World) -> None:
    client, server = await odd_pair(w)
    release(server, ENDED)
    await trio.testing.wait_all_tasks_blocked()
    with trio.move_on_after(0.001):  # what is there already; nothing is acknowledged
        while True:
            client.quic.receive_datagram(*await client.socket.receive(), trio.current_time())
    assert client.end == events.ConnectionTerminated(1, None, "process ended")


async def test_both_halves_released_close_with_code_0(autojump_clock: Clock, w: World) -> None:
    client, server = await odd_pair(w)
    await get(server.writer.write(b"farewell"))
    release(server)
    await client.exchange()
    assert client.received(0) == b"farewell"
    assert client.end == events.ConnectionTerminated(0, None, "")


async def test_a_writer_released_before_its_process_ends_still_delivers(
    autojump_clock: Clock, w: World
) -> None:
    client, server = await w.pair()
    write = client.writer.write(bytes(200_000))
    client.writer.release(RELEASED)
    client.reader.release(ENDED)
    assert len(await read_all(server)) == 200_000
    assert await get(write) == 200_000


async def test_acknowledgements_are_awaited_for_five_seconds(autojump_clock: Clock, w: World) -> None:
    listener = w.listen()
    wire = Wire(w.sockets.open_datagrams(HOST, 0))
    client = await w.connect(wire=wire)
    await get(client.writer.write(b"!"))
    await w.accept(listener)
    w.wire.pass_out = lambda data: False  # nobody acknowledges
    await get(client.writer.write(b"lost"))
    release(client)
    await trio.sleep(4.9)
    assert wire.address in w.sockets.datagrams
    await trio.sleep(5)
    assert wire.address not in w.sockets.datagrams


async def test_only_the_head_of_a_long_reason_is_sent(autojump_clock: Clock, w: World) -> None:
    client, _ = await odd_pair(w)
    [connection] = w.endpoint._connections
    connection.refuse("x" * 5000)
    await client.exchange()
    assert client.end == events.ConnectionTerminated(0, None, "x" * 100)


async def test_a_peer_that_missed_the_end_is_reminded(autojump_clock: Clock, w: World) -> None:
    client, server = await odd_pair(w)
    w.wire.pass_out = lambda data: False
    release(server, ENDED)
    await trio.testing.wait_all_tasks_blocked()
    w.wire.pass_out = lambda data: True
    client.quic.send_ping(1)
    await client.exchange(0.01)
    assert client.end == events.ConnectionTerminated(1, None, "process ended")


# Reading and writing.


async def test_a_cancelled_read_takes_nothing(autojump_clock: Clock, w: World) -> None:
    client, server = await w.pair()
    first = server.reader.read(10)
    assert isinstance(first, Future)
    first.cancel()
    await get(client.writer.write(b"data"))
    await trio.sleep(1)
    assert server.reader.read(10) == b"data"


async def test_windows_do_not_grow_by_themselves(autojump_clock: Clock, w: World) -> None:
    client, _ = await w.pair()
    client.writer.write(bytes(1024 * 1024))
    await trio.sleep(5)
    [connection] = w.endpoint._connections
    core = connection.core
    assert core.stream is not None
    assert core._local_max_data.used == core.stream.receiver.highest_offset == 256 * 1024
    assert core._local_max_data.value == core.stream.max_stream_data_local == 256 * 1024


async def test_a_write_waits_for_acknowledgements(autojump_clock: Clock, w: World) -> None:
    client, server = await w.pair()
    size = 256 * 1024
    await trio.sleep(1)
    w.wire.pass_out = lambda data: False
    assert client.writer.write(bytes(size)) == size
    write = client.writer.write(b"more")
    await trio.sleep(5)
    assert isinstance(write, Future)
    assert not write.done
    assert client.writer.charge.held == size + 4
    w.wire.pass_out = lambda data: True
    received = 0
    while received < size + 4:
        received += len(await get(server.reader.read(size)))
    assert await get(write) == 4
    await trio.sleep(1)
    assert client.writer.charge.held == 0


async def test_a_write_waits_while_the_guest_has_too_much(autojump_clock: Clock, w: World) -> None:
    listener = w.listen()
    account = Account(Limits(net_bytes=1000))
    client = await w.connect(account=account)
    w.wire.pass_out = lambda data: False
    write = client.writer.write(bytes(2000))
    await trio.sleep(1)
    assert isinstance(write, Future)
    assert not write.done
    w.wire.pass_out = lambda data: True
    assert await get(write) == 2000
    assert len(await get((await w.accept(listener)).reader.read(9999))) == 2000
    await trio.sleep(1)
    assert account.held == 0


async def test_a_write_fails_when_the_peer_stops(autojump_clock: Clock, w: World) -> None:
    client, server = await w.pair()
    write = client.writer.write(bytes(1024 * 1024))
    await trio.sleep(1)
    server.reader.release(RELEASED)
    with pytest.raises(HostcallError) as caught:
        await get(write)
    assert caught.value.text == "internal error: write failed: sending stopped by peer: error 0"
    assert client.writer.charge.held == 0
    assert client.writer.spent


async def test_halves_know_when_they_are_spent(autojump_clock: Clock, w: World) -> None:
    client, server = await w.pair()
    await get(client.writer.write(b"x"))
    client.writer.release(RELEASED)
    await trio.sleep(1)
    assert not server.reader.spent
    await get(server.reader.read(1))
    assert server.reader.spent
    assert not server.writer.spent
    client.reader.release(ENDED)
    await trio.sleep(1)
    assert server.writer.spent


# The port.


async def test_a_port_without_listeners_closes_at_once(autojump_clock: Clock, w: World) -> None:
    listener = w.listen()
    await w.connect()  # has no stream, and is of no guest
    w.endpoint.unbind(listener)
    assert w.idle
    assert (HOST, PORT) not in w.sockets.datagrams
    assert not len(w.gate)


@pytest.mark.parametrize("turns", range(6))
async def test_a_port_closes_with_its_last_connection(autojump_clock: Clock, w: World, turns: int) -> None:
    """Whatever the tasks of both ends are about to do then."""
    listener = w.listen()
    client = await w.connect()
    await get(client.writer.write(b"x"))
    server = await w.accept(listener)
    w.endpoint.unbind(listener)
    assert not w.idle
    release(server)
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    release(client)
    await all_sockets_closed(w)
    assert w.idle
    assert not len(w.gate)
    assert not w.nursery.child_tasks


@pytest.mark.parametrize("turns", range(6))
async def test_a_port_that_is_closed_while_it_is_busy_leaves_no_task(
    autojump_clock: Clock, w: World, turns: int
) -> None:
    client, server = await w.pair()
    await get(client.writer.write(b"x"))
    await get(server.writer.write(b"x"))
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    w.endpoint.close()
    release(client)
    await all_sockets_closed(w)
    assert not w.nursery.child_tasks


async def test_queued_connections_learn_that_they_are_unrouted(autojump_clock: Clock, w: World) -> None:
    listener = w.listen()
    w.listen("b.test", certificate=w.authority.issue_cert("b.test"))
    client = OddClient(w.sockets, w.authority)
    await client.exchange()
    client.quic.send_stream_data(0, b"x")
    await client.exchange()
    silent = OddClient(w.sockets, w.authority)
    await silent.exchange()
    w.endpoint.unbind(listener)
    for each in (client, silent):
        await each.exchange()
        assert each.end == events.ConnectionTerminated(0, None, "unrouted domain")
    assert w.account.held == 0
    late = OddClient(w.sockets, w.authority)
    await late.exchange()
    assert late.end is not None
    assert late.end.error_code == 0x131
    assert not w.idle


async def test_a_closed_port_says_so_to_everybody(autojump_clock: Clock, w: World) -> None:
    client, server = await w.pair()
    accept = w.endpoint.listeners[0].accept(w.account, lambda connection, _: connection)
    w.endpoint.close()
    assert w.idle
    with trio.fail_after(1), pytest.raises(HostcallError, match="connection lost"):
        await get(client.reader.read(1))
    with pytest.raises(HostcallError, match="connection lost"):
        await get(server.reader.read(1))
    with pytest.raises(HostcallError, match="listener closed before any connection arrived"):
        await get(accept)
    assert not len(w.gate)


async def test_a_connection_that_has_gone_leaves_the_queue(autojump_clock: Clock, w: World) -> None:
    listener = w.listen()
    gone = OddClient(w.sockets, w.authority)
    await gone.exchange()
    gone.quic.send_stream_data(0, b"", end_stream=True)
    await gone.exchange()
    gone.quic.close()
    await gone.exchange()
    client = await w.connect()
    await get(client.writer.write(b"here"))
    assert await get((await w.accept(listener)).reader.read(9)) == b"here"


async def test_what_a_client_left_behind_can_be_accepted(autojump_clock: Clock, w: World) -> None:
    listener = w.listen()
    gone = OddClient(w.sockets, w.authority)
    await gone.exchange()
    gone.quic.send_stream_data(0, b"letter")
    await gone.exchange()
    gone.quic.close()
    await gone.exchange()
    await trio.sleep(5)
    server = await w.accept(listener)
    assert server.reader.read(99) == b"letter"
    with pytest.raises(HostcallError, match="connection lost"):
        server.reader.read(99)


async def test_timers_that_have_changed_do_not_pile_up(
    autojump_clock: Clock, w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await w.pair()
    [connection] = w.endpoint._connections
    for number in range(1000):
        later = trio.current_time() + 10 + number / 1000
        monkeypatch.setattr(connection.core, "get_timer", lambda later=later: later)
        w.endpoint._settle(connection)
    assert len(w.endpoint._timers) < 100
    assert w.endpoint._connections[connection] == min(
        entry[0] for entry in w.endpoint._timers if entry[0] >= later
    )


async def test_a_system_that_is_short_of_something_is_asked_again(
    autojump_clock: Clock, w: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client, server = await w.pair()
    good, failures = w.wire.receive, iter(range(50))

    async def receive() -> tuple[bytes, tuple[str, int]]:
        if next(failures, None) is not None:
            raise OSError(105, "No buffer space available")
        return await good()

    monkeypatch.setattr(w.wire, "receive", receive)
    began = trio.current_time()
    for _ in range(2):
        await get(client.writer.write(b"x"))
        assert await get(server.reader.read(1)) == b"x"
    assert trio.current_time() - began >= 5
    assert len([record for record in caplog.records if "No buffer space" in record.message]) == 1


async def test_a_socket_that_others_close_closes_the_port(autojump_clock: Clock, w: World) -> None:
    listener = w.listen()
    w.wire.close()
    with pytest.raises(HostcallError, match="listener closed"):
        await get(listener.accept(w.account, lambda connection, _: connection))
    assert w.idle


async def test_a_fault_of_the_host_closes_one_port_alone(
    autojump_clock: Clock, w: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    listener = w.listen()
    monkeypatch.setattr(w.endpoint, "_take", fail)
    accept = listener.accept(w.account, lambda connection, _: connection)
    OddClient(w.sockets, w.authority).send()
    with pytest.raises(HostcallError, match="listener closed"):
        await get(accept)
    assert w.idle
    assert "fault of the host" in caplog.text


async def test_a_fault_of_the_library_ends_one_connection_and_is_told_once(
    autojump_clock: Clock, w: World, caplog: pytest.LogCaptureFixture
) -> None:
    pair = await w.pair()
    for _ in range(5):
        client = OddClient(w.sockets, w.authority)
        await client.exchange()
        connection = next(each for each in w.endpoint._connections if each.address[0] == "10.0.0.1")
        connection.core._handle_ping_frame = None  # type: ignore[assignment,method-assign]
        connection.core._QuicConnection__frame_handlers[1] = (
            None,
            connection.core._QuicConnection__frame_handlers[1][1],
        )  # type: ignore[attr-defined]
        client.quic.send_ping(1)
        await client.exchange()
        assert connection not in w.endpoint._connections
    await get(pair[0].writer.write(b"well"))
    assert await get(pair[1].reader.read(9)) == b"well"
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1


async def test_peers_do_not_fill_the_log(
    autojump_clock: Clock, w: World, caplog: pytest.LogCaptureFixture
) -> None:
    w.listen()
    for name in ("unknown.test", "localhost"):
        client = OddClient(w.sockets, w.authority, server_name=name)
        await client.exchange()
        client.quic._remote_max_streams_bidi = 10_000
        client.quic.send_stream_data(0x4000, b"x") if client.end is None else None
        await client.exchange()
        assert client.end is not None
    ours = [record for record in caplog.records if record.name.startswith("enfilade")]
    assert not [record for record in ours if record.levelno > logging.DEBUG]


# Clients.


async def test_a_client_whose_server_offers_no_stream_waits_and_gives_up(
    autojump_clock: Clock, w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enfilade.hostcalls.net.quic_private._OTHER_STREAMS", 0)
    w.listen()
    with pytest.raises(HostcallError) as caught:
        await w.connect()
    assert caught.value.text.startswith("internal error: connection failed: ")


async def test_a_server_that_chooses_a_protocol_unasked_is_refused(
    autojump_clock: Clock, w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = quic_private._ServerTls._server_handle_hello

    def choose(tls: quic_private._ServerTls, first: Buffer, second: Buffer, third: Buffer) -> None:
        tls.alpn_negotiated = "x"
        good(tls, first, second, third)

    monkeypatch.setattr(quic_private._ServerTls, "_server_handle_hello", choose)
    w.listen()
    with pytest.raises(HostcallError, match="chose a protocol though none was offered"):
        await w.connect()


@pytest.mark.parametrize("padding", [0, 6000, 60_000])
async def test_clients_with_large_certificates(autojump_clock: Clock, w: World, padding: int) -> None:
    ours = make(is_ca=True, common_name="clients")
    listener = w.listen(client_ca=ours.root)
    client = await w.connect(made=make(issuer=ours, padding=padding))
    await get(client.writer.write(b"x"))
    assert await w.accept(listener)


async def test_a_large_chain_is_carried_and_room_for_it_not_kept(autojump_clock: Clock, w: World) -> None:
    """More than the library has room for, and the rest of the handshake behind it."""
    authority = make(is_ca=True, common_name="servers")
    ours = make(is_ca=True, common_name="clients")
    large = make("localhost", issuer=authority, padding=60_000)
    listener = w.listen(made=large, client_ca=ours.root, required=True)
    client = await w.connect(ca=authority.root, made=make(issuer=ours, padding=60_000))
    await get(client.writer.write(b"x"))
    server = await w.accept(listener)
    assert await get(server.reader.read(1)) == b"x"
    [connection] = w.endpoint._connections
    buffers = connection.core._crypto_buffers.values()
    assert {buffer.capacity for buffer in buffers} == {quic_private.CRYPTO_BUFFER_SIZE}


async def test_a_client_without_a_certificate_where_none_is_required(autojump_clock: Clock, w: World) -> None:
    listener = w.listen(client_ca=make(is_ca=True).root)
    client = await w.connect()
    await get(client.writer.write(b"x"))
    assert await w.accept(listener)


async def test_version_2_and_versions_that_nobody_knows(autojump_clock: Clock, w: World) -> None:
    w.listen()
    for versions in ([0x6B3343CF, 1], [0x1A2A3A4A, 1]):
        client = OddClient(w.sockets, w.authority, versions=versions)
        await client.exchange()
        assert client.end is None
        assert any(isinstance(event, events.HandshakeCompleted) for event in client.seen)


async def test_an_address_that_the_server_prefers_is_not_visited(autojump_clock: Clock, w: World) -> None:
    client, _ = await w.pair()
    core = client.reader._owner.core  # type: ignore[attr-defined]
    assert core._find_preferred_address() is None


async def test_a_beginning_in_pieces(autojump_clock: Clock, w: World) -> None:
    """The second half of a ClientHello first; then the port has one handshake, and an answer."""
    w.listen()
    content = hello(w.authority)
    destination = b"8 bytes!"
    socket = w.sockets.open_datagrams("10.0.0.9", 0)
    middle = len(content) // 2
    socket.send(initial(content[middle:], offset=middle, destination=destination), (HOST, PORT))
    await trio.sleep(0.01)
    assert len(w.endpoint._shaking) == 1
    before = len(w.wire.sent)
    socket.send(initial(content[:middle], destination=destination), (HOST, PORT))
    await trio.sleep(0.01)
    assert len(w.wire.sent) >= before
