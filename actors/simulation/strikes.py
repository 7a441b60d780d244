"""The strikes of faults in a world: those that a test gives, that a seed draws, or that a schedule has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from enfilade.actors.simulation.fault_schedule import Fault, Release, Schedule, check_schedule
from enfilade.actors.simulation.mishaps import split

__all__ = ["Strikes"]


class Strikes:
    """The part of a `World` that lets faults strike, until it is calm.

    Attributes:
        drawn: the faults of `faults` that have struck, with their times.
        prescribed: faults in the place of those that `faults` is given.
        struck: how often a fault of each kind has struck.
        is_calm: whether faults have ended.
    """

    now: Callable[[], float]
    call_at: Callable[[float, Callable[[], Any]], None]
    _note: Callable[..., None]

    def __init__(self) -> None:
        super().__init__()
        self.prescribed: Schedule | None = None
        self.drawn: Schedule = []
        self.struck: dict[str, int] = {}
        self.is_calm = False

    def at(self, seconds: float, fault: Fault) -> None:
        """Let `fault` strike `seconds` after the beginning of the world.

        Raises:
            TypeError: it is no fault, or no time.
            ValueError: the time is NaN.
        """
        check_schedule([(seconds, fault)])
        self.call_at(seconds, lambda: self._strike(fault))

    def faults(self, faults: Schedule | Release) -> None:
        """Let faults strike: those of a schedule, or such as `swarm()` draws, until the world is calm.

        Each strikes in its turn, when the world comes to its time and nothing else can run: none while it
        is given. What is due already comes next.

        Raises:
            TypeError: it is neither a list of times with faults, nor what `swarm()` returns.
            ValueError: a time is NaN.
        """
        if not hasattr(faults, "release"):
            check_schedule(faults)
        if self.prescribed is not None:
            faults, self.prescribed = self.prescribed, []
        if isinstance(faults, list):
            for seconds, fault in faults:
                self.call_at(seconds, partial(self.strike, fault))
        else:
            faults.release(self)

    def prescribe(self, schedule: Schedule) -> None:
        """Play the faults of `schedule` instead of those that `faults` is given; what chance decides among
        them holds from now on.
        """
        mishaps, self.prescribed = split(schedule)
        for _, mishap in mishaps:
            mishap.strike(self)

    def strike(self, fault: Fault) -> None:
        """Let `fault` strike now, one of those that `faults` was given."""
        if not self.is_calm:
            self.drawn.append((self.now(), fault))
            self._strike(fault)

    def _strike(self, fault: Fault) -> None:
        if not self.is_calm:
            kind = type(fault).__name__
            self.struck[kind] = self.struck.get(kind, 0) + 1
            self._note(f"fault.{kind}")
            fault.strike(self)
