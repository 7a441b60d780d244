"""Partitions: hosts are kept apart, and brought together again."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Set
from functools import partial
from typing import Any, Literal, TypeAlias

from enfilade.actors.simulation.host import Host
from enfilade.actors.simulation.machine.arguments import at_least_0
from enfilade.actors.simulation.machine.entropy import Entropy
from enfilade.transport.simulated.network import Network
from enfilade.transport.simulated.ways import Way

__all__ = ["Partitions"]

Some: TypeAlias = "Host | str | Collection[Host | str]"
"""A host, the name of a host or a zone, or several of them."""


class Partitions:
    """The part of a `World` that keeps hosts apart, and brings them together."""

    network: Network
    entropy: Entropy
    last: Callable[[Hashable, float, Callable[[], Any]], None]
    forget: Callable[[Hashable], None]
    _note: Callable[..., None]

    def way(self, origin: Host | str, destination: Host | str) -> Way:
        """The way from one host to another; see `Way.set`.

        Raises:
            ValueError: the world has no such host.
        """
        ends = _name(origin), _name(destination)
        self.network.check_names(ends)
        return self.network.way(*ends)

    def partition(
        self,
        one: Some,
        other: Some,
        *,
        how: Literal["silence", "reset"] = "silence",
        one_way: bool = False,
    ) -> None:
        """Keep hosts apart from others, until `heal`.

        Args:
            one, other: hosts, or names of hosts or zones, or lists of them.
            how: "silence" holds back what arrives; "reset" breaks connections, and none can be made.
            one_way: whether only what travels from `one` to `other` is concerned.
        """
        if how not in ("silence", "reset"):
            raise ValueError(f"expected 'silence' or 'reset', got {how!r}")
        self.keep_apart(one, other, math.inf, how=how, one_way=one_way)

    def keep_apart(
        self,
        one: Some,
        other: Some,
        seconds: float,
        *,
        how: Literal["silence", "reset"] = "silence",
        one_way: bool = False,
    ) -> None:
        """Keep hosts apart as `partition` does, for so many seconds; of several times the longest counts."""
        at_least_0(seconds)
        self._note("partition", *_names(one), "|", *_names(other), how, one_way)
        for way in self._ways(one, other, one_way=one_way):
            (self.network.silence if how == "silence" else self.network.cut)(way)
            self.last(way, seconds, partial(self._heal, way))

    def heal(self, one: Some | None = None, other: Some | None = None) -> None:
        """Undo partitions: those between two sets of hosts, or all of them."""
        everyone = self.network.names()  # of servers of a mesh, too
        ones, others = everyone if one is None else one, everyone if other is None else other
        shown = ("all" if one is None else one), ("all" if other is None else other)
        self._note("heal", *_names(shown[0]), "|", *_names(shown[1]))
        for way in self._ways(ones, others, one_way=False):
            self._heal(way)

    def _heal(self, way: Way) -> None:
        self.forget(way)
        self.network.heal(way)

    def reset(self, one: Host | str, other: Host | str) -> None:
        """Break every connection between two hosts, now; they can be made again at once."""
        self._note("reset", _name(one), _name(other))
        way = self.way(one, other)
        self.network.reset(way.origin, way.destination)

    def strike_at(self, place: int, hit: Callable[[Any, str, str], None]) -> None:
        """Call `hit(world, sender, receiver)` within the hand-over of that number."""
        self.network.strikes[place] = lambda origin, destination: hit(self, origin.name, destination.name)

    def hold(self, one: Some, other: Some) -> None:
        """Hold back what travels between two sets of hosts, until `release`."""
        self.partition(one, other)

    def release(self, one: Some, other: Some, order: Literal["fifo", "seeded"] = "fifo") -> None:
        """Let what was held back arrive, in the order in which it was sent, or in a drawn order of ways."""
        if order not in ("fifo", "seeded"):
            raise ValueError(f"expected 'fifo' or 'seeded', got {order!r}")
        ways = list(self._ways(one, other, one_way=False))
        if order == "seeded":
            self.entropy.stream("release").shuffle(ways)
        self._note("release", order)
        for way in ways:
            self._heal(way)

    def _ways(self, one: Some, other: Some, *, one_way: bool) -> list[Way]:
        ways = dict.fromkeys(self.network.ways(_names(one), _names(other)))
        if not one_way:
            ways |= dict.fromkeys(self.network.ways(_names(other), _names(one)))
        return list(ways)


def _name(host: Host | str) -> str:
    if not isinstance(host, Host | str):
        raise TypeError(f"expected a host, or the name of a host or zone, got {host!r}")
    return host if isinstance(host, str) else host.name


def _names(hosts: Some) -> list[str]:
    if isinstance(hosts, Host | str) or not isinstance(hosts, Collection):
        return [_name(hosts)]
    names = map(_name, hosts)
    return sorted(names) if isinstance(hosts, Set) else list(names)  # whose order follows the hash seed
