"""Monotonic clocks that go at other rates than the world's.

A life whose clock drifts sees and sets times of its own clock. trio keeps the deadlines of all tasks in one
list, in the world's time, so a deadline is translated when it is entered there, and again when the rate of
the clock changes.
"""

from __future__ import annotations

from enfilade.actors.simulation.machine.custody import LIFE, Life
from enfilade.actors.simulation.machine.scheduler import move_deadlines, translate_deadlines

__all__ = ["set_rate"]


def set_rate(life: Life, rate: float, now: float) -> None:
    """Let the clock of a life go at a rate from now on; what it waits for comes at the time of its clock.

    Args:
        life: which.
        rate: seconds of its clock in a second of the world.
        now: the world's time.
    """
    if rate == life.rate:
        return
    before = life.clock
    life.clock = before.at_rate(rate, now)
    translate_deadlines(_in_world)
    move_deadlines(
        lambda task: task.context.get(LIFE) is life, lambda due: life.clock.in_world(before.local(due))
    )


def _in_world(deadline: float) -> float:
    life = LIFE.get()
    return deadline if life is None else life.clock.in_world(deadline)
