"""Patterns: faults that are made of others, one after the other, as they come in practice."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import attrs

from enfilade.actors.simulation.fault_schedule import Fault
from enfilade.actors.simulation.faults.kinds import Crash, Partition
from enfilade.fields import by_annotation

if TYPE_CHECKING:
    from enfilade.actors.simulation.world import World

__all__ = ["Blackout", "CrashLoop", "Flap", "RollingRestart", "Swizzle"]

Pair: TypeAlias = "tuple[str, str]"


@attrs.frozen(field_transformer=by_annotation)
class Blackout:
    """Cut the power of all `hosts` at one moment, for `seconds`: a whole site."""

    hosts: tuple[str, ...] = attrs.field(validator=attrs.validators.min_len(1))
    seconds: float = attrs.field(default=2.0, validator=attrs.validators.ge(0.0))

    def __str__(self) -> str:
        return f"{', '.join(self.hosts)} have no power for {self.seconds:g} s"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        for host in self.hosts:
            Crash(host, how="machine", back=self.seconds).strike(world)


@attrs.frozen(field_transformer=by_annotation)
class CrashLoop:
    """Crash `host` again and again, `times` times within `seconds`."""

    host: str
    times: int = attrs.field(default=5, validator=attrs.validators.ge(1))
    seconds: float = attrs.field(default=2.0, validator=attrs.validators.ge(0.0))

    def __str__(self) -> str:
        return f"{self.host} is crashed {self.times} times within {self.seconds:g} s"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        pause = self.seconds / self.times
        _spread(world, pause, [Crash(self.host, back=pause / 2)] * self.times)


@attrs.frozen(field_transformer=by_annotation)
class RollingRestart:
    """Crash the `hosts` one after the other within `seconds`, each when the one before is back."""

    hosts: tuple[str, ...] = attrs.field(validator=attrs.validators.min_len(1))
    seconds: float = attrs.field(default=2.0, validator=attrs.validators.ge(0.0))

    def __str__(self) -> str:
        return f"{', '.join(self.hosts)} are crashed one after the other within {self.seconds:g} s"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        pause = self.seconds / len(self.hosts)
        _spread(world, pause, [Crash(host, back=pause / 2) for host in self.hosts])


@attrs.frozen(field_transformer=by_annotation)
class Flap:
    """Break the connection between `one` and `other` again and again, `times` times within `seconds`."""

    one: str
    other: str
    times: int = attrs.field(default=5, validator=attrs.validators.ge(1))
    seconds: float = attrs.field(default=2.0, validator=attrs.validators.ge(0.0))

    def __str__(self) -> str:
        return f"{self.one} | {self.other} lose their connection {self.times} times within {self.seconds:g} s"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        pause = self.seconds / self.times
        _spread(world, pause, [Partition(self.one, self.other, pause / 2, "reset")] * self.times)


@attrs.frozen(field_transformer=by_annotation)
class Swizzle:
    """Silence pairs of hosts one after the other, then let them hear each other again, in another order.

    Attributes:
        silenced: the pairs, in the order in which they are silenced.
        healed: the same pairs, in the order in which they are healed.
        seconds: how long all of it takes.
    """

    silenced: tuple[Pair, ...] = attrs.field(validator=attrs.validators.min_len(1))
    healed: tuple[Pair, ...]
    seconds: float = attrs.field(default=2.0, validator=attrs.validators.ge(0.0))

    def __str__(self) -> str:
        pairs = ", ".join(" | ".join(pair) for pair in self.silenced)
        return f"{pairs} are silenced one by one, and healed in another order, within {self.seconds:g} s"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        pause = self.seconds / (2 * len(self.silenced))
        ends = [self.seconds / 2 + self.healed.index(pair) * pause for pair in self.silenced]
        silences = [
            Partition(*pair, end - number * pause)
            for number, (pair, end) in enumerate(zip(self.silenced, ends, strict=True))
        ]
        _spread(world, pause, silences)


def _spread(world: World, pause: float, faults: Sequence[Fault]) -> None:
    """Let faults strike one after the other, with a pause between two, until the world is calm."""

    def strike(fault: Fault) -> None:
        if not world.is_calm:
            fault.strike(world)

    for number, fault in enumerate(faults):
        world.call_at(world.now() + number * pause, partial(strike, fault))
