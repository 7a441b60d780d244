"""Network conformance runs on a network in memory, under virtual time, unless a test says otherwise."""

from tests.hostcalls.net.conftest import account, authority, certificate, office

__all__ = ["account", "authority", "certificate", "office"]
