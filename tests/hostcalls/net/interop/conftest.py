"""Networks of the system, for guests that are asked by other programs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trustme

from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.sockets import SystemSockets
from tests.hostcalls.net.offices import Office


@pytest.fixture
async def system(certificate: trustme.LeafCert) -> AsyncIterator[Office]:
    """A network of real sockets, whose host has a certificate for `localhost`."""
    key = certificate.private_key_pem.bytes()
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    async with trio.open_nursery() as tasks:
        opened = Office(SystemSockets(), NetworkSettings(certificate=chain, key=key), tasks)
        yield opened
        opened.close()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    """A file with the certificate of the authority that programs shall trust."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)
