"""`VirtualClock`: time jumps when nothing can run and nothing is under way, and only then."""

import socket
import threading

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from enfilade.actors.testing import Stuck, VirtualClock

PATIENCE = 60


def run(main: object, clock: VirtualClock) -> None:
    trio.run(main, clock=clock)  # type: ignore[arg-type]


def test_time_jumps_in_the_order_of_deadlines() -> None:
    """Whoever waits is woken at its own deadline, in order, however the tasks were started."""
    woken: list[tuple[float, float]] = []

    async def wait(seconds: float) -> None:
        await trio.sleep(seconds)
        woken.append((seconds, trio.current_time()))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for seconds in (86_400.0, 0.1, 7.0, 0.3, 1e9):
                nursery.start_soon(wait, seconds)

    run(main, VirtualClock())
    assert woken == [(seconds, seconds) for seconds in (0.1, 0.3, 7.0, 86_400.0, 1e9)]


def test_time_stands_still_while_something_is_under_way() -> None:
    """What comes from another thread is in time for any timeout, as long as it is known to be under way."""
    asked = threading.Event()
    clock = VirtualClock()

    def under_way() -> str:
        asked.set()
        return "a letter"

    async def main() -> None:
        here, there = socket.socketpair()
        with here, there, clock.watching(under_way):
            here.setblocking(False)

            def send() -> None:
                asked.wait()  # the clock could have jumped already
                there.send(b"x")

            thread = threading.Thread(target=send)
            thread.start()
            with trio.fail_after(1e-9):
                await trio.lowlevel.wait_readable(here)
            thread.join()
            assert trio.current_time() == 0

    run(main, clock)


def test_time_jumps_past_what_nobody_watches() -> None:
    """Without a block of `watching`, or after it, nothing holds time up."""
    clock = VirtualClock()

    async def main() -> None:
        with clock.watching(lambda: ""):
            await trio.sleep(1)
        with clock.watching(lambda: "something"):
            await trio.lowlevel.checkpoint()
        await trio.sleep(1)
        assert trio.current_time() == 2

    run(main, clock)


def test_a_standstill_is_an_error() -> None:
    """What does not arrive ends the block, names what was awaited, and leaves a run that goes on."""
    clock = VirtualClock(patience=0.0)

    async def main() -> None:
        with (
            pytest.raises(Stuck, match=r"at 0 s of virtual time: 1 batch, to a"),
            clock.watching(lambda: "1 batch, to a"),
            clock.watching(lambda: ""),
        ):
            await trio.sleep(1)
        await trio.sleep(1)
        assert trio.current_time() == 1

    run(main, clock)


def test_waiting_for_nothing_is_an_error() -> None:
    """A watched run in which nothing is under way, and no time is waited for, would wait for ever."""
    clock = VirtualClock(patience=0.0)

    async def main() -> None:
        with pytest.raises(Stuck, match="nobody waits for a time"), clock.watching(lambda: ""):
            await trio.sleep_forever()

    run(main, clock)


def test_settle_waits_for_tasks_and_for_what_is_under_way() -> None:
    """`settle` comes before any jump, after every task that can run, and after the last arrival."""
    worked, arrived = threading.Event(), threading.Event()
    clock = VirtualClock()
    steps: list[str] = []

    async def work() -> None:
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        steps.append("work")
        worked.set()

    def arrive() -> None:
        assert worked.wait(PATIENCE)
        steps.append("arrived")
        arrived.set()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            with clock.watching(lambda: "" if arrived.is_set() else "the word of a thread"):
                nursery.start_soon(trio.sleep, 1)
                nursery.start_soon(work)
                threading.Thread(target=arrive).start()
                await clock.settle()
                steps.append("settled")
                assert trio.current_time() == 0

    run(main, clock)
    assert steps == ["work", "arrived", "settled"]


def test_a_cancelled_settle_is_forgotten() -> None:
    """Whoever gave up settling is not woken; those who did not are."""
    clock = VirtualClock()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clock.settle)
            with trio.CancelScope() as scope:
                scope.cancel()
                await clock.settle()
        assert scope.cancelled_caught

    run(main, clock)


def test_blocked_tasks_come_before_a_jump() -> None:
    """trio's own `wait_all_tasks_blocked` works, and sees no time pass."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1)
            await wait_all_tasks_blocked()
            assert trio.current_time() == 0

    run(main, VirtualClock())
