"""Letting a waiting task go on, which only the thread of its loop may."""

from __future__ import annotations

import trio

from actors.errors import WrongThread

__all__ = ["resume"]


def resume(task: trio.lowlevel.Task) -> None:
    """Let `task` go on. Callers change what they remember only afterwards, so that an error leaves no trace.

    Raises:
        WrongThread: this is not the thread of its loop.
    """
    try:
        trio.lowlevel.reschedule(task)
    except RuntimeError:  # trio's: there is no loop in this thread
        raise WrongThread from None
