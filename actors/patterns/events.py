"""The event manager: one process, any number of handlers, every event to each of them.

A handler is an object with its own state and a key. It can be added and removed while the manager runs. A
handler that raises is removed and logged; the manager and the other handlers go on. A *supervised* handler is
tied to a process: the process is notified when the handler is removed, and its end removes the handler.

Source: `gen_event`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any

import attrs

from enfilade.actors.messages.attempt import attempt, is_interrupt
from enfilade.actors.messages.crash import as_told, reason_of
from enfilade.actors.messages.errors import LiveResult, RuntimeFault
from enfilade.actors.messages.reasons import NORMAL, Reason, Shutdown
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_record, safe_repr, shown_name
from enfilade.actors.messages.signals import Notice, undroppable
from enfilade.actors.messages.travelling import travels
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.end import FATAL, let_go
from enfilade.actors.processes.handlers import run_sync
from enfilade.actors.processes.links import Down, Monitor

__all__ = ["EventHandler", "EventManager", "HandlerExists", "HandlerRemoved", "NoHandler", "RemoveHandler"]


@travels
class HandlerExists(RuntimeFault):
    """The event manager already has a handler with the key `key`."""

    def __init__(self, key: Hashable) -> None:
        super().__init__(
            f"a handler with the key {safe_repr(key)} already exists; delete it first, or choose another key"
        )
        self.key = key


@travels
class NoHandler(RuntimeFault):
    """The event manager has no handler with the key `key`."""

    def __init__(self, key: Hashable) -> None:
        super().__init__(f"no handler has the key {safe_repr(key)}")
        self.key = key


@undroppable
@travels
@attrs.frozen
class HandlerRemoved:
    """Notice to the supervising process that its handler was removed.

    Attributes:
        manager: the event manager.
        key: the handler's key.
        reason: NORMAL if it was deleted or removed itself, else the reason of its crash.
    """

    manager: Ref[EventManager]
    key: Hashable
    reason: Reason

    __repr__ = safe_record


class EventHandler:
    """The base of handlers. All methods are sync and run inside the manager's process.

    Attributes:
        manager: the manager, while the handler belongs to one.
    """

    manager: EventManager

    def on_add(self) -> None:
        """Runs when the handler is added; if it raises, the handler is not added."""

    def on_event(self, event: Any) -> None:
        """Handle `event`, for which the default does nothing."""

    def on_call(self, request: Any) -> Any:
        """Answer `request`, a call to this handler alone, by returning the reply.

        Source: `gen_event:handle_call/2`.

        Raises:
            TypeError: the handler does not define it.
        """
        raise TypeError(f"{shown_name(type(self))} does not answer calls: define on_call(self, request)")

    def on_remove(self, reason: Reason) -> Any:
        """Clean up, because the handler is removed with `reason`, unless it crashed. `delete_handler` returns
        the result.
        """


class RemoveHandler(Exception):
    """Raised by a handler to have itself removed. A call at hand is answered with `answer`."""

    def __init__(self, answer: Any = None) -> None:
        super().__init__(answer)
        self.answer = answer


@attrs.define(eq=False)
class _Entry:
    handler: EventHandler
    owner: Ref[Any] | None = None
    monitor: Monitor | None = None


class EventManager(Actor):
    """A process that passes every event to all of its handlers, in the order in which they were added.

    Events are sent with `ref.cast(EventManager.notify, event)`, or, to know that all have seen it,
    `await ref.call(EventManager.notify, event)`; a plain message is an event too.
    """

    def __init__(self) -> None:
        self._manager_entries: dict[Hashable, _Entry] = {}

    def notify(self, event: Any) -> None:
        """Pass `event` to every handler. As a call it returns once all have handled it."""
        for key in list(self._manager_entries):
            entry = self._manager_entries.get(key)
            if entry is None:
                continue
            try:
                run_sync(entry.handler.on_event, event)
            except RemoveHandler:
                self._manager_left(key, entry)
            except FATAL:
                raise
            except BaseException as error:
                self._manager_crashed(key, entry, error)

    def on_message(self, message: Any) -> None:
        self.notify(message)

    def add_handler(
        self,
        key: Hashable,
        handler: Callable[..., EventHandler],
        *args: Any,
        supervised: Ref[Any] | None = None,
    ) -> Any:
        """Add `handler(*args)` under `key`; returns nothing.

        Args:
            key: hashable, unique in this manager.
            handler: makes the handler, inside the manager.
            args: its arguments.
            supervised: the process that is sent `HandlerRemoved`, and whose end removes the handler. To hear
                of a manager that is killed, it monitors the manager.

        Raises (in the caller):
            HandlerExists: the key is taken.
            TypeError: the key is not hashable, or `supervised` is not a ref.
            Whatever making or adding the handler raises; the manager goes on.
        """
        try:
            is_taken = key in self._manager_entries
        except BaseException as error:
            if is_interrupt(error):
                raise
            return self.process.refuse(as_told(error, "the key"))
        try:
            if is_taken:
                raise HandlerExists(key)
            if supervised is not None and not issubclass(type(supervised), Ref):
                raise TypeError(f"supervised must be a Ref, such as me.ref, got {safe_repr(supervised)}")
            self._manager_add(key, handler, args, supervised)
        except FATAL:
            raise
        except BaseException as error:
            return self.process.refuse(as_told(error, "the event handler"))
        return None

    def delete_handler(self, key: Hashable) -> Any:
        """Remove a handler; returns the result of its `on_remove`.

        Raises (in the caller):
            NoHandler: no handler has this key.
            Whatever `on_remove` raises; the handler is gone then.
        """
        if self._manager_find(key) is None:
            return self.process.refuse(NoHandler(key))
        left, failure = self._manager_remove(key, NORMAL)
        return left if failure is None else self.process.refuse(as_told(failure, "the event handler"))

    def swap_handler(
        self, key: Hashable, new_key: Hashable, handler: Callable[..., EventHandler], *args: Any
    ) -> Any:
        """Replace the handler of `key` by another one of `new_key` in one step; returns nothing.

        Each event goes to exactly one of the two. The new handler is made as `handler(*args, left)`, where
        `left` is the result of the old one's `on_remove`. The supervising process stays the same.

        Raises (in the caller):
            NoHandler, HandlerExists: as above.
            Exception: what making or adding the new one raises. The old one is gone then, and its
            supervising process is notified.
        """
        entry = self._manager_find(key)
        if entry is None:
            return self.process.refuse(NoHandler(key))
        other = self._manager_find(new_key)
        if other is not None and other is not entry:
            return self.process.refuse(HandlerExists(new_key))
        left, _ = self._manager_remove(key, NORMAL, tell=False)
        try:
            self._manager_add(new_key, handler, (*args, left), entry.owner)
        except FATAL:
            raise
        except BaseException as error:
            self._manager_tell(key, entry, reason_of(error))
            return self.process.refuse(as_told(error, "the event handler"))
        return None

    def call_handler(self, key: Hashable, request: Any) -> Any:
        """Call the handler of `key` with `request`; returns the result of its `on_call`.

        Raises (in the caller):
            NoHandler: no handler has this key.
            Whatever the handler raises; it is removed then, and the manager goes on.
        """
        entry = self._manager_find(key)
        if entry is None:
            return self.process.refuse(NoHandler(key))
        try:
            return run_sync(entry.handler.on_call, request)
        except LiveResult as error:
            return self.process.refuse(error)
        except RemoveHandler as farewell:
            self._manager_left(key, entry)
            return farewell.answer
        except FATAL:
            raise
        except BaseException as error:
            self._manager_crashed(key, entry, error)
            return self.process.refuse(as_told(error, "the event handler"))

    def which_handlers(self) -> list[Hashable]:
        """Return the keys of all handlers, oldest first."""
        return list(self._manager_entries)

    def on_down(self, down: Down) -> None:
        match down.monitor.tag:
            case ("event handler", key) if (
                key in self._manager_entries and self._manager_entries[key].monitor is down.monitor
            ):
                self._manager_remove(key, Shutdown(down.reason), tell=False)

    def on_stop(self, reason: Reason) -> None:
        for key in list(self._manager_entries):
            self._manager_remove(key, reason)

    @attempt(None)
    def _manager_find(self, key: Hashable) -> _Entry | None:
        return self._manager_entries.get(key)

    def _manager_add(
        self,
        key: Hashable,
        handler: Callable[..., EventHandler],
        args: tuple[Any, ...],
        owner: Ref[Any] | None,
    ) -> None:
        made = handler(*args)
        made.manager = self
        run_sync(made.on_add)
        entry = self._manager_entries[key] = _Entry(made, owner)
        if owner is not None:
            entry.monitor = self.process.monitor(owner, tag=("event handler", key))

    def _manager_left(self, key: Hashable, entry: _Entry) -> None:
        """Remove a handler on its own request, unless it is gone already."""
        if self._manager_entries.get(key) is entry:
            self._manager_remove(key, NORMAL)

    def _manager_crashed(self, key: Hashable, entry: _Entry, error: BaseException) -> None:
        self._manager_report("event handler %r of %s crashed and was removed", key, error)
        let_go(self.process, error)
        if self._manager_entries.get(key) is entry:
            del self._manager_entries[key]
            self._manager_tell(key, entry, reason_of(error))

    def _manager_report(self, text: str, key: Hashable, error: BaseException) -> None:
        process = self.process
        process.node.reports.note("event handlers", logging.ERROR, text, key, process.ref, error=error)

    def _manager_remove(
        self, key: Hashable, reason: Reason, *, tell: bool = True
    ) -> tuple[Any, BaseException | None]:
        """Remove a handler; return what its `on_remove` returned, and what it raised."""
        entry = self._manager_entries.pop(key)
        left: Any = None
        failure: BaseException | None = None
        try:
            left = run_sync(entry.handler.on_remove, reason)
        except FATAL:
            raise
        except BaseException as error:
            self._manager_report("event handler %r of %s crashed while it was removed", key, error)
            let_go(self.process, error)
            reason, failure = reason_of(error), error
        self._manager_tell(key, entry, reason, tell)
        return left, failure

    def _manager_tell(self, key: Hashable, entry: _Entry, reason: Reason, tell: bool = True) -> None:
        if entry.monitor is not None:
            self.process.demonitor(entry.monitor, flush=True)
        if tell and entry.owner is not None:
            notice = Notice(HandlerRemoved(self.process.ref, key, reason))
            self.process.node.dead_letters.deliver(entry.owner, notice)
