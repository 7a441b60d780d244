"""Network conformance: QUIC, between two hosts of guests on a network in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trustme
from trio.abc import Clock

from enfilade.hostcalls.abi.errors import HostcallError
from enfilade.hostcalls.net.halves import Connection
from enfilade.hostcalls.net.quic_endpoint import visit_of
from enfilade.hostcalls.net.tls import Credentials
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Departure
from tests.hostcalls.net.certificates import CLIENT, DAY, SERVER, make
from tests.hostcalls.net.quic_world import HOST, PORT, Wire, World, get, read_all, root, world

LOST_READ = "internal error: read failed: connection lost"
LOST_WRITE = "internal error: write failed: connection lost"
STOPPED = "internal error: write failed: sending stopped by peer: error 0"
WINDOW = 256 * 1024


async def refusal(value: object) -> str:
    """The text of the error that an operation ends with."""
    with pytest.raises(HostcallError) as caught:
        await value  # type: ignore[misc]
    return caught.value.text


async def read_error(connection: Connection) -> str:
    with pytest.raises(HostcallError) as caught:
        await get(connection.reader.read(100))
    return caught.value.text


async def write_error(connection: Connection, payload: bytes = b"x") -> str:
    with pytest.raises(HostcallError) as caught:
        await get(connection.writer.write(payload))
    return caught.value.text


def pending(value: object) -> bool:
    """Tell whether an operation has no outcome yet."""
    return isinstance(value, Future) and not value.done


@pytest.fixture
async def w(authority: trustme.CA, certificate: trustme.LeafCert) -> AsyncIterator[World]:
    """A network whose server's port nobody listens on yet."""
    async with world(authority, certificate) as made:
        yield made


async def test_net_141_bytes_go_both_ways(autojump_clock: Clock, w: World) -> None:
    listener = w.listen()
    client = await w.connect()
    await get(client.writer.write(b"ping"))
    server = await w.accept(listener)
    assert await get(server.reader.read(100)) == b"ping"
    await get(server.writer.write(b"pong"))
    assert await get(client.reader.read(100)) == b"pong"
    host, _, port = server.remote_addr.rpartition(":")
    assert (host, int(port)) == (HOST, 49153)


async def test_net_142_an_accept_needs_the_first_byte(autojump_clock: Clock, w: World) -> None:
    listener = w.listen()
    client = await w.connect()
    accept = listener.accept(w.account, lambda connection, _: connection)
    await trio.sleep(5)
    assert pending(accept)
    await get(client.writer.write(b"x"))
    assert await get(accept)


async def test_net_143_a_client_knows_its_peer(autojump_clock: Clock, w: World) -> None:
    w.listen()
    assert (await w.connect()).remote_addr == f"{HOST}:{PORT}"


async def test_net_144_reads_take_what_is_there(autojump_clock: Clock, w: World) -> None:
    client, server = await w.pair()
    await get(client.writer.write(b"ping"))
    await trio.sleep(1)
    assert server.reader.read(2) == b"pi"
    assert server.reader.read(100) == b"ng"
    assert pending(server.reader.read(100))


async def test_net_146_a_finished_stream_stays_finished(autojump_clock: Clock, w: World) -> None:
    client, server = await w.pair()
    await get(client.writer.write(b"end"))
    client.writer.release(Departure.RELEASED)
    await trio.sleep(1)
    assert [server.reader.read(100) for _ in range(3)] == [b"end", b"", b""]
    await get(server.writer.write(b"still"))
    assert await get(client.reader.read(100)) == b"still"


@pytest.mark.parametrize("size", [0, 5, 3 * WINDOW])
async def test_net_147_a_released_writer_finishes_after_all_its_data(
    autojump_clock: Clock, w: World, size: int
) -> None:
    client, server = await w.pair()
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    if payload:
        client.writer.write(payload)  # more than fits is still on its way when the writer goes
    client.writer.release(Departure.RELEASED)
    assert await read_all(server) == payload


async def test_net_148_a_reset_is_told_each_time(autojump_clock: Clock, w: World) -> None:
    client, server = await w.pair()
    client.writer.release(Departure.PROCESS_ENDED)
    expected = "internal error: read failed: stream reset by peer: error 1"
    assert [await read_error(server) for _ in range(3)] == [expected] * 3


async def test_net_148_a_stopped_stream_is_told_each_time(autojump_clock: Clock, w: World) -> None:
    client, server = await w.pair()
    server.reader.release(Departure.PROCESS_ENDED)
    await trio.sleep(1)
    expected = "internal error: write failed: sending stopped by peer: error 1"
    assert [await write_error(client) for _ in range(3)] == [expected] * 3
    await get(server.writer.write(b"other way"))
    assert await get(client.reader.read(100)) == b"other way"


async def test_net_150_what_came_before_a_loss_can_be_read(autojump_clock: Clock, w: World) -> None:
    client, server = await w.pair()
    await get(client.writer.write(b"abc"))
    await trio.sleep(1)
    client.writer.release(Departure.PROCESS_ENDED)
    client.reader.release(Departure.PROCESS_ENDED)
    await trio.sleep(1)
    assert server.reader.read(100) == b"abc"
    assert [await read_error(server), await read_error(server)] == [LOST_READ] * 2
    assert [await write_error(server), await write_error(server)] == [LOST_WRITE] * 2


async def test_net_151_silence_ends_a_connection(autojump_clock: Clock, w: World) -> None:
    wire = Wire(w.sockets.open_datagrams(HOST, 0))
    listener = w.listen()
    client = await w.connect(wire=wire)
    await get(client.writer.write(b"!"))
    server = await w.accept(listener)
    await get(server.reader.read(1))
    wire.pass_out = lambda data: False
    began = trio.current_time()
    assert await read_error(server) == LOST_READ
    assert 29 < trio.current_time() - began < 32


async def test_net_152_a_large_write_waits_for_the_peer(autojump_clock: Clock, w: World) -> None:
    client, server = await w.pair()
    payload = bytes(range(256)) * 4096
    write = client.writer.write(payload)
    await trio.sleep(10)
    assert pending(write)
    received = bytearray()
    while len(received) < len(payload):
        received += await get(server.reader.read(100_000))
    assert received == payload
    assert await get(write) == len(payload)


async def test_net_153_a_peer_stops_at_the_window_of_a_guest_that_does_not_read(
    autojump_clock: Clock, w: World
) -> None:
    client, server = await w.pair()
    write = client.writer.write(bytes(1024 * 1024))
    await trio.sleep(20)
    assert pending(write)
    unread = server.reader.charge.held
    assert WINDOW // 2 <= unread <= WINDOW
    await get(server.reader.read(unread))
    await trio.sleep(5)
    assert WINDOW // 2 <= server.reader.charge.held <= WINDOW
    while pending(write):
        await get(server.reader.read(WINDOW))
        await trio.sleep(0.1)


async def test_net_155_a_certificate_covers_its_domain(autojump_clock: Clock, w: World) -> None:
    with pytest.raises(HostcallError) as caught:
        w.listen("elsewhere.test")
    expected = "internal error: failed to build TLS config: invalid peer certificate: "
    assert caught.value.text.startswith(expected)
    assert 'not valid for name "elsewhere.test"' in caught.value.text


@pytest.mark.parametrize("domain", ["", "127.0.0.1", "::1"])
async def test_net_156_a_domain_is_a_name(autojump_clock: Clock, w: World, domain: str) -> None:
    with pytest.raises(HostcallError) as caught:
        w.listen(domain)
    assert caught.value.text == "internal error: failed to build TLS config: unexpected error: Bad DNS name"


async def test_net_159_connections_wait_for_the_domain_that_they_are_for(
    autojump_clock: Clock, w: World
) -> None:
    a = w.listen("a.test", certificate=w.authority.issue_cert("a.test"))
    b = w.listen("b.test", certificate=w.authority.issue_cert("b.test"))
    accept = a.accept(w.account, lambda connection, _: connection)
    client = await w.connect("B.Test")
    await get(client.writer.write(b"for b"))
    await trio.sleep(5)
    assert pending(accept)
    assert await get((await w.accept(b)).reader.read(100)) == b"for b"


async def test_net_162_a_client_that_trusts_somebody_else(autojump_clock: Clock, w: World) -> None:
    listener = w.listen()
    accept = listener.accept(w.account, lambda connection, _: connection)
    text = await refusal(w.connect(ca=root(trustme.CA())))
    assert text.startswith("internal error: connection failed: ")
    assert "certificate" in text
    await trio.sleep(5)
    assert pending(accept)


@pytest.mark.parametrize("domain", ["127.0.0.1", "unknown.test"])
async def test_net_163_names_that_nobody_listens_for_are_refused(
    autojump_clock: Clock, w: World, domain: str
) -> None:
    listener = w.listen()
    accept = listener.accept(w.account, lambda connection, _: connection)
    text = await refusal(w.connect(domain))
    assert text.startswith("internal error: connection failed: closed by peer: TLS alert access denied")
    assert pending(accept)


@pytest.mark.parametrize(
    ("server", "client", "works"),
    [
        (None, None, True),
        (None, ["x"], False),
        (["x"], None, False),
        (["x"], ["x"], True),
        (["x"], ["y"], False),
        (["x", "y"], ["z", "y"], True),
        ([], [], True),
        ([], ["x"], False),
    ],
)
async def test_net_164_both_sides_have_a_protocol_in_common_or_none(
    autojump_clock: Clock, w: World, server: list[str] | None, client: list[str] | None, works: bool
) -> None:
    w.listen(alpn=server)
    if works:
        assert await w.connect(alpn=client)
    else:
        text = await refusal(w.connect(alpn=client))
        expected = "internal error: connection failed: closed by peer: TLS alert no application protocol"
        assert text.startswith(expected)


async def test_net_166_a_client_without_a_stream_holds_nobody_up(autojump_clock: Clock, w: World) -> None:
    listener = w.listen()
    accept = listener.accept(w.account, lambda connection, _: connection)
    await w.connect()
    second = await w.connect()
    await get(second.writer.write(b"second"))
    with trio.fail_after(2):
        assert await get((await get(accept)).reader.read(100)) == b"second"


async def test_net_167_handshakes_need_no_accept(autojump_clock: Clock, w: World) -> None:
    listener = w.listen()
    client = await w.connect()
    await get(client.writer.write(b"x"))
    await trio.sleep(20)
    assert await get((await w.accept(listener)).reader.read(1)) == b"x"


async def test_net_168_nobody_is_there(autojump_clock: Clock, w: World) -> None:
    w.wire.close()
    began = trio.current_time()
    assert await refusal(w.connect()) == "internal error: connection failed: timed out"
    assert 29 < trio.current_time() - began < 32


async def test_net_170_certificates_of_clients(autojump_clock: Clock, w: World) -> None:
    ours = make("ca", is_ca=True, common_name="clients")
    listener = w.listen(client_ca=ours.root, required=True)
    accept = listener.accept(w.account, lambda connection, _: connection)
    good = make(issuer=ours, usages=[CLIENT])
    strangers = [
        None,
        make(issuer=make(is_ca=True, common_name="clients"), usages=[CLIENT]),
        make(issuer=ours, usages=[SERVER]),
        make(issuer=ours, usages=[CLIENT], since=-3 * DAY, until=-DAY),
    ]
    for stranger in strangers:
        client = await w.connect(made=stranger)  # complete for the client before the server has looked
        client.writer.write(b"stranger")
        assert await read_error(client) == LOST_READ
    assert pending(accept)
    client = await w.connect(made=good)
    await get(client.writer.write(b"friend"))
    assert await get((await get(accept)).reader.read(100)) == b"friend"


async def test_net_173_all_arrives_before_the_close(autojump_clock: Clock, w: World) -> None:
    client, server = await w.pair()
    payload = bytes(range(250)) * 800
    await get(client.writer.write(payload))
    client.writer.release(Departure.RELEASED)
    client.reader.release(Departure.RELEASED)
    assert await read_all(server) == payload
    await trio.sleep(1)
    assert server.reader.read(1) == b""  # the end stays the end, though the connection has been closed
    assert await write_error(server) in (LOST_WRITE, STOPPED)


async def test_net_174_a_process_that_ends_is_noticed_at_once(autojump_clock: Clock, w: World) -> None:
    client, server = await w.pair()
    client.writer.write(bytes(3 * WINDOW))
    await trio.sleep(1)
    client.writer.release(Departure.PROCESS_ENDED)
    client.reader.release(Departure.PROCESS_ENDED)
    await trio.sleep(0.1)
    while server.reader.charge.held:
        await get(server.reader.read(WINDOW))
    assert await read_error(server) in (
        LOST_READ,
        "internal error: read failed: stream reset by peer: error 1",
    )


async def test_brackets_are_no_name(autojump_clock: Clock, w: World) -> None:
    with pytest.raises(HostcallError) as caught:
        visit_of(Credentials(), None, "[::1]")
    assert caught.value.text == "internal error: connect failed: invalid server name: [::1]"
