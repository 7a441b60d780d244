"""Faults by seed: first the seed draws which kinds there are and how often, then times and victims.

To leave a kind out is as important as to have it: what one kind of fault would always end early is found only
where it never strikes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import attrs

from enfilade.actors.simulation.entropy import Stream
from enfilade.actors.simulation.faults import Block, Crash, Flaky, Freeze, Partition, Skew, Slow
from enfilade.actors.simulation.schedule import Fault

if TYPE_CHECKING:
    from enfilade.actors.simulation.world import World

__all__ = ["KINDS", "Swarm", "swarm"]

SPAN: Final = (0.05, 8.0)
"""Seconds for which a fault holds."""

LATENCIES: Final = {"machine": 5e-5, "rack": 5e-4, "continent": 0.03, "satellite": 0.3}
"""Seconds that ways take, by how far apart hosts are."""

Kind = Callable[[Stream, str, str, float], Fault]

KINDS: Final[dict[str, Kind]] = {
    "crash": lambda draws, one, other, span: Crash(one, back=span),
    "power": lambda draws, one, other, span: Crash(one, how="machine", back=span),
    "freeze": lambda draws, one, other, span: Freeze(one, span),
    "slow": lambda draws, one, other, span: Slow(one, draws.log_between(1e-5, 1e-3), span),
    "block": lambda draws, one, other, span: Block(one, span / 4),
    "silence": lambda draws, one, other, span: Partition(one, other, span),
    "one way": lambda draws, one, other, span: Partition(one, other, span, one_way=True),
    "cut": lambda draws, one, other, span: Partition(one, other, span, how="reset"),
    "reset": lambda draws, one, other, span: Flaky(one, other, span, reset=draws.log_between(0.01, 0.5)),
    "full": lambda draws, one, other, span: Flaky(one, other, span, full=draws.log_between(0.01, 0.9)),
    "twice": lambda draws, one, other, span: Flaky(one, other, span, twice=draws.log_between(0.01, 0.9)),
    "delay": lambda draws, one, other, span: Flaky(one, other, span, jitter=draws.log_between(1e-3, 1.0)),
    "clock": lambda draws, one, other, span: Skew(one, draws.choice((-3600.0, -1.0, 1.0, 3600.0))),
}
"""The kinds of faults, by their names: each makes one for two hosts and a number of seconds."""


@attrs.frozen(kw_only=True)
class Swarm:
    """The range of what a seed may draw.

    Attributes:
        kinds: names of `KINDS`; each is used with a probability of one half.
        rates: the least and the largest number of faults of a kind in a second.
        latencies: names of distances between hosts; one is drawn for the whole world.
        hosts: names of the hosts that faults are about; all by default.
    """

    kinds: tuple[str, ...] = tuple(KINDS)
    rates: tuple[float, float] = (0.01, 1.0)
    latencies: tuple[str, ...] = ("machine", "rack", "continent")
    hosts: tuple[str, ...] = ()

    def release(self, world: World) -> None:
        """Draw the options, then faults for as long as the world is not calm."""
        draws = world.entropy.stream("swarm")
        chosen = {name: draws.log_between(*self.rates) for name in KINDS if draws.chance(0.5)}
        rates = {name: rate for name, rate in chosen.items() if name in self.kinds}
        distance = draws.choice(self.latencies)
        hosts = self.hosts or tuple(world.hosts)
        for one in hosts:
            for other in hosts:
                if one != other:
                    world.way(one, other).set(latency=LATENCIES[distance])
        shown = ", ".join(f"{name} {rate:.3g}/s" for name, rate in rates.items()) or "no faults"
        world.options = f"{len(hosts)} hosts, latency {distance}, {shown}"
        for name, rate in rates.items():
            self._follow(world, name, rate, world.entropy.stream(f"swarm/{name}"))

    def _follow(self, world: World, name: str, rate: float, draws: Stream) -> None:
        """Set the next fault of a kind, and all that follow it."""

        def strike() -> None:
            if world.is_calm:
                return
            hosts = self.hosts or tuple(world.hosts)
            one, other = draws.sample(hosts, 2) if len(hosts) > 1 else (hosts[0], hosts[0])
            fault = KINDS[name](draws, one, other, draws.log_between(*SPAN))
            if one != other or not isinstance(fault, Partition | Flaky):
                world.strike(fault)
            self._follow(world, name, rate, draws)

        world.call_at(world.now() + draws.exponential(1.0 / rate), strike)


def swarm(**options: object) -> Swarm:
    """Draw faults of every kind; `options` are the attributes of `Swarm`.

    Raises:
        ValueError: a kind or a latency has no such name.
    """
    made = Swarm(**options)  # type: ignore[arg-type]
    for given, known in ((made.kinds, KINDS), (made.latencies, LATENCIES)):
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(f"expected names among {', '.join(known)}, got {unknown[0]!r}")
    return made
