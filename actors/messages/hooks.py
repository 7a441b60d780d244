"""Hooks: functions that the runtime calls where something rare happens on a node.

Of those who observe a node, the runtime knows this file and no more. A `Listener` overrides the methods of
the places it wants to hear of, and is added to the hooks of a node, `node.hooks.add(listener)`. A place that
nobody listens to costs the test of an empty tuple:

    hooks = node.hooks
    if hooks.process_started:
        call(hooks.process_started, process)

There is no hook for a message: what happens with every message is watched by functions that are put in the
place of the plain ones, as long as somebody watches.

A listener runs at once, in the step that it is told of. It must be quick, must not wait, and must not make
the process of that step end. What it raises is logged, and neither the step nor other listeners notice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Final, TypeVarTuple

from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.reasons import Reason

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.processes.process import Process

__all__ = ["Hooks", "Listener", "call"]

Ts = TypeVarTuple("Ts")


class Listener:
    """The base of all listeners: a method for each place. What a subclass does not override costs nothing.

    A child's id is None under a dynamic supervisor.
    """

    def process_started(self, process: Process) -> None:
        """`process` begins: its target is known, and its body is about to be made."""

    def process_crashing(self, process: Process, reason: Reason, error: BaseException | None) -> None:
        """`process` is about to end with `reason`, which is not a normal one. It still has its state, its
        message at hand and its queue; `error` is what its own code raised, or None.
        """

    def process_ended(self, process: Process, reason: Reason) -> None:
        """`process` has ended, and its links and monitors have been notified."""

    def process_refused(self, ref: Ref[Any], error: Exception) -> None:
        """The process of `ref` was sent a cast that it does not understand, and goes on."""

    def process_slow(self, ref: Ref[Any], seconds: float) -> None:
        """A handler of the process of `ref` has held the loop for so long."""

    def process_unkillable(self, ref: Ref[Any], frames: str) -> None:
        """The process of `ref` was killed, did not end in time, and was given up; `frames` is its stack."""

    def process_deadlock(self, calls: tuple[str, ...]) -> None:
        """These calls wait for one another in a circle."""

    def name_registered(self, process: Process, name: str) -> None:
        """`process` has that name now."""

    def name_released(self, process: Process, name: str) -> None:
        """`process` no longer has that name."""

    def mailbox_overflowed(self, process: Process) -> None:
        """A message has found the mailbox of `process` full; its policy is about to be applied."""

    def message_dead(self, message: Any, ref: Ref[Any], reason: Reason) -> None:
        """`message` did not reach `ref`."""

    def call_timed_out(self, caller: Ref[Any] | None, target: Ref[Any], method: str, seconds: float) -> None:
        """A call has had no reply within `seconds`; `method` is empty for a request that names none."""

    def group_joined(self, scope: str, group: Hashable, ref: Ref[Any]) -> None:
        """A process of this node has joined a group."""

    def group_left(self, scope: str, group: Hashable, ref: Ref[Any]) -> None:
        """A process of this node has left a group, or has ended."""

    def pool_discarded(self, pool: Process, job: Any) -> None:
        """A pool has discarded a job, which it had no room for or which nobody waits for any more."""

    def worker_lost(self, name: str, reason: Reason) -> None:
        """The OS process of a worker has ended, or its connection, though nobody has asked for that."""

    def child_started(
        self, supervisor: Process, child_id: Hashable, ref: Ref[Any], restart_number: int
    ) -> None:
        """A child has started; it does not follow another incarnation in a restart."""

    def child_restarted(
        self,
        supervisor: Process,
        child_id: Hashable,
        old: Ref[Any],
        ref: Ref[Any],
        reason: Reason,
        in_period: int,
    ) -> None:
        """A child that ended as `old`, with `reason`, has been started again as `ref`. It was restart number
        `in_period` of this supervisor within its period.
        """

    def child_terminated(
        self, supervisor: Process, child_id: Hashable, ref: Ref[Any], reason: Reason, will_restart: bool
    ) -> None:
        """The supervisor has learned that its child ended."""

    def child_start_failed(
        self, supervisor: Process, child_id: Hashable, reason: Reason, attempt: int, next_in: float | None
    ) -> None:
        """A child could not be started, at that attempt since it ran last; the next one follows in `next_in`
        seconds, or none does.
        """

    def child_removed(self, supervisor: Process, child_id: Hashable) -> None:
        """A child is no longer listed: a temporary one that ended, or one that was deleted."""

    def supervisor_gave_up(
        self, supervisor: Process, child_id: Hashable, reason: Reason, restarts: int, period: float
    ) -> None:
        """The supervisor has made `restarts` restarts within `period` seconds, one too many, the last because
        of that child, which had ended with `reason`.
        """

    def node_up(self, peer: str) -> None:
        """The node link to `peer` is up."""

    def node_down(self, peer: str, reason: str) -> None:
        """The node link to `peer` is over."""

    def node_refused(self, reason: str) -> None:
        """A node that wanted to connect was refused."""

    def node_stopping(self, fatal: BaseException | None) -> None:
        """The shutdown of the node begins, because of an error or of none: the root is about to be asked to
        shut down.
        """

    def grace_over(self, left: int) -> None:
        """The grace of the shutdown is over: the `left` processes that have not ended are about to be
        killed.
        """

    def loop_caught(self, words: str) -> None:
        """The watchdog has just found that the loop is held; `words` say by whom. Told while it lasts, and so
        in the watchdog's thread.
        """

    def loop_held(self, ref: Ref[Any] | None, place: str, seconds: float) -> None:
        """The process of `ref`, or a task of none, has held the loop for so long; `place` says in which
        function. Told by the watchdog when the loop goes on.
        """

    def node_stopped(self) -> None:
        """All processes of the node have ended, or were given up."""


class Hooks:
    """The listeners of one node, by place: for each method of `Listener` a tuple of bound methods."""

    __slots__ = tuple(name for name in vars(Listener) if not name.startswith("_"))

    process_started: tuple[Callable[[Process], None], ...]
    process_crashing: tuple[Callable[[Process, Reason, BaseException | None], None], ...]
    process_ended: tuple[Callable[[Process, Reason], None], ...]
    process_refused: tuple[Callable[[Ref[Any], Exception], None], ...]
    process_slow: tuple[Callable[[Ref[Any], float], None], ...]
    process_unkillable: tuple[Callable[[Ref[Any], str], None], ...]
    process_deadlock: tuple[Callable[[tuple[str, ...]], None], ...]
    name_registered: tuple[Callable[[Process, str], None], ...]
    name_released: tuple[Callable[[Process, str], None], ...]
    mailbox_overflowed: tuple[Callable[[Process], None], ...]
    message_dead: tuple[Callable[[Any, Ref[Any], Reason], None], ...]
    call_timed_out: tuple[Callable[[Ref[Any] | None, Ref[Any], str, float], None], ...]
    group_joined: tuple[Callable[[str, Hashable, Ref[Any]], None], ...]
    group_left: tuple[Callable[[str, Hashable, Ref[Any]], None], ...]
    pool_discarded: tuple[Callable[[Process, Any], None], ...]
    worker_lost: tuple[Callable[[str, Reason], None], ...]
    child_started: tuple[Callable[[Process, Hashable, Ref[Any], int], None], ...]
    child_restarted: tuple[Callable[[Process, Hashable, Ref[Any], Ref[Any], Reason, int], None], ...]
    child_terminated: tuple[Callable[[Process, Hashable, Ref[Any], Reason, bool], None], ...]
    child_start_failed: tuple[Callable[[Process, Hashable, Reason, int, float | None], None], ...]
    child_removed: tuple[Callable[[Process, Hashable], None], ...]
    grace_over: tuple[Callable[[int], None], ...]
    loop_caught: tuple[Callable[[str], None], ...]
    loop_held: tuple[Callable[[Ref[Any] | None, str, float], None], ...]
    supervisor_gave_up: tuple[Callable[[Process, Hashable, Reason, int, float], None], ...]
    node_up: tuple[Callable[[str], None], ...]
    node_down: tuple[Callable[[str, str], None], ...]
    node_refused: tuple[Callable[[str], None], ...]
    node_stopping: tuple[Callable[[BaseException | None], None], ...]
    node_stopped: tuple[Callable[[], None], ...]

    def __init__(self) -> None:
        for place in PLACES:
            setattr(self, place, ())

    def add(self, listener: Listener) -> None:
        """Have `listener` called from now on, after those that were added before. Not a checkpoint."""
        for place in _heard_by(listener):
            setattr(self, place, (*getattr(self, place), getattr(listener, place)))

    def remove(self, listener: Listener) -> None:
        """Call `listener` no more; without effect if it is not there. Not a checkpoint."""
        for place in _heard_by(listener):
            unwanted = getattr(listener, place)
            setattr(self, place, tuple(each for each in getattr(self, place) if each != unwanted))


PLACES: Final = Hooks.__slots__
"""The names of all places."""


def _heard_by(listener: Listener) -> list[str]:
    return [place for place in PLACES if getattr(type(listener), place) is not getattr(Listener, place)]


def call(listeners: tuple[Callable[[*Ts], None], ...], *args: *Ts) -> None:
    """Call the listeners of a place. Not a checkpoint; never raises, but for Ctrl-C."""
    for listener in listeners:
        try:
            listener(*args)
        except BaseException as error:
            if is_interrupt(error):
                raise
            log(logging.ERROR, "%r failed for %r", listener, args, error=error)
