"""Tasks that run processes, one after another.

To make a task, to have the loop begin it, and to let it end costs more than what the runtime itself does for
a process. So a task that has run a process to its end waits for the next one, which then begins in its turn
of the run queue, in a fresh context and under its own name. Nothing of the one before is left: a task in
which its code has left a scope or a nursery open ends instead.

Where tasks cannot be stepped (`loop_bypass.py`), each process has a task of its own.
"""

from __future__ import annotations

from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

import trio
from trio.lowlevel import Abort

from enfilade.actors.messages.loop_bypass import IS_AVAILABLE, pause, trap_for
from enfilade.actors.messages.wake import TaskTurn
from enfilade.actors.processes.scopes import KeptScope

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.task_bodies import TaskBody

__all__ = ["ProcessTasks"]

SPARE: Final = 64 if IS_AVAILABLE else 0
"""How many tasks of a node may wait for a process to run; further ones end."""

IDLE: Final = "waits for a process to run"
"""The name of a task that runs no process."""


class ProcessTasks:
    """The tasks of one node that run processes.

    Attributes:
        node: the node, whose dispatcher gives a process that a waiting task is to run its first turn.
        spare: the tasks that wait.
    """

    __slots__ = ("node", "spare")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.spare: list[_SpareTask] = []

    def start(self, body: TaskBody, name: str) -> None:
        """Run a process in a task, which has that name meanwhile, in the node's context. Not a checkpoint."""
        context = self.node.contexts.new()
        if self.spare:
            self.spare.pop().begin(body, name, context)
        else:
            context.run(self._start, body, name)

    def _start(self, body: TaskBody, name: str) -> None:
        self.node.nursery.start_soon(self._run, body, name=name)

    async def _run(self, body: TaskBody | None) -> None:
        """Run a process, and those that follow: the whole of a task."""
        task = trio.lowlevel.current_task()
        spare: _SpareTask | None = None
        scope = KeptScope()
        try:
            while body is not None:
                is_clean = await body.run(scope)
                body = None
                if not is_clean or len(self.spare) >= SPARE:
                    return
                if spare is None:
                    spare = _SpareTask(self)
                body = await spare.wait(task)
        finally:
            scope.close()
            if spare is not None:
                spare.forget_trap()


class _SpareTask(TaskTurn):
    """A task that waits for a process to run. It stands on the run queue when it is to begin one.

    Attributes:
        body: what it is to run next; None.
    """

    __slots__ = ("_tasks", "_trap", "_waits", "body")

    def __init__(self, tasks: ProcessTasks) -> None:
        super().__init__(tasks.node.dispatcher)
        self._tasks = tasks
        self._trap: Any = trap_for(self._abort)
        self._waits: trio.lowlevel.Task | None = None
        self.body: TaskBody | None = None

    async def wait(self, task: trio.lowlevel.Task) -> TaskBody | None:
        """Wait in `task` for a process to run, and return its body. Cancelled when the node ends."""
        task.name = IDLE
        task.context = Context()  # that of the process before holds the process
        self._waits = task
        self._tasks.spare.append(self)
        await pause(self._trap)
        body, self.body = self.body, None
        return body

    def forget_trap(self) -> None:
        """Let go of the trap, which refers to this object: the task ends."""
        self._trap = None

    def begin(self, body: TaskBody, name: str, context: Context) -> None:
        """Run this next; the task has left the list of those that wait."""
        task, self._waits = self._waits, None
        assert task is not None
        self.body = body
        task.name = name
        task.context = context
        self.task = task
        if self.dispatcher.parked is not None:
            self.dispatcher.unpark()
        self.dispatcher.queue.append(self)

    def _abort(self, _: object) -> Abort:
        """The node ends. A process that is about to begin does so, and is cancelled where it waits."""
        if self not in self._tasks.spare:
            return Abort.FAILED
        self._tasks.spare.remove(self)
        self._waits = None
        return Abort.SUCCEEDED
