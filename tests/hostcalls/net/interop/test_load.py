"""A thousand connections at one time."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator

import pytest
import trio

from enfilade.actors import Guest, open_node
from enfilade.actors.guests import guests_of, open_guests
from enfilade.hostcalls import NetworkSettings
from tests.hostcalls.net.web_guests import CAPABILITIES, reach, web_server
from tests.ports import free_port

CONNECTIONS, REQUESTS = 1000, 10_000


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Room for the sockets of host and peers, if the system allows that."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 4 * CONNECTIONS:
        pytest.skip(f"needs {4 * CONNECTIONS} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4 * CONNECTIONS, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("h2load") is None, reason="needs h2load")
@pytest.mark.usefixtures("descriptors")
async def test_a_guest_that_frees_nothing_serves_a_thousand_connections() -> None:
    """Every request is answered, and the registry has no more in it than the guest may have slots."""
    port = free_port()
    settings = NetworkSettings(
        connections=2 * CONNECTIONS, connections_from_address=2 * CONNECTIONS, waiting_requests=CONNECTIONS
    )
    async with open_node("web") as node:
        registry = open_guests(node, network=settings).kernel.registry
        await node.spawn(Guest(web_server(port, b"fine", frees=False), capabilities=CAPABILITIES))
        await (await reach(port)).aclose()
        load = f"h2load --h1 -n {REQUESTS} -c {CONNECTIONS} http://localhost:{port}/"
        result = await trio.run_process(load.split(), capture_stdout=True)
        assert f"{REQUESTS} succeeded, 0 failed" in result.stdout.decode()
        assert len(registry) < 1100
        assert guests_of(node).kernel.registry is registry
