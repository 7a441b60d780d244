"""Patterns: faults that are made of others, one after the other, as they come in practice."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import attrs

from enfilade.actors.simulation.faults import Crash, Partition

if TYPE_CHECKING:
    from enfilade.actors.simulation.world import World

__all__ = ["CrashLoop", "Flap", "RollingRestart", "Swizzle"]

Pair: TypeAlias = "tuple[str, str]"


@attrs.frozen
class CrashLoop:
    """Crash a host again and again, so many times within so many seconds."""

    host: str
    times: int = 5
    seconds: float = 2.0

    def strike(self, world: World) -> None:
        """See `Fault`."""
        pause = self.seconds / self.times
        for number in range(self.times):
            crash = Crash(self.host, back=pause / 2)
            world.call_at(world.now() + number * pause, partial(_unless_calm, world, crash))


@attrs.frozen
class RollingRestart:
    """Crash hosts one after the other, the next one when the one before is back."""

    hosts: tuple[str, ...]
    seconds: float = 2.0

    def strike(self, world: World) -> None:
        """See `Fault`."""
        pause = self.seconds / len(self.hosts)
        for number, host in enumerate(self.hosts):
            crash = Crash(host, back=pause / 2)
            world.call_at(world.now() + number * pause, partial(_unless_calm, world, crash))


@attrs.frozen
class Flap:
    """Break the connection between two hosts, again and again, so many times within so many seconds."""

    one: str
    other: str
    times: int = 5
    seconds: float = 2.0

    def strike(self, world: World) -> None:
        """See `Fault`."""
        pause = self.seconds / self.times
        for number in range(self.times):
            cut = Partition(self.one, self.other, pause / 2, "reset")
            world.call_at(world.now() + number * pause, partial(_unless_calm, world, cut))


@attrs.frozen
class Swizzle:
    """Silence pairs of hosts one after the other, then let them hear each other again, in another order.

    Attributes:
        silenced: the pairs, in the order in which they are silenced.
        healed: the same pairs, in the order in which they are healed.
        seconds: how long all of it takes.
    """

    silenced: tuple[Pair, ...]
    healed: tuple[Pair, ...]
    seconds: float = 2.0

    def strike(self, world: World) -> None:
        """See `Fault`."""
        pause = self.seconds / (2 * len(self.silenced))
        middle = world.now() + self.seconds / 2
        for number, (one, other) in enumerate(self.silenced):
            after = self.healed.index((one, other)) * pause
            silence = Partition(one, other, middle + after - world.now() - number * pause)
            world.call_at(world.now() + number * pause, partial(_unless_calm, world, silence))


def _unless_calm(world: World, fault: Crash | Partition) -> None:
    if not world.is_calm:
        fault.strike(world)
