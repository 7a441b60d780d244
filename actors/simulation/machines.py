"""The machines of a simulated world: from them lives get time, chance, and what runs in threads elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import trio

from enfilade.actors.simulation.host import EPOCH, Host
from enfilade.actors.simulation.machine.arguments import at_least_0
from enfilade.actors.simulation.machine.custody import Life
from enfilade.actors.simulation.machine.drift import set_rate
from enfilade.actors.simulation.machine.entropy import Entropy, Stream
from enfilade.transport.simulated.disk import SimulatedDisk

if TYPE_CHECKING:
    from enfilade.transport.simulated.network import Network

__all__ = ["Machines"]


class Machines:
    """The part of a `World` that stands for the machines of its hosts; the substitutes ask it."""

    entropy: Entropy
    hosts: dict[str, Host]
    network: Network
    now: Callable[[], float]
    host: Callable[[Host | str], Host]
    last: Callable[[Hashable, float, Callable[[], Any]], None]
    forget: Callable[[Hashable], None]
    _note: Callable[..., None]

    # What happens to them.

    def freeze(self, host: Host | str, seconds: float = math.inf) -> None:
        """Let a host stand still, as SIGSTOP does; for so many seconds, or until `thaw`. Of several times the
        longest counts.
        """
        host, _ = self.host(host), at_least_0(seconds)
        life = host.life
        if life is None or not host.is_alive:
            return
        if not life.is_frozen:
            self._note("freeze", host.name)
            life.freeze()
            self.network.freeze(host.port)
        self.last(("frozen", life), seconds, lambda: self._thaw(host, life))

    def thaw(self, host: Host | str) -> None:
        """Let a frozen host go on, as SIGCONT does."""
        host = self.host(host)
        if host.life is not None:
            self._thaw(host, host.life)

    def _thaw(self, host: Host, life: Life) -> None:
        self.forget(("frozen", life))
        if life is host.life and life.is_frozen and not life.is_over:
            self._note("thaw", host.name)
            life.thaw()
            self.network.thaw(host.port)

    def slow(self, host: Host | str, *, step: float = 2e-4, blocked: float = 0.0) -> None:
        """Give a host a slow processor, until its life ends.

        Args:
            host: which.
            step: seconds that each step of a task takes; 0: none.
            blocked: seconds for which it holds its loop now, once.
        """
        host = self.host(host)
        at_least_0(step)
        at_least_0(blocked)
        if host.life is not None and host.is_alive:
            self._note("slow", host.name, step, blocked)
            host.life.step_cost = step
            if blocked:
                host.life.occupy(blocked)

    def disk(self, host: Host | str) -> SimulatedDisk:
        """The disk of a host. Its files outlive lives; a crash of the "machine" takes what was not synced."""
        host = self.host(host)
        if host.disk is None:
            host.disk = SimulatedDisk(self.entropy.stream(f"disk/{host.name}"))
        return host.disk

    def skew_clock(self, host: Host | str, seconds: float, jump: bool = True) -> None:
        """Put a host's wall clock forward, or back; its timers do not notice.

        Args:
            host: which.
            seconds: how far; less than 0 puts it back.
            jump: whether at once. Otherwise the clock goes a 2000th faster or slower until it is there, as a
                service that keeps the time lets it.
        """
        host = self.host(host)
        if not -math.inf < seconds < math.inf:
            raise ValueError(f"expected a finite number of seconds, got {seconds!r}")
        self._note("skew", host.name, seconds)
        host.skew.put(self.now(), seconds, at_once=jump)

    def drift_clock(self, host: Host | str, rate: float) -> None:
        """Let a host's monotonic clock go at another rate from now on: its timers, the limits of its calls,
        its leases. The wall clock does not notice: others keep it right.

        Args:
            host: which.
            rate: seconds that its clock counts in one second of the world, from 0.5 to 2; 1: as the world.
        """
        host = self.host(host)
        if not 0.5 <= rate <= 2.0:
            raise ValueError(f"expected a rate from 0.5 to 2, got {rate!r}")
        self._note("drift", host.name, rate)
        host.rate = rate
        if host.life is not None and host.is_alive:
            set_rate(host.life, rate, self.now())

    # What they give.

    def monotonic(self, life: Life) -> float:
        """The monotonic time of a life: that of the world, at the rate of the host's clock, and what its
        present step has cost so far.
        """
        return life.local(life.within_step(self.now()))

    def unix_time(self, life: Life) -> float:
        """The wall-clock time of a life."""
        now = life.within_step(self.now())
        return EPOCH + self.hosts[life.name].skew.at(now) + now

    def processor_time(self, life: Life) -> float:
        """The seconds that a life has computed, as far as it costs anything."""
        return life.spent + life.charge

    async def run_blocking(self, life: Life, function: Callable[..., Any], *args: Any, **_how: Any) -> Any:
        """Run a blocking function of a life where threads would. It takes the latency of the host's disk."""
        disk = self.hosts[life.name].disk
        await trio.sleep(disk.latency if disk is not None else 0.0)
        return function(*args)

    def process_of(self, life: Life) -> int:
        """The number of a life's process: no other life of the world has it."""
        carrier = self.hosts[life.name].carrier
        return carrier.credentials.pid if carrier is not None else 0

    def started(self, process: int) -> int | None:
        """When the process of a number has started, in lives of its host before; None if there is none."""
        for host in self.hosts.values():
            if host.is_alive and host.life is not None and self.process_of(host.life) == process:
                return host.life.number
        return None

    def chance_of(self, life: Life) -> Stream:
        """The stream of draws that belongs to a life."""
        return self.entropy.stream(f"{life.name}.{life.number}")
