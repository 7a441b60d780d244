"""Dumps at a signal: SIGUSR1 has one written to standard error as text, SIGQUIT to a file as lines of JSON.

The stacks of all threads come first, on standard error: `faulthandler` writes them out of the signal's own
handler in C, so that they come even if the loop is stuck in C code. The dump follows as soon as the
interpreter looks at signals, which it also does in the middle of a handler that never ends. The program goes
on.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enfilade.actors.messages.blocks import block
from enfilade.actors.observing.dumps.files import DumpFiles

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["dumps_at_signals"]


@block
def dumps_at_signals(node: Node, directory: Path) -> Iterator[bool]:
    """For the length of a block, dump the node at SIGUSR1 and at SIGQUIT.

    A signal that the program has a handler for is left alone, and so are both outside of the main thread. One
    that is ignored is taken: a shell without job control has its background processes ignore SIGQUIT.

    Args:
        node: the node.
        directory: where files are written; it is made, for the owner alone, with the first of them.

    Yields:
        true if SIGQUIT writes a file.
    """
    files = DumpFiles(node, directory)
    handlers: dict[signal.Signals, Any] = {
        signal.SIGUSR1: lambda *_: files.show("signal"),
        signal.SIGQUIT: lambda *_: files.write("signal"),
    }
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in handlers if is_main}
    taken = [number for number, handler in before.items() if handler in (signal.SIG_DFL, signal.SIG_IGN)]
    stderr = _stderr()
    for number in taken:
        signal.signal(number, handlers[number])
        if stderr is not None:
            faulthandler.register(number, file=stderr, all_threads=True, chain=True)
    try:
        yield signal.SIGQUIT in taken
    finally:
        for number in taken:
            faulthandler.unregister(number)
            if signal.getsignal(number) is handlers[number]:
                signal.signal(number, before[number])


def _stderr() -> int | None:
    """The descriptor of standard error, if the program has one."""
    try:
        return None if sys.__stderr__ is None else sys.__stderr__.fileno()
    except (OSError, ValueError):
        return None
