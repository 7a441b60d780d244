"""Network conformance: what holds for all calls."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import attrs
import pytest

from enfilade.actors import Guest, ProcessDied, Trapped, open_node
from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.hostcall import Hostcall
from enfilade.hostcalls.kernel.execution import Returned
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.sdk.wat import RESULT, RESULT_SIZE, Assembler
from tests.hostcalls.desk import DENIED, EVERYTHING, INVALID, NOT_FOUND
from tests.hostcalls.guests import PUPPET
from tests.hostcalls.harness import open_harness
from tests.hostcalls.net.offices import (
    HTTP,
    HTTPS,
    PORT,
    QUIC,
    Clerk,
    Office,
    answer,
    done,
    failure,
    get,
    receive_until,
)

CALLS = [hostcall for hostcall in c.CATALOGUE if hostcall.name.startswith("selium::net::")]
EMPTY = 77
"""A slot with nothing in it."""

SERVER = abi.TlsServerBundle(b"certificate", b"key", None, None, False)
CLIENT = abi.TlsClientBundle(None, None, None, None)


def server_settings(guest: Clerk) -> int:
    return int(guest.begin(c.NET_TLS_SERVER_CONFIG_CREATE, abi.NetTlsServerConfig(SERVER)).handle)


def client_settings(guest: Clerk) -> int:
    return int(guest.begin(c.NET_TLS_CLIENT_CONFIG_CREATE, abi.NetTlsClientConfig(CLIENT)).handle)


def channel(guest: Clerk) -> int:
    return int(guest.begin(c.CHANNEL_CREATE, abi.ChannelCreate(64, abi.ChannelBackpressure.PARK)))


@attrs.frozen
class Pair:
    """A QUIC connection between two guests: the slots of both."""

    client: Clerk
    reader: int
    writer: int
    server: Clerk
    far_reader: int
    far_writer: int


PORTS = itertools.count(4433)


async def quic_pair(office: Office) -> Pair:
    """Connect two guests; the client has written one byte, which the server has read."""
    server, client = office.guest(), office.guest()
    port = next(PORTS)
    accepting = server.accept(server.bind(port=port, protocol=QUIC), c.NET_QUIC_ACCEPT)
    connected = await done(client.connect(port=port, protocol=QUIC))
    await client.write(connected.writer, b"!", c.NET_QUIC_WRITE)
    accepted = await done(accepting)
    assert await server.read(accepted.reader, 9, c.NET_QUIC_READ) == b"!"
    return Pair(client, connected.reader, connected.writer, server, accepted.reader, accepted.writer)


async def accepted_request(office: Office, guest: Clerk, listener: int, path: str = "/") -> Any:
    """Have a peer send a request, and accept it; the reply of the accept, and the peer's stream."""
    stream = await office.dial()
    await stream.send_all(get(path))
    return await done(guest.accept(listener)), stream


async def test_net_1_calls_without_their_capability_say_so_at_the_first_poll() -> None:
    """Their arguments are not looked at, nothing is put into the mailbox, and a future can be dropped."""
    guest = Assembler(*(hostcall.name for hostcall in CALLS))
    for hostcall in CALLS:
        name = hostcall.name.split("::", 1)[1].replace("::", ".")
        text = int.from_bytes(b"perm", "little")
        guest.text(f"""
        (func ${name}.try (local $future i32)
          (local.set $future (call ${name}.create (i32.const -1) (i32.const 77)))
          (if (i32.ne (i32.const 0x80000001)
                (call ${name}.poll (local.get $future) (i32.const 4711)
                  (i32.const {RESULT}) (i32.const {RESULT_SIZE})))
            (then unreachable))
          (if (i32.ne (i32.const {text}) (i32.load offset=4 (i32.const {RESULT}))) (then unreachable))
          (if (i32.load (i32.const 12)) (then unreachable))
          (call $ok (call ${name}.drop (call ${name}.create (i32.const -1) (i32.const 77))
            (i32.const {RESULT}) (i32.const {RESULT_SIZE}))))""")
    names = [hostcall.name.split("::", 1)[1].replace("::", ".") for hostcall in CALLS]
    assert len(names) == 12
    guest.function("start", "".join(f"(call ${name}.try)" for name in names))
    async with open_harness() as harness:
        assert await harness.run(guest, grants=(Capability.TIME_READ,)) == Returned()


async def test_net_2_each_call_has_its_own_capability(office: Office) -> None:
    guest = office.guest((Capability.NET_HTTP_BIND,))
    listener = guest.bind()
    assert await failure(lambda: guest.accept(listener)) == DENIED


@pytest.mark.parametrize("protocol", [HTTP, HTTPS, QUIC])
async def test_net_5_the_protocol_belongs_to_the_call(office: Office, protocol: abi.NetProtocol) -> None:
    guest = office.guest()
    family = (
        (c.NET_HTTP_BIND, c.NET_HTTP_CONNECT) if protocol is QUIC else (c.NET_QUIC_BIND, c.NET_QUIC_CONNECT)
    )
    wanted = abi.NetCreateListener(protocol, "localhost", PORT, None)
    assert await failure(lambda: guest.begin(family[0], wanted)) == INVALID
    wanted_connection = abi.NetConnect(protocol, "localhost", PORT, None)
    assert await failure(lambda: guest.begin(family[1], wanted_connection)) == INVALID


async def test_net_6_plain_http_has_no_settings(office: Office) -> None:
    guest = office.guest()
    slot = server_settings(guest)
    assert await failure(lambda: guest.bind(tls=slot)) == INVALID
    assert await failure(lambda: guest.connect(tls=slot)) == INVALID


async def test_net_8_settings_that_are_not_there_are_not_found(office: Office) -> None:
    guest = office.guest()
    assert await failure(lambda: guest.bind(protocol=HTTPS, tls=EMPTY)) == NOT_FOUND
    assert await failure(lambda: guest.connect(protocol=QUIC, tls=1 << 40)) == NOT_FOUND


async def test_net_9_settings_of_another_kind_are_not_found(office: Office) -> None:
    guest = office.guest()
    server, client, other = server_settings(guest), client_settings(guest), channel(guest)
    assert await failure(lambda: guest.bind(protocol=HTTPS, tls=client)) == NOT_FOUND
    assert await failure(lambda: guest.connect(protocol=QUIC, tls=server)) == NOT_FOUND
    assert await failure(lambda: guest.connect(protocol=HTTPS, tls=other)) == NOT_FOUND


LISTEN = c.NET_HTTP_BIND.input.encode(abi.NetCreateListener(HTTP, "localhost", PORT, None))


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(LISTEN[:-32] + b"\x03" + LISTEN[-31:], id="protocol 3"),
        pytest.param(LISTEN[:-20], id="port cut off"),
        pytest.param(LISTEN.replace(b"localhost", b"local\xffost"), id="not UTF-8"),
    ],
)
async def test_net_10_arguments_that_do_not_decode_end_the_guest(arguments: bytes) -> None:
    async with open_node("test") as node:
        guest = await node.spawn(Guest(PUPPET, capabilities=Capability))
        number = struct.pack("<I", c.CATALOGUE.index(c.NET_HTTP_BIND))
        with pytest.raises(ProcessDied) as caught:
            await guest.call(Guest.request, number + arguments)
        assert isinstance(caught.value.reason, Trapped)
        assert caught.value.reason.kind == "misused hostcall"


FAMILIES = [
    (c.NET_HTTP_ACCEPT, c.NET_HTTP_READ, c.NET_HTTP_WRITE),
    (c.NET_QUIC_ACCEPT, c.NET_QUIC_READ, c.NET_QUIC_WRITE),
]


def uses(slot: int) -> list[tuple[Hostcall[Any, Any], Any]]:
    """Every use of a slot as a listener or a half."""
    return [
        use
        for accept, read, write in FAMILIES
        for use in (
            (accept, abi.NetAccept(slot)),
            (read, abi.IoRead(slot, 9)),
            (write, abi.IoWrite(slot, b"x")),
        )
    ]


async def test_net_12_empty_slots_are_not_found(office: Office) -> None:
    guest = office.guest()
    for hostcall, value in uses(EMPTY):
        assert await failure(lambda: guest.begin(hostcall, value)) == NOT_FOUND  # noqa: B023


async def test_net_13_only_listeners_accept(office: Office) -> None:
    """What else is in the slot is refused, and still works afterwards."""
    guest = office.guest()
    slot = channel(guest)
    reader = guest.begin(c.CHANNEL_STRONG_READER_CREATE, slot)
    writer = guest.begin(c.CHANNEL_STRONG_WRITER_CREATE, slot)
    settings = server_settings(guest)
    http, quic = guest.bind(), guest.bind(protocol=QUIC)
    for wrong in (slot, reader, settings, quic):
        assert await failure(lambda: guest.accept(wrong)) == INVALID  # noqa: B023
    for wrong in (slot, reader, settings, http):
        assert await failure(lambda: guest.accept(wrong, c.NET_QUIC_ACCEPT)) == INVALID  # noqa: B023
    await guest.do(c.CHANNEL_STRONG_WRITE, abi.IoWrite(writer, b"frame"))
    assert (await guest.do(c.CHANNEL_STRONG_READ, abi.IoRead(reader, 9))).payload == b"frame"
    accepted, _ = await accepted_request(office, guest, http)
    assert await guest.read(accepted.reader)


async def test_net_14_halves_are_used_by_their_own_calls(office: Office) -> None:
    guest = office.guest()
    slot = channel(guest)
    reader = guest.begin(c.CHANNEL_STRONG_READER_CREATE, slot)
    writer = guest.begin(c.CHANNEL_STRONG_WRITER_CREATE, slot)
    accepted, stream = await accepted_request(office, guest, guest.bind())
    pair = await quic_pair(office)
    for used_by, hostcall, wrong in (
        (guest, c.NET_QUIC_READ, accepted.reader),
        (guest, c.NET_HTTP_READ, accepted.writer),
        (guest, c.NET_HTTP_READ, reader),
        (guest, c.CHANNEL_STRONG_READ, accepted.reader),
        (pair.client, c.NET_HTTP_READ, pair.reader),
    ):
        assert await failure(lambda: used_by.begin(hostcall, abi.IoRead(wrong, 9))) == INVALID  # noqa: B023
    for used_by, hostcall, wrong in (
        (guest, c.NET_QUIC_WRITE, accepted.writer),
        (guest, c.NET_HTTP_WRITE, accepted.reader),
        (guest, c.NET_HTTP_WRITE, writer),
        (guest, c.CHANNEL_STRONG_WRITE, accepted.writer),
        (pair.client, c.NET_HTTP_WRITE, pair.writer),
    ):
        assert await failure(lambda: used_by.begin(hostcall, abi.IoWrite(wrong, b"x"))) == INVALID  # noqa: B023
    assert (await guest.read(accepted.reader)).startswith(b"GET /")
    await guest.write(accepted.writer, answer(b"fine"))
    await receive_until(stream, b"fine")
    await guest.do(c.CHANNEL_STRONG_WRITE, abi.IoWrite(writer, b"frame"))
    assert (await guest.do(c.CHANNEL_STRONG_READ, abi.IoRead(reader, 9))).payload == b"frame"


async def test_channels_of_no_listener_are_not_deleted(office: Office) -> None:
    """`channel::delete` is for channels: a net resource stays."""
    guest = office.guest()
    listener = guest.bind()
    accepted, _ = await accepted_request(office, guest, listener)
    for slot in (listener, accepted.reader, accepted.writer, server_settings(guest)):
        assert await failure(lambda: guest.begin(c.CHANNEL_DELETE, slot)) == INVALID  # noqa: B023
    assert await guest.read(accepted.reader)


async def test_net_16_one_read_at_a_time(office: Office) -> None:
    pair = await quic_pair(office)
    first = pair.server.begin(c.NET_QUIC_READ, abi.IoRead(pair.far_reader, 9))
    again = abi.IoRead(pair.far_reader, 9)
    assert await failure(lambda: pair.server.begin(c.NET_QUIC_READ, again)) == INVALID
    await pair.client.write(pair.writer, b"x", c.NET_QUIC_WRITE)
    assert (await done(first)).payload == b"x"


async def test_net_18_one_write_at_a_time(office: Office) -> None:
    """Also a write whose future was dropped goes on, and comes before the next."""
    pair = await quic_pair(office)
    large = bytes(600_000)
    first = pair.client.begin(c.NET_QUIC_WRITE, abi.IoWrite(pair.writer, large))
    assert isinstance(first, Future)
    assert not first.done
    second = abi.IoWrite(pair.writer, b"second")
    assert await failure(lambda: pair.client.begin(c.NET_QUIC_WRITE, second)) == INVALID
    first.cancel()
    assert await failure(lambda: pair.client.begin(c.NET_QUIC_WRITE, second)) == INVALID
    received = b""
    while len(received) < len(large):
        received += await pair.server.read(pair.far_reader, 65536, c.NET_QUIC_READ)
    assert received == large
    await pair.client.write(pair.writer, b"second", c.NET_QUIC_WRITE)
    assert await pair.server.read(pair.far_reader, 65536, c.NET_QUIC_READ) == b"second"


async def test_net_174_an_ended_guest_resets_and_one_that_lets_go_finishes(office: Office) -> None:
    """Why a half has gone reaches the peer: its slot was freed, or its process has ended."""
    ended, freed = await quic_pair(office), await quic_pair(office)
    await freed.client.write(freed.writer, b"the rest", c.NET_QUIC_WRITE)
    freed.client.detach(freed.reader)
    freed.client.detach(freed.writer)
    assert await freed.server.read(freed.far_reader, 99, c.NET_QUIC_READ) == b"the rest"
    assert await freed.server.read(freed.far_reader, 99, c.NET_QUIC_READ) == b""
    ended.client.begin(c.CHANNEL_SHARE, ended.writer)
    ended.client.detach(ended.writer)  # which nobody else attaches
    ended.client.end()
    text = await failure(ended.server.begin(c.NET_QUIC_READ, abi.IoRead(ended.far_reader, 99)))
    assert text == "internal error: read failed: connection lost"


async def test_bytes_move_to_whom_a_half_is_sent(office: Office) -> None:
    """The receiver of a message with a half in it has the connection, and the bytes that are held for it."""
    first, second = office.guest(), office.guest()
    accepted, _ = await accepted_request(office, first, first.bind())
    resource = first.caller.slots.take(accepted.reader)
    held = first.caller.account.held
    assert held > 0
    office.kernel.registry.own(resource, None)
    assert first.caller.account.held == held, "while it is on its way"
    office.kernel.registry.own(resource, second.caller.id)
    slot = second.caller.slots.insert(resource)
    accounts = first.caller.account, second.caller.account
    assert [account.held for account in accounts] == [0, held]
    assert [len(account._halves) for account in accounts] == [1, 1], "the writer stays where it is"
    assert (await second.read(slot)).startswith(b"GET /")
    assert second.caller.account.held == 0


async def test_net_19_accepts_are_served_in_their_order(office: Office) -> None:
    guest = office.guest()
    listener = guest.bind()
    accepts = [guest.accept(listener) for _ in range(3)]
    for path in ("/1", "/2", "/3"):
        stream = await office.dial()
        await stream.send_all(get(path))
        await done(accepts[int(path[1:]) - 1])
    paths = [(await guest.read((await done(accept)).reader)).split()[1] for accept in accepts]
    assert paths == [b"/1", b"/2", b"/3"]


async def test_net_20_a_connection_has_two_slots_the_reader_first(office: Office) -> None:
    guest = office.guest()
    used = channel(guest)
    listener = guest.bind()
    accepted, _ = await accepted_request(office, guest, listener)
    assert (listener, accepted.reader, accepted.writer) == (used + 1, used + 2, used + 3)


async def test_net_22_halves_are_handed_over_by_shared_handles(office: Office) -> None:
    """Reading and writing needs the capability for that, and nothing of the listener's."""
    first = office.guest()
    second = office.guest((Capability.NET_HTTP_READ, Capability.NET_HTTP_WRITE, Capability.CHANNEL_LIFECYCLE))
    accepted, stream = await accepted_request(office, first, first.bind(), "/for-b")
    reader, writer = (
        second.begin(c.CHANNEL_ATTACH, first.begin(c.CHANNEL_SHARE, slot))
        for slot in (accepted.reader, accepted.writer)
    )
    assert (await second.read(reader)).startswith(b"GET /for-b ")
    await second.write(writer, answer(b"from b"))
    await receive_until(stream, b"from b")


async def test_net_24_an_attached_half_needs_the_capability(office: Office) -> None:
    first, second = office.guest(), office.guest(EVERYTHING - {Capability.NET_HTTP_READ})
    accepted, _ = await accepted_request(office, first, first.bind())
    reader = second.begin(c.CHANNEL_ATTACH, first.begin(c.CHANNEL_SHARE, accepted.reader))
    assert await failure(lambda: second.begin(c.NET_HTTP_READ, abi.IoRead(reader, 9))) == DENIED


async def test_net_25_a_port_is_free_when_its_last_handle_goes(office: Office) -> None:
    guest = office.guest()
    listener = guest.bind()
    guest.detach(listener)
    with pytest.raises(ConnectionRefusedError):
        await office.dial()
    assert guest.bind("elsewhere") == listener


async def test_net_26_a_read_of_nothing_takes_nothing(office: Office) -> None:
    guest = office.guest()
    accepted, _ = await accepted_request(office, guest, guest.bind())
    assert await guest.read(accepted.reader, 0) == b""
    assert (await guest.read(accepted.reader, 100)).startswith(b"GET / HTTP/1.1\r\n")


async def test_net_27_a_write_of_nothing_sends_nothing(office: Office) -> None:
    guest = office.guest()
    accepted, stream = await accepted_request(office, guest, guest.bind())
    assert await guest.write(accepted.writer, b"") == 0
    outward = await done(guest.connect())
    assert await guest.write(outward.writer, b"") == 0
    pair = await quic_pair(office)
    assert await pair.client.write(pair.writer, b"", c.NET_QUIC_WRITE) == 0
    await pair.client.write(pair.writer, b"x", c.NET_QUIC_WRITE)
    assert await pair.server.read(pair.far_reader, 9, c.NET_QUIC_READ) == b"x"
    await guest.write(accepted.writer, answer(b"fine"))
    assert b"200 OK" in await receive_until(stream, b"fine")


@pytest.mark.parametrize("domain", ["a b", "a/b", "a:80", "user@a", "a." * 127, "bücher.example"])
async def test_net_29_a_domain_has_the_form_of_one(office: Office, domain: str) -> None:
    guest = office.guest()
    for protocol in (HTTP, HTTPS, QUIC):
        assert await failure(lambda: guest.bind(domain, protocol=protocol)) == INVALID  # noqa: B023
        assert await failure(lambda: guest.connect(domain, protocol=protocol)) == INVALID  # noqa: B023


@pytest.mark.parametrize("protocol", [HTTP, HTTPS, QUIC])
async def test_net_30_port_0_is_none(office: Office, protocol: abi.NetProtocol) -> None:
    guest = office.guest()
    assert await failure(lambda: guest.bind(port=0, protocol=protocol)) == INVALID
    assert await failure(lambda: guest.connect(port=0, protocol=protocol)) == INVALID


async def test_chan_55_frames_of_network_readers_have_writer_id_0(office: Office) -> None:
    guest = office.guest()
    accepted, _ = await accepted_request(office, guest, guest.bind())
    frame = await guest.do(c.NET_HTTP_READ, abi.IoRead(accepted.reader, 9))
    assert (frame.writer_id, frame.payload) == (0, b"GET / HTT")
