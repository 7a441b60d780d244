"""A network in memory: listeners and connections of guests, from bind to the end of everything."""

from __future__ import annotations

from tests.hostcalls.net.offices import Office, answer, done, get, receive_all, receive_until


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
