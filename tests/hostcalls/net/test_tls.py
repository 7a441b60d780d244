"""TLS material of every kind, and contexts as sharp as promised: all in memory."""

from __future__ import annotations

import contextlib
import gc
import os
import ssl
from collections.abc import Callable

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from enfilade.hostcalls.abi.errors import HostcallError, InvalidArgument
from enfilade.hostcalls.net import tls
from enfilade.hostcalls.net.quic_endpoint import site_of, visit_of
from enfilade.hostcalls.net.tls import (
    BadEncoding,
    Credentials,
    Identity,
    TlsConfigError,
    describe,
    parse_authorities,
    parse_chain,
    parse_key,
    server_name,
)
from enfilade.hostcalls.net.tls_settings import ClientSettings, ServerSettings
from enfilade.hostcalls.net.verifier import CertificateRefused
from tests.hostcalls.net.certificates import CLIENT, DAY, SERVER, Key, Made, make, shake_hands
from tests.hostcalls.net.quic_world import pem

ROOT = make(is_ca=True, common_name="root")
MIDDLE = make(issuer=ROOT, is_ca=True, common_name="middle")
LEAF = make("localhost", "127.0.0.1", issuer=MIDDLE)
BROKEN_TEXTS = (LEAF.chain, LEAF.key_text(), LEAF.der, LEAF.key_text(encoding=Encoding.DER))


def listening(made: Made = LEAF, **options: object) -> ServerSettings:
    return ServerSettings(made.chain, made.key_text(), **options)  # type: ignore[arg-type]


def connecting(ca: bytes = ROOT.root, made: Made | None = None, **options: object) -> ClientSettings:
    chain, key = (None, None) if made is None else (made.chain, made.key_text())
    return ClientSettings(ca, chain, key, **options)  # type: ignore[arg-type]


def agree(server: ServerSettings, client: ClientSettings, name: str = "localhost") -> None:
    credentials = Credentials()
    shake_hands(credentials.server_context(server), credentials.client_context(client), name)


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
        ed448.Ed448PrivateKey.generate(),
    ],
    ids=lambda key: type(key).__name__ + str(getattr(key, "key_size", "")),
)
def test_keys_of_all_kinds(key: Key) -> None:
    own = make("localhost", issuer=ROOT, key=key)
    agree(listening(own), connecting())


def test_a_chain_is_sent_as_it_is() -> None:
    agree(listening(), connecting())
    with pytest.raises(ssl.SSLCertVerificationError):
        agree(ServerSettings(LEAF.root, LEAF.key_text()), connecting())


def test_keys_that_tls_does_not_sign_with() -> None:
    small = dsa.generate_private_key(1024)
    for key in (small, x25519.X25519PrivateKey.generate()):
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]
        with pytest.raises(InvalidArgument):
            parse_key(text)


def test_keys_that_would_hold_the_loop() -> None:
    text = rsa.generate_private_key(public_exponent=65537, key_size=4096 + 64)
    with pytest.raises(InvalidArgument):
        parse_key(text.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.mark.parametrize("field", ["p", "q", "d", "dmp1", "dmq1", "iqmp"])
def test_rsa_keys_whose_numbers_do_not_fit(field: str) -> None:
    good = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    numbers = good.private_numbers()
    parts = {name: getattr(numbers, name) for name in ("p", "q", "d", "dmp1", "dmq1", "iqmp")}
    parts[field] -= 2
    public = numbers.public_numbers
    forged = _rsa_text(public.n, public.e, **parts)
    assert parse_key(_rsa_text(public.n, public.e, **{**parts, field: parts[field] + 2}))
    with pytest.raises(InvalidArgument):
        parse_key(forged)


def _rsa_text(n: int, e: int, *, p: int, q: int, d: int, dmp1: int, dmq1: int, iqmp: int) -> bytes:
    """A PKCS#1 key in DER with any numbers."""

    def number(value: int) -> bytes:
        content = value.to_bytes(value.bit_length() // 8 + 1, "big")
        return b"\x02" + _length(len(content)) + content

    content = b"".join(map(number, (0, n, e, d, p, q, dmp1, dmq1, iqmp)))
    return b"\x30" + _length(len(content)) + content


def _length(size: int) -> bytes:
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([size]) if size < 128 else bytes([0x80 + len(octets)]) + octets


def public(text: bytes) -> object:
    """The public part of a key."""
    return parse_key(text).public_key()


def test_the_first_key_of_the_best_kind_counts() -> None:
    other = make()
    sec1 = other.key_text(PrivateFormat.TraditionalOpenSSL)
    assert public(sec1 + LEAF.key_text()) == public(LEAF.key_text())
    assert public(LEAF.chain + sec1) == public(sec1) == public(other.key_text())
    windows = LEAF.key_text().replace(b"\n", b"\r\n") + b"\r\n"
    assert parse_key(b"a comment\n" + windows)


def test_certificates_among_other_blocks() -> None:
    assert len(parse_chain(LEAF.key_text() + LEAF.chain)) == 2
    assert parse_chain(b"subject=x\n" + LEAF.chain.replace(b"\n", b"\r\n"))[0] == LEAF.certificate
    with pytest.raises(BadEncoding):
        parse_chain(LEAF.key_text())
    with pytest.raises(BadEncoding):
        parse_chain(b"")
    with pytest.raises(BadEncoding):
        parse_chain(LEAF.der + b"\0")
    rubbish = b"-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"
    with pytest.raises(BadEncoding):
        parse_chain(LEAF.chain + rubbish)


@given(st.sampled_from(BROKEN_TEXTS), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=6))
def test_damaged_texts_are_refused_or_taken(text: bytes, changes: list[tuple[int, int]]) -> None:
    """Nothing but the errors that guests know comes out, whatever goes in."""
    damaged = bytearray(text)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    for parse in (parse_chain, parse_key, parse_authorities):
        try:
            parse(bytes(damaged))
        except HostcallError:
            continue
    with contextlib.suppress(HostcallError):
        Credentials().server_context(ServerSettings(bytes(damaged), LEAF.key_text(), bytes(damaged)))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_taken(text: bytes) -> None:
    for parse in (parse_chain, parse_key, parse_authorities):
        for each in (text, b"-----BEGIN CERTIFICATE-----\n" + text):
            with pytest.raises(HostcallError):
                parse(each)


@pytest.mark.parametrize(
    ("server", "name"),
    [
        (make("localhost"), "localhost"),  # issued by itself
        (make("localhost", issuer=make(is_ca=True, common_name="root")), "localhost"),  # by a namesake
        (make("localhost", issuer=make(issuer=ROOT)), "localhost"),  # by somebody who may not
        (make("localhost", issuer=ROOT, since=-3 * DAY, until=-DAY), "localhost"),
        (make("localhost", issuer=ROOT, since=DAY, until=3 * DAY), "localhost"),
        (make("localhost", issuer=ROOT, usages=[CLIENT]), "localhost"),
        (make("localhost", issuer=ROOT), "elsewhere.test"),
        (make(issuer=ROOT, common_name="localhost"), "localhost"),  # the common name counts for nothing
        (make("127.0.0.1", issuer=ROOT), "127.0.0.9"),
        (make("localhost", issuer=ROOT), "127.0.0.1"),
        (make("*.test", issuer=ROOT), "a.test"),
        (make("*.a.test", issuer=ROOT), "c.b.a.test"),
    ],
)
def test_certificates_of_servers_that_prove_nothing(server: Made, name: str) -> None:
    """The same verdicts over TCP and for QUIC."""
    with pytest.raises(ssl.SSLCertVerificationError):
        agree(listening(server), connecting(), name)
    visit = visit_of(Credentials(), connecting(), name)
    with pytest.raises(CertificateRefused):
        visit.verifier.verify([server.certificate, *server.above], name)


@pytest.mark.parametrize(
    ("server", "name"),
    [
        (LEAF, "localhost"),
        (LEAF, "127.0.0.1"),
        (make("localhost", issuer=ROOT, usages=[SERVER, CLIENT]), "localhost"),
        (make("*.a.test", issuer=ROOT), "b.a.test"),
        (make("LocalHost", issuer=ROOT), "localhost"),
    ],
)
def test_certificates_of_servers_that_prove_enough(server: Made, name: str) -> None:
    agree(listening(server), connecting(), name)
    visit_of(Credentials(), connecting(), name).verifier.verify([server.certificate, *server.above], name)


def test_an_own_certificate_is_trusted_if_it_may_issue_others() -> None:
    for is_ca in (False, None):
        own = make("localhost", is_ca=is_ca)
        with pytest.raises(ssl.SSLCertVerificationError):
            agree(listening(own), connecting(own.root))
        with pytest.raises(CertificateRefused):
            visit_of(Credentials(), connecting(own.root), "localhost").verifier.verify([own.certificate])
    own = make("localhost", is_ca=True)
    agree(listening(own), connecting(own.root))
    visit_of(Credentials(), connecting(own.root), "localhost").verifier.verify([own.certificate], "localhost")


def test_a_bundle_may_hold_several_authorities() -> None:
    others = b"".join(make(is_ca=True, common_name=str(number)).root for number in range(5))
    agree(listening(), connecting(others + ROOT.root + LEAF.root))


def test_the_default_roots_do_not_know_tests() -> None:
    credentials = Credentials()
    server, client = credentials.server_context(listening()), credentials.client_context(None)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client)
    visit = visit_of(credentials, None, "localhost")
    with pytest.raises(CertificateRefused, match="local issuer"):
        visit.verifier.verify([LEAF.certificate, MIDDLE.certificate], "localhost")
    assert len(credentials.roots(credentials.client(None))) > 100


def test_the_embedder_chooses_other_roots() -> None:
    credentials = Credentials(roots=ROOT.root)
    shake_hands(credentials.server_context(listening()), credentials.client_context(None))
    assert credentials.roots(credentials.client(None)) == (ROOT.der,)


def test_the_certificate_of_the_host() -> None:
    credentials = Credentials(default=Identity.parse(LEAF.chain, LEAF.key_text()), roots=ROOT.root)
    shake_hands(credentials.server_context(None), credentials.client_context(None))
    assert site_of(credentials, None, "localhost").identity.chain[0] == LEAF.certificate


@pytest.mark.parametrize(
    ("client", "required", "works"),
    [
        (None, True, False),
        (None, False, True),
        (make(issuer=ROOT, usages=[CLIENT]), True, True),
        (make(issuer=ROOT, usages=[CLIENT]), False, True),
        (make(issuer=ROOT), True, True),
        (make(issuer=ROOT, usages=[SERVER]), True, False),
        (make(issuer=ROOT, usages=[SERVER]), False, False),
        (make(usages=[CLIENT]), True, False),
        (make(usages=[CLIENT]), False, False),
        (make(issuer=ROOT, until=-DAY, since=-2 * DAY), False, False),
    ],
)
def test_certificates_of_clients(client: Made | None, required: bool, works: bool) -> None:
    server = listening(client_ca=ROOT.root, require_client_auth=required)
    if works:
        agree(server, connecting(made=client))
    else:
        with pytest.raises(ssl.SSLError):
            agree(server, connecting(made=client))
    site = site_of(Credentials(), server, "localhost")
    assert site.verifier is not None
    if client is not None and works:
        site.verifier.verify([client.certificate])
    elif client is not None:
        with pytest.raises(CertificateRefused):
            site.verifier.verify([client.certificate])


def test_nobody_speaks_an_older_version() -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.load_verify_locations(cadata=ROOT.root.decode())
    with pytest.raises(ssl.SSLError):
        shake_hands(Credentials().server_context(listening()), old)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    tls._load_identity(old, Identity.parse(LEAF.chain, LEAF.key_text()))
    with pytest.raises(ssl.SSLError):
        shake_hands(old, Credentials().client_context(connecting()))


def test_no_session_is_resumed() -> None:
    credentials = Credentials()
    eager = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    eager.load_verify_locations(cadata=ROOT.root.decode())
    _, client = shake_hands(credentials.server_context(listening()), eager)
    assert client.session is None or not client.session.has_ticket
    generous = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls._load_identity(generous, Identity.parse(LEAF.chain, LEAF.key_text()))
    assert credentials.client_context(connecting()).options & ssl.OP_NO_TICKET


@pytest.mark.parametrize(
    ("server", "client", "chosen"),
    [
        (None, None, "h2"),
        (("a", "b"), ("b", "a"), "a"),
        ((), ("a",), None),
        (("a",), (), None),
        (("a",), ("b",), None),
    ],
)
def test_protocols(
    server: tuple[str, ...] | None, client: tuple[str, ...] | None, chosen: str | None
) -> None:
    credentials = Credentials()
    sides = shake_hands(
        credentials.server_context(listening(alpn=server)),
        credentials.client_context(connecting(alpn=client)),
    )
    assert [side.selected_alpn_protocol() for side in sides] == [chosen] * 2


def test_a_context_is_made_once_and_goes_with_its_settings() -> None:
    credentials = Credentials()
    first, second = listening(), listening()
    assert credentials.server_context(first) is credentials.server_context(second)
    assert credentials.server_context(first, alpn=("x",)) is not credentials.server_context(first)
    assert credentials.client_context(connecting()) is not None
    del first, second
    gc.collect()
    assert not credentials._servers
    assert not credentials._clients
    assert not credentials._contexts


@pytest.mark.parametrize("has_memory_files", [True, False])
def test_a_key_leaves_no_file_behind(
    has_memory_files: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if not has_memory_files:
        monkeypatch.delattr(os, "memfd_create")
    before = os.listdir("/proc/self/fd")
    assert Credentials().server_context(listening())
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert not os.listdir(tmp_path)


def test_a_key_too_small_for_the_system_is_an_error_for_the_guest() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    own = make("localhost", is_ca=True, key=key)
    with pytest.raises(TlsConfigError, match="failed to build TLS config: unexpected error: "):
        Credentials().server_context(listening(own))


def test_no_descriptor_for_a_key_is_an_error_for_the_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(TlsConfigError, match="Too many open files"):
        Credentials().server_context(listening())


def test_what_quic_cannot_carry() -> None:
    with pytest.raises(TlsConfigError, match="at most"):
        site_of(Credentials(), listening(make("localhost", padding=66_000)), "localhost")
    odd = make("localhost", key=ec.generate_private_key(ec.SECP521R1()))
    with pytest.raises(TlsConfigError, match="secp521r1"):
        site_of(Credentials(), listening(odd), "localhost")
    with pytest.raises(TlsConfigError, match="secp521r1"):
        visit_of(Credentials(), connecting(made=odd), "localhost")


@pytest.mark.parametrize(
    ("domain", "name"),
    [("Example.TEST.", "example.test"), ("[::1]", "::1"), ("::1", "::1"), ("127.0.0.1", "127.0.0.1")],
)
def test_names_for_certificates(domain: str, name: str) -> None:
    assert server_name(domain) == name


def failed(provoke: Callable[[], object]) -> BaseException:
    with pytest.raises(ssl.SSLError) as caught:
        provoke()
    return caught.value


def test_failures_in_words() -> None:
    wrong = failed(lambda: agree(listening(), connecting(make(is_ca=True).root)))
    assert describe(wrong).startswith("invalid peer certificate: ")
    outer = OSError("broken")
    outer.__cause__ = wrong
    assert describe(outer) == describe(wrong)
    plain = ssl.MemoryBIO()
    plain.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    client = Credentials().client_context(connecting())
    side = client.wrap_bio(plain, ssl.MemoryBIO(), server_hostname="x")
    assert describe(failed(side.do_handshake)) == "wrong version number"
    plain.write_eof()
    ended = ssl.MemoryBIO()
    ended.write_eof()
    side = client.wrap_bio(ended, ssl.MemoryBIO(), server_hostname="x")
    assert describe(failed(side.do_handshake)) == "tls handshake eof"
    assert describe(ConnectionResetError(104, "reset")) == "tls handshake eof"
    assert describe(ValueError()) == "ValueError"


def test_trustme_agrees(authority: trustme.CA, certificate: trustme.LeafCert) -> None:
    chain, key = pem(certificate)
    agree(ServerSettings(chain, key), connecting(authority.cert_pem.bytes()))


HEADS = b"-----BEGIN CERTIFICATE-----\n" * 37_000


@pytest.mark.parametrize("side", ["server", "client"])
def test_what_cannot_be_read_is_read_once(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that tries bad settings again and again costs the loop nothing more."""
    texts: list[bytes] = []
    read = tls.pem_blocks

    def counting(text: bytes) -> list[tuple[str, bytes]]:
        texts.append(text)
        return read(text)

    monkeypatch.setattr(tls, "pem_blocks", counting)
    credentials = Credentials()
    server, client = ServerSettings(HEADS, b"key"), ClientSettings(HEADS, None, None, None)
    for _ in range(3):
        with pytest.raises(InvalidArgument):
            credentials.server(server) if side == "server" else credentials.client(client)
    assert texts == [HEADS]


def test_certificates_of_a_text_are_bounded(authority: trustme.CA) -> None:
    one = authority.cert_pem.bytes()
    assert len(parse_authorities(one * 256)) == 256
    with pytest.raises(InvalidArgument) as refused:
        parse_authorities(one * 257)
    assert refused.value.why == "a PEM text may hold 256 certificates, and this one has 257"
