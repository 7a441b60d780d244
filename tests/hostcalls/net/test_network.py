"""A network in memory: listeners and connections of guests, from bind to the end of everything."""

from __future__ import annotations

from tests.hostcalls.net.offices import Office, answer, done, get, receive_until


async def test_a_guest_answers_a_request(office: Office) -> None:
    guest = office.guest()
    listener = guest.bind()
    stream = await office.dial()
    await stream.send_all(get("/hello"))
    accepted = await done(guest.accept(listener))
    assert (await guest.read(accepted.reader)).startswith(b"GET /hello HTTP/1.1\r\n")
    await guest.write(accepted.writer, answer(b"good day"))
    assert b"200 OK" in await receive_until(stream, b"good day")
