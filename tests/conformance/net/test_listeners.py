"""Network conformance: binding and sharing of ports, and what becomes of accepts."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing
from trio.abc import Clock

from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.net.memory_sockets import MemorySockets
from tests.hostcalls.desk import INVALID
from tests.hostcalls.net.offices import HTTPS, PORT, QUIC, Clerk, Office, done, failure, get

IN_USE = "Address already in use (os error 98)"


def server_settings(guest: Clerk, office: Office, **changes: object) -> int:
    """Server settings of the office's own certificate, with some changes; the slot."""
    own = abi.TlsServerBundle(office.certificate, office.key, None, None, False)
    bundle = attrs.evolve(own, **changes)
    return int(guest.begin(c.NET_TLS_SERVER_CONFIG_CREATE, abi.NetTlsServerConfig(bundle)).handle)


async def test_net_89_a_port_bound_twice_has_one_queue(office: Office) -> None:
    """Each request goes to one accept, whichever handle it is made on."""
    guest = office.guest()
    first, second = guest.bind("localhost"), guest.bind("LOCALHOST")
    assert first != second
    accepts = [guest.accept(first), guest.accept(second)]
    for path in ("/1", "/2"):
        stream = await office.dial()
        await stream.send_all(get(path))
    paths = [(await guest.read((await done(accept)).reader)).split()[1] for accept in accepts]
    assert sorted(paths) == [b"/1", b"/2"]


async def test_a_port_stays_until_its_last_handle_goes(office: Office) -> None:
    first, second = office.guest(), office.guest()
    handle, other = first.bind(), second.bind()
    accepting = second.accept(other)
    first.detach(handle)
    first.end()
    stream = await office.dial()
    await stream.send_all(get("/still"))
    accepted = await done(accepting)
    assert b"/still" in await second.read(accepted.reader)
    await (await office.dial()).send_all(get("/queued"))
    await trio.testing.wait_all_tasks_blocked()
    assert second.caller.account.held > 0, "what waits counts for who has the port now"
    assert first.caller.account.held == 0
    second.detach(other)
    with pytest.raises(ConnectionRefusedError):
        await office.dial()


async def test_net_90_a_port_is_shared_by_equal_listeners_alone(office: Office) -> None:
    guest = office.guest()
    guest.bind()
    assert await failure(lambda: guest.bind("elsewhere")) == INVALID
    assert await failure(lambda: guest.bind(protocol=HTTPS)) == INVALID
    guest.bind(port=8443, protocol=HTTPS, tls=server_settings(guest, office))
    other = server_settings(guest, office, alpn=("http/1.1",))
    assert await failure(lambda: guest.bind(port=8443, protocol=HTTPS, tls=other)) == INVALID
    guest.bind(port=8443, protocol=HTTPS, tls=server_settings(guest, office))


async def test_net_91_a_port_of_another_program_is_taken(office: Office) -> None:
    assert isinstance(office.sockets, MemorySockets)
    office.sockets.listen("127.0.0.1", PORT)
    office.sockets.open_datagrams("127.0.0.1", PORT)
    guest = office.guest()
    assert await failure(guest.bind) == f"internal error: failed to bind listener: {IN_USE}"
    text = await failure(lambda: guest.bind(protocol=QUIC))
    assert text == f"internal error: failed to start listener: {IN_USE}"
    assert guest.caller.account.listeners == 0


async def test_net_93_a_dropped_accept_takes_nothing(office: Office) -> None:
    guest = office.guest()
    listener = guest.bind()
    guest.accept(listener).cancel()
    stream = await office.dial()
    await stream.send_all(get("/kept"))
    accepted = await done(guest.accept(listener))
    assert (accepted.reader, accepted.writer) == (listener + 1, listener + 2)
    assert b"/kept" in await guest.read(accepted.reader)


@pytest.mark.parametrize(("protocol", "noun"), [(abi.NetProtocol.HTTP, "request"), (QUIC, "connection")])
async def test_net_95_accepts_end_with_their_listener(
    office: Office, protocol: abi.NetProtocol, noun: str
) -> None:
    guest = office.guest()
    listener = guest.bind(protocol=protocol)
    accepting = guest.accept(listener, c.NET_QUIC_ACCEPT if protocol is QUIC else c.NET_HTTP_ACCEPT)
    guest.detach(listener)
    assert await failure(accepting) == f"internal error: listener closed before any {noun} arrived"


async def test_net_158_domains_share_a_quic_port_with_equal_settings(office: Office) -> None:
    guest = office.guest()
    first = guest.bind(protocol=QUIC, tls=server_settings(guest, office))
    assert guest.bind(protocol=QUIC, tls=server_settings(guest, office)) != first
    alpn = server_settings(guest, office, alpn=("x",))
    assert await failure(lambda: guest.bind(protocol=QUIC, tls=alpn)) == INVALID
    client_ca = server_settings(guest, office, client_ca_pem=office.certificate)
    assert await failure(lambda: guest.bind(protocol=QUIC, tls=client_ca)) == INVALID


async def test_net_111_nobody_listens(office: Office) -> None:
    text = await failure(office.guest().connect())
    assert text == "internal error: failed to connect: Connection refused (os error 111)"


async def test_net_121_nobody_answers(office: Office, autojump_clock: Clock) -> None:
    assert isinstance(office.sockets, MemorySockets)
    office.sockets.silent = frozenset({"127.0.0.1", "::1"})
    begun = trio.current_time()
    text = await failure(office.guest().connect())
    assert text == "internal error: failed to connect: Connection timed out (os error 110)"
    assert trio.current_time() - begun == pytest.approx(30, abs=1)


@pytest.mark.parametrize("protocol", [abi.NetProtocol.HTTP, HTTPS, QUIC])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13, 21])
async def test_a_dropped_connect_closes_what_it_has_opened(
    office: Office, autojump_clock: Clock, protocol: abi.NetProtocol, steps: int
) -> None:
    """Wherever it was at that time."""
    server, guest = office.guest(), office.guest()
    server.bind(protocol=protocol)
    await trio.testing.wait_all_tasks_blocked()
    tasks = len(office.nursery.child_tasks)
    connecting = guest.connect(protocol=protocol)
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    connecting.cancel()
    for slot in [slot for slot, _ in guest.caller.slots]:
        guest.detach(slot)  # it was connected before
    await trio.sleep(10)
    assert len(office.nursery.child_tasks) == tasks
    account = guest.caller.account
    assert (account.connecting, account.held, len(account._halves)) == (0, 0, 0)


@pytest.mark.parametrize("protocol", [abi.NetProtocol.HTTP, QUIC])
async def test_a_connection_for_which_there_are_no_slots_is_closed(
    office: Office, autojump_clock: Clock, protocol: abi.NetProtocol
) -> None:
    server, guest = office.guest(), office.guest(resources=2)
    server.bind(protocol=protocol)
    await trio.testing.wait_all_tasks_blocked()
    tasks = len(office.nursery.child_tasks)
    connecting = guest.connect(protocol=protocol)
    guest.begin(c.CHANNEL_CREATE, abi.ChannelCreate(64, abi.ChannelBackpressure.PARK))
    assert await failure(connecting) == INVALID
    await trio.sleep(10)
    assert len(office.nursery.child_tasks) == tasks
    assert (guest.caller.account.connecting, guest.caller.account.held) == (0, 0)


async def test_a_dropped_connect_waits_for_nobody(office: Office, autojump_clock: Clock) -> None:
    assert isinstance(office.sockets, MemorySockets)
    office.sockets.silent = frozenset({"127.0.0.1", "::1"})
    guest = office.guest()
    for protocol in (abi.NetProtocol.HTTP, HTTPS, QUIC):
        connecting = guest.connect(protocol=protocol)
        await trio.sleep(1)
        connecting.cancel()
        await trio.sleep(1)
        assert not office.nursery.child_tasks
    assert guest.caller.account.connecting == 0
