"""The gate: connections that peers may have, in all and from one address."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, ip_address


class Gate:
    """Counts the connections of peers to the listeners of a runtime.

    Args:
        connections: how many there may be.
        from_address: how many may come from one address; of IPv6, from one network of 64 bits.
    """

    def __init__(self, *, connections: int, from_address: int) -> None:
        self._connections = connections
        self._from_address = from_address
        self._inside: Counter[str] = Counter()
        self._total = 0

    def __len__(self) -> int:
        return self._total

    def enter(self, host: str) -> bool:
        """Count a connection from this address; False if there are too many, and then it is not counted."""
        place = _place(host)
        if self._total >= self._connections or self._inside[place] >= self._from_address:
            return False
        self._inside[place] += 1
        self._total += 1
        return True

    def leave(self, host: str) -> None:
        """Count a connection that has entered no longer."""
        place = _place(host)
        self._inside[place] -= 1
        self._total -= 1
        if not self._inside[place]:
            del self._inside[place]


def _place(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return str(int(address) >> 64) if isinstance(address, IPv6Address) else host
