"""Other orders of the same program: what a schedule promises nothing about is shuffled, by a seed.

trio runs the tasks that are ready in any order; the dispatcher gives its processes turns in the order in
which they became runnable, which no program may rely on either. A seed fixes both: the order of trio's
batches, and a shuffle of the run queue before each of the dispatcher's slices. Messages between two processes
keep their order in all of them.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio
from trio._core import _run as trio_run
from trio.testing import MockClock

from enfilade.actors.messages.loop_bypass import Runnable
from enfilade.actors.processes.dispatcher import Dispatcher

__all__ = ["Shuffle", "run_with_seed"]

T = TypeVar("T")


class Shuffle(trio.abc.Instrument):
    """A trio instrument that shuffles the run queues of the dispatchers that it sees.

    Args:
        seed: the same seed gives the same order.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        coroutine: Any = task.coro
        frame = getattr(coroutine, "cr_frame", None)
        dispatcher = None if frame is None else getattr(frame.f_locals.get("run"), "__self__", None)
        if isinstance(dispatcher, Dispatcher):
            queue: deque[Runnable] = dispatcher.queue
            if len(queue) > 1:
                shuffled = list(queue)
                self._random.shuffle(shuffled)
                queue.clear()
                queue.extend(shuffled)


def run_with_seed(
    seed: int, fn: Callable[..., Awaitable[T]], *args: Any, clock: trio.abc.Clock | None = None
) -> T:
    """Run `fn(*args)` as `trio.run` does, in the order that `seed` gives.

    Args:
        seed: any integer. A test that fails says which, and fails again with it.
        fn: an async function.
        args: its arguments.
        clock: by default a `MockClock` that jumps, so that time costs nothing.

    Returns:
        What `fn` returns; it raises what `fn` raises, with a note that names the seed.
    """
    scheduler: Any = trio_run  # what follows is the hook that trio has for hypothesis
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    scheduler._r.seed(seed)
    try:
        return trio.run(
            fn,
            *args,
            clock=clock or MockClock(autojump_threshold=0.0),
            instruments=[Shuffle(seed)],
        )
    except BaseException as error:
        error.add_note(f"with the schedule of seed {seed}")
        raise
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before[0]
        scheduler._r.setstate(before[1])
