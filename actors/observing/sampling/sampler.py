"""Samples of what a node runs, by a thread in C that never takes the GIL. See `words.c`."""

from __future__ import annotations

import importlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

from enfilade.actors.processes.current import CURRENT

words: Any
try:
    words = importlib.import_module("enfilade.actors.observing.sampling.words")
except ImportError:  # installed where there is no compiler, say
    words = None

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["Sampler", "Samples", "new_sampler"]

REAL_CLOCK: Final = "SystemClock"
"""The name of the class of trio's clock of real time, which is not public."""


@attrs.frozen
class Samples:
    """The samples of an interval.

    Attributes:
        count: how many there are.
        by_address: how many found an object at that address running, which may have ended since.
        by_process: how many found a task of that process running.
    """

    count: int
    by_address: dict[int, int]
    by_process: dict[Process, int]


class Sampler(Protocol):
    """Takes samples of what a node runs, until it is ended."""

    def take(self) -> Samples:
        """The samples since the last time. Not a checkpoint."""

    def end(self) -> None:
        """Take no more. Not a checkpoint."""


def new_sampler(node: Node) -> Sampler | None:
    """A sampler of `node`; None where there can be none: it is not compiled, the interpreter keeps slots in
    another way, or time is virtual, in which samples of real time mean nothing. Not a checkpoint.
    """
    if words is None or type(trio.lowlevel.current_clock()).__name__ != REAL_CLOCK:
        return None
    dispatcher = node.dispatcher
    held, value = dispatcher.running, object()
    dispatcher.running = value
    try:
        functions = words.begin(dispatcher, value)
    except (LookupError, OSError):
        return None
    finally:
        dispatcher.running = held
    return _WordSampler(node, functions)


class _WordSampler(trio.abc.Instrument):
    """The sampler in C, as an instrument of trio."""

    def __init__(self, node: Node, functions: dict[str, Any]) -> None:
        self._node = node
        self._take, self._end = functions["take"], functions["end"]
        self.before_task_step = functions["before_task_step"]  # type: ignore[method-assign]
        self.after_task_step = functions["after_task_step"]  # type: ignore[method-assign]
        trio.lowlevel.add_instrument(self)

    def take(self) -> Samples:
        """See `Sampler`."""
        found, tasks = self._take()
        by_process: Counter[Process] = Counter()
        for task, count in tasks.items():
            process = task.context.get(CURRENT)
            if process is not None and process.node is self._node:
                by_process[process] += count
        by_address = Counter(found)
        by_address.pop(0, None)
        return Samples(len(found), by_address, by_process)

    def end(self) -> None:
        """See `Sampler`."""
        trio.lowlevel.remove_instrument(self)
        self._end()
