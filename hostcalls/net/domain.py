"""Domains: the names and addresses that guests bind and connect to."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias

import attrs

from enfilade.hostcalls.abi.errors import InvalidArgument

IPAddress: TypeAlias = IPv4Address | IPv6Address

_LONGEST = 253
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


@attrs.frozen
class Domain:
    """A domain that has the form of one.

    Attributes:
        text: as the guest has written it.
        name: in lower case, without brackets: what hosts are compared with, and certificates cover.
        address: the IP address that it is, or None for a name.
    """

    text: str
    name: str
    address: IPAddress | None

    @property
    def host(self) -> str:
        """The name as certificates and the policy know it: without a final dot."""
        return self.name.removesuffix(".")


def parse_domain(text: str, *, brackets: bool = True) -> Domain:
    """A domain that a guest has given. Not empty.

    Args:
        text: a DNS name of at most 253 bytes, with or without a final dot, or an IP address.
        brackets: whether an IPv6 address may be in brackets.

    Raises `InvalidArgument`. A name that ends in a number is no name: resolvers take it for an address.
    """
    inner = text[1:-1] if brackets and text[:1] == "[" and text[-1:] == "]" else text
    try:
        address = ip_address(inner)
    except ValueError:
        address = None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise InvalidArgument
    if inner is not text and not isinstance(address, IPv6Address):
        raise InvalidArgument
    if address is not None:
        return Domain(text, inner.lower(), address)
    if not text.isascii() or not 1 <= len(text) <= _LONGEST:
        raise InvalidArgument
    labels = text.removesuffix(".").split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or _NUMBER.fullmatch(labels[-1]):
        raise InvalidArgument
    return Domain(text, text.lower(), None)
