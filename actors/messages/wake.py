"""Rescheduling of waiting tasks, which is possible only in the thread of their loop."""

from __future__ import annotations

from typing import Any

import trio

from enfilade.actors.messages.errors import WrongThread

__all__ = ["resume"]


class _Resumed:
    """The outcome sent to resumed tasks: None. One for all, because trio would make one each time."""

    __slots__ = ()

    def unwrap(self) -> None:
        return None


RESUMED: Any = _Resumed()


def resume(task: trio.lowlevel.Task) -> None:
    """Let `task` go on. Callers change their own state only afterwards, so that an error leaves no trace.

    Raises:
        WrongThread: this is not the thread of its loop.
    """
    try:
        trio.lowlevel.reschedule(task, RESUMED)
    except RuntimeError:  # trio's: there is no loop in this thread
        raise WrongThread from None
    except AssertionError:
        # Trio has woken it: its code has left a nursery in an async generator, which somebody has finalized.
        return
