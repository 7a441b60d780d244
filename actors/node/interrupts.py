"""SIGINT, and the node that handles it.

Nodes of one process may end in any order, so none can keep the handler that was there before it: of those
that take interrupts over, the one opened last hears of them, and the handler that was there before the first
comes back after the last.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from enfilade.actors.messages.blocks import block

__all__ = ["interrupts_go_to"]


_listeners: list[Callable[[], None]] = []
_before: Any = None  # the handler while there is no listener


def _hear(_number: int, _frame: Any) -> None:
    _listeners[-1]()


@block
def interrupts_go_to(listener: Callable[[], None]) -> Iterator[None]:
    """For the length of a block, call the listener for every SIGINT, unless a later one is called instead.

    Outside of the main thread, where interrupts are ignored, and where something other than Python handles
    them, this does nothing.
    """
    global _before
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or handler in (signal.SIG_IGN, None):
        yield
        return
    if not _listeners:
        _before = signal.signal(signal.SIGINT, _hear)
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
        if not _listeners:
            signal.signal(signal.SIGINT, _before)
