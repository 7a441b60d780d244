"""The dispatcher: turns, budgets, and processes that fall silent at their edges."""

from typing import Any

import pytest
import trio
import trio.testing

from enfilade.actors import Actor, Deferred, NodeConfig, Observer, Process, Ref, WrongThread, open_node

TURN = NodeConfig().turn


class Tally(Actor):
    def __init__(self) -> None:
        self.count = 0

    def on_message(self, message: Any) -> None:
        self.count += 1

    def counted(self) -> int:
        return self.count

    def on_order(self, count: int) -> None:
        self.count += count


class Onlooker(Observer):
    def received(self, process: Process, message: Any) -> None:
        """Only its presence matters: an observed process gets the careful turn."""

    def handled(self, process: Process, message: Any) -> None:
        """Nothing."""


@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
@pytest.mark.parametrize("messages", [TURN - 1, TURN, TURN + 1, 8 * TURN, 8 * TURN + 1])
async def test_a_turn_may_end_with_the_last_message(messages: int, observed: bool) -> None:
    """A process whose budget and queue end together falls idle, and can be woken again."""
    async with open_node("n") as node:
        ref = await node.spawn(Tally)
        process = node.processes[ref.serial]
        if observed:
            process.extras().observers.append(Onlooker())
            process.attention = True
        for expected in (messages, 2 * messages):
            for number in range(messages):
                ref.send(number)
            await trio.testing.wait_all_tasks_blocked()
            assert await ref.call(Tally.counted) == expected
        assert process.ended is None


async def test_an_observer_that_leaves_within_the_last_message_of_a_turn() -> None:
    """Attention may end together with budget and queue."""

    class Leaving(Onlooker):
        left = TURN

        def handled(self, process: Process, message: Any) -> None:
            self.left -= 1
            if self.left == 0:
                process.extras().observers.clear()
                process.settle()

    async with open_node("n") as node:
        ref = await node.spawn(Tally)
        process = node.processes[ref.serial]
        process.extras().observers.append(Leaving())
        process.attention = True
        for number in range(TURN):
            ref.send(number)
        await trio.testing.wait_all_tasks_blocked()
        assert process.ended is None
        assert await ref.call(Tally.counted) == TURN


async def relay(me: Process, out: Ref[Any]) -> None:
    while True:
        out.send(await me.receive())


@pytest.mark.parametrize("way", ["send", "cast"])
async def test_another_thread_may_not_wake_an_actor(way: str) -> None:
    """U12: it gets an error, nothing was sent, and the actor is as it was."""
    async with open_node("n") as node:
        ref = await node.spawn(Tally)
        await trio.testing.wait_all_tasks_blocked()
        order: Any = (ref.send, 1) if way == "send" else (ref.cast, Tally.on_order, 1)
        with pytest.raises(WrongThread, match="from_thread"):
            await trio.to_thread.run_sync(*order)
        assert await ref.call(Tally.counted) == 0
        ref.send(1)
        await trio.testing.wait_all_tasks_blocked()
        assert await ref.call(Tally.counted) == 1
        await trio.to_thread.run_sync(trio.from_thread.run_sync, ref.send, 2)
        assert await trio.to_thread.run_sync(trio.from_thread.run, ref.call, Tally.counted) == 2


async def test_another_thread_may_not_wake_a_function_process() -> None:
    """U12: nor one that waits in `receive`."""
    async with open_node("n") as node, node.mailbox() as me:
        ref = await node.spawn(relay, me.ref)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(WrongThread):
            await trio.to_thread.run_sync(ref.send, "lost")
        ref.send("kept")
        assert await me.receive(timeout=5) == "kept"


class Clerk(Actor):
    def __init__(self) -> None:
        self.owed: Deferred[str] | None = None

    def ask(self) -> Deferred[str]:
        self.owed = self.process.defer()
        return self.owed


async def test_another_thread_may_not_reply() -> None:
    """U12, C8: the call is as good as before."""
    async with open_node("n") as node, trio.open_nursery() as nursery:
        ref = await node.spawn(Clerk)
        clerk = node.processes[ref.serial].actor
        got: list[str] = []

        async def ask() -> None:
            got.append(await ref.call(Clerk.ask))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(WrongThread):
            await trio.to_thread.run_sync(clerk.owed.reply, "wrong")
        assert got == []
        await trio.to_thread.run_sync(trio.from_thread.run_sync, clerk.owed.reply, "right")
        await trio.testing.wait_all_tasks_blocked()
        assert got == ["right"]
