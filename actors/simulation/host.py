"""A simulated host: a place for a node, which is started there again and again."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import trio

from enfilade.actors.simulation.machine.custody import Life
from enfilade.transport.simulated.disk import SimulatedDisk

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.transport.simulated.carrier import SimulatedCarrier
    from enfilade.transport.simulated.ways import Port

__all__ = ["EPOCH", "Boot", "Host", "HostCrashed", "nothing"]

EPOCH: Final = 1767225600.0
"""The wall-clock time at which every world begins: 2026-01-01, 00:00 UTC."""

SLEW: Final = 1 / 2000
"""Seconds that a clock which is put right little by little catches up in a second."""

Boot: TypeAlias = "Callable[[Node], Awaitable[object]]"
"""The first code of each life of a host: it spawns what the node is for."""


async def nothing(_: object) -> None:
    """Begin a life without any code."""


class HostCrashed(Exception):
    """The host was crashed while something waited for its code."""


@attrs.define
class Skewness:
    """By how many seconds a wall clock is wrong: what it has been put by, and what it still catches up."""

    _jumps: float = 0.0
    _rest: float = 0.0
    _since: float = 0.0

    def put(self, now: float, seconds: float, *, at_once: bool) -> None:
        """Put the clock by so many seconds, at once or little by little."""
        caught_up = self._caught_up(now)
        self._jumps, self._rest, self._since = self._jumps + caught_up, self._rest - caught_up, now
        if at_once:
            self._jumps += seconds
        else:
            self._rest += seconds

    def at(self, now: float) -> float:
        """Return the seconds at a time of the world."""
        return self._jumps + (self._caught_up(now) if self._rest else 0.0)

    def _caught_up(self, now: float) -> float:
        return math.copysign(min(abs(self._rest), (now - self._since) * SLEW), self._rest)


@attrs.define(eq=False)
class Host:
    """A simulated machine with room for one node. Made by `World.open_node`.

    Attributes:
        name: of the host, and of its node.
        zone: of the host.
        address: where its node can be called.
        boot: the first code of each life.
        options: the options of `open_node` for each life.
        port: its place in the network.
        skew: by how much its wall clock is wrong.
        rate: seconds that its monotonic clock counts in one of the world.
        life: the present life, or the last one.
        lives: how many there were.
        latest: the node of that life; None until one is open.
        disk: its disk; None until it was asked for, by `World.disk`.
        carrier: what moves the batches of the present life; None before the first.
        ready, closing, ended: events of the present life: its `boot` has run, it is to end in order, it is
            over.
        trouble: why its `boot` has failed; None.
        calls: the addresses to which each life connects.
    """

    name: str
    zone: str
    address: str
    boot: Boot
    options: dict[str, Any]
    port: Port
    skew: Skewness = attrs.field(factory=Skewness)
    rate: float = 1.0
    life: Life | None = None
    lives: int = 0
    latest: Node | None = None
    disk: SimulatedDisk | None = None
    carrier: SimulatedCarrier | None = None
    ready: trio.Event = attrs.field(factory=trio.Event)
    closing: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)
    trouble: BaseException | None = None
    calls: dict[str, None] = attrs.field(factory=dict)

    @property
    def full_name(self) -> str:
        """The name of its node: `name@zone`."""
        return f"{self.name}@{self.zone}"

    @property
    def node(self) -> Node:
        """The node of the present life, or of the last one, for tests to look at. What it is told to do
        must be told by `World.on`.

        Raises:
            RuntimeError: no life of this host has opened a node yet.
        """
        if self.latest is None:
            raise RuntimeError(f"host {self.full_name} has no node yet: wait until `World.open_node` returns")
        return self.latest

    @property
    def is_alive(self) -> bool:
        """True while a life goes on here."""
        return self.life is not None and not self.life.is_over and not self.ended.is_set()

    def __repr__(self) -> str:
        return f"<host {self.full_name}>"
