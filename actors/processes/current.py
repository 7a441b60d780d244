"""The running process: a context variable in every task of a process, and of `node.mailbox()`."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["CURRENT"]


CURRENT: ContextVar[Process | None] = ContextVar("enfilade_process", default=None)
