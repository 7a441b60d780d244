"""The shutdown of a node, and the block of `open_node` that ends with it.

The root is asked to shut down first, then the processes that no supervisor owns, youngest first, one after
another. When the grace is over, or a second SIGINT came, everything that is left is killed, and what a kill
does not end is given up.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.blocks import async_block, block
from enfilade.actors.messages.hooks import call
from enfilade.actors.messages.misuse import explain_misuse
from enfilade.actors.messages.reasons import KILLED, SHUTDOWN, asked_by
from enfilade.actors.node.frozen import thaw
from enfilade.actors.node.interrupts import interrupts_go_to
from enfilade.actors.node.watchdog import watching
from enfilade.actors.processes.current import DISPATCHERS
from enfilade.actors.processes.left_generators import all_left, watch_generators
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.steps import is_from_outside

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["Stopper", "running"]


@async_block
async def running(node: Node, *, is_watched: bool) -> AsyncIterator[Stopper]:
    """Run the node's tasks for the length of a block, then shut it down and raise what stopped it.

    Args:
        node: the node.
        is_watched: whether the loop is watched from the beginning, if the node's settings ask for that.

    Returns:
        The stopper, for callers with work to do after the processes have ended and before the runtime's own
        tasks end.
    """
    opened = trio.Event()
    done = trio.Event()
    stopper = Stopper(node)
    node.hurry = stopper.hurry
    DISPATCHERS.set((*DISPATCHERS.get(), node.dispatcher))
    watch_generators()
    node.runtime.spawn(_run, node, opened, done, name=f"node {node.full_name}")
    with trio.CancelScope(shield=True):
        await opened.wait()
    with _interrupts(node, stopper), watching(node) if is_watched else nullcontext():
        try:
            with trio.CancelScope() as node.body_scope, all_left():
                yield stopper
        except BaseException as error:
            explain_misuse(error, node.registry, node)
            raise
        finally:
            with trio.CancelScope(shield=True):
                if node.sharing is not None:
                    node.sharing.look_at_all()
                await stopper.stop()
                node.nursery.cancel_scope.cancel()
                if node.sharing is not None:
                    node.sharing.close()
                thaw(node)
                node.traces.close()
                node.timers.clear()
                node.groups.close()
                node.dispatcher.clear()
                DISPATCHERS.set(tuple(each for each in DISPATCHERS.get() if each is not node.dispatcher))
                if not node.unkillable:
                    await done.wait()
                node.reports.close()
    if node.fatal is not None:
        raise node.fatal


async def _run(node: Node, opened: trio.Event, done: trio.Event) -> None:
    try:
        async with trio.open_nursery() as node.nursery:
            for task in (node.dispatcher.run, node.timers.run, node.reports.run):
                node.start_service(task, task.__qualname__)
            opened.set()
    except BaseException as error:
        if not is_from_outside(error):
            node.fail("its nursery", error)
    finally:
        done.set()  # even when a task of the runtime itself has failed: the opener waits for it


class Stopper:
    """Shuts the node down, once."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ordered = trio.CancelScope()

    def hurry(self) -> None:
        """End the grace now: kill what is left."""
        self._ordered.cancel()

    async def stop(self) -> None:
        """End every process, once. A checkpoint that takes at most the grace and the kill grace, and that
        cancellation does not hasten.
        """
        if not self._node.stopped:
            with trio.CancelScope(shield=True):
                await self._stop()

    async def _stop(self) -> None:
        node = self._node
        node.dead_letters.muted = True
        if node.hooks.node_stopping:
            call(node.hooks.node_stopping, node.fatal)
        self._ordered.deadline = trio.current_time() + node.config.grace
        with self._ordered:
            root = process_of(node.root)
            if root is not None:
                await self._shut_down(root)
            node.stopping = True
            while outermost := [process for process in node.processes.values() if process.owner is None]:
                for process in reversed(outermost):
                    await self._shut_down(process)
        node.stopping = node.stopped = True
        if node.processes and node.hooks.grace_over:
            call(node.hooks.grace_over, len(node.processes))
        with trio.move_on_after(2 * node.config.kill_grace):
            while node.processes:
                for process in reversed(list(node.processes.values())):
                    if process.ended is None:
                        process.interrupt(asked_by(KILLED, node.ref))
                        process.body.end_at_once()
                for process in list(node.processes.values()):
                    await self._wait(process)
        if node.hooks.node_stopped:
            call(node.hooks.node_stopped)

    async def _shut_down(self, process: Process) -> None:
        if process.ended is not None:
            return
        process.deliver(signals.Exit(self._node.ref, SHUTDOWN, linked=False))
        process.body.end_at_once()
        await self._wait(process)

    async def _wait(self, process: Process) -> None:
        if process.ended is None:
            waiter = self._node.end_waiters.setdefault(process, trio.Event())
            await waiter.wait()


@block
def _interrupts(node: Node, stopper: Stopper) -> Iterator[None]:
    """Take SIGINT, SIGTERM and SIGHUP over: the first is an order to stop, the second to kill, the third ends
    the program at once, as each would without a node.
    """
    if not node.config.handle_interrupt:
        yield
        return
    token = trio.lowlevel.current_trio_token()
    count = 0

    def interrupted(fatal: BaseException) -> None:
        nonlocal count
        count += 1
        if count == 1:
            if node.fatal is None:
                node.fatal = fatal  # now, for the block may be about to end
            token.run_sync_soon(node.stop_for, node.fatal)
        elif count == 2:
            token.run_sync_soon(stopper.hurry)
        else:
            raise fatal

    def terminated(number: signal.Signals) -> None:
        interrupted(SystemExit(128 + number))  # as a shell says of a program that the signal has ended

    with (
        interrupts_go_to(lambda: interrupted(KeyboardInterrupt())),
        interrupts_go_to(partial(terminated, signal.SIGTERM), signal.SIGTERM),
        interrupts_go_to(partial(terminated, signal.SIGHUP), signal.SIGHUP),
    ):
        yield
