"""The network of a node's guests, from files that the user names: certificates and keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enfilade.actors.cli.files import read_own, read_private
from enfilade.actors.cli.refusal import Refusal
from enfilade.hostcalls.abi.errors import HostcallError
from enfilade.hostcalls.net.settings import NetworkSettings, settings_of

__all__ = ["read_network"]


def read_network(
    certificate: Path | None, key: Path | None, roots: Path | None, numbers: Mapping[str, Any]
) -> NetworkSettings:
    """Read and check the settings of a network.

    Args:
        certificate: PEM of the chain of listeners that bring no certificate of their own; with `key`.
        key: PEM of its private key, accessible to its owner alone.
        roots: PEM of the certificates that guests' clients trust, None for the Mozilla set.
        numbers: other settings of `NetworkSettings`, by name.

    Raises:
        Refusal: a file cannot be read, belongs to somebody else, or may be changed, or a key read, by
            others; certificate and key do not parse, or do not belong together; a number is wrong.
    """
    chain = None if certificate is None else read_own(certificate, "certificate")
    secret = None if key is None else read_private(key, "private key")
    trusted = None if roots is None else read_own(roots, "file of root certificates")
    try:
        settings = settings_of(numbers, certificate=chain, key=secret, roots=trusted)
    except ValueError as error:
        raise Refusal(str(error)) from error
    if chain is not None or trusted is not None:
        _check(settings, certificate, key, roots)
    return settings


def _check(settings: NetworkSettings, *paths: Path | None) -> None:
    """Parse the certificates, so that a mistake is told now and not to the first guest."""
    try:
        # An optional and heavy package, which only certificates need.
        from enfilade.hostcalls.net.tls import (
            Identity,
            KeyMismatch,
            parse_authorities,
            parse_chain,
            parse_key,
        )
    except ModuleNotFoundError as error:
        raise Refusal("certificates need the extra \"net\": pip install 'enfilade[net]'") from error
    certificate, key, roots = paths
    expected = (
        (
            settings.certificate,
            parse_chain,
            f"the certificate {certificate}",
            "certificates in PEM, or one in DER",
        ),
        (settings.key, parse_key, f"the private key {key}", "a key in PKCS#8, PKCS#1 or SEC1, not encrypted"),
        (settings.roots, parse_authorities, f"the root certificates {roots}", "certificates in PEM"),
    )
    for text, parse, what, form in expected:
        try:
            if text is not None:
                parse(text)
        except HostcallError as error:
            raise Refusal(f"{what}: expected {form}") from error
    if settings.certificate is not None and settings.key is not None:
        try:
            Identity.parse(settings.certificate, settings.key)
        except KeyMismatch as error:
            raise Refusal(f"the private key {key} is not that of the certificate {certificate}") from error
