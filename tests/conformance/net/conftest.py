"""Network conformance runs on a network in memory, unless a test says otherwise."""

from tests.hostcalls.net.conftest import account, authority, certificate, office, settings

__all__ = ["account", "authority", "certificate", "office", "settings"]
