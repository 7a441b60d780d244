"""Cancel scopes that a program's code has left open in a task that is not its own.

A sync handler may enter a `trio.CancelScope`, by `trio.move_on_after` say, and must leave it before it
returns. In a generator that is never finished, or by `__enter__` without `__exit__`, one stays open: whatever
the task does from then on would end with that scope. In the dispatcher's task, that is the whole node.

Handlers of calls that run in the caller's task are not looked at: that would cost every call more than its
dispatch.
"""

from __future__ import annotations

import logging
from typing import Any

import trio

from enfilade.actors.messages.guarded import log

__all__ = ["ScopeLeft", "close_scopes", "scope_of"]


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
