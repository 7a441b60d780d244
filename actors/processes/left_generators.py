"""Async generators that are dropped in the middle while they hold a nursery open.

`async for` that is left by `break`, over a generator that yields within a nursery, leaves the nursery open in
the task of the process. Trio closes the generator in a task of its own once Python has collected it, and the
end of the nursery then wakes the process's task, whatever that waits for: that ends the whole program. So the
nursery is given up first, and the process that has left it ends with `NurseryLeft`. Plain code is cancelled,
and the block of the node that it is in ends with that error; a nursery that is still open when the block
ends is given up there.
"""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from types import MethodType
from typing import Any, cast
from weakref import WeakSet

import attrs
import trio
from trio._core._run import NurseryManager

from enfilade.actors.messages.blocks import block
from enfilade.actors.messages.errors import NurseryLeft
from enfilade.actors.messages.guarded import guarded, log
from enfilade.actors.messages.reasons import Crashed
from enfilade.actors.processes.current import CURRENT
from enfilade.actors.processes.scopes import ScopeLeft, close_scopes, scope_of

__all__ = ["all_left", "give_up_nursery", "watch_generators"]

_bereft: WeakSet[trio.lowlevel.Task] = WeakSet()
"""The tasks that run on after a nursery of theirs was given up."""

AnyGenerator = AsyncGenerator[Any, Any]


def watch_generators() -> None:
    """Look at each async generator of the present trio run that is dropped before its end. Not a checkpoint.

    Harmless when repeated; trio takes its hooks back at the end of the run.
    """
    finalizer = sys.get_asyncgen_hooks().finalizer
    if finalizer is not None and not isinstance(finalizer, _Finalizer):
        sys.set_asyncgen_hooks(finalizer=_Finalizer(finalizer, trio.lowlevel.current_trio_token()))


class _Nobody:
    """In the place of the task of a nursery that was given up: trio takes the nursery off its list."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._child_nurseries = [nursery]


def give_up_nursery(nursery: trio.Nursery) -> None:
    """Cancel a nursery that its task has left open, and have nobody wait for its end. Not a checkpoint."""
    nursery.cancel_scope.cancel()
    nursery._closed = True  # as trio does: whoever finalizes the generator must not wake the task
    nursery._parent_task._child_nurseries.remove(nursery)
    nursery._parent_task = cast(Any, _Nobody(nursery))


@block
def all_left() -> Iterator[None]:
    """A block that gives up the nurseries, and closes the cancel scopes, that its code has left open.

    Raises:
        NurseryLeft, ScopeLeft: there were some, and no error of the code's own says what went wrong.
    """
    task = trio.lowlevel.current_task()
    within, outside = scope_of(task), len(task.child_nurseries)
    fault: RuntimeError | NurseryLeft | None = None
    try:
        yield
    except trio.Cancelled:
        if scope_of(task) is within:
            raise
        # The scope that was left open may have been cancelled; if not, the next checkpoint raises again.
    finally:
        left = task.child_nurseries[outside:]
        if left or task in _bereft:
            _bereft.discard(task)
            fault = NurseryLeft()
        elif scope_of(task) is not within:
            fault = ScopeLeft()
        for nursery in left:
            give_up_nursery(nursery)
        if scope_of(task) is not within:
            close_scopes(task, within)
    if fault is not None:
        raise fault


@attrs.frozen
class _Finalizer:
    """What Python calls for an async generator that nobody can reach, at any line, in any thread.

    Attributes:
        usual: trio's own, which has the generator closed in a system task.
        token: of the run.
    """

    usual: Callable[[AnyGenerator], None]
    token: trio.lowlevel.TrioToken

    def __call__(self, generator: AnyGenerator) -> None:
        with suppress(trio.RunFinishedError):
            self.token.run_sync_soon(guarded, _give_up, generator)  # before trio's turn, which is queued next
        self.usual(generator)


def _give_up(generator: AnyGenerator) -> None:
    """Give up the nurseries in `generator`, and end the processes whose they are."""
    for nursery in _nurseries_in(generator):
        if nursery._closed:
            continue
        task = nursery.parent_task
        give_up_nursery(nursery)
        _bereft.add(task)
        process = task.context.get(CURRENT)
        if process is None:
            log(logging.ERROR, "%s left a nursery open, which was cancelled", task.name, error=NurseryLeft())
        elif process.ended is None:
            process.interrupt(Crashed(NurseryLeft()))


def _nurseries_in(generator: AnyGenerator) -> Iterator[trio.Nursery]:
    """Find the nurseries whose blocks `generator` is in: Python keeps the ends of blocks with variables."""
    for found in gc.get_referents(generator):
        manager = found.__self__ if type(found) is MethodType else found
        if type(manager) is NurseryManager:
            yield manager._nursery
