"""Where a guest may use the network, beyond the capability to use it at all."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import attrs

from enfilade.fields import as_tuple, instance_of, tuple_of
from enfilade.hostcalls.abi.errors import InvalidArgument
from enfilade.hostcalls.net.domain import Domain, IPAddress, parse_domain

IPNetwork: TypeAlias = IPv4Network | IPv6Network

_LARGEST_PORT = 65535
_ALL_PORTS = (range(1, _LARGEST_PORT + 1),)
_LOOPBACK: tuple[IPNetwork, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
_LOCALHOST = ("127.0.0.1", "::1")
_NAT64 = IPv6Network("64:ff9b::/96")


def _ports(given: int | Iterable[int] | None) -> tuple[range, ...]:
    """Ports as ascending ranges: one port, several, or None for all."""
    if given is None:
        return _ALL_PORTS
    if isinstance(given, tuple) and given and all(isinstance(each, range) for each in given):
        return tuple(given)  # an instance that is made again
    if isinstance(given, range) and given.step == 1:
        spans = [given] if given else []
    else:
        spans = []
        for port in sorted({given} if isinstance(given, int) else set(given)):
            if spans and spans[-1].stop == port:
                spans[-1] = range(spans[-1].start, port + 1)
            else:
                spans.append(range(port, port + 1))
    for span in spans:
        if span.start < 1 or span.stop > _LARGEST_PORT + 1:
            raise ValueError(f"expected ports from 1 to {_LARGEST_PORT}, got {span.start} to {span.stop - 1}")
    return tuple(spans)


def _has(ports: tuple[range, ...], port: int) -> bool:
    return any(port in span for span in ports)


def _address(given: str | IPAddress) -> IPAddress:
    try:
        return ip_address(str(given))
    except ValueError:
        raise ValueError(f"expected an IPv4 or IPv6 address to bind, got {given!r}") from None


def _names(given: str | Iterable[str] | None) -> frozenset[str] | None:
    if given is None:
        return None
    return frozenset(
        name.lower().removesuffix(".") for name in ([given] if isinstance(given, str) else given)
    )


@attrs.frozen
class Bind:
    """A rule that allows listeners.

    Args:
        address: the address of this machine that they listen on; "0.0.0.0" or "::" are all of their kind.
        ports: one port, or several; None for all.
        domains: the domains that they may have, "" among them for listeners without one; None for any.

    Raises `ValueError` when it has not that form.
    """

    address: IPAddress = attrs.field(converter=_address)
    ports: tuple[range, ...] = attrs.field(default=None, converter=_ports)
    domains: frozenset[str] | None = attrs.field(default=None, converter=_names)

    def allows(self, port: int, domain: str) -> bool:
        """Tell whether a listener of `domain` may listen on `port`."""
        return _has(self.ports, port) and (self.domains is None or domain in self.domains)

    def covers(self, address: IPAddress) -> bool:
        """Tell whether to listen on `address` is part of what the rule allows."""
        return address == self.address or (
            self.address.is_unspecified and address.version == self.address.version
        )


def _target(given: str | IPNetwork) -> str | IPNetwork:
    """A network, or a name in lower case, possibly with a leading `*.`, or `*` alone."""
    text = str(given)
    try:
        return ip_network(text)
    except ValueError:
        pass
    name = text.lower().removesuffix(".")
    try:
        if name != "*":
            parse_domain(name.removeprefix("*."), brackets=False)
    except InvalidArgument:
        raise ValueError(
            f"expected a name, '*.' and a name, '*', an address or a network (10.1.0.0/16), got {given!r}"
        ) from None
    return name


@attrs.frozen
class Reach:
    """A rule that allows connections.

    Args:
        to: a name; `*.` and a name, for all names below it; `*` for all names; an address; or a network. A
            name leads to public addresses alone: to others it does together with a rule for their network.
        ports: one port, or several; None for all.

    Raises `ValueError` when it has not that form.
    """

    to: str | IPNetwork = attrs.field(converter=_target)
    ports: tuple[range, ...] = attrs.field(default=None, converter=_ports)

    def names(self, host: str, port: int) -> bool:
        """Tell whether the rule allows `port` of the name `host`, in lower case and without a final dot."""
        if not isinstance(self.to, str) or not _has(self.ports, port):
            return False
        return self.to in ("*", host) or (self.to.startswith("*.") and host.endswith(self.to[1:]))

    def contains(self, address: IPAddress, port: int) -> bool:
        """Tell whether the rule allows `port` of `address` by its network; `localhost` is one as well."""
        networks = _LOOPBACK if self.to == "localhost" else () if isinstance(self.to, str) else (self.to,)
        return _has(self.ports, port) and any(address in network for network in networks)


# A converter has a type of its own: for a type variable, type checkers would ask for `Iterable[T]`.
def _bind_rules(given: Iterable[Bind]) -> tuple[Bind, ...]:
    return as_tuple(given)


def _connect_rules(given: Iterable[Reach]) -> tuple[Reach, ...]:
    return as_tuple(given)


def _outer_classes() -> tuple[type, ...]:
    return Network, type(None)


_ARE_BINDS = tuple_of(Bind, "Bind rules, such as [Bind('127.0.0.1', 8080)]")
_ARE_REACHES = tuple_of(Reach, "Reach rules, such as [Reach('api.example.com', 443)]")
_IS_OUTER = instance_of(_outer_classes, "a Network or None")


@attrs.frozen
class Network:
    """The places where a guest may use the network. Without rules, none.

    A rule allows what it names; a capability is needed as well. What no rule allows is refused before any
    packet, look-up or socket.

    Args:
        bind: the rules for listeners. They choose the addresses that are listened on: all of the rules that
            allow a listener's port and domain.
        connect: the rules for connections.
        outer: a policy that must allow it, too: a child has its parent's.

    Raises `TypeError` for rules of another kind.
    """

    bind: tuple[Bind, ...] = attrs.field(default=(), converter=_bind_rules, validator=_ARE_BINDS)
    connect: tuple[Reach, ...] = attrs.field(default=(), converter=_connect_rules, validator=_ARE_REACHES)
    outer: Network | None = attrs.field(default=None, validator=_IS_OUTER)

    @classmethod
    def none(cls) -> Network:
        """Nowhere."""
        return cls()

    @classmethod
    def loopback(cls) -> Network:
        """This machine alone, the default: listeners on 127.0.0.1 from port 1024, connections to loopback."""
        return _DEFAULT

    def within(self, outer: Network) -> Network:
        """This policy, narrowed to what `outer` allows, too."""
        if outer == self or outer == self.outer:
            return self
        return attrs.evolve(self, outer=outer if self.outer is None else self.outer.within(outer))

    def addresses(self, port: int, domain: str) -> tuple[str, ...]:
        """Addresses that a listener is bound to; none if it may not be.

        Args:
            port: 1 to 65535.
            domain: in lower case, without a final dot; may be empty.
        """
        found = {rule.address: None for rule in self.bind if rule.allows(port, domain)}
        return tuple(
            str(each) for each in found if self.outer is None or self.outer._covers(each, port, domain)
        )

    def _covers(self, address: IPAddress, port: int, domain: str) -> bool:
        mine = any(rule.allows(port, domain) and rule.covers(address) for rule in self.bind)
        return mine and (self.outer is None or self.outer._covers(address, port, domain))

    def literal(self, domain: Domain, port: int) -> tuple[str, ...] | None:
        """Return the addresses of `domain` for `port` without a look-up: of an IP address, or of `localhost`.

        Returns: those that are allowed, possibly none; None for a name that must be looked up.
        """
        if domain.address is not None:
            candidates: tuple[str, ...] = (str(_plain(domain.address)),)
        elif domain.host == "localhost":
            candidates = _LOCALHOST
        else:
            return None
        return tuple(each for each in candidates if self._contains(ip_address(each), port))

    def allows_name(self, domain: Domain, port: int) -> bool:
        """Tell whether the name `domain` may be looked up in order to connect to its `port`."""
        return any(rule.names(domain.host, port) for rule in self.connect) and (
            self.outer is None or self.outer.allows_name(domain, port)
        )

    def filter(self, addresses: Iterable[str], port: int) -> tuple[str, ...]:
        """Return those of `addresses`, of a permitted name, that are allowed at `port`: a name may lie."""
        return tuple(each for each in addresses if self._allows_found(_plain(ip_address(each)), port))

    def _allows_found(self, address: IPAddress, port: int) -> bool:
        return _is_public(address) or self._contains(address, port)

    def _contains(self, address: IPAddress, port: int) -> bool:
        return any(rule.contains(address, port) for rule in self.connect) and (
            self.outer is None or self.outer._contains(address, port)
        )


def _plain(address: IPAddress) -> IPAddress:
    """An IPv4 address that is written as an IPv6 one, as itself."""
    return getattr(address, "ipv4_mapped", None) or address


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, IPv6Address):
        inner = IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address.sixtofour
        if inner is not None:
            return _is_public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


_DEFAULT = Network(
    bind=(Bind("127.0.0.1", range(1024, _LARGEST_PORT + 1)),),
    connect=tuple(Reach(str(network)) for network in _LOOPBACK),
)
