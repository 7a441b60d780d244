"""Dumps at a signal: SIGUSR1 has one written to standard error as text, SIGQUIT to a file as lines of JSON.

The stacks of all threads come first, on standard error: `faulthandler` writes them out of the signal's own
handler in C, so that they come even if the loop is stuck in C code. The dump follows as soon as the
interpreter looks at signals, which it also does in the middle of a handler that never ends. The program goes
on.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.blocks import block
from enfilade.actors.observing.dump import dump, text_of, written

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["KEPT", "dumps_at_signals"]

KEPT: Final = 10
"""How many dump files of a node are kept."""


@block
def dumps_at_signals(node: Node, directory: Path) -> Iterator[None]:
    """For the length of a block, dump the node at SIGUSR1 and at SIGQUIT.

    A signal that the program has a handler for is left alone, and so are both outside of the main thread.

    Args:
        node: the node.
        directory: where files are written; it is made, for the owner alone, with the first of them.
    """
    handlers: dict[signal.Signals, Any] = {
        signal.SIGUSR1: lambda *_: _to_stderr(node),
        signal.SIGQUIT: lambda *_: _to_file(node, directory),
    }
    is_main = threading.current_thread() is threading.main_thread()
    taken = [number for number in handlers if is_main and signal.getsignal(number) == signal.SIG_DFL]
    stderr = _stderr()
    for number in taken:
        signal.signal(number, handlers[number])
        if stderr is not None:
            faulthandler.register(number, file=stderr, all_threads=True, chain=True)
    try:
        yield
    finally:
        for number in taken:
            faulthandler.unregister(number)
            if signal.getsignal(number) is handlers[number]:
                signal.signal(number, signal.SIG_DFL)


def _stderr() -> int | None:
    """The descriptor of standard error, if the program has one."""
    try:
        return None if sys.__stderr__ is None else sys.__stderr__.fileno()
    except (OSError, ValueError):
        return None


@attempt(None)
def _to_stderr(node: Node) -> None:
    for line in text_of(dump(node)):
        sys.stderr.write(line + "\n")
    sys.stderr.flush()


@attempt(None)
def _to_file(node: Node, directory: Path) -> None:
    """Write a dump to a file; on standard error if no file can be written."""
    content = b"".join(written(dump(node)))
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        made = sorted(directory.glob("*.jsonl"))
        for old in made[: max(0, len(made) - KEPT + 1)]:
            old.unlink(missing_ok=True)
        path = directory / f"{moment}-{os.getpid()}-{time.monotonic_ns()}-signal.jsonl"
        hidden = path.with_suffix(".part")
        with open(os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        hidden.rename(path)
    except OSError:
        _to_stderr(node)
