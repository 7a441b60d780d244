"""Cancel scopes of tasks that run the code of processes: those that it leaves open, and the one around it.

A sync handler may enter a `trio.CancelScope`, by `trio.move_on_after` say, and must leave it before it
returns. In a generator that is never finished, or by `__enter__` without `__exit__`, one stays open: whatever
the task does from then on would end with that scope. In the dispatcher's task, that is the whole node.

Handlers of calls that run in the caller's task are not looked at: that would cost every call more than its
dispatch.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any

import trio

from enfilade.actors.messages.guarded import log

__all__ = ["KeptScope", "ScopeLeft", "close_scopes", "leave_scopes", "scope_of"]


class ScopeLeft(RuntimeError):
    """The code of a process left a cancel scope open, in which it ran."""

    def __init__(self) -> None:
        super().__init__(
            "a cancel scope was entered and not left; use `with`, and no generator that yields in it"
        )


def scope_of(task: trio.lowlevel.Task) -> Any:
    """Return what tells the cancel scope that `task` is in now, to be compared by identity."""
    return task._cancel_status


def close_scopes(task: trio.lowlevel.Task, before: Any) -> None:
    """Close the scopes that were opened in `task` since it was in `before`. Not a checkpoint."""
    while (left := task._cancel_status) is not before and left is not None:
        try:
            left._scope.__exit__(None, None, None)
        except RuntimeError as error:  # trio may know better, and has then repaired what it could
            log(logging.ERROR, "a cancel scope could not be closed", error=error)
        if task._cancel_status is left:
            break
    if task._cancel_status is not before:
        task._activate_cancel_status(before)


def leave_scopes(task: trio.lowlevel.Task, before: Any) -> None:
    """Close the scopes that a start has left open in the task of its starter. Not a checkpoint.

    Raises:
        ScopeLeft: in any case.
    """
    close_scopes(task, before)
    raise ScopeLeft


class KeptScope:
    """The cancel scope around what a task runs, one thing after another: a new one only after a cancellation.

    Used in `with` for each of them. To enter and leave a scope of trio takes a fifth of the time that a short
    process takes.
    """

    __slots__ = ("_scope", "_within")

    def __init__(self) -> None:
        self._scope: trio.CancelScope | None = None
        self._within: Any = None

    def __enter__(self) -> trio.CancelScope:
        if self._scope is None:
            self._scope = trio.CancelScope()
            self._scope.__enter__()
            self._within = scope_of(trio.lowlevel.current_task())
        return self._scope

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> bool | None:
        """Leave the scope if it was cancelled, or if scopes in it were left open: that is an error."""
        scope = self._scope
        assert scope is not None
        if not scope.cancel_called and scope_of(trio.lowlevel.current_task()) is self._within:
            return None
        self._scope = self._within = None
        return scope.__exit__(kind, error, frames)

    def close(self) -> None:
        """Leave the scope: the task ends."""
        scope, self._scope = self._scope, None
        if scope is not None:
            scope.__exit__(None, None, None)
