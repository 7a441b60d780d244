"""A TCP port between its peers and its protocols: caps, handshakes, and failures of its tasks."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trustme
from trio.abc import Clock

from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.net import http1_server
from enfilade.hostcalls.net.memory_sockets import MemorySockets, MemoryStream
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.tasks import Tasks
from enfilade.hostcalls.net.tcp_port import HTTP_1, HTTP_2, protocol_of
from tests.hostcalls.net.offices import HTTPS, Office, answer, get, receive_all, receive_until


@asynccontextmanager
async def opened(settings: NetworkSettings, **changes: object) -> AsyncIterator[Office]:
    """An office with some settings changed."""
    async with trio.open_nursery() as tasks:
        office = Office(MemorySockets(), attrs.evolve(settings, **changes), tasks)
        yield office
        office.close()


async def is_closed(stream: MemoryStream) -> bool:
    """Tell whether the host closes a connection within a second."""
    with trio.move_on_after(1):
        try:
            return not await stream.receive_some()
        except trio.BrokenResourceError:
            return True
    return False


def client_context(authority: trustme.CA, *alpn: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(list(alpn))
    return context


async def test_connections_from_one_address_are_bounded(
    settings: NetworkSettings, autojump_clock: Clock
) -> None:
    """Peers elsewhere are served, and so is the next one when a connection has ended."""
    async with opened(settings, connections_from_address=2, connections=4) as office:
        assert isinstance(office.sockets, MemorySockets)
        guest = office.guest()
        listener = guest.bind()
        near = [await office.dial() for _ in range(3)]
        assert [await is_closed(stream) for stream in near] == [False, False, True]
        far = [await office.sockets.connect_from(f"192.0.2.{host}", "127.0.0.1", 8080) for host in (1, 2, 3)]
        assert [await is_closed(stream) for stream in far] == [False, False, True]
        await near[0].aclose()
        await trio.sleep(1)
        late = await office.dial()
        await late.send_all(get())
        await guest.serve(listener, answer(b"served"))
        assert b"200 OK" in await receive_until(late, b"served")


async def test_a_handshake_has_a_time_limit(settings: NetworkSettings, autojump_clock: Clock) -> None:
    async with opened(settings) as office:
        office.guest().bind(protocol=HTTPS)
        silent, slow, plain = [await office.dial() for _ in range(3)]
        await slow.send_all(b"\x16\x03\x01")
        await plain.send_all(get())
        begun = trio.current_time()
        assert await is_closed(plain)
        assert trio.current_time() - begun < 2
        for stream in (silent, slow):
            assert await receive_all(stream) == b""
        assert trio.current_time() - begun == pytest.approx(10, abs=1)


async def test_handshakes_at_one_time_are_bounded(
    settings: NetworkSettings, autojump_clock: Clock, authority: trustme.CA
) -> None:
    """A peer behind silent ones waits for its turn, and is served."""
    async with opened(settings, tls_handshakes=2, tls_handshake_timeout=10) as office:
        guest = office.guest()
        listener = guest.bind(protocol=HTTPS)
        for _ in range(2):
            await office.dial()
        await trio.sleep(5)
        stream = trio.SSLStream(await office.dial(), client_context(authority), server_hostname="localhost")
        await stream.send_all(get())
        assert trio.current_time() > 5
        await guest.serve(listener, answer(b"served"))
        assert b"200 OK" in await receive_until(stream, b"served")


async def test_the_wait_for_its_turn_is_no_part_of_a_handshake(
    settings: NetworkSettings, autojump_clock: Clock, authority: trustme.CA
) -> None:
    """Silent peers hold up the others for longer than a handshake may take; those are served all the same."""
    async with opened(settings, tls_handshakes=2, tls_handshake_timeout=10) as office:
        guest = office.guest()
        listener = guest.bind(protocol=HTTPS)
        begun = trio.current_time()
        silent = [await office.dial() for _ in range(6)]
        await trio.sleep(1)
        stream = trio.SSLStream(await office.dial(), client_context(authority), server_hostname="localhost")
        await stream.send_all(get())
        assert trio.current_time() - begun == pytest.approx(30, abs=1)
        await guest.serve(listener, answer(b"served"))
        assert b"200 OK" in await receive_until(stream, b"served")
        assert [await receive_all(each) for each in silent] == [b""] * 6


async def test_a_closed_listener_ends_handshakes(settings: NetworkSettings, autojump_clock: Clock) -> None:
    async with opened(settings) as office:
        guest = office.guest()
        listener = guest.bind(protocol=HTTPS)
        silent = await office.dial()
        await trio.sleep(1)
        guest.detach(listener)
        assert await is_closed(silent)


@pytest.mark.parametrize(
    ("chosen", "alpn", "protocol"),
    [
        ("h2", None, HTTP_2),
        ("http/1.1", None, HTTP_1),
        (None, None, HTTP_1),
        (None, (), HTTP_1),
        (None, ("h2", "http/1.1"), HTTP_1),
        (None, ("h2",), None),
        ("x", ("x",), None),
    ],
)
def test_protocols_are_chosen_by_alpn(
    chosen: str | None, alpn: tuple[str, ...] | None, protocol: str | None
) -> None:
    assert protocol_of(chosen, alpn) == protocol


async def test_no_protocol_in_common_ends_the_connection(
    settings: NetworkSettings, autojump_clock: Clock, authority: trustme.CA
) -> None:
    """A client that names none of the guest's protocols is closed after the handshake."""
    async with opened(settings) as office:
        guest = office.guest()
        bundle = abi.TlsServerBundle(office.certificate, office.key, None, ("h2",), False)
        created = guest.begin(c.NET_TLS_SERVER_CONFIG_CREATE, abi.NetTlsServerConfig(bundle))
        guest.bind(protocol=HTTPS, tls=created.handle)
        context = client_context(authority, "http/1.1")
        stream = trio.SSLStream(await office.dial(), context, server_hostname="localhost")
        await stream.do_handshake()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()


async def test_a_task_that_fails_ends_its_connection_alone(
    settings: NetworkSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, with the label of the guest, and the next peer is served."""
    serve, failures = http1_server.serve, 1

    async def fail_once(*args: object, **options: object) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise ZeroDivisionError
        await serve(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(http1_server, "serve", fail_once)
    async with opened(settings) as office:
        guest = office.guest()
        guest.caller.label = "the guest's label"
        listener = guest.bind()
        assert await is_closed(await office.dial())
        stream = await office.dial()
        await stream.send_all(get())
        await guest.serve(listener, answer(b"served"))
        await receive_until(stream, b"served")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "the guest's label" in record.message
    assert record.name == "enfilade.hostcalls.net"


async def test_tasks_begin_when_the_runtime_does() -> None:
    begun: list[str] = []

    async def begin() -> None:
        begun.append("early")

    tasks = Tasks()
    tasks.start(begin, "guest")
    assert not begun
    with pytest.raises(RuntimeError, match=r"Runtime\.run"):
        _ = tasks.nursery
    async with trio.open_nursery() as nursery:
        tasks.open(nursery)
    assert begun == ["early"]
    tasks.close()
    tasks.start(begin, "guest")
    assert begun == ["early"]
