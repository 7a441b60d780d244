"""The end of a process, and the order in which it becomes known.

First everything that the process holds is released (name, groups, aliases, timers), so that a successor can
register at once. Then the calls that it has not answered fail. Then its links and monitors are notified. So
a process that learns of the end can rely on the rest.
"""

from __future__ import annotations

import math
import traceback
from collections import deque
from typing import TYPE_CHECKING

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import Ignore, StartError, StepFailed
from enfilade.actors.messages.guarded import guarded
from enfilade.actors.messages.hooks import call
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.misuse import explain_misuse
from enfilade.actors.messages.reasons import (
    KILLED,
    SHUTDOWN,
    Crashed,
    Killed,
    Normal,
    Reason,
    asked_by,
)
from enfilade.actors.messages.safe_text import add_note, safe_repr
from enfilade.actors.messages.signals import described
from enfilade.actors.messages.tracebacks import outline
from enfilade.actors.messages.traced import bare
from enfilade.actors.processes import links
from enfilade.actors.processes.actor import Actor, formatted_status
from enfilade.actors.processes.body import AbsentBody, Body, EmptyingBody
from enfilade.actors.processes.control_lane import StopRequest
from enfilade.actors.processes.ended_process import let_go_of_itself
from enfilade.actors.processes.identity import target_name
from enfilade.actors.processes.mailbox import ClosedQueue, bury_left
from enfilade.actors.processes.protocol import NO_NAMES
from enfilade.actors.processes.steps import step_failed

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process
    from enfilade.actors.processes.record import Extras
    from enfilade.actors.processes.task_bodies import TaskBody

__all__ = ["ENDED", "FATAL", "conclude", "empty_arena", "expect_end", "finish", "give_up", "let_go"]


LARGEST_STATUS = 2_000  # characters of it on the note of an error

FATAL = (SystemExit, KeyboardInterrupt)  # what an actor raises to end the program

ENDED = AbsentBody()


def finish(
    process: Process, reason: Reason, error: BaseException | None = None, *, told: bool = False
) -> None:
    """End `process` with `reason`; `error` is the exception that it raised, if any.

    Not a checkpoint, and does not raise.

    With `told` the end is not logged, because the starter of the process gets the error.
    """
    if process.ended is not None or type(process.body) is EmptyingBody:
        return
    node = process.node
    if not reason.is_normal and node.hooks.process_crashing:
        call(node.hooks.process_crashing, process, reason, error)
    if error is not None:
        if not reason.is_normal:
            guarded(_note_circumstances, process, error)
        guarded(let_go, process, error)
    elif type(reason) is Crashed:
        guarded(let_go, process, reason.error)
    owner = process.owner
    if owner is not None and (node.child_events.subscriptions or owner.body.hears):
        guarded(owner.body.child_ending, process)
    extras = process.extras_or_none
    arena = None if extras is None else extras.arena
    if arena is not None:
        guarded(process.body.abandon_restarts)
    if arena:
        _finish_later(process, reason, error, told)
    else:
        conclude(process, reason, error, told)


def _note_circumstances(process: Process, error: BaseException) -> None:
    """Add notes to `error` for the log, if it has room: the message at hand, the number of queued messages,
    the status.
    """
    explain_misuse(error, process.node.registry, process.body.actor)
    if not process.node.reports.shows_exits:
        return
    body = process.body
    message = body.at_hand
    if message is not None:
        add_note(error, f"{process.ref} was handling a {described(message):.200}")
    waiting = len(process.queue)
    add_note(error, f"{waiting} message{'s were' if waiting != 1 else ' was'} waiting")
    actor = body.actor
    status = formatted_status(actor) if issubclass(type(actor), Actor) else None
    if status is not None:
        add_note(error, f"status of {process.ref}: {safe_repr(status, LARGEST_STATUS)}")


def let_go(process: Process, error: BaseException) -> None:
    """Have `error`, which outlives the process, keep none of the process's variables."""
    if not process.node.config.keep_tracebacks:
        outline(error)


def _finish_later(process: Process, reason: Reason, error: BaseException | None, told: bool) -> None:
    """End the processes in the arena of `process` first, because none of them may outlive it."""

    async def empty_and_finish() -> None:
        try:
            await empty_arena(process, reason)
        finally:
            conclude(process, reason, error, told)

    process.body = EmptyingBody(process.body)
    process.actor = process.on_message = process.handlers = None
    process.names = NO_NAMES
    process.attention = True
    process.idle = False
    try:
        process.node.start_task(empty_and_finish, f"end of {process.ref}", process)
    except RuntimeError:  # the node is over, and so are they
        conclude(process, reason, error, told)


def conclude(process: Process, reason: Reason, error: BaseException | None, told: bool) -> None:
    """End `process`, part by part: none of them may keep the next from being done.

    It has a twin in C (`actors/core/lives.c`), which finds the parts by their names here.
    """
    node = process.node
    process.ended = reason
    process.limit = 0
    process.idle = False
    process.attention = True  # the dispatcher must not take it for one that has nothing to do
    extras = process.extras_or_none
    if extras is not None and extras.arena is not None:
        guarded(process.body.arena_emptied, reason)
    actor, process.actor = process.actor, None  # which may hold deferred replies, and must not drop them yet
    process.on_message = process.handlers = None
    process.names = NO_NAMES
    body, process.body = process.body, ENDED
    if type(body) is EmptyingBody:
        body = body.former
    if process.target is not None and not issubclass(type(process.target), type):
        process.target = target_name(process.target)  # which may hold much that nobody needs any more
    del node.processes[process.serial]
    try:
        if process.name is not None or process.reader is not None or node.groups.by_name:
            _release_names(process, body)
    except BaseException as raised:
        reason = _release_failed(process, raised)
    try:
        if extras is not None:
            _release_extras(process, extras)
    except BaseException as raised:
        reason = _release_failed(process, raised)
    try:
        if extras is not None or process.reader is not None or process.queue:
            _fail_calls(process, body, reason)
        else:
            _close(process)
    except BaseException as raised:
        reason = _release_failed(process, raised)
    del actor
    is_starting = bool(node.starting) and node.starting.get(process) is not None
    told = is_starting or told
    try:
        if is_starting:
            _tell_starter(process, reason, error)
    except BaseException as raised:
        step_failed(process, "end", raised)
    try:
        if process.links or process.watchers or process.monitors:
            links.notify_end(process, reason)
    except BaseException as raised:
        step_failed(process, "end", raised)
    try:
        if process.owner is not None:
            _leave_arena(process, process.owner)
    except BaseException as raised:
        step_failed(process, "end", raised)
    try:
        if process.extras_or_none is not None:
            _answer_stops(process, reason)
    except BaseException as raised:
        step_failed(process, "end", raised)
    if process.reader is not None:
        process.reader.forget_trap()
    process.reader = process.control = None
    if process.extras_or_none is not None and process.extras_or_none.heir is None:
        process.extras_or_none = None
    try:
        node.ended(process, reason, error, told)
    except BaseException as raised:
        step_failed(process, "report", raised)
    if node.hooks.process_ended and body is not ENDED:
        call(node.hooks.process_ended, process, reason)
    let_go_of_itself(process)


def _release_failed(process: Process, raised: BaseException) -> Reason:
    """Return the reason of the end, which nobody has been told yet, after an error of one of its parts."""
    error = StepFailed(process.ref, "end", raised)
    reason = process.ended = Crashed(error)
    guarded(let_go, process, error)
    return reason


def _release_names(process: Process, body: Body) -> None:
    node = process.node
    if process.name is not None:
        node.registry.release(process)
        if node.hooks.name_released:
            call(node.hooks.name_released, process, process.name)
    if node.groups.by_name:
        node.groups.forget_watcher(process.ref)
    if process.reader is not None and process.exit_signal is not None:
        node.timers.discard(node.config.kill_grace, body)


def _release_extras(process: Process, extras: Extras) -> None:
    for alias in extras.aliases:
        alias.active = False
        alias.monitor = None
    extras.aliases.clear()
    while extras.timers is not None:
        extras.timers.cancel()
    if extras.groups:
        process.node.groups.leave_all(process)
    if extras.room is not None:
        extras.room.unpark_all()


def _tell_starter(process: Process, reason: Reason, error: BaseException | None) -> None:
    start = process.node.starting.pop(process, None)
    if start is None:
        return
    refused = issubclass(type(error), Ignore | StartError) and type(reason) is Normal
    if refused:
        links.unlink_parent(process)
    if error is not None and refused:
        start.fail(error)
    else:
        is_normal = type(reason) is Normal
        unsaid = (
            "the process ended before it had acknowledged its start by `me.started()`" if is_normal else None
        )
        start.fail(StartError(reason, unsaid))


def _answer_stops(process: Process, reason: Reason) -> None:
    extras = process.extras_or_none
    if extras is not None and extras.stop_requests:
        for request in extras.stop_requests:
            guarded(request.reply, reason)
        extras.stop_requests = []


def _close(process: Process) -> None:
    """Close the data lane: a ref may keep the record for long, and a deque is the larger half of it."""
    process.queue = ClosedQueue(process)  # type: ignore[assignment]
    process.at_hand = None


def _fail_calls(process: Process, body: Body, reason: Reason) -> None:
    """Fail the calls that the process has not answered; other messages are dead letters, unless a successor
    inherits them.
    """
    reader, extras = process.reader, process.extras_or_none
    if reader is not None:
        reader.restore()
    if extras is not None:
        process.unstash()
        unhandled, extras.unhandled = extras.unhandled, None
        if unhandled is not None:
            process.open_queue().extendleft(reversed(guarded(unhandled) or []))
    queue = process.queue
    _close(process)
    if reader is not None:  # which only bodies with a task have
        at_hand = body.at_hand
        if is_a(at_hand, signals.Call) and not at_hand.settled:
            guarded(at_hand.abandon, reason)
    if extras is not None:
        owed, extras.deferred = extras.deferred, {}
        for call in owed:
            guarded(call.abandon, reason)
    if not queue:
        return
    if process.mailbox.inherit:
        process.extras().heir = deque(message for message in queue if type(message) is not StopRequest)
        return
    for message in map(bare, queue):
        if is_a(message, signals.Call):
            guarded(message.not_begun, reason)
        elif type(message) is signals.Cast or signals.is_plain(message):
            guarded(process.node.dead_letters.publish, message, process.ref, reason)


def _leave_arena(process: Process, owner: Process) -> None:
    process.owner = None
    if type(owner.body) is EmptyingBody and process.mailbox.inherit:
        bury_left(process)  # nobody is left to start an heir
    extras = owner.extras_or_none
    if extras is not None and extras.arena is not None:
        extras.arena.pop(process, None)
        if not extras.arena and extras.room is None and extras.emptied is not None:
            extras.emptied.set()


async def empty_arena(process: Process, reason: Reason) -> None:
    """End the processes that still live in the arena of `process`: no descendant outlives it.

    Normally its supervisor code has stopped them in order already. If `process` was killed, the rest get the
    reason killed over their links. Otherwise they are asked to shut down, youngest first, and killed after
    the grace.
    """
    extras = process.extras_or_none
    if extras is None or not extras.arena:
        return
    if type(reason) is Killed:
        links.killed_over(process, reason)
    else:
        for child in reversed(list(extras.arena)):
            child.exit_arrived(process.ref, SHUTDOWN, linked=False)
    await _wait_until_empty(process, process.node.config.kill_grace)
    while extras.arena:
        for child in reversed(list(extras.arena)):
            child.interrupt(asked_by(KILLED, process.ref))
        await _wait_until_empty(process, math.inf)


async def _wait_until_empty(process: Process, seconds: float) -> None:
    extras = process.extras_or_none
    assert extras is not None
    if extras.arena:
        extras.emptied = trio.Event()
        with trio.move_on_after(seconds):
            await extras.emptied.wait()
        extras.emptied = None


def expect_end(body: TaskBody) -> None:
    """Call `give_up` if the task of a process that was cancelled does not end within the grace from now."""
    node = body.process.node
    node.timers.discard(node.config.kill_grace, body)
    node.timers.lane(node.config.kill_grace).add(body)


def give_up(body: TaskBody) -> None:
    """Report that the task of a process does not end, and end the process without the task."""
    process = body.process
    if process.ended is None:
        frames = "" if body.task is None else "".join(traceback.format_list(_stack(body.task)))
        process.node.reports.unkillable(process.ref, frames)
        process.node.unkillable += 1
        finish(process, process.exit_signal or KILLED)


def _stack(task: trio.lowlevel.Task) -> list[traceback.FrameSummary]:
    return list(traceback.StackSummary.extract(task.iter_await_frames()))
