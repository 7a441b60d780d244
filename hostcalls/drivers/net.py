"""TLS settings for guests: the contracts of `selium::net::tls::*`.

The network itself is not part of this build, and no settings are kept; but what is wrong with a bundle is
told as it would be where they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from enfilade.hostcalls.abi import NetTlsClientConfig, NetTlsServerConfig, catalogue
from enfilade.hostcalls.abi.errors import InvalidArgument, NotInThisBuild
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.operation import Operation, operation

_LARGEST_BUNDLE = 1024 * 1024
"""Bytes that the certificates, keys and protocol names of one bundle may have together."""


def operations() -> Iterable[Operation[Any, Any]]:
    """The operations of TLS settings."""
    yield operation(catalogue.NET_TLS_SERVER_CONFIG_CREATE, server_config_create)
    yield operation(catalogue.NET_TLS_CLIENT_CONFIG_CREATE, client_config_create)


def server_config_create(caller: Caller, wanted: NetTlsServerConfig) -> NoReturn:
    """Settings of a server: it has a certificate and its key, and a client CA if it requires clients' own."""
    bundle = wanted.bundle
    _check(bundle.alpn, bundle.cert_chain_pem, bundle.private_key_pem, bundle.client_ca_pem)
    if not bundle.cert_chain_pem or not bundle.private_key_pem:
        raise InvalidArgument
    if bundle.require_client_auth and not bundle.client_ca_pem:
        raise InvalidArgument
    raise NotInThisBuild(catalogue.NET_TLS_SERVER_CONFIG_CREATE.name)


def client_config_create(caller: Caller, wanted: NetTlsClientConfig) -> NoReturn:
    """Settings of a client: it has a certificate and its key, or neither."""
    bundle = wanted.bundle
    _check(bundle.alpn, bundle.ca_bundle_pem, bundle.client_cert_pem, bundle.client_key_pem)
    if bool(bundle.client_cert_pem) != bool(bundle.client_key_pem):
        raise InvalidArgument
    raise NotInThisBuild(catalogue.NET_TLS_CLIENT_CONFIG_CREATE.name)


def _check(alpn: tuple[str, ...] | None, *texts: bytes | None) -> None:
    """What holds for both: the size, and that every protocol has a name. An empty text is as good as none."""
    protocols = [name.encode() for name in alpn or ()]
    if not all(protocols):
        raise InvalidArgument
    if sum(map(len, protocols)) + sum(len(text or b"") for text in texts) > _LARGEST_BUNDLE:
        raise InvalidArgument
