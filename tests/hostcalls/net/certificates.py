"""Certificates that trustme does not make: of one usage, out of date, of odd keys."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterable

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
DAY = datetime.timedelta(days=1)


@attrs.frozen
class Made:
    """A certificate with its key, and the certificates above it that a peer needs."""

    certificate: x509.Certificate
    key: Key
    above: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> bytes:
        """PEM of the chain, leaf first."""
        return b"".join(each.public_bytes(Encoding.PEM) for each in (self.certificate, *self.above))

    @property
    def root(self) -> bytes:
        """PEM of this certificate alone."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        """This certificate alone in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    def key_text(
        self,
        form: PrivateFormat = PrivateFormat.PKCS8,
        encoding: Encoding = Encoding.PEM,
        passphrase: bytes | None = None,
    ) -> bytes:
        """The key in one of its formats."""
        lock: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            lock = BestAvailableEncryption(passphrase)
        return self.key.private_bytes(encoding, form, lock)


def make(
    *names: str,
    issuer: Made | None = None,
    key: Key | None = None,
    usages: Iterable[x509.ObjectIdentifier] = (),
    is_ca: bool | None = False,
    since: datetime.timedelta = -DAY,
    until: datetime.timedelta = DAY,
    common_name: str = "made for a test",
    padding: int = 0,
) -> Made:
    """Make a certificate.

    Args:
        names: DNS names and IP addresses that it is for.
        issuer: who signs it; None if it signs itself.
        key: its key, a new one of the curve P-256 by default.
        usages: extended key usages; none for any.
        is_ca: whether it may issue others; None to say nothing about it.
        since: beginning of its validity, from now.
        until: end of its validity, from now.
        common_name: the common name of its subject.
        padding: bytes by which it is larger than it has to be.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + since)
        .not_valid_after(now + until)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_name, names))), critical=False)
    if is_ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
    if padding:
        oid = x509.ObjectIdentifier("1.3.6.1.4.1.55738.666.1")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, bytes(padding)), critical=False)
    signer = key if issuer is None else issuer.key
    edwards = isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    certificate = builder.sign(signer, None if edwards else hashes.SHA256())
    above = (
        ()
        if issuer is None or issuer.certificate.issuer == issuer.certificate.subject
        else (
            issuer.certificate,
            *issuer.above,
        )
    )
    return Made(certificate, key, above)


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost"
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Have two contexts agree, and exchange a byte each way; the server's side and the client's.

    Raises `ssl.SSLError`.
    """
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = server.wrap_bio(there, back, server_side=True)
    client_side = client.wrap_bio(back, there, server_hostname=name)
    done = 0
    while done < 2:
        done = 0
        for side in (client_side, server_side):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            done += 1
    client_side.write(b"x")
    assert server_side.read(1) == b"x"
    server_side.write(b"y")
    assert client_side.read(1) == b"y"
    return server_side, client_side
