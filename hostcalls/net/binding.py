"""Bindings: the listeners that guests ask for, and which of them may share a port."""

from __future__ import annotations

import attrs

from enfilade.hostcalls.net.tls_settings import ServerSettings


@attrs.frozen
class Binding:
    """A listener that a guest asks for.

    Attributes:
        domain: in lower case; empty for any.
        port: 1 to 65535.
        addresses: where to listen.
        is_secure: True for HTTPS.
        tls: the guest's settings; None for those of the host.
    """

    domain: str
    port: int
    addresses: tuple[str, ...]
    is_secure: bool = False
    tls: ServerSettings | None = None

    @property
    def shared(self) -> object:
        """All that must be equal for two QUIC listeners to share a port."""
        tls = self.tls
        return None if tls is None else (tls.alpn, tls.client_ca, tls.require_client_auth)

    @property
    def queue(self) -> object:
        """All that must be equal for two HTTP listeners to share a port, and with it a queue."""
        chain = None if self.tls is None else self.tls.certificate_chain
        return self.domain, self.is_secure, chain, self.shared
