"""What tests of the network share: accounts, and certificates made for the test."""

from __future__ import annotations

import pytest
import trustme

from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.net.account import Account


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
