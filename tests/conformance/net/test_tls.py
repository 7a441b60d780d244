"""Network conformance: TLS settings, and what bind and connect make of them."""

from __future__ import annotations

import gc
import ssl
from collections.abc import Callable

import pytest
import trio
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from enfilade.hostcalls.abi import TlsClientBundle, TlsServerBundle
from enfilade.hostcalls.abi.errors import HostcallError, InvalidArgument
from enfilade.hostcalls.net.quic_endpoint import site_of, visit_of
from enfilade.hostcalls.net.tls import Credentials
from enfilade.hostcalls.net.tls_settings import ClientSettings, ServerSettings
from tests.hostcalls.net.certificates import Made, make, shake_hands
from tests.hostcalls.net.quic_world import get, world

INVALID = "invalid argument"
BAD_ENCODING = "internal error: failed to build TLS config: invalid peer certificate: BadEncoding"
MISMATCH = "internal error: failed to build TLS config: keys may not be consistent: KeyMismatch"
NO_DEFAULT = "internal error: failed to build TLS config: no default certificate"

Bind = Callable[[ServerSettings | None], object]


def bind_https(settings: ServerSettings | None) -> object:
    return Credentials().server_context(settings)


def bind_quic(settings: ServerSettings | None) -> object:
    return site_of(Credentials(), settings, "localhost")


both = pytest.mark.parametrize("bind", [bind_https, bind_quic])


def server(
    chain: bytes = b"c",
    key: bytes = b"k",
    ca: bytes | None = None,
    alpn: tuple[str, ...] | None = None,
    required: bool = False,
) -> ServerSettings:
    return ServerSettings.check(TlsServerBundle(chain, key, ca, alpn, required))


def client(
    ca: bytes | None = None,
    chain: bytes | None = None,
    key: bytes | None = None,
    alpn: tuple[str, ...] | None = None,
) -> ClientSettings:
    return ClientSettings.check(TlsClientBundle(ca, chain, key, alpn))


@pytest.fixture(scope="module")
def made() -> Made:
    """A server's certificate that signs itself."""
    return make("localhost", "127.0.0.1", is_ca=True)


def refusal(bind: Bind, settings: ServerSettings | None) -> str:
    with pytest.raises(HostcallError) as caught:
        bind(settings)
    return caught.value.text


def test_net_32_server_settings_need_a_certificate_and_a_key() -> None:
    with pytest.raises(InvalidArgument):
        server(chain=b"")
    with pytest.raises(InvalidArgument):
        server(key=b"")


@pytest.mark.parametrize("ca", [None, b""])
def test_net_33_requiring_certificates_needs_an_authority(ca: bytes | None) -> None:
    with pytest.raises(InvalidArgument):
        server(ca=ca, required=True)
    assert server(ca=b"x", required=True).require_client_auth
    assert server(ca=b"").client_ca is None


def test_net_35_protocols_have_names() -> None:
    for names in ((("",)), ("h2", "")):
        with pytest.raises(InvalidArgument):
            server(alpn=names)
        with pytest.raises(InvalidArgument):
            client(alpn=names)
    assert server(alpn=()).alpn == ()
    assert client(alpn=()).alpn == ()


def test_net_36_a_bundle_has_a_mebibyte() -> None:
    most = 1024 * 1024
    assert server(b"c" * (most - 7), b"kkk", b"aa", ("h2",)).size == most
    with pytest.raises(InvalidArgument):
        server(b"c" * (most - 6), b"kkk", b"aa", ("h2",))
    with pytest.raises(InvalidArgument):  # requiring certificates counts for a byte
        server(b"c" * (most - 7), b"kkk", b"aa", ("h2",), required=True)
    assert client(b"c" * (most - 2), alpn=("h2",)).size == most
    with pytest.raises(InvalidArgument):
        client(b"c" * (most - 1), alpn=("h2",))


def test_net_38_a_client_has_both_certificate_and_key_or_neither() -> None:
    with pytest.raises(InvalidArgument):
        client(chain=b"c")
    with pytest.raises(InvalidArgument):
        client(chain=b"c", key=b"")
    with pytest.raises(InvalidArgument):
        client(key=b"k")
    assert client(chain=b"", key=b"") == client()
    assert client() == ClientSettings()


@pytest.mark.parametrize("names", [("x" * 256,), ("é",), ("x" * 255,) * 300])
def test_net_39_protocol_names_fit_into_a_handshake(names: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgument):
        server(alpn=names)
    with pytest.raises(InvalidArgument):
        client(alpn=names)
    assert server(alpn=("x" * 255,) * 255).alpn


@both
def test_net_40_rubbish_in_place_of_certificates(bind: Bind, made: Made) -> None:
    key = made.key_text()
    assert refusal(bind, server(b"junk", key)) == BAD_ENCODING
    assert refusal(bind, server(key, key)) == BAD_ENCODING
    lines = made.chain.splitlines()
    broken = b"\n".join([lines[0], b"!!" + lines[1][2:], *lines[2:]])
    assert refusal(bind, server(broken, key)) == INVALID
    assert refusal(bind, server(b"\n".join(lines[:-1]), key)) == INVALID
    assert refusal(bind, server(made.chain, b"junk")) == INVALID
    assert refusal(bind, server(made.chain, made.chain)) == INVALID
    assert refusal(bind, server(made.chain, key, b"junk")) == INVALID


@both
def test_net_42_the_key_of_another_certificate(bind: Bind, made: Made) -> None:
    assert refusal(bind, server(made.chain, make("localhost").key_text())) == MISMATCH


def test_net_42_a_client_with_the_key_of_another_certificate(made: Made) -> None:
    settings = client(chain=made.chain, key=make().key_text())
    with pytest.raises(HostcallError, match="KeyMismatch"):
        Credentials().client_context(settings)
    with pytest.raises(HostcallError, match="KeyMismatch"):
        visit_of(Credentials(), settings, "localhost")


@both
@pytest.mark.parametrize(
    ("form", "encoding"),
    [
        (PrivateFormat.PKCS8, Encoding.PEM),
        (PrivateFormat.PKCS8, Encoding.DER),
        (PrivateFormat.TraditionalOpenSSL, Encoding.PEM),
    ],
)
def test_net_43_nobody_is_asked_for_a_passphrase(
    bind: Bind, form: PrivateFormat, encoding: Encoding, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.open", lambda *_: pytest.fail("something was opened"))
    locked = made.key_text(form, encoding, b"secret")
    assert refusal(bind, server(made.chain, locked)) == INVALID


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_net_44_keys_and_certificates_come_in_many_formats(
    form: PrivateFormat, encoding: Encoding, kind: str
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048) if kind == "rsa" else None
    own = make("localhost", is_ca=True, key=key)
    chain = own.chain if encoding is Encoding.PEM else own.der
    settings = server(chain, own.key_text(form, encoding))
    bind_quic(settings)
    context = bind_https(settings)
    assert isinstance(context, ssl.SSLContext)
    shake_hands(context, Credentials().client_context(client(own.root)))


async def test_net_46_settings_may_go_while_they_are_used(
    autojump_clock: trio.abc.Clock, authority: trustme.CA, certificate: trustme.LeafCert
) -> None:
    async with world(authority, certificate) as w:
        listener = w.listen()  # nobody else has its settings
        gc.collect()
        connection = await w.connect()
        await get(connection.writer.write(b"x"))
        assert await get((await w.accept(listener)).reader.read(1)) == b"x"


@both
def test_net_48_a_host_without_a_certificate(bind: Bind) -> None:
    assert refusal(bind, None) == NO_DEFAULT
