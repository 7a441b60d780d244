"""The watchdog: a thread that names whoever holds the loop.

A handler that computes for a second, or calls `time.sleep`, holds up every process and every task of the
loop, and none of them can tell. So a thread looks at the loop's thread from outside: several times within
`slow_handler` seconds it asks whether the loop is still at the same step, and for the same process. If it has
been for too long, it logs who it is, in which function, and the stack; once while it lasts, and once, with
the time it took, when it is over.

It sees everything that runs in the loop: handlers that the dispatcher runs, or a caller, or a task, starts,
`on_start` and `on_stop`, timers, tasks that belong to no process. A node without a watchdog pays nothing.
With one, a trio instrument counts the steps of the tasks, and the only clock that is read is the thread's.

There is one thread for all nodes of a loop that want one. It keeps no program alive, and a child of
`os.fork` does without.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from enfilade.actors.messages.blocks import block
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.hooks import call
from enfilade.actors.messages.misuse import IN_A_THREAD
from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.processes.current import CURRENT

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["watching"]

LOOKS: Final = 4
"""How often the thread looks at the loop within the time that it is to report."""

SHORTEST: Final = 0.002
"""Seconds between two looks, at least: each makes the loop's thread give up the interpreter for a moment."""

LONGEST: Final = 0.1
"""Seconds between two looks, at most: a limit may be for ever, and that of the next node shorter."""

LARGEST_STACK: Final = 20
"""How many frames of a stack are shown, the innermost."""

LATE: Final = 0.05
"""Seconds by which a look must be late, so that the loop, and not a busy machine, is held responsible."""

ASYNCIO: Final = "asyncio.base_events"
"""The module whose code is on the stack while a loop of asyncio runs, as within `asyncio.run`."""

PATIENCE: Final = 1.0
"""Seconds to wait for the thread's end: a log handler may hold it up."""


@block
def watching(node: Node) -> Iterator[None]:
    """Have the loop watched for the length of a block, if the node's settings say so."""
    if not node.config.watchdog:
        yield
        return
    try:
        watchdog = _WATCHDOG.get()
    except LookupError:
        watchdog = None
    if watchdog is None:
        watchdog = _Watchdog()
        _WATCHDOG.set(watchdog)
    watchdog.nodes = (*watchdog.nodes, node)
    watchdog.start()
    try:
        yield
    finally:
        if watchdog.nodes == (node,):
            _WATCHDOG.set(None)
            watchdog.stop()
        watchdog.nodes = tuple(other for other in watchdog.nodes if other is not node)


@attrs.define(eq=False)
class _Held:
    """A time for which one process, or task, holds the loop.

    Attributes:
        step: the number of the step that began it.
        process: whose code is running; None: that of a task of its own.
        since: when it was first seen.
        words: who it is, and in which function, once that was reported.
        place: that function, and its place in the code.
        frame: which call of that function it was.
    """

    step: int
    process: Process | None
    since: float
    words: str | None = None
    place: str = "the runtime"
    frame: tuple[int, CodeType] | None = None

    def is_at(self, step: int, process: Process | None, frames: Callable[[], list[FrameType]]) -> bool:
        """Tell whether this still lasts; once it is reported, another call counts as something else."""
        if (step, process) != (self.step, self.process):
            return False
        if self.frame is None:
            return True
        now = frames()
        return bool(now) and _call_of(now[-1]) == self.frame


def _call_of(frame: FrameType) -> tuple[int, CodeType]:
    """Tell one call from another, without keeping its variables alive."""
    return id(frame), frame.f_code


class _Watchdog(trio.abc.Instrument):
    """The watchdog of one loop.

    Attributes:
        nodes: those that want to be watched.
    """

    def __init__(self) -> None:
        self.nodes: tuple[Node, ...] = ()
        self._loop = threading.get_ident()
        self._pid = os.getpid()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._task: trio.lowlevel.Task | None = None
        self._step = 0
        self._noted: int | None = None  # the step that was reported, whose end is to be timed
        self._ended = 0.0
        self._second = -1
        self._logged = 0

    # In the loop's thread.

    def start(self) -> None:
        """Begin to watch, unless that was begun already."""
        if self._thread is None:
            self._task = trio.lowlevel.current_task()
            trio.lowlevel.add_instrument(self)
            self._thread = threading.Thread(target=self._run, name="enfilade watchdog", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop watching, and wait for the thread's end."""
        trio.lowlevel.remove_instrument(self)
        if self._thread is not None and self._pid == os.getpid():
            self._over.set()
            self._thread.join(PATIENCE)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        self._step += 1
        self._task = task

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        self._task = None
        if self._noted is not None:
            self._ended = perf_counter()
            self._noted = None

    # In the thread of the watchdog's own.

    def _limit(self, process: Process | None) -> float:
        """The seconds that `process`, or a task that belongs to none, may hold the loop."""
        return min((_limit(node) for node in self._concerned(process)), default=1.0)

    def _concerned(self, process: Process | None) -> Sequence[Node]:
        """The node of `process`; all nodes for a task that belongs to none."""
        return [node for node in self.nodes if process is not None and process.node is node] or self.nodes

    def _run(self) -> None:
        """Look at the loop, until told to stop."""
        held: _Held | None = None
        looked, step_before = perf_counter(), self._step
        while not self._over.wait(self._pause()):
            task, step = self._task, self._step
            process = None if task is None else self._running(task)
            before, looked = looked, perf_counter()
            if held is not None and not (task is not None and held.is_at(step, process, self._frames)):
                self._over_with(held, looked)
                held = None
            if task is not None and held is None:
                # What the loop has called may have kept the interpreter, and this thread, to itself.
                is_late = looked - before > self._limit(process) + LATE and step - step_before <= 1
                held = _Held(step, process, before + self._pause() if is_late else looked)
            if task is not None and held is not None and held.words is None:
                seconds = looked - held.since
                if seconds >= self._limit(process):
                    self._ended = 0.0
                    self._noted = step
                    self._report(held, task, seconds)
            step_before = step
        if held is not None:
            self._over_with(held, perf_counter())

    def _over_with(self, held: _Held, looked: float) -> None:
        """Log, and tell the nodes, how long a hold that was reported has taken."""
        if held.words is None:
            return
        seconds = (self._ended or looked) - held.since
        self._log("%s, held the loop for %.3f s", held.words, seconds)
        ref = None if held.process is None else held.process.ref
        for node in self._concerned(held.process):
            try:
                node.token.run_sync_soon(_tell, node, ref, held.place, seconds)
            except trio.RunFinishedError:
                continue

    def _pause(self) -> float:
        return min(LONGEST, max(SHORTEST, self._limit(None) / LOOKS))

    def _frames(self) -> list[FrameType]:
        return _own_frames(sys._current_frames().get(self._loop))

    def _running(self, task: trio.lowlevel.Task) -> Process | None:
        """The process whose code is running now."""
        for node in self.nodes:
            process = node.dispatcher.process
            if process is not None:
                return process
        return task.context.get(CURRENT)

    def _report(self, held: _Held, task: trio.lowlevel.Task, seconds: float) -> None:
        """Log who holds the loop, and in which function, with the stack."""
        process = held.process
        held.words = f"the task {safe_str(task.name)}" if process is None else safe_str(process.ref)
        frames = self._frames()
        if frames:
            held.frame = _call_of(frames[-1])
            code = frames[-1].f_code
            held.place = safe_str(code.co_qualname)
            held.words += f", in {held.place}"
            held.place += f" ({os.path.basename(code.co_filename)}:{frames[-1].f_lineno})"
        else:
            held.words += ", in the runtime"
        stack = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames[:LARGEST_STACK])
        is_of_asyncio = any(frame.f_globals.get("__name__") == ASYNCIO for frame in frames)
        del frames
        text = "Stack of what holds the loop, innermost last:\n" + "".join(
            reversed(traceback.format_list(stack))
        )
        if is_of_asyncio:
            text += f"  {IN_A_THREAD}"
        self._log("%s, has held the loop for %.3f s", held.words, seconds, text.rstrip())
        for node in self._concerned(process):
            if node.hooks.loop_caught:
                call(node.hooks.loop_caught, f"{held.words}, has held the loop for {seconds:.3f} s")

    def _log(self, text: str, words: str, seconds: float, stack: str | None = None) -> None:
        second = int(perf_counter())
        if second != self._second:
            self._second, self._logged = second, 0
        self._logged += 1
        if self._logged <= max((node.config.reports_per_second for node in self.nodes), default=0):
            log(logging.WARNING, text, words, seconds, stack=stack)


def _tell(node: Node, ref: Ref[Any] | None, place: str, seconds: float) -> None:
    if node.hooks.loop_held:
        call(node.hooks.loop_held, ref, place, seconds)


def _own_frames(frame: FrameType | None) -> list[FrameType]:
    """The frames from the innermost to that of the handler, hook, or task: what the runtime, or trio, has
    called.
    """
    frames: list[FrameType] = []
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module in _CALLERS or (module.startswith("trio.") and frames):
            break
        frames.append(frame)
        frame = frame.f_back
    return frames


_ACTORS: Final = __name__.removesuffix(".node.watchdog")
_CALLERS: Final = frozenset(
    [
        f"{_ACTORS}.processes.{name}"
        for name in (
            "actor",
            "body",
            "control_lane",
            "dispatcher",
            "handlers",
            "local_ref",  # which hands a call off, by way of the compiled core
            "reader",
            "resumption",
            "start",
            "sync_body",
            "task_bodies",
        )
    ]
    + [
        f"{_ACTORS}.observing.measurements.counting",  # while it counts the calls that are handed off
        f"{_ACTORS}.patterns.events",
        f"{_ACTORS}.patterns.machine",
        f"{_ACTORS}.messages.loop_bypass",
        f"{_ACTORS}.system",
        "trio._core._run",
    ]
)
"""The modules that call code of the program's own."""


_WATCHDOG: trio.lowlevel.RunVar[_Watchdog | None] = trio.lowlevel.RunVar("enfilade_watchdog")


def _limit(node: Node) -> float:
    watchdog = node.config.watchdog
    return node.config.slow_handler if watchdog is True else float(watchdog)
