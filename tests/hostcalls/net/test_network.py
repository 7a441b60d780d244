"""A network in memory: listeners and connections of guests, from bind to the end of everything."""

from __future__ import annotations

from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.drivers.net import CAPABILITIES
from tests.hostcalls.desk import Desk
from tests.hostcalls.net.offices import QUIC, Office, answer, done, get, receive_all, receive_until


async def test_a_guest_answers_a_request(office: Office) -> None:
    guest = office.guest()
    listener = guest.bind()
    stream = await office.dial()
    await stream.send_all(get("/hello"))
    accepted = await done(guest.accept(listener))
    assert (await guest.read(accepted.reader)).startswith(b"GET /hello HTTP/1.1\r\n")
    await guest.write(accepted.writer, answer(b"good day"))
    assert b"200 OK" in await receive_until(stream, b"good day")


async def test_a_server_that_frees_nothing_answers_any_number_of_requests(office: Office) -> None:
    """Halves whose exchange is over make room for the next (`Resource.spent`); the listener stays."""
    guest = office.guest(resources=16, connections=8)
    listener = guest.bind()
    for number in range(100):
        peer = await office.dial()
        await peer.send_all(get(f"/{number}", "localhost", "connection: close"))
        accepted = await done(guest.accept(listener))
        assert f"/{number} ".encode() in await guest.read(accepted.reader)
        assert await guest.read(accepted.reader) == b""
        await guest.write(accepted.writer, answer(b"%d" % number))
        assert (await receive_all(peer)).endswith(b"\r\n\r\n%d" % number)
        await peer.aclose()
    assert len(guest.caller.slots) <= 16


def test_the_libraries_are_imported_ahead_of_time() -> None:
    """A guest with a network capability waits for them, in a worker thread; others do not."""
    driver = Desk().kernel.network
    assert len(CAPABILITIES) == 12
    assert driver.is_ready(frozenset({Capability.TIME_READ}))
    assert not any(driver.is_ready(frozenset({capability})) for capability in CAPABILITIES)
    driver.import_libraries()
    assert driver.is_ready(CAPABILITIES)


async def test_listeners_are_bound_where_the_policy_says(office: Office) -> None:
    """The host is the same with and without a final dot; letters are compared in any case."""
    guest = office.guest()
    assert guest.bind("LocalHost") != guest.bind("localhost")
    assert guest.bind("localhost", 4433, QUIC) != guest.bind("LOCALHOST.", 4433, QUIC)
    stream = await office.dial()
    await stream.send_all(get(host="LOCALHOST:8080"))
    await done(guest.accept(0))
