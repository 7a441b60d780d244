"""Properties: what must hold at every moment, once the faults are over, or at least once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs

from enfilade.actors.simulation.machine.arguments import at_least_0, checked_predicate
from enfilade.actors.simulation.machine.clock import SimulationClock

__all__ = ["Properties"]

Predicate = Callable[[], Any]


@attrs.define
class _Always:
    name: str
    predicate: Predicate
    every: float
    due: float = -math.inf


@attrs.frozen
class _Eventually:
    name: str
    predicate: Predicate
    within: float


class Properties:
    """The part of a `World` that asks predicates. They look, and must change nothing.

    Attributes:
        seen: for each property of `sometimes`, whether it has held.
    """

    steps: int
    now: Callable[[], float]
    call_at: Callable[[float, Callable[[], Any]], None]
    fail: Callable[[BaseException], None]
    clock: SimulationClock
    calm_since: float | None

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, bool] = {}
        self._always: list[_Always] = []
        self._eventually: list[_Eventually] = []
        self._awaited: dict[str, Predicate] = {}
        self._sometimes: dict[str, Predicate] = {}
        self._has_questions = False

    def always(self, name: str, predicate: Predicate, *, every: float = 0.0) -> None:
        """Demand that a predicate holds after every step of any life.

        Args:
            name: what the failure is called.
            predicate: a function without arguments.
            every: virtual seconds between two questions at least, for one that takes long; 0: at every step.
        """
        self._always.append(_Always(name, checked_predicate(predicate), at_least_0(every)))
        self._begin_to_ask()

    def eventually(self, name: str, predicate: Predicate, *, within: float) -> None:
        """Demand that a predicate holds once, at most so many seconds after the beginning of each `calm`.

        Args:
            name: what the failure is called.
            predicate: a function without arguments.
            within: virtual seconds, more than 0.
        """
        self._eventually.append(_Eventually(name, checked_predicate(predicate), at_least_0(within)))

    def demand(self, truth: object, name: str) -> None:
        """Demand something at once, also in code of a host, where an assertion would only end its process.

        Args:
            truth: what must be true.
            name: what the failure is called.
        """
        if not truth:
            self.fail(AssertionError(f"{name!r} does not hold at {self.now():g} s, after step {self.steps}"))

    def sometimes(self, name: str, predicate: Predicate) -> None:
        """Note whether a predicate ever holds after a step: see `seen`.

        A test of many seeds that `simulated` has made fails with its last seed when none of them has seen it,
        because then it has not tested what it is about.
        """
        self._sometimes[name] = checked_predicate(predicate)
        self.seen.setdefault(name, False)
        self._begin_to_ask()

    def examine(self) -> None:
        """Ask all that is to be asked after a step, or after an event of the world. What a predicate raises
        fails the world.
        """
        if not self._has_questions:
            return
        try:
            self._ask()
        except BaseException as error:  # such as what `pytest.fail` raises: trio must not get it
            self.fail(error)

    def _ask(self) -> None:
        for always in self._always:
            if always.every and self.now() < always.due:
                continue
            always.due = self.now() + always.every
            self.demand(always.predicate(), always.name)
        for waiting in (self._awaited, self._sometimes):
            for name in [name for name, predicate in waiting.items() if predicate()]:
                del waiting[name]
                if waiting is self._sometimes:
                    self.seen[name] = True

    def _begin_to_ask(self) -> None:
        """From now on there is something to ask: after each step, and after each event of the world."""
        self._has_questions = True
        self.clock.on_event = self.examine

    def judge_properties(self) -> None:
        """Demand that the properties of `eventually` have had their time.

        Raises:
            AssertionError: faults have never ended, so that nobody can tell.
        """
        if self._eventually and self.calm_since is None:
            name = self._eventually[0].name
            raise AssertionError(f"{name!r} was never asked for: call `calm`, which `eventually` counts from")

    def await_properties(self) -> None:
        """From now on the properties of `eventually` have their time to become true."""
        for property_ in self._eventually:
            self._awaited[property_.name] = property_.predicate
            self._begin_to_ask()
            self.call_at(self.now() + property_.within, lambda late=property_: self._is_late(late))  # type: ignore[misc]

    def _is_late(self, late: _Eventually) -> None:
        if self._awaited.pop(late.name, None) is not None and not late.predicate():
            self.fail(
                AssertionError(f"{late.name!r} did not hold within {late.within:g} s after the faults ended")
            )

    @property
    def is_awaiting(self) -> bool:
        """True while a property of `eventually` has time left and does not hold yet."""
        return bool(self._awaited)
