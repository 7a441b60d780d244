"""Network conformance: what holds for all calls."""

from __future__ import annotations

from tests.hostcalls.net.offices import Office, done, get


async def test_chan_55_frames_of_network_readers_have_writer_id_0(office: Office) -> None:
    guest = office.guest()
    listener = guest.bind()
    stream = await office.dial()
    await stream.send_all(get())
    accepted = await done(guest.accept(listener))
    assert await guest.read(accepted.reader)  # which looks at the id
