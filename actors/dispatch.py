"""The dispatcher: one task that runs every process that needs none of its own.

A process that has something to do stands once on the run queue. The dispatcher gives each a turn of at most
`TURN` messages, and after `SLICE` messages, or `SLICE_SECONDS`, lets the other tasks of the loop run. The
clock costs more than a message does, so it is read after every turn only while turns are slow: as long as a
group of `GROUP` turns stays below a millisecond it is read once per group.

While a handler runs, `running` is its process. A caller outside may run a handler itself (`actors.ref`) when
nothing is running; `handoffs` is how often it may before it owes the loop a checkpoint.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import Abort

from actors.reasons import reason_of

if TYPE_CHECKING:
    from actors.process import Process

__all__ = ["Dispatcher"]

TURN = 64
SLICE = 512
SLICE_SECONDS = 0.005
GROUP = 16
QUICK_GROUP_SECONDS = 0.001
HANDOFFS = 64


class Dispatcher:
    """The run queue of a node and the task that works it off.

    Attributes:
        queue: processes that have something to do, each at most once.
        running: the process whose handler is on the stack now.
        parked: the dispatcher's task while there is nothing to do.
    """

    __slots__ = ("_turn", "handoffs", "parked", "queue", "running")

    def __init__(self) -> None:
        self.queue: deque[Process] = deque()
        self.running: Process | None = None
        self.parked: trio.lowlevel.Task | None = None
        self.handoffs = HANDOFFS
        self._turn = TURN

    def unpark(self) -> None:
        """There is something on the run queue again."""
        if self.parked is not None:
            trio.lowlevel.reschedule(self.parked)
            self.parked = None

    def renew_handoffs(self) -> None:
        """The caller is about to pass a checkpoint."""
        self.handoffs = HANDOFFS

    async def run(self) -> None:
        """Work the run queue off until cancelled."""
        while True:
            if self.queue:
                self._slice()
                self.handoffs = HANDOFFS
                await trio.lowlevel.checkpoint()
            else:
                self.parked = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> Abort:
        self.parked = None
        return Abort.SUCCEEDED

    def _slice(self) -> None:
        queue = self.queue
        next_process = queue.popleft
        requeue = queue.append
        left = SLICE
        turn = self._turn
        now = perf_counter()
        deadline = now + SLICE_SECONDS
        while left > 0:
            group = GROUP if turn > 1 else 1
            try:
                for _ in range(group):
                    if not queue:
                        return
                    process = next_process()
                    self.running = process
                    if process.body.turn(turn):
                        requeue(process)
                        left -= turn
                    else:
                        left -= 1
            except BaseException as error:
                process.node.finish(process, reason_of(error), error)
            finally:
                self.running = None
            before, now = now, perf_counter()
            turn = self._turn = TURN if now - before < QUICK_GROUP_SECONDS else 1
            if now >= deadline:
                return
