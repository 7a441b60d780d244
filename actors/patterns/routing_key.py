"""The key that the jobs of a pool are routed by."""

from __future__ import annotations

from collections.abc import Hashable

from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.stable_hash import stable_hash

__all__ = ["RoutingKey"]


class RoutingKey:
    """A key of the program's, which is equal to none if comparing it fails.

    Attributes:
        value: the key itself.
        place: what a slot is chosen by: the same on every node.

    Raises:
        BaseException: what hashing the key raises.
    """

    __slots__ = ("_hash", "place", "value")

    def __init__(self, value: Hashable) -> None:
        self.value = value
        self._hash = hash(value)
        self.place = stable_hash(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RoutingKey):
            return NotImplemented
        return self.value is other.value or _are_equal(self.value, other.value)


@attempt(False)
def _are_equal(one: object, other: object) -> bool:
    return bool(one == other)
