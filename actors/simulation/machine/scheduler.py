"""The scheduler of a simulated run: trio's order of tasks by a seed, and what trio is about to do.

Whatever a simulation uses of trio beyond its public names is here, in `custody` (how a task is aborted and
taken off the books) and nowhere else. `check_order` tries whether it still does what it must.
"""

from __future__ import annotations

import functools
import gc
import heapq
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio
from trio._core import _run as trio_run

__all__ = [
    "check_order",
    "has_work",
    "move_deadlines",
    "next_deadline",
    "ordered",
    "translate_deadlines",
]

TASKS: Final = 8
"""Tasks of a run that looks at their order."""

FROZEN: Final = 10_000
"""Objects that are spared the collector: more than an interpreter begins with (375 in Python 3.12)."""


def has_work() -> bool:
    """Tell whether a task is ready to be resumed."""
    return bool(trio_run.GLOBAL_RUN_CONTEXT.runner.runq)


def next_deadline() -> float:
    """The next deadline of the run's tasks; infinity without any."""
    return trio_run.GLOBAL_RUN_CONTEXT.runner.deadlines.next_deadline()


@contextmanager
def ordered(seed: int) -> Iterator[None]:
    """Let trio's order of tasks, the global generator and the collection of garbage follow a seed, for the
    length of a block.

    Args:
        seed: which order it is.
    """
    scheduler: Any = trio_run  # the hook that trio has for hypothesis
    flag, order, chance = (
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING,
        scheduler._r.getstate(),
        random.getstate(),
    )
    was_collecting, add = gc.isenabled(), scheduler.Deadlines.add
    gc.disable()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    scheduler._r.seed(f"{seed}/scheduler")
    random.seed(f"{seed}/global")
    try:
        with _surroundings_spared():
            yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = flag
        scheduler._r.setstate(order)
        random.setstate(chance)
        scheduler.Deadlines.add = add
        if was_collecting:
            gc.enable()


def translate_deadlines(translated: Callable[[float], float]) -> None:
    """Have each deadline translated when it is entered, until the end of `ordered`.

    Args:
        translated: returns the time of the run for a deadline; called in the context of who sets it.
    """
    deadlines: Any = trio_run.Deadlines
    plain = deadlines.add
    if hasattr(plain, "translated"):
        return

    def add(self: Any, deadline: float, scope: Any) -> None:
        deadline = scope._registered_deadline = translated(deadline)
        plain(self, deadline, scope)

    add.translated = translated  # type: ignore[attr-defined]
    deadlines.add = add


def move_deadlines(concerned: Callable[[trio.lowlevel.Task], bool], moved: Callable[[float], float]) -> None:
    """Move the deadlines that some tasks have set.

    Args:
        concerned: tells whether a task is one of them.
        moved: returns the new time of the run for an old one.
    """
    deadlines: Any = trio_run.GLOBAL_RUN_CONTEXT.runner.deadlines
    scopes = {
        id(scope): scope for deadline, _, scope in deadlines._heap if deadline == scope._registered_deadline
    }
    for scope in scopes.values():
        task = _task_of(scope._cancel_status)
        if task is not None and concerned(task):
            deadline = scope._registered_deadline = moved(scope._registered_deadline)
            heapq.heappush(deadlines._heap, (deadline, id(scope), scope))


def _task_of(status: Any) -> trio.lowlevel.Task | None:
    """One of the tasks within a scope: they are all of one life."""
    for task in status._tasks:
        return task  # type: ignore[no-any-return]
    found = (_task_of(child) for child in status._children)
    return next((task for task in found if task is not None), None)


@contextmanager
def _surroundings_spared() -> Iterator[None]:
    """Spare the collector what there was before: modules, test suites, earlier worlds. A world collects
    often, and only what it has made itself can be of interest.
    """
    if _is_spared():
        # Whoever has done so already wants it to stay so, and worlds that have crashed leave much for good.
        gc.collect()
        gc.freeze()
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@functools.cache
def _is_spared() -> bool:
    """Tell whether the surroundings are spared already. Asked once: to count takes as long as a world."""
    return gc.get_freeze_count() > FROZEN


@functools.cache
def check_order() -> None:
    """Run a few tasks twice by one seed, and once by another: the first time in a process.

    Raises:
        RuntimeError: this version of trio does not do what a simulation needs.
    """
    one, again, other = _order(1), _order(1), _order(2)
    if one != again or one == other:
        raise RuntimeError(
            f"the order of tasks does not follow a seed in trio {trio.__version__}, so that no simulation "
            "could be repeated: use a version of trio that this version of enfilade was tested with"
        )


def _order(seed: int) -> list[int]:
    """The order in which tasks run that are ready at once."""
    order: list[int] = []

    async def note(number: int) -> None:
        await trio.lowlevel.checkpoint()
        order.append(number)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(TASKS):
                nursery.start_soon(note, number)

    with ordered(seed):
        trio.run(main)
    return order
