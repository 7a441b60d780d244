"""The one place that chooses between the compiled core and its twin in Python.

The compiled core (`core.h`) is a few functions that every message goes through: those in `TWINS`. The
functions of those names in Python are their twins: they say what is to be done, and do it where the core is
not compiled, or does not fit the interpreter. Both work on the same objects, so choosing is to put the one or
the other into the class.

The core is used if it can be: if it was compiled, and if the fields that it reads are found where it looks.
The environment variable `ENFILADE_CORE=python` chooses the twins. `twins.py`, beside the packages, does this
for node links, too.
"""

from __future__ import annotations

import sys
from heapq import heappop
from types import AsyncGeneratorType, CoroutineType
from typing import Any, Final

import trio

from enfilade.actors.messages import loop_bypass
from enfilade.actors.messages.errors import NurseryLeft
from enfilade.actors.messages.layers import call_parts
from enfilade.actors.messages.likeness import Like
from enfilade.actors.messages.live import PLAIN
from enfilade.actors.messages.request import Deferred, Request, observer_failed
from enfilade.actors.messages.signals import HANDED_OFF, NO_KWARGS, Cast, envelopes
from enfilade.actors.messages.wake import TaskTurn
from enfilade.actors.processes import end, links, start
from enfilade.actors.processes.actor import Actor, refuse_replaced, refuse_shared
from enfilade.actors.processes.body import UNSTARTED, DispatchedBody, EmptyingBody
from enfilade.actors.processes.control_lane import Continuation
from enfilade.actors.processes.current import CURRENT
from enfilade.actors.processes.dispatcher import SLICE_SECONDS, Dispatcher, HandlerContext
from enfilade.actors.processes.ended_process import EndedProcess
from enfilade.actors.processes.handlers import check_result, run_out
from enfilade.actors.processes.links import (
    Down,
    Exited,
    Monitor,
    tell_linked,
    tell_watcher,
    telling_failed,
    watcher_failed,
)
from enfilade.actors.processes.local_ref import DEPTH, Asked, LocalRef
from enfilade.actors.processes.mailbox import LIMITLESS, UNBOUNDED, ClosedQueue, UnusedQueue
from enfilade.actors.processes.mailbox_search import MailboxSearch
from enfilade.actors.processes.process import Process
from enfilade.actors.processes.protocol import NO_NAMES, protocol_of
from enfilade.actors.processes.reader import Reader
from enfilade.actors.processes.record import Extras, Record
from enfilade.actors.processes.scopes import leave_scopes
from enfilade.actors.processes.steps import need_room, with_headroom
from enfilade.actors.processes.sync_body import NOTHING_AT_START, NOTHING_AT_STOP, SyncBody, run_on_start
from enfilade.actors.processes.task_bodies import AsyncBody
from enfilade.actors.processes.timers import Timer, Timers
from enfilade.twins import Function, Site, choice_of, name_in_c, places

__all__ = ["CHOICE", "IS_AVAILABLE", "choose", "in_use"]

TWINS: Final[dict[Site, Function]] = {
    (Record, "__init__"): Record.__init__,
    (start, "make_body"): start.make_body,
    (end, "conclude"): end.conclude,
    (links, "notify_end"): links.notify_end,
    (links, "tell_watchers"): links.tell_watchers,
    (Request, "__init__"): Request.__init__,
    (Request, "reply"): Request.reply,
    (Process, "request"): Process.request,
    (Process, "defer"): Process.defer,
    (Process, "continue_with"): Process.continue_with,
    (Record, "control_put"): Record.control_put,
    (Record, "interrupt"): Record.interrupt,
    (LocalRef, "send"): LocalRef.send,
    (LocalRef, "cast"): LocalRef.cast,
    (LocalRef, "ask"): LocalRef.ask,
    (LocalRef, "__hash__"): LocalRef.__hash__,
    (LocalRef, "__eq__"): LocalRef.__eq__,
    (Record, "put"): Record.put,
    (DispatchedBody, "hand_off"): DispatchedBody.hand_off,
    (Dispatcher, "run_group"): Dispatcher.run_group,
    (Dispatcher, "step_with"): Dispatcher.step_with,
    (TaskTurn, "turn"): TaskTurn.turn,
    (AsyncBody, "main"): AsyncBody.main,
    (MailboxSearch, "count_misfits"): MailboxSearch.count_misfits,
    (Process, "send_after"): Process.send_after,
    (Timer, "cancel"): Timer.cancel,
    (Timers, "fire_due"): Timers.fire_due,
}
"""The functions in Python, by where they are: in a class, or in a module."""


SLOTTED: Final[dict[str, type]] = {
    kind.__name__: kind
    for kind in (
        Process,
        Dispatcher,
        HandlerContext,
        LocalRef,
        UnusedQueue,
        ClosedQueue,
        DispatchedBody,
        SyncBody,
        AsyncBody,
        Reader,
        TaskTurn,
        Request,
        MailboxSearch,
        Like,
        Extras,
        Continuation,
        Deferred,
        Timer,
        Timers,
        Monitor,
    )
}
"""The classes whose fields are slots."""


def _bind_trio(compiled: Any) -> None:
    """Have tasks stepped in C, if the trial of that succeeds; otherwise the twins do it."""
    try:
        compiled.bind_trio(
            places(compiled, compiled.trio_fields(), loop_bypass.CLASSES, {}),
            {
                "Task": loop_bypass.CLASSES["Task"],
                "Wait": loop_bypass.CLASSES["Wait"],
                "run_context": loop_bypass.RUN_CONTEXT,
                "resumed": loop_bypass.RESUMED,
                "step": loop_bypass.step,
                "end_step": loop_bypass.end_step,
                "leave_step": loop_bypass.leave_step,
                "has_headroom": loop_bypass.has_headroom,
            },
        )
        if not loop_bypass.works(compiled.step):
            compiled.unbind_trio()
    except (AttributeError, ImportError, LookupError, TypeError):
        return


def _bind(compiled: Any) -> None:
    """Tell the core where the fields are, and the objects that it uses."""
    compiled.bind(
        places(compiled, compiled.fields(), SLOTTED, {"Cast": Cast}),
        {
            **{name_in_c(site): twin for site, twin in TWINS.items()},
            "Process": Process,
            "Cast": Cast,
            "Request": Request,
            "Down": Down,
            "LocalRef": LocalRef,
            "Timer": Timer,
            "Timers": Timers,
            "heappop": heappop,
            "with_headroom": with_headroom,
            "getframe": sys._getframe,
            "envelopes": envelopes,
            "plain": PLAIN,
            "check_result": check_result,
            "observer_failed": observer_failed,
            "Continuation": Continuation,
            "Deferred": Deferred,
            "no_kwargs": NO_KWARGS,
            "handed_off": HANDED_OFF,
            "Reader": Reader,
            "TaskTurn": TaskTurn,
            "slice_seconds": SLICE_SECONDS,
            "UnusedQueue": UnusedQueue,
            "ClosedQueue": ClosedQueue,
            "EmptyingBody": EmptyingBody,
            "EndedProcess": EndedProcess,
            "ENDED": end.ENDED,
            "UNSTARTED": UNSTARTED,
            "NO_NAMES": NO_NAMES,
            "UNBOUNDED": UNBOUNDED,
            "LIMITLESS": LIMITLESS,
            "Monitor": Monitor,
            "Actor": Actor,
            "Exited": Exited,
            "SyncBody": SyncBody,
            "leave_scopes": leave_scopes,
            "nothing_at_start": NOTHING_AT_START,
            "nothing_at_stop": NOTHING_AT_STOP,
            "protocol_of": protocol_of,
            "refuse_replaced": refuse_replaced,
            "refuse_shared": refuse_shared,
            "run_on_start": run_on_start,
            "tell_linked": tell_linked,
            "tell_watcher": tell_watcher,
            "telling_failed": telling_failed,
            "watcher_failed": watcher_failed,
            "parts": vars(end),
            "need_room": need_room,
            "Asked": Asked,
            "AsyncBody": AsyncBody,
            "deepest": DEPTH,
            "present": CURRENT.get,
            "AsyncGeneratorType": AsyncGeneratorType,
            "CoroutineType": CoroutineType,
            "NurseryLeft": NurseryLeft,
            "checkpoint": trio.lowlevel.checkpoint,
            "run_out": run_out,
            "work": AsyncBody.work,
            "is_stepped": loop_bypass.IS_AVAILABLE,
        },
    )
    if loop_bypass.IS_AVAILABLE:
        _bind_trio(compiled)


CHOICE: Final = choice_of("the compiled core is", "enfilade.actors.core.compiled", TWINS, _bind)

IS_AVAILABLE: Final = CHOICE.is_available
"""Whether the compiled core can be used here."""

choose: Final = CHOICE.choose
in_use: Final = CHOICE.in_use

# In C, these call none of their parts as methods.
call_parts(LocalRef, "ask", LocalRef.ask, (DispatchedBody, "hand_off"), (Dispatcher, "step_with"))
call_parts(Process, "request", Process.request, (Record, "put"))
CHOICE.choose_by_environment()
