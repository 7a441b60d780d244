"""Certificates and keys that guests bring, and the `ssl` contexts made of them.

Guests give texts of any kind: PEM or DER, in one of three key formats, possibly rubbish, possibly locked with
a passphrase. They are parsed here, and only what parsed reaches OpenSSL, which would otherwise ask for a
passphrase on the terminal. Contexts speak TLS 1.3 alone, issue and use no session tickets, and take no early
data. A context is made once for equal settings and kept as long as they are.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
import warnings
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar, cast
from weakref import WeakKeyDictionary

import attrs
import certifi
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from enfilade.hostcalls.abi.errors import HostcallError, InvalidArgument, SubsystemError
from enfilade.hostcalls.net.tls_settings import ClientSettings, ServerSettings

S = TypeVar("S")
M = TypeVar("M")

PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)

_KEY_LABELS: Final = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")
"""Kinds of PEM blocks that hold a key, in the order in which they are looked for."""
_LARGEST_RSA = 4096
"""Bits of the largest RSA key: signing with 8,192 would hold the loop for 50 ms a handshake."""
_MOST_CERTIFICATES: Final = 256
"""Certificates in one text: the loop waits while they are read, some 0.3 ms for each. Mozilla's roots are
about 150."""
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""The errors of `cryptography` for certificates and keys that it cannot read."""
_BEGIN, _END, _DASHES = b"-----BEGIN ", b"-----END ", b"-----"


class TlsConfigError(SubsystemError):
    """Settings of the right form that no TLS server or client can be made of."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"failed to build TLS config: {detail}")


class BadEncoding(TlsConfigError):
    """The text for a certificate holds something else."""

    def __init__(self) -> None:
        super().__init__("invalid peer certificate: BadEncoding")


class KeyMismatch(TlsConfigError):
    """The private key belongs to another certificate."""

    def __init__(self) -> None:
        super().__init__("keys may not be consistent: KeyMismatch")


class NoDefaultCertificate(TlsConfigError):
    """A listener without settings, on a host without a certificate of its own."""

    def __init__(self) -> None:
        super().__init__("no default certificate")


# Parsing.


def pem_blocks(text: bytes) -> list[tuple[str, bytes]]:
    """The label and the content of every PEM block, in order; an empty list for a text without any.

    Raises `InvalidArgument` when a block has no end or is not base64; so is one that is encrypted in the
    old way, with headers.
    """
    blocks = []
    label: bytes | None = None
    content: list[bytes] = []
    for line in map(bytes.rstrip, text.splitlines()):
        if label is None:
            if line.startswith(_BEGIN) and line.endswith(_DASHES):
                label, content = line.removeprefix(_BEGIN).removesuffix(_DASHES), []
        elif line == _END + label + _DASHES:
            try:
                blocks.append((label.decode("latin-1"), base64.b64decode(b"".join(content), validate=True)))
            except binascii.Error:
                raise InvalidArgument from None
            label = None
        else:
            content.append(line)
    if label is not None:
        raise InvalidArgument
    return blocks


def parse_chain(text: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a chain, at least one: the PEM blocks that are certificates, or one in DER.

    Raises `InvalidArgument` for broken PEM and too many certificates, and `BadEncoding` for a text that holds
    no certificate.
    """
    blocks = pem_blocks(text)
    encoded = [content for label, content in blocks if label == "CERTIFICATE"] if blocks else [text]
    if len(encoded) > _MOST_CERTIFICATES:
        raise InvalidArgument(
            why=f"a PEM text may hold {_MOST_CERTIFICATES} certificates, and this one has {len(encoded)}"
        )
    try:
        with warnings.catch_warnings(
            action="ignore"
        ):  # the guest's certificates are not the embedder's fault
            chain = tuple(map(x509.load_der_x509_certificate, encoded))
        if not chain:
            raise BadEncoding
        chain[0].public_key()
    except _UNREADABLE:
        raise BadEncoding from None
    return chain


def parse_authorities(text: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a CA bundle that may issue others.

    A server's own certificate in the bundle is left out: trust begins at issuers. Raises `InvalidArgument`
    when the text holds no certificate or one that does not parse.
    """
    try:
        return tuple(certificate for certificate in parse_chain(text) if _may_issue(certificate))
    except (BadEncoding, *_UNREADABLE):
        raise InvalidArgument from None


def _may_issue(certificate: x509.Certificate) -> bool:
    if certificate.version is x509.Version.v1:
        return True  # older than the distinction; some roots still are
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def parse_key(text: bytes) -> PrivateKey:
    """The private key in a text: the first PKCS#8 block, else PKCS#1, else SEC1, else any of them in DER.

    Raises `InvalidArgument` when there is none, or it is encrypted, broken, of a kind that TLS 1.3 does not
    sign with, or an RSA key of more than 4,096 bits.
    """
    blocks = pem_blocks(text)
    encoded = [content for label in _KEY_LABELS for found, content in blocks if found == label]
    if blocks and not encoded:
        raise InvalidArgument
    try:
        # Searching an RSA key's factors for divisors takes OpenSSL up to half a second. The loop cannot
        # spare that, and a guest that brings a bad key harms its own handshakes.
        key = load_der_private_key(
            encoded[0] if encoded else text, password=None, unsafe_skip_rsa_key_validation=True
        )
    except _UNREADABLE:
        raise InvalidArgument(why="a private key must be PKCS#8, PKCS#1 or SEC1, and not encrypted") from None
    if not isinstance(key, PrivateKey) or (isinstance(key, rsa.RSAPrivateKey) and not _is_plausible(key)):
        raise InvalidArgument
    return key


def _is_plausible(key: rsa.RSAPrivateKey) -> bool:
    """Check all of an RSA key but whether its factors are prime."""
    if key.key_size > _LARGEST_RSA:
        return False
    numbers = key.private_numbers()
    p, q, d, public = numbers.p, numbers.q, numbers.d, numbers.public_numbers
    return (
        p > 2
        and q > 2
        and p * q == public.n
        and public.n % 2 == 1
        and public.e % 2 == 1
        and 3 <= public.e < 1 << 64
        and d * public.e % (p - 1) == 1
        and d * public.e % (q - 1) == 1
        and numbers.dmp1 == d % (p - 1)
        and numbers.dmq1 == d % (q - 1)
        and numbers.iqmp * q % p == 1
    )


# Material.


@attrs.frozen
class Identity:
    """A certificate chain, leaf first, and the private key of its leaf."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = attrs.field(repr=False)

    @classmethod
    def parse(cls, chain: bytes, key: bytes) -> Identity:
        """The identity that two texts make.

        Raises `InvalidArgument`, `BadEncoding` or `KeyMismatch`.
        """
        identity = cls(parse_chain(chain), parse_key(key))
        if _subject(identity.chain[0].public_key()) != _subject(identity.key.public_key()):
            raise KeyMismatch
        return identity

    def pem(self) -> bytes:
        """Key and chain in one text, not encrypted."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.chain)


def _subject(key: object) -> bytes:
    public = cast("rsa.RSAPublicKey", key)  # every kind of public key has this method
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@attrs.frozen(eq=False)
class ServerMaterial:
    """Parsed settings of a server.

    Attributes:
        identity: the server's own certificates and key.
        authorities: issuers of clients' certificates; None if clients are not asked for any.
        require_client_auth: refuse clients without a certificate.
        alpn: protocol names; None for the protocol's default.
    """

    identity: Identity
    authorities: tuple[x509.Certificate, ...] | None = None
    require_client_auth: bool = False
    alpn: tuple[str, ...] | None = None


@attrs.frozen(eq=False)
class ClientMaterial:
    """Parsed settings of a client.

    Attributes:
        identity: the client's certificates and key; None if it has none.
        authorities: issuers of servers' certificates; None for the default roots.
        alpn: protocol names; None for the protocol's default.
    """

    identity: Identity | None = None
    authorities: tuple[x509.Certificate, ...] | None = None
    alpn: tuple[str, ...] | None = None


def _server_material(settings: ServerSettings) -> ServerMaterial:
    ca = settings.client_ca
    return ServerMaterial(
        Identity.parse(settings.certificate_chain, settings.private_key),
        None if ca is None else parse_authorities(ca),
        settings.require_client_auth,
        settings.alpn,
    )


def _client_material(settings: ClientSettings) -> ClientMaterial:
    chain, key, ca = settings.certificate_chain, settings.private_key, settings.ca_bundle
    return ClientMaterial(
        None if chain is None or key is None else Identity.parse(chain, key),
        None if ca is None else parse_authorities(ca),
        settings.alpn,
    )


def _parsed(kept: WeakKeyDictionary[S, M | HostcallError], settings: S, parse: Callable[[S], M]) -> M:
    """What `parse` has made of the settings, now or before; or the error that it has raised."""
    found = kept.get(settings)
    if found is None:
        try:
            found = parse(settings)
        except HostcallError as error:
            found = error
        kept[settings] = found
    if isinstance(found, HostcallError):
        raise found.with_traceback(None)
    return found


class Credentials:
    """The TLS side of one runtime: its default certificate and roots, and what guests' settings make.

    Material and contexts are made once for equal settings and forgotten with the last of them. So is the
    error of settings that nothing can be made of: a guest that tries again has nothing read again.

    Args:
        default: the identity of listeners that bring no settings; None if there is none.
        roots: PEM of the roots that clients trust by default; None for Mozilla's, as certifi has them.
    """

    def __init__(self, *, default: Identity | None = None, roots: bytes | None = None) -> None:
        self._roots = roots
        self._default = None if default is None else ServerMaterial(default)
        self._plain = ClientMaterial()
        self._servers: WeakKeyDictionary[ServerSettings, ServerMaterial | HostcallError] = WeakKeyDictionary()
        self._clients: WeakKeyDictionary[ClientSettings, ClientMaterial | HostcallError] = WeakKeyDictionary()
        self._contexts: WeakKeyDictionary[
            ServerMaterial | ClientMaterial, dict[tuple[str, ...], ssl.SSLContext]
        ] = WeakKeyDictionary()
        self._trusted: tuple[bytes, ...] | None = None

    def server(self, settings: ServerSettings | None) -> ServerMaterial:
        """Parse a listener's settings, None being those of the host.

        Raises `InvalidArgument` and `TlsConfigError`.
        """
        if settings is None:
            if self._default is None:
                raise NoDefaultCertificate
            return self._default
        return _parsed(self._servers, settings, _server_material)

    def client(self, settings: ClientSettings | None) -> ClientMaterial:
        """Parse a client's settings, None being the default roots and no certificate.

        Raises `InvalidArgument` and `TlsConfigError`.
        """
        if settings is None:
            return self._plain
        return _parsed(self._clients, settings, _client_material)

    def roots(self, material: ClientMaterial) -> tuple[bytes, ...]:
        """The issuers that a client trusts, in DER: its own, or the default roots.

        Raises `InvalidArgument` when the embedder's roots are not PEM.
        """
        if material.authorities is not None:
            return tuple(each.public_bytes(Encoding.DER) for each in material.authorities)
        if self._trusted is None:
            blocks = pem_blocks(self._root_text())
            self._trusted = tuple(content for label, content in blocks if label == "CERTIFICATE")
        return self._trusted

    def server_context(
        self, settings: ServerSettings | None, *, alpn: tuple[str, ...] = ("h2",)
    ) -> ssl.SSLContext:
        """The context of a listener over TCP; `alpn` stands in for settings that name no protocols.

        Raises `InvalidArgument` and `TlsConfigError`.
        """
        material = self.server(settings)

        def prepare(context: ssl.SSLContext) -> None:
            context.num_tickets = 0
            if material.authorities is not None:
                required = material.require_client_auth
                context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL

        return self._context(material, alpn, ssl.PROTOCOL_TLS_SERVER, prepare)

    def client_context(
        self, settings: ClientSettings | None, *, alpn: tuple[str, ...] = ("h2",)
    ) -> ssl.SSLContext:
        """The context of a connection over TCP; `alpn` stands in for settings that name no protocols.

        Raises `InvalidArgument` and `TlsConfigError`.
        """
        material = self.client(settings)

        def prepare(context: ssl.SSLContext) -> None:
            context.hostname_checks_common_name = False
            if material.authorities is None:
                context.load_verify_locations(cadata=self._root_text().decode("ascii", "replace"))

        return self._context(material, alpn, ssl.PROTOCOL_TLS_CLIENT, prepare)

    def _context(
        self,
        material: ServerMaterial | ClientMaterial,
        alpn: tuple[str, ...],
        protocol: ssl._SSLMethod,
        prepare: Callable[[ssl.SSLContext], None],
    ) -> ssl.SSLContext:
        """The context of `material` with these names, made once; `prepare` does what one side alone needs."""
        names = alpn if material.alpn is None else material.alpn
        contexts = self._contexts.setdefault(material, {})
        context = contexts.get(names)
        if context is None:
            context = _plain_context(protocol, names)
            if material.identity is not None:
                _load_identity(context, material.identity)
            if material.authorities is not None:
                _load_authorities(context, material.authorities)
            prepare(context)
            contexts[names] = context
        return context

    def _root_text(self) -> bytes:
        if self._roots is None:
            with open(certifi.where(), "rb") as file:
                self._roots = file.read()
        return self._roots


# Contexts.


def _plain_context(protocol: ssl._SSLMethod, alpn: tuple[str, ...]) -> ssl.SSLContext:
    # `create_default_context` would demand an authority key identifier from Python 3.13 on, which the
    # certificates of upstream's own tool lack.
    context = ssl.SSLContext(protocol)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _load_authorities(context: ssl.SSLContext, authorities: tuple[x509.Certificate, ...]) -> None:
    if authorities:
        context.load_verify_locations(
            cadata=b"".join(certificate.public_bytes(Encoding.DER) for certificate in authorities)
        )


def _load_identity(context: ssl.SSLContext, identity: Identity) -> None:
    """Give a context its certificates and key, which `ssl` takes from a file only: one in memory."""
    try:
        descriptor, path = _private_file()
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(identity.pem())
            context.load_cert_chain(path, password=_no_passphrase)
        finally:
            os.close(descriptor)
            if not path.startswith(_DESCRIPTORS):
                os.unlink(path)
    except ssl.SSLError as error:
        raise TlsConfigError(f"unexpected error: {error.reason or error}") from None
    except OSError as error:
        raise TlsConfigError(f"unexpected error: {error.strerror}") from None


_DESCRIPTORS = "/proc/self/fd/"


def _private_file() -> tuple[int, str]:
    """An empty file that nobody else can read: its descriptor, and the path to open it by."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
        path = f"{_DESCRIPTORS}{descriptor}"
        if os.path.exists(path):
            return descriptor, path
        os.close(descriptor)
    return tempfile.mkstemp()


def _no_passphrase() -> NoReturn:
    """Stand where OpenSSL would ask on the terminal."""
    raise TlsConfigError("unexpected error: the private key is encrypted")


# Names and errors.


def server_name(domain: str) -> str:
    """The name to check a server's certificate for, and to send as SNI: no final dot, no brackets."""
    if domain.startswith("[") and domain.endswith("]"):
        return domain[1:-1]
    return domain.removesuffix(".").lower()


def describe(error: BaseException) -> str:
    """The reason for a handshake that failed, in words for the guest."""
    cause = error.__cause__ if error.__cause__ is not None else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"invalid peer certificate: {cause.verify_message}"
    if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionError | EOFError):
        return "tls handshake eof"
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return cause.reason.lower().replace("_", " ")
    return str(cause) or type(cause).__name__
