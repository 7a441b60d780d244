"""Processes that wait by means of their own, whose abort function is broken. Clause U8.

trio calls that function where the process is cancelled, which is where somebody else's signal arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio

from enfilade.actors import KILL, SHUTDOWN, Actor, Child, Custom, Down, Process, Ref, Supervisor
from tests.actors.steps.bystanders import unharmed

WAITING: list[trio.lowlevel.Task] = []


def raises(_: Any) -> Any:
    raise ValueError("in an abort function")


def answers_nonsense(_: Any) -> Any:
    return "nonsense"


async def waits(me: Process, abort: Callable[[Any], Any]) -> None:
    WAITING.append(trio.lowlevel.current_task())
    await trio.lowlevel.wait_task_rescheduled(abort)


async def sleeps(me: Process) -> None:
    await trio.sleep_forever()


class Linked(Actor):
    """Ends with two others: the broken one first."""

    def __init__(self, *others: Ref[Any]) -> None:
        for other in others:
            self.process.link(other)

    def crash(self) -> None:
        raise ValueError("as asked")


@pytest.fixture(autouse=True)
def _released() -> Iterator[None]:
    """Nothing stays of an earlier test."""
    WAITING.clear()
    yield
    WAITING.clear()


def release() -> None:
    """Let the tasks that were given up go on, so that the run can end."""
    for task in WAITING:
        task._abort_func = lambda _: trio.lowlevel.Abort.FAILED
        trio.lowlevel.reschedule(task)


@pytest.mark.parametrize("abort", [raises, answers_nonsense])
@pytest.mark.parametrize("reason", [KILL, Custom("end")], ids=["kill", "exit"])
async def test_it_is_given_up(autojump_clock: object, abort: Any, reason: Any) -> None:
    """U8: whichever signal has reached it, its end is told once the grace is over."""
    async with unharmed() as (node, me):
        ref = await node.spawn(waits, abort)
        me.monitor(ref)
        await trio.sleep(0.1)
        before = trio.current_time()
        ref.exit(reason)
        assert (await me.receive(Down, timeout=10)).ref == ref
        assert trio.current_time() == pytest.approx(before + node.config.kill_grace)
        release()


async def test_who_is_linked_to_it(autojump_clock: object) -> None:
    """U8, L3: a process that ends tells all others, also those that come after the broken one."""
    async with unharmed() as (node, me):
        broken, other = await node.spawn(waits, raises), await node.spawn(sleeps)
        await trio.sleep(0.1)
        linked = await node.spawn(Linked, broken, other)
        for ref in (linked, broken, other):
            me.monitor(ref)
        linked.cast(Linked.crash)
        ends = [(await me.receive(Down, timeout=10)).ref for _ in range(3)]
        assert ends[2] == broken
        assert set(ends) == {linked, broken, other}
        release()


async def test_who_supervises_it(autojump_clock: object) -> None:
    """U8, SUP-40: its supervisor stops in time, and all of its children."""
    async with unharmed() as (node, _me):
        tree = await node.spawn(Supervisor, [Child(sleeps), Child(waits, raises, shutdown=1)])
        await trio.sleep(0.1)
        await tree.stop(SHUTDOWN, timeout=10)
        release()
