"""Guests' HTTP servers under many clients at one time. A long run, on a quiet machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import trio
import trustme

from enfilade.actors import Guest, open_node
from enfilade.actors.guests import open_guests
from enfilade.hostcalls.abi import NetProtocol
from enfilade.hostcalls.net.settings import NetworkSettings
from tests.hostcalls.net.interop.programs import needs, run
from tests.hostcalls.net.offices import HTTP, HTTPS
from tests.hostcalls.net.web_guests import CAPABILITIES, reach, web_server
from tests.ports import free_port


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def roomy(certificate: trustme.LeafCert) -> NetworkSettings:
    """Settings with the usual limits of time, and places for all the clients of a test."""
    return NetworkSettings(
        certificate=b"".join(blob.bytes() for blob in certificate.cert_chain_pems),
        key=certificate.private_key_pem.bytes(),
        connections=2000,
        connections_from_address=2000,
        accept_queue=2000,
    )


@needs("h2load")
@pytest.mark.soak
@pytest.mark.parametrize(
    ("protocol", "connections", "requests", "streams"),
    [(HTTP, 1000, 10_000, 1), (HTTPS, 1000, 3000, 1), (HTTPS, 50, 10_000, 32)],
    ids=["1000 connections", "1000 secure connections", "1600 streams"],
)
async def test_many_clients_at_one_time(
    certificate: trustme.LeafCert, protocol: NetProtocol, connections: int, requests: int, streams: int
) -> None:
    """Everybody is answered, and afterwards the node has no descriptor and hardly a byte more."""
    port = free_port()
    async with open_node("web") as node:
        open_guests(node, network=roomy(certificate))
        await node.spawn(Guest(web_server(port, b"good day\n", protocol=protocol), capabilities=CAPABILITIES))
        scheme = ["--h1", "http"] if protocol is HTTP else ["https"]
        command = ["h2load", "-m", str(streams), *scheme[:-1], f"{scheme[-1]}://localhost:{port}/"]
        await run(*command, "-n", "200", "-c", "20")
        before = resident(), descriptors()
        output = await run(*command, "-n", str(requests), "-c", str(connections), seconds=250)
        assert re.search(rf"{requests} succeeded, 0 failed, 0 errored, 0 timeout", output), output
        with trio.fail_after(10):
            while descriptors() > before[1]:  # noqa: ASYNC110
                await trio.sleep(0.1)
        assert resident() - before[0] < 50_000_000


@needs("h2load")
@needs("curl")
@pytest.mark.soak
async def test_programs_of_all_kinds_share_one_secure_port(
    certificate: trustme.LeafCert, authority: trustme.CA, tmp_path: Path
) -> None:
    """A thousand handshakes begin at one time: HTTP/2 and HTTP/1.1 of h2load, and curl in parallel."""
    port = free_port()
    url = f"https://localhost:{port}/"
    roots = tmp_path / "roots.pem"
    roots.write_bytes(authority.cert_pem.bytes())
    answers: dict[str, str] = {}

    async def ask(name: str, *command: str) -> None:
        answers[name] = await run(*command, seconds=250)

    async with open_node("web") as node:
        open_guests(node, network=roomy(certificate))
        server = web_server(port, b"good day\n", protocol=HTTPS)
        await node.spawn(Guest(server, capabilities=CAPABILITIES))
        curl = [
            "curl",
            "--silent",
            "--show-error",
            "--parallel",
            "--parallel-immediate",
            "--parallel-max",
            "300",
        ]
        every = [f"{url}{number}" for number in range(200)]
        with trio.fail_after(300):
            await (await reach(port)).aclose()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, "2", "h2load", "-n", "800", "-c", "400", url)
                nursery.start_soon(ask, "1.1", "h2load", "--h1", "-n", "800", "-c", "400", url)
                nursery.start_soon(ask, "curl", *curl, "--http1.1", "--cacert", str(roots), *every)
        for name in ("2", "1.1"):
            assert "800 succeeded, 0 failed, 0 errored, 0 timeout" in answers[name], answers[name]
        assert answers["curl"] == "good day\n" * 200
