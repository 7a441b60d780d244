"""Virtual time of a simulated world: it jumps from one event to the next, and never waits for anything real.

trio asks a clock for `deadline_to_sleep_time` exactly when nothing can run. The events of the world that are
due next, or the deadline, whichever comes first, are dealt with there and then, until a task can run.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any, Final

import trio

from enfilade.actors.simulation.machine.custody import LIFE
from enfilade.actors.simulation.machine.scheduler import check_order, has_work, next_deadline
from enfilade.actors.simulation.machine.standstill import MOST_STEPS, Instant, Stuck

__all__ = ["Departures", "SimulationClock"]

MOST_ROUNDS: Final = 2 * MOST_STEPS
"""Rounds of the loop within one instant after which it is taken for one that never ends. A task of a host
that never waits is found before, and named.
"""

LOOK: Final = 10_000
"""Rounds of the loop between two looks at that."""


class SimulationClock(trio.abc.Clock):
    """The clock of a run in which a world is simulated.

    It serves one run: `trio.run(main, clock=SimulationClock())`. Time begins at 0.

    Attributes:
        now: the world's time.
        on_event: called after each event of the world, if it is not None.

    Raises:
        RuntimeError: this version of trio does not do what a simulation needs.
    """

    def __init__(self) -> None:
        check_order()
        self.now = 0.0
        self.on_event: Callable[[], None] | None = None
        self._number = 0
        self._events: list[tuple[float, int, Callable[[], Any]]] = []
        self._on_stuck: Callable[[], None] | None = None
        self._on_error: Callable[[BaseException], None] | None = None
        self._instant = Instant(MOST_ROUNDS)
        self._asked = 0
        self._look_at = LOOK

    # For the world.

    def begin(self, on_stuck: Callable[[], None], on_error: Callable[[BaseException], None]) -> None:
        """Serve a world.

        Args:
            on_stuck: called when nothing can ever run again; it must make something run.
            on_error: is given what an event raised.
        """
        self._on_stuck, self._on_error = on_stuck, on_error

    def end(self) -> None:
        """Forget the events of the world."""
        self.on_event = None
        self._on_stuck = self._on_error = None
        self._events.clear()

    def call_at(self, when: float, run: Callable[[], Any]) -> None:
        """Call `run` at the time `when`, after what was set for the same time before."""
        self._number += 1
        heapq.heappush(self._events, (when, self._number, run))

    def has_event_within(self, seconds: float) -> bool:
        """Tell whether an event is due within `seconds`."""
        return bool(self._events) and self._events[0][0] <= self.now + seconds

    # For trio.

    def start_clock(self) -> None:
        """See `trio.abc.Clock`."""

    def current_time(self) -> float:
        """The time of the life that asks, by its own clock; otherwise the world's."""
        life = LIFE.get()
        if life is not None:
            return life.local(self.now)
        self._asked += 1  # by each round of the loop
        if self._asked >= self._look_at:
            self._look()
        return self.now

    def _look(self) -> None:
        """Fail the world if its time has stood still for too many rounds of the loop."""
        self._look_at += LOOK
        if self._instant.never_ends(self.now, self._asked) and self._on_error is not None:
            self._on_error(Stuck(f"time stands still at {self.now:g} s: a task of no host never waits"))

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """See `trio.abc.Clock`."""
        events = self._events
        while events and events[0][0] <= max(deadline, self.now):
            # A round of the loop that has nothing to resume would cost more than most events.
            self._deal_with_what_is_due()
            if has_work():
                return 0.0
            deadline = next_deadline()
        if deadline <= self.now:
            return 0.0
        if deadline < math.inf:
            self.now = deadline
            return 0.0
        if self._on_stuck is None:
            return math.inf  # trio's own last tasks wait for its wake-up socket
        self._on_stuck()
        return 0.0

    def _deal_with_what_is_due(self) -> None:
        """Go on to the next event, and deal with all of the same instant."""
        events = self._events
        now = self.now = max(self.now, events[0][0])
        while events and events[0][0] <= now:
            run = heapq.heappop(events)[2]
            try:
                run()
                if self.on_event is not None:
                    self.on_event()
            except BaseException as error:
                if self._on_error is None:
                    raise
                self._on_error(error)


class Departures:
    """The time of a network: what code of a life sends departs when its step has come that far.

    Args:
        clock: the world's.
    """

    def __init__(self, clock: SimulationClock) -> None:
        self._clock = clock
        self.call_at = clock.call_at

    def current_time(self) -> float:
        """Return the present time, or that within the present step of a life that takes time."""
        life = LIFE.get()
        return self._clock.now if life is None else life.within_step(self._clock.now)
