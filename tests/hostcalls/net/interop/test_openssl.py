"""OpenSSL's own client and server, and guests' HTTPS, over the loopback."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.sockets import SystemSockets
from tests.hostcalls.net.certificates import CLIENT, SERVER, Made, make
from tests.hostcalls.net.offices import HTTPS, Clerk, Office, answer, done, failure
from tests.ports import free_port

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

CA = make(is_ca=True, common_name="authority")
HERE = make("localhost", "127.0.0.1", issuer=CA)
ELSEWHERE = make("elsewhere.test", issuer=CA)
FRIEND = make(issuer=CA, usages=[CLIENT])
NO_FRIEND = make(issuer=CA, usages=[SERVER])
REQUEST = b"GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    """Guests on the system's network; their host has a certificate for `localhost`."""
    settings = NetworkSettings(certificate=HERE.chain, key=HERE.key_text(), roots=CA.root)
    async with trio.open_nursery() as tasks:
        opened = Office(SystemSockets(), settings, tasks)
        yield opened
        opened.close()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with certificates, each with its key in one file, and the authority's."""
    made = {"here": HERE, "elsewhere": ELSEWHERE, "friend": FRIEND, "no-friend": NO_FRIEND}
    for name, each in made.items():
        (tmp_path / name).write_bytes(each.chain + each.key_text())
    (tmp_path / "ca").write_bytes(CA.root)
    return tmp_path


async def s_client(port: int, files: Path, *options: str) -> str:
    """What a guest's server says to OpenSSL's client, and what the client says to it."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost"]
    command += ["-CAfile", str(files / "ca"), "-verify_return_error", "-ign_eof", *options]
    request = b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with trio.fail_after(30):
        result = await trio.run_process(
            command, stdin=request, capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
    return result.stdout.decode(errors="replace")


@pytest.mark.parametrize(
    ("required", "options", "works"),
    [
        (False, [], True),
        (False, ["-alpn", "http/1.1"], True),
        (False, ["-alpn", "x"], True),  # nothing in common: HTTP/1.1, as if nothing had been offered
        (False, ["-tls1_2"], False),
        (False, ["-verify_hostname", "elsewhere.test"], False),
        (True, ["-cert", "friend"], True),
        (True, ["-cert", "no-friend"], False),
        (True, [], False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
async def test_its_client(
    office: Office, files: Path, required: bool, options: list[str], works: bool
) -> None:
    guest = office.guest()
    tls = None
    if required:
        bundle = abi.TlsServerBundle(HERE.chain, HERE.key_text(), CA.root, None, True)
        tls = guest.begin(c.NET_TLS_SERVER_CONFIG_CREATE, abi.NetTlsServerConfig(bundle)).handle
    port = free_port()
    slot = guest.bind("localhost", port, HTTPS, tls)
    options = [str(files / each) if each.endswith("friend") else each for each in options]
    output = ""
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            request = await guest.serve(slot, answer(b"good day"))
            assert request.startswith(b"GET /x HTTP/1.1\r\n")

        output = await s_client(port, files, *options)
        nursery.cancel_scope.cancel()
    assert ("good day" in output) == works, output


@asynccontextmanager
async def s_server(files: Path, *options: str, certificate: str = "here") -> AsyncIterator[int]:
    """OpenSSL's server, which describes each connection on a page; its port."""
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(files / certificate)]
    command += ["-key", str(files / certificate), "-www", *options]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    try:
        with trio.fail_after(30):
            while b"ACCEPT" not in await process.stdout.receive_some():
                pass
        yield port
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


def settings(clerk: Clerk, made: Made | None = None) -> int:
    """TLS settings of a guest's client; the slot."""
    chain, key = (None, None) if made is None else (made.chain, made.key_text())
    bundle = abi.TlsClientBundle(CA.root, chain, key, None)
    return int(clerk.begin(c.NET_TLS_CLIENT_CONFIG_CREATE, abi.NetTlsClientConfig(bundle)).handle)


async def ask(clerk: Clerk, port: int, domain: str = "localhost", made: Made | None = None) -> str:
    """What OpenSSL's server says to a guest."""
    connected = await done(clerk.connect(domain, port, HTTPS, settings(clerk, made)))
    await clerk.write(connected.writer, REQUEST.replace(b"localhost", domain.encode()))
    return (await clerk.read(connected.reader)).decode()


async def test_its_server(office: Office, files: Path) -> None:
    guest = office.guest()
    async with s_server(files) as port:
        page = await ask(guest, port)
        assert page.startswith("HTTP/1.1 200 OK\r\n")
        assert "TLSv1.3" in page
        assert "HTTP/1.1 200" in await ask(guest, port, "127.0.0.1")
        wrong = guest.connect("127.0.0.9", port, HTTPS, settings(guest))
        assert (await failure(wrong)).startswith(
            "internal error: failed to connect: "
        )  # it listens on one only


@pytest.mark.parametrize(
    ("options", "certificate", "text"),
    [
        (["-tls1_2"], "here", "alert protocol version"),
        ([], "elsewhere", "invalid peer certificate: "),
        ([], "friend", "invalid peer certificate: "),
    ],
)
async def test_its_server_is_refused(
    office: Office, files: Path, options: list[str], certificate: str, text: str
) -> None:
    guest = office.guest()
    async with s_server(files, *options, certificate=certificate) as port:
        refusal = await failure(guest.connect("localhost", port, HTTPS, settings(guest)))
        assert refusal.startswith("internal error: TLS handshake failed: ")
        assert text in refusal


async def test_its_server_wants_a_certificate(office: Office, files: Path) -> None:
    guest = office.guest()
    async with s_server(files, "-Verify", "1", "-verify_return_error", "-CAfile", str(files / "ca")) as port:
        assert "HTTP/1.1 200 OK" in await ask(guest, port, made=FRIEND)
        connected = await done(guest.connect("localhost", port, HTTPS, settings(guest)))
        refusal = await failure(lambda: guest.begin(c.NET_HTTP_WRITE, abi.IoWrite(connected.writer, REQUEST)))
        assert refusal.startswith("internal error: HTTP connection failed: ")
