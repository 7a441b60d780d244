"""Faults by seed: first the seed draws which kinds there are and how often, then times and victims.

To leave a kind out is as important as to have it: what one kind of fault would always end early is found only
where it never strikes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, get_args

import attrs

from enfilade.actors.simulation.fault_schedule import Fault
from enfilade.actors.simulation.faults.kinds import (
    Block,
    Crash,
    DiskFailure,
    DiskTrouble,
    Distance,
    Drift,
    Flaky,
    Freeze,
    LostRegistry,
    Partition,
    ServerTrouble,
    Skew,
    Slow,
)
from enfilade.actors.simulation.faults.patterns import Blackout, CrashLoop, Flap, RollingRestart, Swizzle
from enfilade.actors.simulation.faults.stranger_calls import Story
from enfilade.actors.simulation.faults.strangers import Stranger
from enfilade.actors.simulation.machine.entropy import Stream
from enfilade.fields import is_number

if TYPE_CHECKING:
    from enfilade.actors.simulation.world import World

__all__ = ["KINDS", "Swarm", "swarm"]

SPAN: Final = (0.05, 8.0)
"""Seconds for which a fault holds."""

SHARES: Final = (0.1, 0.3, 0.6)
"""How many of the kinds a seed uses: a few show what many would drown."""

LATENCIES: Final = {"machine": 5e-5, "rack": 5e-4, "continent": 0.03, "satellite": 0.3}
"""Seconds that ways take, by how far apart hosts are."""

RATES: Final = (0.91, 1.09)
"""The slowest and the fastest monotonic clock: as far as leases allow for."""

STEPS: Final = (-3600.0, -1.0, 1.0, 3600.0)
"""Seconds by which wall clocks are put."""

Make = Callable[[Stream, Sequence[str], float], Fault]


def _pairs(hosts: Sequence[str]) -> list[tuple[str, str]]:
    return list(itertools.combinations(hosts, 2))


def _swizzle(draws: Stream, hosts: Sequence[str], span: float) -> Fault:
    pairs = _pairs(hosts)
    silenced = draws.sample(pairs, 1 + draws.below(len(pairs)))
    return Swizzle(tuple(silenced), tuple(draws.sample(silenced, len(silenced))), span)


ALONE: Final[dict[str, Make]] = {
    "crash": lambda draws, hosts, span: Crash(hosts[0], back=span),
    "power": lambda draws, hosts, span: Crash(hosts[0], how="machine", back=span),
    "crash loop": lambda draws, hosts, span: CrashLoop(hosts[0], 2 + draws.below(4), span),
    "freeze": lambda draws, hosts, span: Freeze(hosts[0], span),
    "slow": lambda draws, hosts, span: Slow(hosts[0], draws.log_between(1e-5, 1e-3), span),
    "block": lambda draws, hosts, span: Block(hosts[0], span / 4),
    "drift": lambda draws, hosts, span: Drift(hosts[0], draws.between(*RATES), 4 * span),
    "clock": lambda draws, hosts, span: Skew(hosts[0], draws.choice(STEPS)),
    "stranger": lambda draws, hosts, span: Stranger(
        hosts[0], draws.choice(get_args(Story)), span, draws.below(2**32)
    ),
}
"""The kinds of faults of one host."""

DISKS: Final[dict[str, Make]] = {
    "disk fails": lambda draws, hosts, span: DiskFailure(
        hosts[0], draws.choice(("read", "write", "sync")), 1 + draws.below(3)
    ),
    "disk full": lambda draws, hosts, span: DiskTrouble(hosts[0], span, room=draws.below(2000)),
    "disk slow": lambda draws, hosts, span: DiskTrouble(hosts[0], span, latency=draws.log_between(1e-3, 1.0)),
}
"""The kinds of faults of a host's disk, in worlds where a host has one."""

TOGETHER: Final[dict[str, Make]] = {
    "silence": lambda draws, hosts, span: Partition(hosts[0], hosts[1], span),
    "one way": lambda draws, hosts, span: Partition(hosts[0], hosts[1], span, one_way=True),
    "cut": lambda draws, hosts, span: Partition(hosts[0], hosts[1], span, how="reset"),
    "isolated": lambda draws, hosts, span: Partition(hosts[0], tuple(hosts[1:]), span),
    "halves": lambda draws, hosts, span: Partition(
        tuple(hosts[: (len(hosts) + 1) // 2]), tuple(hosts[(len(hosts) + 1) // 2 :]), span
    ),
    "flap": lambda draws, hosts, span: Flap(hosts[0], hosts[1], 2 + draws.below(4), span),
    "swizzle": _swizzle,
    "blackout": lambda draws, hosts, span: Blackout(tuple(hosts), span / 4),
    "rolling": lambda draws, hosts, span: RollingRestart(tuple(hosts), span),
    "reset": lambda draws, hosts, span: Flaky(hosts[0], hosts[1], span, reset=draws.log_between(0.01, 0.5)),
    "full": lambda draws, hosts, span: Flaky(hosts[0], hosts[1], span, full=draws.log_between(0.01, 0.9)),
    "twice": lambda draws, hosts, span: Flaky(hosts[0], hosts[1], span, twice=draws.log_between(0.01, 0.9)),
    "delay": lambda draws, hosts, span: Flaky(hosts[0], hosts[1], span, jitter=draws.log_between(1e-3, 1.0)),
}
"""The kinds of faults between hosts."""

SERVERS: Final[dict[str, Make]] = {
    "server killed": lambda draws, hosts, span: ServerTrouble(hosts[0], "killed", span),
    "server power": lambda draws, hosts, span: ServerTrouble(hosts[0], "power", span),
    "server frozen": lambda draws, hosts, span: ServerTrouble(hosts[0], "frozen", span),
    "server retires": lambda draws, hosts, span: ServerTrouble(hosts[0], "retiring", span),
    "server apart": lambda draws, hosts, span: Partition(hosts[0], hosts[1], span),
    "server reset": lambda draws, hosts, span: Partition(hosts[0], hosts[1], span, how="reset"),
    "host apart": lambda draws, hosts, span: Partition(hosts[-1], tuple(hosts[:-1]), span),
    "server unheard": lambda draws, hosts, span: Partition(hosts[0], hosts[-1], span, one_way=True),
    "registry full": lambda draws, hosts, span: ServerTrouble(hosts[0], "full", span),
    "server clock": lambda draws, hosts, span: Skew(hosts[0], draws.choice(STEPS)),
    "registry lost": lambda draws, hosts, span: LostRegistry(span / 4),
}
"""The kinds of faults of the servers of a mesh, in worlds that have several: each makes one for servers, in a
drawn order, and a host after them.
"""

KINDS: Final[dict[str, Make]] = {**ALONE, **DISKS, **TOGETHER, **SERVERS}
"""All kinds of faults, by name: each makes one for hosts, in a drawn order, and a number of seconds."""


def _names_of(known: Iterable[str]) -> Callable[[object, object, Sequence[str]], None]:
    """Return a validator of names that are all known."""

    def check(_instance: object, _attribute: object, names: Sequence[str]) -> None:
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"expected names among {', '.join(known)}, got {unknown[0]!r}")

    return check


@attrs.frozen(kw_only=True)
class Swarm:
    """The range of what a seed may draw.

    Attributes:
        kinds: names of `KINDS`; the seed draws how many of them it uses, a tenth or up to six tenths.
        rates: the least and the largest number of faults of a kind in a second.
        latencies: names of distances between hosts; one is drawn for the whole world.
        hosts: names of the hosts that faults are about; all by default.
    """

    kinds: tuple[str, ...] = attrs.field(default=tuple(KINDS), validator=_names_of(KINDS))
    rates: tuple[float, float] = attrs.field(default=(0.01, 1.0))
    latencies: tuple[str, ...] = attrs.field(
        default=("machine", "rack", "continent"),
        validator=[_names_of(LATENCIES), attrs.validators.min_len(1)],
    )
    hosts: tuple[str, ...] = ()

    @rates.validator
    def _check_rates(self, _attribute: object, value: tuple[float, float]) -> None:
        is_pair = isinstance(value, tuple | list) and len(value) == 2 and all(map(is_number, value))
        if not is_pair or not 0 < value[0] <= value[1] < math.inf:
            raise ValueError(f"rates must be two numbers above 0, the smaller one first, got {value!r}")

    def release(self, world: World) -> None:
        """Draw the options, then faults that strike `world` for as long as it is not calm.

        Raises:
            ValueError: the world has no hosts yet, or not those that the faults are about.
        """
        hosts = self.hosts or tuple(world.hosts)
        if not hosts:
            raise ValueError("expected a world with hosts, for which the seed draws faults: open them before")
        world.network.check_names(hosts)
        share = world.entropy.stream("swarm/share").choice(SHARES)
        rates: dict[str, float] = {}
        for name in self.kinds:
            draws = world.entropy.stream(f"swarm/{name}")  # its own, so that a further kind moves no other
            if draws.chance(share) and _can_strike(name, world, hosts):
                rates[name] = draws.log_between(*self.rates)
        distance = world.entropy.stream("swarm").choice(self.latencies)
        world.call_at(world.now(), partial(world.strike, Distance(LATENCIES[distance])))
        shown = ", ".join(f"{name} {rate:.3g}/s" for name, rate in rates.items()) or "no faults"
        world.tell_options(f"{len(hosts)} hosts, latency {distance}, {shown}")
        for name, rate in rates.items():
            self._follow(world, name, rate, world.entropy.stream(f"swarm/{name}"))

    def _follow(self, world: World, name: str, rate: float, draws: Stream) -> None:
        """Set the next fault of a kind, and all that follow it."""

        def strike() -> None:
            if world.is_calm:
                return
            hosts = self.hosts or tuple(world.hosts)
            drawn = draws.sample(hosts, len(hosts))
            if name in SERVERS:
                drawn = [*draws.sample(tuple(world.servers), len(world.servers)), drawn[0]]
            world.strike(KINDS[name](draws, drawn, draws.log_between(*SPAN)))
            self._follow(world, name, rate, draws)

        world.call_at(world.now() + draws.exponential(1.0 / rate), strike)


def _can_strike(name: str, world: World, hosts: Sequence[str]) -> bool:
    if name in DISKS:
        return any(world.hosts[host].disk is not None for host in hosts)
    if name in SERVERS:
        return len(world.servers) > 1
    return name in ALONE or len(hosts) > 1


def swarm(**options: object) -> Swarm:
    """Draw faults of every kind; `options` are the attributes of `Swarm`.

    Raises:
        TypeError: there is no such attribute.
        ValueError: a kind or a latency has no such name, or the rates are none.
    """
    return Swarm(**options)  # type: ignore[arg-type]
