"""Verification of peers' certificates for QUIC, by the rules that `ssl` applies for TLS over TCP.

aioquic's own verification parses the whole set of roots anew for every connection, ignores the extended key
usage, and knows servers' certificates only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

import service_identity
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


class CertificateRefused(Exception):
    """A certificate that does not prove what it has to; the text says why."""


class Verifier:
    """Decides whether certificates prove that a peer is a server or a client.

    Args:
        authorities: the issuers to trust, in DER. The verifier trusts nobody when there are none.
        usage: the extended key usage to demand, `SERVER` or `CLIENT`; a certificate that names none may be
            used for anything.
    """

    def __init__(self, authorities: Iterable[bytes], usage: x509.ObjectIdentifier) -> None:
        self._usage = usage
        self._store = crypto.X509Store()
        for authority in authorities:
            self._store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, authority))

    def verify(self, chain: Sequence[x509.Certificate], name: str | None = None) -> None:
        """Check the chain to a trusted issuer, every certificate's dates and usage, and the leaf's name.

        Dates are compared with the real clock.

        Args:
            chain: what the peer sent, leaf first.
            name: the DNS name or IP address that the leaf must be for; None for any.

        Raises `CertificateRefused`.
        """
        try:
            leaf, *others = map(crypto.X509.from_cryptography, chain)
            path = crypto.X509StoreContext(self._store, leaf, others).get_verified_chain()
            usages = [_usage(certificate.to_cryptography()) for certificate in path]
        except crypto.X509StoreContextError as error:
            raise CertificateRefused(str(error)) from None
        except (crypto.Error, ValueError, x509.DuplicateExtension) as error:
            raise CertificateRefused(f"malformed certificate: {error}") from None
        if not all(usage is None or self._usage in usage for usage in usages):
            raise CertificateRefused("unsuitable certificate purpose")
        if name is not None and not covers(chain[0], name):
            raise CertificateRefused(f'certificate not valid for name "{name}"')


def _usage(certificate: x509.Certificate) -> x509.ExtendedKeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None


def covers(certificate: x509.Certificate, name: str) -> bool:
    """Tell whether a DNS name or IP address is among a certificate's alternative names.

    The common name counts for nothing.
    """
    try:
        if is_address(name):
            verify_certificate_ip_address(certificate, name)
        else:
            verify_certificate_hostname(certificate, name)
    except (
        service_identity.CertificateError,
        service_identity.VerificationError,
        ValueError,
        x509.DuplicateExtension,
    ):
        return False
    return True


def is_address(name: str) -> bool:
    """Tell an IP address, without brackets, from a name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
