"""The one place that chooses between the compiled core and its twin in Python.

The compiled core (`core.h`) is a few functions that every message goes through: those in `TWINS`. The
functions of those names in Python are their twins: they say what is to be done, and do it where the core is
not compiled, or does not fit the interpreter. Both work on the same objects, so choosing is to put the one or
the other into the class.

The core is used if it can be: if it was compiled, and if the fields that it reads are found where it looks.
The environment variable `ENFILADE_CORE=python` chooses the twins.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
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
from enfilade.actors.processes.actor import Actor, refuse_replaced
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

compiled: Any
try:
    compiled = importlib.import_module("enfilade.actors.core.compiled")
except ImportError:  # installed where there is no compiler, say
    compiled = None

__all__ = ["IS_AVAILABLE", "choose", "in_use"]

SWITCH: Final = "ENFILADE_CORE"

Function = Callable[..., Any]

TWINS: Final[dict[tuple[Any, str], Function]] = {
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


def _name(owner: Any, name: str) -> str:
    """The name of that function in the compiled core, where no two have the same."""
    return "request_init" if owner is Request and name == "__init__" else name


def _places(fields: list[str], classes: Mapping[str, Any]) -> dict[str, int]:
    """Find the places of fields, each given as "class.field"; -1 for one that is not found."""
    places = {}
    for field in fields:
        kind, _, name = field.partition(".")
        holder: Any = classes[kind].__new__(classes[kind])
        value = object()
        object.__setattr__(holder, name, value)
        places[field] = compiled.place(holder, value)
        object.__delattr__(holder, name)  # which a finalizer would take for its own
    return places


def _own_places() -> dict[str, int]:
    classes: dict[str, type] = {
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
    values = object(), object(), object()
    cast = Cast(*values)  # type: ignore[arg-type]
    of_cast = {
        f"Cast.{name}": compiled.place(cast, value)
        for name, value in zip(Cast.__struct_fields__, values, strict=True)
    }
    others = [field for field in compiled.fields() if field not in of_cast]
    return {**of_cast, **_places(others, classes)}


def _bind_trio() -> None:
    """Have tasks stepped in C, if the trial of that succeeds; otherwise the twins do it."""
    try:
        compiled.bind_trio(
            _places(compiled.trio_fields(), loop_bypass.CLASSES),
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
    except (AttributeError, LookupError, TypeError):
        return


def _compiled() -> dict[tuple[Any, str], Function]:
    """The functions in C, as methods; none if they are not to be had here."""
    if compiled is None:
        return {}
    try:
        twins = {_name(owner, name): twin for (owner, name), twin in TWINS.items()}
        compiled.bind(
            _own_places(),
            {
                **twins,
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
    except (AttributeError, LookupError, TypeError):  # this interpreter keeps slots in another way
        return {}
    if loop_bypass.IS_AVAILABLE:
        _bind_trio()
    try:
        return {
            (owner, name): compiled.method(owner, _name(owner, name))
            if isinstance(owner, type)
            else getattr(compiled, name)
            for owner, name in TWINS
        }
    except (AttributeError, LookupError):  # it was compiled from an earlier source
        return {}


COMPILED: Final = _compiled()

IS_AVAILABLE: Final = bool(COMPILED)
"""Whether the compiled core can be used here."""


def choose(*, is_compiled: bool) -> None:
    """Use the compiled core, or its twin, from the next message on. Not a checkpoint.

    Raises:
        LookupError: the compiled core is not available here.
    """
    if is_compiled and not IS_AVAILABLE:
        raise LookupError("the compiled core is not available here; `pip install` compiles it")
    for (owner, name), function in (COMPILED if is_compiled else TWINS).items():
        setattr(owner, name, function)


def in_use() -> str:
    """Return what is in use: "compiled" or "python"."""
    is_compiled = IS_AVAILABLE and Dispatcher.run_group is COMPILED[Dispatcher, "run_group"]
    return "compiled" if is_compiled else "python"


# In C, these call none of their parts as methods.
call_parts(LocalRef, "ask", LocalRef.ask, (DispatchedBody, "hand_off"), (Dispatcher, "step_with"))
call_parts(Process, "request", Process.request, (Record, "put"))
choose(is_compiled=IS_AVAILABLE and os.environ.get(SWITCH) != "python")
