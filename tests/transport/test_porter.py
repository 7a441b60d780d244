"""One task waits for the inlets of several peers, and readers wait for themselves where it does not."""

import os
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from enfilade.transport.porter import Porter

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="only epoll reports many at once")


class Bell:
    """An inlet that rings: what a porter sees of one.

    Attributes:
        told: whether it was alone, for each time that its owner was told.
        takes: whether the owner takes in what has come.
        woken: how often its reader was.
    """

    def __init__(self, *, takes: bool = True) -> None:
        self.event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.told: list[bool] = []
        self.takes = takes
        self.woken = 0

    def ring(self) -> None:
        os.eventfd_write(self.event, 1)

    def tell(self, *, alone: bool) -> bool:
        self.told.append(alone)
        if self.takes:
            os.eventfd_read(self.event)
        return self.takes

    async def read(self, porter: Porter) -> None:
        """Be the reader."""
        while True:
            await porter.wait(self.event)
            self.woken += 1


@asynccontextmanager
async def at_work(*bells: Bell) -> AsyncIterator[tuple[Porter, trio.CancelScope]]:
    """A porter that waits for these bells, whose readers wait with it, and what ends its wait."""
    porter, scope = Porter(), trio.CancelScope()

    async def run() -> None:
        with scope:
            await porter.run()

    try:
        async with trio.open_nursery() as nursery:
            for bell in bells:
                porter.add(bell)
                nursery.start_soon(bell.read, porter)
            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            yield porter, scope
            nursery.cancel_scope.cancel()
    finally:
        for bell in bells:
            os.close(bell.event)


async def until_told(bell: Bell, count: int = 1) -> None:
    with trio.fail_after(5):
        while len(bell.told) < count:
            await trio.lowlevel.checkpoint()
    await trio.testing.wait_all_tasks_blocked()


async def test_what_has_come_is_taken_in_without_waking_a_reader() -> None:
    one, two, three = bells = [Bell() for _ in range(3)]
    async with at_work(*bells) as (porter, _):
        assert porter.is_busy
        one.ring()
        await until_told(one)
        two.ring()
        three.ring()
        await until_told(three)
    assert one.told == [True]
    assert two.told == three.told == [False]
    assert [bell.woken for bell in bells] == [0, 0, 0]


async def test_what_its_owner_leaves_wakes_the_reader_once_and_nobody_turns_in_circles() -> None:
    """It stays readable, as with a peer that is kept to its rate, and is not reported again for that."""
    left, other = bells = [Bell(takes=False), Bell()]
    async with at_work(*bells):
        left.ring()
        await until_told(left)
        for _ in range(5):
            other.ring()
            await until_told(other, len(other.told) + 1)
    assert len(left.told) == left.woken == 1
    assert other.woken == 0


async def test_a_single_inlet_is_left_to_its_reader() -> None:
    """When all others are gone, its reader is woken, and waits for itself."""
    one, two = bells = [Bell(), Bell()]
    async with at_work(*bells) as (porter, _):
        porter.remove(two.event)
        assert not porter.is_busy
        await trio.testing.wait_all_tasks_blocked()
        assert (one.woken, two.woken) == (1, 1)
        one.ring()
        await trio.testing.wait_all_tasks_blocked()
        assert one.told == []
        porter.remove(two.event)  # harmless when repeated
        porter.add(two)
        await until_told(one)  # what had come before is not forgotten


async def test_when_it_ends_all_readers_are_woken() -> None:
    bells = [Bell() for _ in range(3)]
    async with at_work(*bells) as (porter, scope):
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert not porter.is_busy
        assert [bell.woken for bell in bells] == [1, 1, 1]
        porter.remove(bells[0].event)


async def test_what_the_kernel_will_not_watch_leaves_all_to_their_readers() -> None:
    bells = [Bell(), Bell()]
    async with at_work(*bells) as (porter, _):
        closed = Bell()
        os.close(closed.event)
        porter.add(closed)
        await trio.testing.wait_all_tasks_blocked()
        assert not porter.is_busy
        assert [bell.woken for bell in bells] == [1, 1]
        porter.remove(closed.event)


async def test_who_is_removed_while_others_ring_is_told_no_more() -> None:
    """All three ring at a time, and whoever is told first removes all of them."""
    bells = [Bell() for _ in range(3)]
    told: list[bool] = []
    async with at_work(*bells) as (porter, _):

        def leave(*, alone: bool) -> bool:
            told.append(alone)
            for bell in bells:
                porter.remove(bell.event)
            return True

        for bell in bells:
            bell.tell = leave  # type: ignore[method-assign]
            bell.ring()
        await trio.testing.wait_all_tasks_blocked()
    assert told == [False]
    assert [bell.woken for bell in bells] == [1, 1, 1]
