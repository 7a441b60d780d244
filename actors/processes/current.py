"""The running process: a context variable in every task of a process, and of `node.mailbox()`; and, while a
handler runs in the dispatcher or for its caller, the process that the dispatcher has noted.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from enfilade.actors.processes.dispatcher import Dispatcher
    from enfilade.actors.processes.process import Process

__all__ = ["CURRENT", "DISPATCHERS", "running_process"]


CURRENT: ContextVar[Process | None] = ContextVar("enfilade_process", default=None)

DISPATCHERS: trio.lowlevel.RunVar[tuple[Dispatcher, ...]] = trio.lowlevel.RunVar("enfilade_dispatchers", ())
"""The dispatchers of all nodes of a trio run."""


def running_process() -> Process | None:
    """The process of any node whose code is running; None in code that belongs to none."""
    with suppress(RuntimeError):  # in another thread, or outside of a run
        for dispatcher in DISPATCHERS.get():
            process = dispatcher.process
            if process is not None:
                return process
    return CURRENT.get()
