"""QUIC peers that mean harm, on a network in memory: bounded memory, bounded answers, others unharmed."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import trio
import trustme
from aioquic.buffer import encode_uint_var
from aioquic.quic import events
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from trio.abc import Clock

from enfilade.hostcalls.abi.errors import HostcallError
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.net.account import Account
from enfilade.hostcalls.net.gate import Gate
from enfilade.hostcalls.net.halves import Connection
from enfilade.hostcalls.net.memory_sockets import _MemoryDatagrams
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.sockets import Address
from tests.hostcalls.net.certificates import make
from tests.hostcalls.net.odd_client import OddClient, forged, hello, initial
from tests.hostcalls.net.quic_world import HOST, PORT, Wire, World, get, world


@pytest.fixture
async def w(authority: trustme.CA, certificate: trustme.LeafCert) -> AsyncIterator[World]:
    """A network whose server's port nobody listens on yet."""
    async with world(authority, certificate) as made:
        yield made


async def still_works(pair: tuple[Connection, Connection]) -> None:
    """Check that an established connection carries bytes both ways at once."""
    client, server = pair
    with trio.fail_after(5):
        await get(client.writer.write(b"are you there?"))
        assert await get(server.reader.read(100)) == b"are you there?"
        await get(server.writer.write(b"yes"))
        assert await get(client.reader.read(100)) == b"yes"


def inject(w: World, data: bytes, source: Address) -> None:
    """Let a datagram arrive at the server's port, from any address."""
    socket = w.sockets.datagrams[HOST, PORT]
    assert isinstance(socket, _MemoryDatagrams)
    socket.arrive(data, source)


def answered(w: World) -> Counter[Address]:
    """Bytes that were sent to each address."""
    counts: Counter[Address] = Counter()
    for data, to in w.wire.sent:
        counts[to] += len(data)
    return counts


async def test_net_177_rubbish_harms_nobody(autojump_clock: Clock, w: World) -> None:
    pair = await w.pair()
    chance = random.Random(7)
    given: Counter[Address] = Counter()
    good = initial(hello(w.authority))
    rubbish = [b"", b"\x40", b"\xc0", good[:1199], good[:50], initial(b"x" * 9, padding=False)]
    rubbish += [
        b"\xc0\0\0\0\0" + chance.randbytes(1300),
        b"\xc0\0\0\0\0\x08" + bytes(8) + b"\0" + bytes(1300),
    ]
    rubbish += [b"\xc0\xfa\xce\xb0\x0c\x08" + bytes(8) + b"\x08" + bytes(1300)]
    rubbish += [chance.randbytes(chance.randrange(1500)) for _ in range(500)]
    for _ in range(500):  # long headers of a known version, with anything behind
        rubbish.append(bytes([0xC0 | chance.randrange(64)]) + b"\0\0\0\1" + chance.randbytes(1200))
    for _ in range(200):  # the damaged Initial of a good client
        damaged = bytearray(good)
        damaged[chance.randrange(40)] ^= 1 << chance.randrange(8)
        rubbish.append(bytes(damaged))
    for number, data in enumerate(rubbish):
        inject(w, data, forged(number))
        given[forged(number)] += len(data)
        if number % 100 == 0:
            await still_works(pair)
    await trio.sleep(60)
    for address, size in answered(w).items():
        if address in given:
            assert size <= 3 * given[address]
    assert len(w.endpoint._connections) == len(w.gate) == 0  # the pair was silent for too long, too


@pytest.mark.parametrize(
    "data",
    [
        b"\xc0\0\0\0\0\x08" + bytes(8) + b"\x08" + bytes(1300),  # a list of versions
        b"\xc0\xfa\xce\xb0\x0c\x08" + bytes(8) + b"\x08" + bytes(1000),  # another version, but short
        b"\xe0\0\0\0\1\x08" + bytes(8) + b"\x08" + bytes(8) + b"\x44\xb0" + bytes(1200),  # no beginning
        b"\xc0\0\0\0\1\x08" + bytes(8) + b"\x08" + bytes(8) + b"\0\x44\xb0" + bytes(1200),  # not sealed
        b"\x40" + bytes(1300),
    ],
)
async def test_some_packets_deserve_neither_answer_nor_state(
    autojump_clock: Clock, w: World, data: bytes
) -> None:
    w.listen()
    inject(w, data, forged(1))
    await trio.sleep(0.1)
    assert not w.wire.sent
    assert not w.endpoint._connections
    assert not w.endpoint._routes
    assert not len(w.gate)


async def test_ids_of_servers_that_clients_choose_have_eight_bytes(autojump_clock: Clock, w: World) -> None:
    w.listen()
    inject(w, initial(hello(w.authority), destination=b"1234567"), forged(1))
    await trio.sleep(0.1)
    assert not w.wire.sent
    inject(w, initial(hello(w.authority), destination=b"12345678"), forged(1))
    await trio.sleep(0.1)
    assert w.wire.sent


async def test_net_178_many_forged_beginnings(autojump_clock: Clock, w: World) -> None:
    pair = await w.pair()
    beginning = hello(w.authority)
    packets = [initial(beginning) for _ in range(300)]
    for number, data in enumerate(packets):
        inject(w, data, forged(number))
    await still_works(pair)
    assert len(w.endpoint._shaking) == 32
    assert len(w.gate) == 33
    client = await w.connect()  # shows its address, and is let in
    await get(client.writer.write(b"x"))
    assert await w.accept(w.endpoint.listeners[0])
    await trio.sleep(31)
    assert not w.endpoint._shaking
    for number, data in enumerate(packets):
        assert answered(w)[forged(number)] <= 3 * len(data)
    await trio.sleep(31)
    assert len(w.gate) == len(w.endpoint._routes) == len(w.endpoint._known) == 0
    assert len(w.endpoint._timers) < 200


@pytest.mark.soak
async def test_ten_thousand_forged_beginnings(autojump_clock: Clock, w: World) -> None:
    pair = await w.pair()
    beginning = hello(w.authority)
    for number in range(10_000):
        data = initial(beginning)
        inject(w, data, forged(number))
        if number % 500 == 0:
            await still_works(pair)
            assert len(w.gate) <= 33
            assert all(size <= 3 * len(data) for address, size in answered(w).items() if address[0] != HOST)
            w.wire.sent.clear()
    await trio.sleep(61)
    assert len(w.gate) == len(w.endpoint._routes) == len(w.endpoint._connections) == 0
    assert len(w.endpoint._timers) < 200


async def test_ids_of_a_beginning_that_is_repeated_lead_to_one_connection(
    autojump_clock: Clock, w: World
) -> None:
    w.listen()
    data = initial(hello(w.authority))
    for number in range(50):
        inject(w, data, forged(number))
    await trio.sleep(1)
    assert len(w.endpoint._connections) == 1
    assert sum(answered(w).values()) <= 3 * 50 * len(data)


async def test_a_silent_client_is_answered_with_three_times_its_bytes(
    autojump_clock: Clock, authority: trustme.CA, w: World
) -> None:
    """A long chain of certificates does not fit into that, and waits."""
    large = make("localhost", is_ca=True, padding=9000)
    w.listen(made=large)
    data = initial(hello(authority))
    inject(w, data, forged(1))
    await trio.sleep(60)
    assert 2000 < answered(w)[forged(1)] <= 3 * len(data)
    assert not w.endpoint._connections


async def test_a_last_word_has_to_fit_as_well(autojump_clock: Clock, authority: trustme.CA, w: World) -> None:
    """The answer has used up what may be sent to an address that proves nothing; then the port closes."""
    w.listen(made=make("localhost", is_ca=True, padding=9000))
    data = initial(hello(authority))
    inject(w, data, forged(1))
    await trio.sleep(0.1)
    assert answered(w)[forged(1)] > 2400
    w.endpoint.close()
    assert answered(w)[forged(1)] <= 3 * len(data)


async def test_a_refusal_is_no_larger_than_allowed(autojump_clock: Clock, w: World) -> None:
    w.listen("other.test", certificate=w.authority.issue_cert("other.test"))
    data = initial(hello(w.authority))
    inject(w, data, forged(1))
    await trio.sleep(60)
    assert 0 < answered(w)[forged(1)] <= 3 * len(data)
    assert not w.endpoint._connections


async def test_a_refusal_is_not_repeated_for_an_address_that_proves_nothing(
    autojump_clock: Clock, w: World
) -> None:
    w.listen("other.test", certificate=w.authority.issue_cert("other.test"))
    inject(w, initial(hello(w.authority), destination=b"8 bytes!"), forged(1))
    await trio.sleep(0.01)
    before = answered(w)[forged(1)]
    assert before
    for _ in range(20):
        inject(w, b"\x408 bytes!" + bytes(12), forged(1))
    await trio.sleep(0.01)
    assert w.endpoint._connections
    assert answered(w)[forged(1)] == before


async def test_tokens_of_others_are_refused(autojump_clock: Clock, w: World) -> None:
    w.listen()
    for token in (b"x", os.urandom(60), bytes(200)):
        inject(w, initial(b"x" * 100, token=token), forged(1))
    await trio.sleep(1)
    assert not w.endpoint._connections
    assert 0 < answered(w)[forged(1)] <= 3 * 3600


async def test_a_crypto_offset_far_away(autojump_clock: Clock, w: World) -> None:
    pair = await w.pair()
    inject(w, initial(b"x" * 100, offset=1 << 40), forged(1))
    inject(w, initial(b"x" * 100, offset=400_000), forged(2))
    await still_works(pair)
    await trio.sleep(31)
    assert not w.endpoint._shaking


def pieces(kind: int, before: bytes, count: int) -> list[bytes]:
    """The contents of packets that hold every second byte of a stream, or of a handshake, each in a frame of
    its own, from the offset 6 on.
    """
    frames = [before + encode_uint_var(6 + 2 * number) + b"\x01x" for number in range(count)]
    return [bytes([kind]).join(frames[at : at + 120]) for at in range(0, count, 120)]


async def test_a_stream_in_pieces_waits_for_few_of_them(autojump_clock: Clock, w: World) -> None:
    """A new piece is compared with those that wait: thousands would take the loop minutes. What does not fit
    counts as lost, and comes again.
    """
    pair = await w.pair()
    listener = w.listen()
    client = OddClient(w.sockets, w.authority)
    await client.exchange()
    client.quic.send_stream_data(0, b"first")
    await client.exchange()
    server = await w.accept(listener)
    (core,) = (
        each.core for each in w.endpoint._connections if each.core.stream.receiver.starting_offset() == 5
    )
    for content in pieces(QuicFrameType.STREAM_BASE | 6, b"\0", 3000):
        client.frame(QuicFrameType.STREAM_BASE | 6, content)
    await client.exchange()
    assert len(core.stream.receiver._ranges) == 128
    await still_works(pair)
    client.quic.send_stream_data(0, b"x" * 7000)
    await client.exchange()
    assert await get(server.reader.read(100_000)) == b"first" + b"x" * 7000
    assert client.end is None


async def test_a_handshake_in_pieces_has_few_of_them(autojump_clock: Clock, w: World) -> None:
    pair = await w.pair()
    client = OddClient(w.sockets, w.authority)
    await client.exchange()
    for content in pieces(QuicFrameType.CRYPTO, b"", 130):
        client.frame(QuicFrameType.CRYPTO, content)
    await client.exchange()
    assert client.end is not None
    assert client.end.error_code == QuicErrorCode.CRYPTO_BUFFER_EXCEEDED
    await still_works(pair)


async def test_more_than_the_window(autojump_clock: Clock, w: World) -> None:
    listener = w.listen()
    client = OddClient(w.sockets, w.authority)
    await client.exchange()
    client.quic.send_stream_data(0, b"first")
    await client.exchange()
    client.quic._remote_max_data = client.quic._streams[0].max_stream_data_remote = 1 << 40
    client.quic.send_stream_data(0, bytes(600 * 1024))
    await client.exchange()
    assert client.end is not None
    assert client.end.error_code == QuicErrorCode.FLOW_CONTROL_ERROR
    server = await w.accept(listener)
    assert server.reader.charge.held <= 256 * 1024


async def test_net_172_other_streams_are_refused(autojump_clock: Clock, w: World) -> None:
    listener = w.listen()
    client = OddClient(w.sockets, w.authority)
    await client.exchange()
    client.quic.send_stream_data(0, b"first")
    client.quic.send_stream_data(4, b"second")
    client.quic.send_stream_data(2, b"one way")
    await client.exchange()
    server = await w.accept(listener)
    assert await get(server.reader.read(100)) == b"first"
    assert events.StopSendingReceived(error_code=1, stream_id=4) in client.seen
    assert events.StreamReset(error_code=1, stream_id=4) in client.seen
    assert events.StopSendingReceived(error_code=1, stream_id=2) in client.seen
    await get(server.writer.write(b"goes on"))
    client.quic.send_stream_data(0, b" and on")
    await client.exchange()
    assert client.received(0) == b"goes on"
    assert await get(server.reader.read(100)) == b" and on"


async def test_refused_streams_use_up_nothing(autojump_clock: Clock, w: World) -> None:
    """As many streams as there is room for, one after the other, and the first still has its window."""
    listener = w.listen()
    client = OddClient(w.sockets, w.authority)
    await client.exchange()
    client.quic.send_stream_data(0, b"!")
    await client.exchange()
    for number in range(1, 71):
        client.quic.send_stream_data(4 * number, bytes(4000), end_stream=True)
        await client.exchange(0.03)
    assert client.end is None
    core = next(iter(w.endpoint._connections)).core
    assert len(core._streams) < 20
    client.quic.send_stream_data(0, bytes(200_000))
    await client.exchange()
    server = await w.accept(listener)
    assert server.reader.charge.held == 200_001


async def test_a_thousand_streams_at_once(autojump_clock: Clock, w: World) -> None:
    w.listen()
    client = OddClient(w.sockets, w.authority)
    await client.exchange()
    client.quic._remote_max_streams_bidi = 10_000
    for number in range(1000):
        client.quic.send_stream_data(4 * number, b"x")
    await client.exchange()
    assert client.end is not None
    assert client.end.error_code == QuicErrorCode.STREAM_LIMIT_ERROR


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (QuicFrameType.DATAGRAM, b"datagram"),
        (QuicFrameType.HANDSHAKE_DONE, b""),
        (QuicFrameType.NEW_TOKEN, b"\x04abcd"),
        (0x3F, b""),
    ],
)
async def test_frames_that_a_client_may_not_send(
    autojump_clock: Clock, w: World, kind: int, content: bytes
) -> None:
    w.listen()
    client = OddClient(w.sockets, w.authority)
    await client.exchange()
    client.frame(kind, content)
    await client.exchange()
    assert client.end is not None
    assert client.end.error_code in (QuicErrorCode.PROTOCOL_VIOLATION, QuicErrorCode.FRAME_ENCODING_ERROR)


async def test_frames_at_random(autojump_clock: Clock, w: World) -> None:
    """A client that may send anything ends its own connection at most."""
    pair = await w.pair()
    chance = random.Random(11)
    client = None
    for _ in range(300):
        if client is None or client.end is not None:
            client = OddClient(w.sockets, w.authority)
            await client.exchange(0.05)
        kind = chance.choice([*range(0x20), 0x30, 0x31, chance.randrange(1 << 14)])
        content = bytes(
            chance.choice((0, 1, 4, 255, chance.randrange(256))) for _ in range(chance.randrange(1, 40))
        )
        client.frame(kind, content)
        await client.exchange(0.01)
    await still_works(pair)
    await trio.sleep(61)
    assert not w.endpoint._connections


async def test_beginnings_at_random(
    autojump_clock: Clock, authority: trustme.CA, certificate: trustme.LeafCert
) -> None:
    """ClientHellos that are damaged in every way, in packets that are whole."""
    settings = NetworkSettings(quic_handshakes=10_000)
    async with world(
        authority, certificate, settings=settings, gate=Gate(connections=9999, from_address=9)
    ) as w:
        pair = await w.pair()
        chance = random.Random(13)
        content = hello(authority)
        for number in range(70):
            damaged = bytearray(content)
            for _ in range(chance.randrange(1, 4)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            inject(
                w, initial(bytes(damaged[: chance.choice((len(damaged), len(damaged) // 2))])), forged(number)
            )
            if number % 35 == 0:
                await still_works(pair)
        await trio.sleep(61)
        assert not w.endpoint._connections
        assert not len(w.gate)


async def test_a_flood_of_path_challenges(autojump_clock: Clock, w: World) -> None:
    pair = await w.pair()
    client = OddClient(w.sockets, w.authority)
    await client.exchange()
    before = len(w.wire.sent)
    for _ in range(500):
        client.frame(QuicFrameType.PATH_CHALLENGE, os.urandom(8))
    await still_works(pair)
    await client.exchange()
    assert len(w.wire.sent) - before < 600
    core = next(each.core for each in w.endpoint._connections if each.address[0] == "10.0.0.1")
    assert len(core._network_paths[0].remote_challenges) <= 32


async def test_early_data_is_dropped(autojump_clock: Clock, w: World) -> None:
    w.listen()
    inject(w, b"\xd0\0\0\0\1\x08" + bytes(8) + b"\x08" + bytes(8) + b"\x44\xb0" + bytes(1200), forged(1))
    await trio.sleep(1)
    assert not w.endpoint._connections
    assert not answered(w)[forged(1)]


async def test_silent_after_the_handshake(autojump_clock: Clock, w: World) -> None:
    w.listen()
    client = OddClient(w.sockets, w.authority)
    await client.exchange()
    for _ in range(29):
        client.quic.send_ping(1)
        await client.exchange(1)
    assert len(w.gate) == 1
    for _ in range(4):
        client.quic.send_ping(1)
        await client.exchange(1)
    assert client.end == events.ConnectionTerminated(0, None, "no stream")
    await trio.sleep(5)
    assert not len(w.gate)


async def test_too_many_connections_of_one_address(autojump_clock: Clock, w: World) -> None:
    w.listen()
    for _ in range(128):
        assert w.gate.enter("10.0.0.1")
    client = OddClient(w.sockets, w.authority)
    await client.exchange()
    assert client.end is not None
    assert client.end.error_code == QuicErrorCode.CONNECTION_REFUSED
    other = OddClient(w.sockets, w.authority, "10.0.0.2")
    await other.exchange()
    assert other.end is None


async def test_more_connections_than_the_queue_takes(autojump_clock: Clock, w: World) -> None:
    listener = w.listen(places=2)
    clients = [await w.connect() for _ in range(3)]
    for client in clients:
        await get(client.writer.write(b"x"))
    await trio.sleep(1)
    with pytest.raises(HostcallError, match="connection lost"):
        await get(clients[2].reader.read(1))
    for _ in range(2):
        assert await get((await w.accept(listener)).reader.read(1)) == b"x"


async def test_a_lossy_network(autojump_clock: Clock, w: World) -> None:
    """One datagram in five is lost, in each direction, the first ones too."""
    chance = random.Random(3)
    listener = w.listen()
    wire = Wire(w.sockets.open_datagrams(HOST, 0))
    w.wire.pass_out = wire.pass_out = lambda data: chance.random() > 0.2
    client = await w.connect(wire=wire)
    payload = chance.randbytes(100_000)
    write = client.writer.write(payload)
    server = await w.accept(listener)
    received = bytearray()
    while len(received) < len(payload):
        received += await get(server.reader.read(5000))
    assert received == payload
    await get(write)


async def test_a_stateless_reset_ends_a_connection(autojump_clock: Clock, w: World) -> None:
    listener = w.listen()
    wire = Wire(w.sockets.open_datagrams(HOST, 0))
    client = await w.connect(wire=wire)
    await get(client.writer.write(b"x"))
    await w.accept(listener)
    [connection] = w.endpoint._connections
    token = connection.core._host_cids[0].stateless_reset_token
    w.sockets.datagrams[wire.address].arrive(b"\x41" + os.urandom(24) + bytes(16), (HOST, PORT))
    await trio.sleep(1)
    assert not client.reader.spent
    w.sockets.datagrams[wire.address].arrive(b"\x41" + os.urandom(24) + token, (HOST, PORT))
    with trio.fail_after(1), pytest.raises(HostcallError, match="connection lost"):
        await get(client.reader.read(1))


async def test_a_guest_over_its_limit_takes_no_more(
    autojump_clock: Clock, authority: trustme.CA, certificate: trustme.LeafCert
) -> None:
    account = Account(Limits(net_bytes=100_000))
    async with world(authority, certificate, account=account) as w:
        listener = w.listen()
        clients = [await w.connect() for _ in range(3)]
        for number, client in enumerate(clients):
            client.writer.write(bytes([number]) * 90_000)
        await trio.sleep(5)
        assert account.held < 100_000 + 2 * 1200
        servers = [await w.accept(listener) for _ in range(3)]
        received = [bytearray(), bytearray(), bytearray()]
        with trio.fail_after(25):
            while any(len(each) < 90_000 for each in received):
                for server, each in zip(servers, received, strict=True):
                    if server.reader.charge.held:
                        each += await get(server.reader.read(30_000))
                await trio.sleep(0.1)
        assert sorted(bytes(each) for each in received) == [bytes([number]) * 90_000 for number in range(3)]
        assert account.held == 0
