"""The machines of a simulated world: from them lives get time, chance, and what runs in threads elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from enfilade.actors.simulation.host import EPOCH, Host
from enfilade.actors.simulation.machine.custody import Life
from enfilade.actors.simulation.machine.entropy import Entropy, Stream

__all__ = ["Machines"]


class Machines:
    """The part of a `World` that stands for the machines of its hosts; the substitutes ask it."""

    entropy: Entropy
    hosts: dict[str, Host]
    now: Callable[[], float]

    def monotonic(self, life: Life) -> float:
        """The monotonic time of a life: that of the world, and what its present step has cost so far."""
        return self.now() + life.charge

    def unix_time(self, life: Life) -> float:
        """The wall-clock time of a life."""
        return EPOCH + self.hosts[life.name].skew + self.monotonic(life)

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
