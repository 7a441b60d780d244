"""The certificate authority of a mesh, and the list of the nodes that may be in it.

The authority is a directory: `ca.key`, which is its owner's alone, `ca.pem`, `mesh.toml` with the name of the
mesh and the addresses of its servers, and `nodes.list`. Whoever has the key decides who is in the mesh.

The list says which names there are and what each may do. It is signed with the key, and its number only
grows, so that servers take a newer list from wherever it comes. Servers admit who is certified *and* listed:
to revoke a certificate is to take its user off the list. A name that is issued again after that has another
generation, and another user, so the old certificate does not come back with it. Renewing keeps the
generation: old and new certificates are good until each ends.
"""

import base64
import fcntl
import ipaddress
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from enfilade.transport.mesh.files import install, make_private_directory, write_private
from enfilade.transport.mesh.identity import SERVER_URI, check_secret, parse_identity, read_identity
from enfilade.transport.mesh.settings import MeshError, Server
from enfilade.transport.mesh.subjects import MOST_CHARACTERS

__all__ = [
    "Authority",
    "Grant",
    "Listed",
    "NodeList",
    "RegistryRight",
    "check_names",
    "join",
    "read_list",
    "request",
]

NAME: Final = re.compile(r"[\w.-]+@[\w.-]+")
"""The names that are certified: those of nodes, with their zones."""

MOST_DAYS: Final = 36500
"""Days that a certificate may last."""

CLOCKS: Final = timedelta(minutes=5)
"""By so much the clocks of two machines may differ."""

CA_DAYS: Final = 3650

LIST_LIMIT: Final = 16 * 1024 * 1024

RegistryRight = Literal["none", "read", "write"]
"""What a node may do with the registry of names and leases."""


def _names(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


@attrs.frozen(kw_only=True)
class Grant:
    """The names, rights and days of a certificate.

    Attributes:
        also: further names that the node may use.
        is_operator: whether it may administer the servers.
        registry: what it may do with the registry.
        days: until the certificate ends.
    """

    also: tuple[str, ...] = attrs.field(default=(), converter=_names)
    is_operator: bool = False
    registry: RegistryRight = "write"
    days: float = 90


@attrs.frozen
class Listed:
    """A node that may be in the mesh.

    Attributes:
        name: its full name.
        generation: how often the name was issued after it had been revoked, and 1.
        also: further names that it may use.
        is_operator: whether it may administer the servers.
        registry: what it may do with the registry.
        expires: when its last certificate ends, as text.
    """

    name: str
    generation: int
    also: tuple[str, ...]
    is_operator: bool
    registry: RegistryRight
    expires: str

    @property
    def user(self) -> str:
        """The URI in its certificate, which is the name of its user at the servers."""
        first = f"enfilade:{quote(self.name, safe='@')}"
        return first if self.generation == 1 else f"{first}/{self.generation}"


@attrs.frozen
class NodeList:
    """The nodes of a mesh.

    Attributes:
        mesh: its name.
        number: which list it is; a later one has a higher number.
        nodes: that may be in it.
        revoked: the names that may not any more, with the generations of their last certificates.
    """

    mesh: str
    number: int
    nodes: tuple[Listed, ...]
    revoked: tuple[tuple[str, int], ...] = ()

    def find(self, name: str) -> Listed | None:
        """Find a node by its name."""
        return next((each for each in self.nodes if each.name == name), None)


def read_list(data: bytes, authority: bytes) -> NodeList:
    """Read a list, and check that the authority has signed it.

    Args:
        data: what `nodes.list` holds.
        authority: what `ca.pem` holds.

    Raises:
        MeshError: it is malformed, or somebody else's.
    """
    try:
        if len(data) > LIST_LIMIT:
            raise ValueError(f"expected at most {LIST_LIMIT} bytes")
        body, _, signature = data.strip().partition(b"\n")
        key = x509.load_pem_x509_certificate(authority).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise TypeError("expected an authority with a key of elliptic curves")
        key.verify(base64.b64decode(signature, validate=True), body, ec.ECDSA(hashes.SHA256()))
        fields: dict[str, Any] = json.loads(body)
        nodes = tuple(Listed(**{**each, "also": tuple(each["also"])}) for each in fields["nodes"])
        revoked = tuple((str(name), int(generation)) for name, generation in fields["revoked"])
        return NodeList(str(fields["mesh"]), int(fields["number"]), nodes, revoked)
    except (InvalidSignature, ValueError, TypeError, KeyError, RecursionError) as error:
        what = "another authority signed it, or none" if isinstance(error, InvalidSignature) else error
        raise MeshError(
            f"expected a list of nodes that the authority of the mesh has signed: {what}"
        ) from error


class Authority:
    """The certificate authority in a directory.

    Args:
        directory: of it.

    Raises:
        MeshError: it is none, or its key can be read by others.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        path = self.directory / "ca.key"
        check_secret(path)
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), None)
            self._pem = (self.directory / "ca.pem").read_bytes()
            self._certificate = x509.load_pem_x509_certificate(self._pem)
            settings = tomllib.loads((self.directory / "mesh.toml").read_text())
            self.mesh = str(settings["mesh"])
            self.servers = tuple(map(str, settings.get("servers", ())))
            for each in self.servers:
                Server.parse(each)
        except (OSError, ValueError, KeyError, TypeError, UnsupportedAlgorithm) as error:
            raise MeshError(f"{directory} holds no authority of `enfilade mesh ca init`: {error}") from error
        if (
            not isinstance(key, ec.EllipticCurvePrivateKey)
            or key.public_key() != self._certificate.public_key()
        ):
            raise MeshError(f"{path} is not the key of {self.directory / 'ca.pem'}")
        self._key = key
        self.nodes = self._read_list()

    @classmethod
    def create(
        cls, directory: str | os.PathLike[str], *, mesh: str = "default", servers: Iterable[str] = ()
    ) -> "Authority":
        """Make an authority: its key, its certificate and an empty list.

        Args:
            directory: is made, and its owner's alone.
            mesh: the name of the mesh.
            servers: the addresses of its servers, which nodes get with their certificates.

        Raises:
            MeshError: there is an authority.
            ValueError: a name or an address is none.
        """
        where = Path(directory)
        if (where / "ca.key").exists():
            raise MeshError(
                f"expected a directory without an authority, got {where}: "
                "a new one makes all certificates void"
            )
        if not 0 < len(mesh) <= 32:
            raise ValueError(f"the name of a mesh must have 1 to 32 characters, got {mesh!r}")
        addresses = [str(each) for each in servers]
        for each in addresses:
            Server.parse(each)
        make_private_directory(where)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"mesh {mesh}")])
        builder = _builder(name, name, key.public_key(), CA_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_USAGE_OF_AUTHORITY, critical=True)
        builder = _with_identifiers(builder, key.public_key(), key.public_key())
        certificate = builder.sign(key, hashes.SHA256())
        settings = {"mesh": mesh, "servers": addresses}
        write_private(where / "mesh.toml", _toml(settings).encode())
        write_private(where / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM))
        _write_list(where, key, NodeList(mesh, 1, ()))
        write_private(where / "ca.key", _key_bytes(key))  # the last: with it, it is one
        return cls(where)

    def issue(self, name: str, grant: Grant = Grant()) -> bytes:
        """Issue a certificate for a node, with a new key. Return the bundle that `join` installs.

        Args:
            name: of the node, with its zone.
            grant: what the certificate is to allow.

        Raises:
            MeshError: the name is issued already.
            ValueError: a name is none, or the days are not more than 0.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        bundle = self._issue(key.public_key(), name, grant)
        bundle["node.key"] = _key_bytes(key).decode()
        return json.dumps(bundle).encode()

    def sign(self, request: bytes, name: str | None = None, grant: Grant = Grant()) -> bytes:
        """Issue a certificate for a key that never left its machine; otherwise as `issue`.

        Args:
            request: a certificate signing request in PEM; its key is used, and its common name is that of the
                node.
            name: of the node, if the request has no common name; otherwise it must be the same.
            grant: what the certificate is to allow.

        Raises:
            MeshError: it is no request, or one for another node.
        """
        try:
            parsed = x509.load_pem_x509_csr(request)
            key = parsed.public_key()
        except (ValueError, UnsupportedAlgorithm) as error:
            raise MeshError(f"expected a certificate signing request in PEM: {error}") from error
        if not parsed.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
            raise MeshError("expected a request for a key of elliptic curves, signed with it")
        asked = [str(each.value) for each in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if name is None and len(asked) == 1:
            name = asked[0]
        if name is None:
            raise MeshError("the request names no node, or several: say for which one it is")
        if any(each != name for each in asked):
            raise MeshError(f"the request is for {', '.join(map(ascii, asked))}, not for {name!a}")
        return json.dumps(self._issue(key, name, grant)).encode()

    def _issue(self, key: ec.EllipticCurvePublicKey, name: str, grant: Grant) -> dict[str, Any]:
        check_names(name, *grant.also)
        with self._changing():
            return self._admit(key, name, grant)

    def _admit(self, key: ec.EllipticCurvePublicKey, name: str, grant: Grant) -> dict[str, Any]:
        if self.nodes.find(name) is not None:
            raise MeshError(f"{name} has a certificate: renew it, or revoke it first")
        wanted = {name, *grant.also}
        for each in self.nodes.nodes:
            if common := wanted & {each.name, *each.also}:
                raise MeshError(f"{each.name} may use the name {min(common)}: no two nodes can have one")
        generation = dict(self.nodes.revoked).get(name, 0) + 1
        expires = _after(grant.days).isoformat(timespec="seconds")
        listed = Listed(name, generation, grant.also, grant.is_operator, grant.registry, expires)
        bundle = self._certify(key, listed, grant.days)
        self._list([*self.nodes.nodes, listed])
        return bundle

    def renew(self, name: str, *, days: float = 90) -> bytes:
        """Issue a further certificate, with a new key, for a node that has one. Return the bundle.

        Raises:
            MeshError: it has none.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        with self._changing():
            listed = attrs.evolve(self._find(name), expires=_after(days).isoformat(timespec="seconds"))
            bundle = self._certify(key.public_key(), listed, days)
            bundle["node.key"] = _key_bytes(key).decode()
            self._list([listed if each.name == name else each for each in self.nodes.nodes])
        return json.dumps(bundle).encode()

    def revoke(self, name: str) -> None:
        """Take a node off the list. Servers cut it off as soon as they have the new one.

        Raises:
            MeshError: it has no certificate.
        """
        with self._changing():
            gone = self._find(name)
            rest = [each for each in self.nodes.revoked if each[0] != name]
            nodes = [each for each in self.nodes.nodes if each is not gone]
            self._list(nodes, [*rest, (name, gone.generation)])

    def issue_server(self, hosts: Sequence[str], *, days: float = 365) -> bytes:
        """Issue a certificate for a server, with a new key. Return the bundle that `join` installs.

        Args:
            hosts: the names and addresses at which clients and other servers find it.
            days: until the certificate ends.

        Raises:
            ValueError: a host is none, or there is none.
        """
        if not hosts:
            raise ValueError("expected the host names or addresses of the server, got none")
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(SERVER_URI)]
        for host in hosts:
            address = None
            with suppress(ValueError):
                address = ipaddress.ip_address(host)
            if address is None and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", host):
                raise ValueError(f"expected a host name or an address, got {host!r}")
            names.append(x509.DNSName(host) if address is None else x509.IPAddress(address))
        key = ec.generate_private_key(ec.SECP256R1())
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        bundle = self._bundle(key.public_key(), f"server {hosts[0]}", names, usage, days)
        bundle["mesh.toml"] = _toml(
            {"node": SERVER_URI, "mesh": self.mesh, "hosts": list(hosts), "expires": _after(days)}
        )
        bundle["node.key"] = _key_bytes(key).decode()
        bundle["nodes.list"] = (self.directory / "nodes.list").read_text()
        return json.dumps(bundle).encode()

    def _find(self, name: str) -> Listed:
        listed = self.nodes.find(name)
        if listed is None:
            raise MeshError(f"{name} has no certificate of {self.directory}")
        return listed

    def _certify(self, key: ec.EllipticCurvePublicKey, listed: Listed, days: float) -> dict[str, Any]:
        names = [x509.UniformResourceIdentifier(listed.user)]
        bundle = self._bundle(key, listed.name, names, [ExtendedKeyUsageOID.CLIENT_AUTH], days)
        settings = {
            "node": listed.name,
            "also": list(listed.also),
            "mesh": self.mesh,
            "servers": list(self.servers),
            "expires": _after(days),
        }
        return {**bundle, "mesh.toml": _toml(settings)}

    def _bundle(
        self,
        key: ec.EllipticCurvePublicKey,
        subject: str,
        names: Sequence[x509.GeneralName],
        usage: Sequence[x509.ObjectIdentifier],
        days: float,
    ) -> dict[str, Any]:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])])
        builder = _builder(name, self._certificate.subject, key, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        builder = _with_identifiers(builder, key, self._key.public_key())
        pem = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return {"node.pem": pem.decode(), "ca.pem": self._pem.decode()}

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Let nobody else change the list meanwhile: two lists of one number would forget a node."""
        with (self.directory / "ca.key").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.nodes = self._read_list()
            yield

    def _read_list(self) -> NodeList:
        path = self.directory / "nodes.list"
        try:
            return read_list(path.read_bytes(), self._pem)
        except OSError as error:
            raise MeshError(f"expected the list of nodes in {path}: {error.strerror}") from error

    def _list(self, nodes: Iterable[Listed], revoked: Iterable[tuple[str, int]] | None = None) -> None:
        kept = self.nodes.revoked if revoked is None else tuple(revoked)
        self.nodes = NodeList(self.mesh, self.nodes.number + 1, tuple(nodes), kept)
        _write_list(self.directory, self._key, self.nodes)


def check_names(*names: str) -> None:
    """Refuse names that are not certified.

    Raises:
        ValueError: one is not that of a node, with its zone.
    """
    for each in names:
        if not NAME.fullmatch(each) or len(each) > MOST_CHARACTERS:
            raise ValueError(f"expected the name of a node with its zone, such as 'bank@east', got {each!r}")


def request(directory: str | os.PathLike[str], name: str) -> bytes:
    """Make a key that stays where it is, and a request to certify it. Return the request in PEM.

    Raises:
        MeshError: there is a key already.
        ValueError: the name is none of a node.
    """
    check_names(name)
    where = Path(directory)
    if (where / "node.key").exists():
        raise MeshError(f"{where} holds a key already: name another directory")
    make_private_directory(where)
    key = ec.generate_private_key(ec.SECP256R1())
    write_private(where / "node.key", _key_bytes(key))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def join(bundle: str | os.PathLike[str], directory: str | os.PathLike[str]) -> None:
    """Install a bundle as an identity directory, whole or not at all. A renewed certificate replaces the old.

    Raises:
        MeshError: the bundle can be read by others, is none, or does not fit what is there.
    """
    path, where = Path(bundle), Path(directory)
    check_secret(path)
    try:
        files: dict[str, str] = json.loads(path.read_bytes())
        if not isinstance(files, dict) or not all(isinstance(each, str) for each in files.values()):
            raise TypeError("expected files")
        if not {"node.pem", "ca.pem", "mesh.toml"} <= files.keys() <= KNOWN:
            raise ValueError(f"expected {', '.join(sorted(KNOWN))}, got {', '.join(sorted(files))}"[:300])
        certificate = x509.load_pem_x509_certificate(files["node.pem"].encode())
        authority = x509.load_pem_x509_certificate(files["ca.pem"].encode())
        certificate.verify_directly_issued_by(authority)
        node = parse_identity(files["mesh.toml"], where).node
        _check_certificate(certificate, node)
        if "node.key" not in files and not (where / "node.key").exists():
            raise ValueError("its key is where `enfilade mesh request` made it: join into that directory")
        key_text = files["node.key"] if "node.key" in files else (where / "node.key").read_text()
        key = serialization.load_pem_private_key(key_text.encode(), None)
        if key.public_key() != certificate.public_key():
            raise ValueError("the certificate is for another key")
        old = where / "ca.pem"
        if old.exists() and old.read_text() != files["ca.pem"]:
            raise ValueError(f"{where} belongs to another mesh")
        if old.exists() and (other := read_identity(where).node) != node:
            raise ValueError(f"{where} is the identity of {other}, and this one of {node}")
    except (
        OSError,
        ValueError,
        TypeError,
        RecursionError,
        x509.ExtensionNotFound,
        InvalidSignature,
    ) as error:
        what = "another authority issued the certificate" if isinstance(error, InvalidSignature) else error
        raise MeshError(f"expected a bundle of `enfilade mesh ca`, got {path}: {what}") from error
    make_private_directory(where)
    install(where, {name: text.encode() for name, text in files.items()})


def _check_certificate(certificate: x509.Certificate, node: Any) -> None:
    """Refuse a certificate that is not, or no longer, that of a node."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise ValueError("the certificate names no node") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    own = SERVER_URI if node == SERVER_URI else f"enfilade:{quote(str(node), safe='@')}"
    if [uri for uri in uris if re.fullmatch(rf"{re.escape(own)}(/\d+)?", uri)] != uris or not uris:
        raise ValueError(f"the certificate is for {', '.join(map(ascii, uris))}, not for {node}")
    if certificate.not_valid_after_utc < datetime.now(UTC):
        raise ValueError(f"the certificate ended at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")


KNOWN: Final = frozenset({"node.pem", "node.key", "ca.pem", "mesh.toml", "nodes.list"})
"""The files of a bundle."""


_USAGE_OF_AUTHORITY: Final = x509.KeyUsage(
    digital_signature=True,  # of lists of nodes
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _with_identifiers(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePublicKey, issuer: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    """Name the keys of a certificate and of its issuer: strict clients want that, as Python is since 3.13."""
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    known = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer)
    return builder.add_extension(known, critical=False)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - CLOCKS)
        .not_valid_after(_after(days))
    )


def _after(days: float) -> datetime:
    if not 0 < days <= MOST_DAYS:
        raise ValueError(f"days must be more than 0, and {MOST_DAYS} at most, got {days!r}")
    return (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_list(directory: Path, key: ec.EllipticCurvePrivateKey, nodes: NodeList) -> None:
    body = json.dumps(attrs.asdict(nodes), separators=(",", ":")).encode()
    signature = base64.b64encode(key.sign(body, ec.ECDSA(hashes.SHA256())))
    write_private(directory / "nodes.list", body + b"\n" + signature + b"\n")


def _toml(fields: dict[str, Any]) -> str:
    """Write a table of texts, lists of texts and times."""
    lines = (
        f"{key} = {each.isoformat() if isinstance(each, datetime) else json.dumps(each, ensure_ascii=False)}"
        for key, each in fields.items()
    )
    return "\n".join([*lines, ""])
