"""SIGINT, SIGTERM and SIGHUP, and the node that handles them.

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
    """A node that listens for one signal.

    Attributes:
        number: the signal.
        hear: called each time it comes.
        replaced: the handler that was there before it; None if that was a listener's.
    """

    __slots__ = ("hear", "number", "replaced")

    def __init__(self, number: signal.Signals, hear: Callable[[], None], replaced: Any) -> None:
        self.number = number
        self.hear = hear
        self.replaced = replaced


_listeners: list[_Listener] = []
_missed: list[int] = []  # a signal between two handlers


def _hear(number: int, _frame: Any) -> None:
    for listener in reversed(_listeners):
        if listener.number == number:
            listener.hear()
            return
    _missed.append(number)


@block
def interrupts_go_to(hear: Callable[[], None], number: signal.Signals = signal.SIGINT) -> Iterator[None]:
    """For the length of a block, call `hear` for every SIGINT, unless a later block's is called instead.

    Outside of the main thread, where the signal is ignored, and where something other than Python handles it,
    this does nothing. Another signal than SIGINT, whose handler is Python's own to begin with, is left to a
    handler that the program has installed.
    """
    handler = signal.getsignal(number)
    is_free = handler not in (signal.SIG_IGN, None) and (
        number == signal.SIGINT or handler in (signal.SIG_DFL, _hear)
    )
    if threading.current_thread() is not threading.main_thread() or not is_free:
        yield
        return
    listener = _Listener(number, hear, None if handler is _hear else handler)
    try:
        _listeners.append(listener)
        signal.signal(number, _hear)
        yield
    finally:
        _leave(listener)


def _leave(listener: _Listener) -> None:
    if listener not in _listeners:
        return
    number = listener.number
    later = [other for other in _listeners[_listeners.index(listener) + 1 :] if other.number == number]
    _listeners.remove(listener)
    if later and later[0].replaced is None:
        later[0].replaced = listener.replaced
    elif not later and listener.replaced is not None and signal.getsignal(number) is _hear:
        signal.signal(number, listener.replaced)
        if number in _missed:
            _missed[:] = [other for other in _missed if other != number]
            signal.raise_signal(number)
