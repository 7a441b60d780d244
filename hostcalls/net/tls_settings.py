"""TLS settings as guests give them: checked for form, kept as given.

The texts are parsed when a listener or a connection first uses them (`tls.py`), so that a guest learns of
a bad certificate from bind or connect. Nothing here needs the libraries of the `net` group.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from enfilade.hostcalls.abi import TlsClientBundle, TlsServerBundle
from enfilade.hostcalls.abi.errors import InvalidArgument

LARGEST_BUNDLE = 1024 * 1024
"""Bytes that the texts and protocol names of one bundle may have together."""

_LONGEST_NAME = 255
_LONGEST_LIST = 65_535


@attrs.frozen
class ServerSettings:
    """Settings of a TLS server.

    Attributes:
        certificate_chain: the server's certificates, leaf first: PEM, or one certificate in DER.
        private_key: the key of the leaf: PEM or DER.
        client_ca: certificates that clients' certificates must descend from; None if clients are not asked
            for any.
        alpn: protocol names, the preferred first; empty for no negotiation; None for the protocol's default.
        require_client_auth: refuse clients without a certificate.
    """

    certificate_chain: bytes = attrs.field(repr=False)
    private_key: bytes = attrs.field(repr=False)
    client_ca: bytes | None = attrs.field(default=None, repr=False)
    alpn: tuple[str, ...] | None = None
    require_client_auth: bool = False

    @classmethod
    def check(cls, bundle: TlsServerBundle) -> ServerSettings:
        """Make settings of a guest's bundle.

        Raises `InvalidArgument` when the bundle is too large, lacks a certificate or its key, requires
        clients' certificates without a CA, or has a protocol name that TLS cannot carry.
        """
        settings = cls(
            bundle.cert_chain_pem,
            bundle.private_key_pem,
            bundle.client_ca_pem or None,
            bundle.alpn,
            bundle.require_client_auth,
        )
        _check_names(settings.alpn)
        if not settings.certificate_chain or not settings.private_key or settings.size > LARGEST_BUNDLE:
            raise InvalidArgument
        if settings.require_client_auth and settings.client_ca is None:
            raise InvalidArgument
        return settings

    @property
    def size(self) -> int:
        """Bytes that the settings count for. As the ABI has it, requiring clients' certificates is one."""
        texts = (self.certificate_chain, self.private_key, self.client_ca)
        return _size(self.alpn, texts) + self.require_client_auth


@attrs.frozen
class ClientSettings:
    """Settings of a TLS client.

    Attributes:
        ca_bundle: certificates that the server's must descend from, in place of the default roots; None for
            those.
        certificate_chain: the client's certificates, leaf first, sent to servers that ask; None for none.
        private_key: the key of the leaf; None if there is no certificate.
        alpn: protocol names, the preferred first; empty for no negotiation; None for the protocol's default.
    """

    ca_bundle: bytes | None = attrs.field(default=None, repr=False)
    certificate_chain: bytes | None = attrs.field(default=None, repr=False)
    private_key: bytes | None = attrs.field(default=None, repr=False)
    alpn: tuple[str, ...] | None = None

    @classmethod
    def check(cls, bundle: TlsClientBundle) -> ClientSettings:
        """Make settings of a guest's bundle; an empty text is as good as none.

        Raises `InvalidArgument` when the bundle is too large, has a certificate without key or a key without
        certificate, or a protocol name that TLS cannot carry.
        """
        settings = cls(
            bundle.ca_bundle_pem or None,
            bundle.client_cert_pem or None,
            bundle.client_key_pem or None,
            bundle.alpn,
        )
        _check_names(settings.alpn)
        if (settings.certificate_chain is None) != (settings.private_key is None):
            raise InvalidArgument
        if settings.size > LARGEST_BUNDLE:
            raise InvalidArgument
        return settings

    @property
    def size(self) -> int:
        """Bytes that the settings count for."""
        return _size(self.alpn, (self.ca_bundle, self.certificate_chain, self.private_key))


def _size(alpn: tuple[str, ...] | None, texts: Iterable[bytes | None]) -> int:
    return sum(len(name.encode()) for name in alpn or ()) + sum(len(text or b"") for text in texts)


def _check_names(alpn: tuple[str, ...] | None) -> None:
    names = alpn or ()
    if not all(name.isascii() and 0 < len(name) <= _LONGEST_NAME for name in names):
        raise InvalidArgument
    if 2 + sum(1 + len(name) for name in names) > _LONGEST_LIST:
        raise InvalidArgument
