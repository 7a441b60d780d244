"""What tests of the network share: accounts, and certificates made for the test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trustme

from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.net.account import Account
from enfilade.hostcalls.net.memory_sockets import MemorySockets
from enfilade.hostcalls.net.settings import NetworkSettings
from tests.hostcalls.net.offices import Office


@pytest.fixture
def account() -> Account:
    """The account of a guest with the usual limits."""
    return Account(Limits())


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority of the test's own."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    """A server's certificate for `localhost` and 127.0.0.1."""
    return authority.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="session")
def settings(authority: trustme.CA, certificate: trustme.LeafCert) -> NetworkSettings:
    """Settings of a host that has a certificate for `localhost` and trusts its issuer."""
    key = certificate.private_key_pem.bytes()
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    return NetworkSettings(certificate=chain, key=key, roots=authority.cert_pem.bytes())


@pytest.fixture
async def office(settings: NetworkSettings) -> AsyncIterator[Office]:
    """A network in memory. Time is virtual in tests that ask for `autojump_clock` as well."""
    async with trio.open_nursery() as tasks:
        opened = Office(MemorySockets(), settings, tasks)
        yield opened
        opened.close()
