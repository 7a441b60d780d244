"""aioquic's own client and server, each in a process of its own, and guests' QUIC, over the loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trustme

from enfilade.hostcalls.abi.errors import HostcallError
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.net.account import Account
from enfilade.hostcalls.net.gate import Gate
from enfilade.hostcalls.net.listener import Listener
from enfilade.hostcalls.net.quic_endpoint import Endpoint, connect, site_of, visit_of
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.sockets import SystemSockets
from enfilade.hostcalls.net.tls import Credentials
from enfilade.hostcalls.net.tls_settings import ClientSettings, ServerSettings
from enfilade.hostcalls.resources.registry import Departure
from tests.hostcalls.net.quic_world import get, pem, read_all, root

PEER = Path(__file__).with_name("aioquic_peer.py")


@attrs.frozen
class Files:
    """Files for another program."""

    ca: str
    certificate: str
    key: str


@pytest.fixture
def files(authority: trustme.CA, certificate: trustme.LeafCert, tmp_path: Path) -> Files:
    """The test's certificate, its key, and who has signed it."""
    chain, key = pem(certificate)
    for name, content in (("ca", root(authority)), ("certificate", chain), ("key", key)):
        (tmp_path / name).write_bytes(content)
    return Files(*(str(tmp_path / name) for name in ("ca", "certificate", "key")))


@asynccontextmanager
async def listening(nursery: trio.Nursery, settings: ServerSettings) -> AsyncIterator[tuple[int, Listener]]:
    """A QUIC port of ours; its number and its listener."""
    socket = SystemSockets().open_datagrams("127.0.0.1", 0)
    gate = Gate(connections=100, from_address=100)
    endpoint = Endpoint(socket, NetworkSettings(), gate, on_idle=lambda: None)
    listener = Listener("localhost", Account(Limits()), places=64, noun="connection")
    endpoint.bind(listener, site_of(Credentials(), settings, "localhost"))
    nursery.start_soon(endpoint.run)
    yield socket.address[1], listener
    endpoint.close()


async def ask(port: int, files: Files, alpn: tuple[str, ...], *, with_certificate: bool) -> str:
    """What aioquic's client prints; empty if it fails."""
    own = [files.certificate, files.key] if with_certificate else []
    command = [sys.executable, str(PEER), "connect", str(port), files.ca, ",".join(alpn) or "-", *own]
    with trio.fail_after(30):
        result = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    return result.stdout.decode().strip()


@pytest.mark.parametrize(("alpn", "with_certificate"), [((), False), (("x", "y"), True)])
async def test_its_client_asks_a_guest(
    files: Files,
    authority: trustme.CA,
    certificate: trustme.LeafCert,
    alpn: tuple[str, ...],
    with_certificate: bool,
) -> None:
    ca = root(authority) if with_certificate else None
    settings = ServerSettings(*pem(certificate), ca, alpn, with_certificate)
    answers: list[str] = []
    async with trio.open_nursery() as nursery, listening(nursery, settings) as (port, listener):
        async with trio.open_nursery() as asking:

            @asking.start_soon
            async def client() -> None:
                answers.append(await ask(port, files, alpn, with_certificate=with_certificate))

            with trio.fail_after(30):
                connection = await get(listener.accept(listener.account, lambda given, _: given))
                assert await read_all(connection) == b"hello"
                await get(connection.writer.write(b"good day"))
                connection.writer.release(Departure.RELEASED)
                connection.reader.release(Departure.RELEASED)
        assert answers == ["good day"]


@pytest.mark.parametrize(("alpn", "required"), [((), True), (("x",), False)])
async def test_its_client_is_refused(
    files: Files, authority: trustme.CA, certificate: trustme.LeafCert, alpn: tuple[str, ...], required: bool
) -> None:
    """Without a certificate, and without a protocol in common."""
    settings = ServerSettings(*pem(certificate), root(authority) if required else None, alpn, required)
    async with trio.open_nursery() as nursery, listening(nursery, settings) as (port, listener):
        accept = listener.accept(listener.account, lambda given, _: given)
        assert await ask(port, files, (), with_certificate=False) == ""
        assert not getattr(accept, "done", True)


@asynccontextmanager
async def its_server(files: Files, alpn: tuple[str, ...]) -> AsyncIterator[int]:
    """aioquic's server in a process; its port."""
    command = [sys.executable, str(PEER), "serve", files.certificate, files.key, ",".join(alpn) or "-"]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = b""
        with trio.fail_after(30):
            while not line.endswith(b"\n"):
                line += await process.stdout.receive_some()
        yield int(line)
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            with trio.move_on_after(10):
                await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()
            await process.stdout.aclose()


async def its_answer(
    port: int, authority: trustme.CA, alpn: tuple[str, ...], payload: bytes, nursery: trio.Nursery
) -> bytes:
    """What aioquic's server says to a guest's bytes."""
    visit = visit_of(Credentials(), ClientSettings(root(authority), alpn=alpn), "localhost")
    socket = SystemSockets().open_datagrams("0.0.0.0", 0)
    with trio.fail_after(60):
        connection = await connect(
            socket, ("127.0.0.1", port), visit, Account(Limits()), NetworkSettings(), nursery
        )
        assert connection.remote_addr == f"127.0.0.1:{port}"
        await get(connection.writer.write(payload))
        connection.writer.release(Departure.RELEASED)
        answer = await read_all(connection)
        connection.reader.release(Departure.RELEASED)
        return answer


async def test_a_guest_asks_its_server(files: Files, authority: trustme.CA) -> None:
    async with its_server(files, ()) as port, trio.open_nursery() as nursery:
        assert await its_answer(port, authority, (), b"how are you?", nursery) == b"HOW ARE YOU?"


async def test_a_guest_asks_its_server_for_a_protocol(files: Files, authority: trustme.CA) -> None:
    payload = b"how are you? " * 25_000  # more than a window
    async with its_server(files, ("x", "y")) as port, trio.open_nursery() as nursery:
        assert await its_answer(port, authority, ("y",), payload, nursery) == payload.upper()
        with pytest.raises(HostcallError, match="no application protocol"):
            await its_answer(port, authority, ("z",), b"x", nursery)
