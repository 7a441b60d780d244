"""SIGINT, and the node that handles it.

Nodes of one process may end in any order, so none can keep the handler that was there before it: of those
that take interrupts over, the one opened last hears of them, and the handler that was there before the first
comes back after the last. A handler that the program installs meanwhile is the program's: it stays.

An interrupt may come at any line of this file. At those where no node hears of it any more, it is handed to
the handler that comes back.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from enfilade.actors.messages.blocks import block

__all__ = ["interrupts_go_to"]


class _Listener:
    """A node that listens.

    Attributes:
        hear: called for each SIGINT.
        replaced: the handler that was there before it; None if that was a listener's.
    """

    __slots__ = ("hear", "replaced")

    def __init__(self, hear: Callable[[], None], replaced: Any) -> None:
        self.hear = hear
        self.replaced = replaced


_listeners: list[_Listener] = []
_missed: list[None] = []  # an interrupt between two handlers


def _hear(_number: int, _frame: Any) -> None:
    if _listeners:
        _listeners[-1].hear()
    else:
        _missed.append(None)


@block
def interrupts_go_to(hear: Callable[[], None]) -> Iterator[None]:
    """For the length of a block, call `hear` for every SIGINT, unless a later block's is called instead.

    Outside of the main thread, where interrupts are ignored, and where something other than Python handles
    them, this does nothing.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or handler in (signal.SIG_IGN, None):
        yield
        return
    listener = _Listener(hear, None if handler is _hear else handler)
    try:
        _listeners.append(listener)
        signal.signal(signal.SIGINT, _hear)
        yield
    finally:
        _leave(listener)


def _leave(listener: _Listener) -> None:
    if listener not in _listeners:
        return
    place = _listeners.index(listener)
    later = _listeners[place + 1 :]
    _listeners.remove(listener)
    if later and later[0].replaced is None:
        later[0].replaced = listener.replaced
    elif not later and listener.replaced is not None and signal.getsignal(signal.SIGINT) is _hear:
        signal.signal(signal.SIGINT, listener.replaced)
        if _missed:
            _missed.clear()
            signal.raise_signal(signal.SIGINT)
