"""Destinations: domains and ports that the policy of a guest allows it to connect to."""

from __future__ import annotations

import attrs

from enfilade.hostcalls.abi.errors import PermissionDenied
from enfilade.hostcalls.net.domain import Domain
from enfilade.hostcalls.net.policy import Network
from enfilade.hostcalls.net.sockets import Sockets


@attrs.frozen
class Destination:
    """A place that a guest may connect to.

    Attributes:
        domain: as the guest has given it.
        port: the port.
        places: the guest's policy.
        addresses: those that need no look-up; None for a name.
    """

    domain: Domain
    port: int
    places: Network
    addresses: tuple[str, ...] | None

    @classmethod
    def check(cls, domain: Domain, port: int, places: Network) -> Destination:
        """The destination of a domain and port. Raises `PermissionDenied`; nothing is looked up."""
        addresses = places.literal(domain, port)
        allowed = places.allows_name(domain, port) if addresses is None else bool(addresses)
        if not allowed:
            raise _denied(domain.name, port)
        return cls(domain, port, places, addresses)

    async def resolve(self, sockets: Sockets) -> tuple[str, ...]:
        """Look up the addresses that the guest may connect to, IPv4 first. A checkpoint if it looks up.

        Raises `PermissionDenied` if the name leads to addresses alone that the policy does not allow, and
        `OSError` if it leads nowhere.
        """
        if self.addresses is not None:
            return self.addresses
        found = await sockets.resolve(self.domain.host)
        allowed = self.places.filter(found, self.port)
        if not allowed:
            raise _denied(f"{self.domain.name}, which is {', '.join(found)},", self.port)
        return allowed


def _denied(place: str, port: int) -> PermissionDenied:
    return PermissionDenied(
        why=f"the network policy has no rule to connect to {place} port {port}; "
        "add Reach(..., ports=...) to Network(connect=...)"
    )
