"""A program's own `__del__` that uses the runtime: the collector may run it at any allocation. Clause U15."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import Actor, Deferred, Node, Process, Ref, RequestCollection, open_node
from enfilade.actors.processes import record
from enfilade.actors.processes.local_ref import process_of
from tests.isolation.collector import eager

RATE = 1 / 40
"""How often a finalizer acts: if each did, nobody would ever be idle."""


class Sync(Actor):
    """Counts its messages."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.owed: list[Deferred[Any]] = []

    def on_message(self, message: Any) -> None:
        self.seen.append(message)

    def echo(self, value: Any) -> Any:
        return value

    def later(self) -> Deferred[Any]:
        self.owed.append(self.process.defer())
        return self.owed[-1]

    def count(self) -> int:
        return len(self.seen)

    def all_seen(self) -> list[Any]:
        return list(self.seen)


class Async(Sync):
    """The same with a task."""

    async def nothing(self) -> None:
        """Makes it an actor with a task."""


class Spark:
    """Garbage that acts when it is collected, and leaves another such piece behind.

    Attributes:
        act: what it does.
        acted: how often it did.
        lives: whether there is to be another one.
    """

    act: ClassVar[Callable[[], object]]
    acted: ClassVar[int]
    lives: ClassVar[bool] = False
    chance: ClassVar[random.Random]

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        if Spark.lives:
            # Threads that earlier tests have left may collect, too, and refs belong to the loop's (U12).
            is_here = threading.current_thread() is threading.main_thread()
            if is_here and Spark.chance.random() < RATE:
                Spark.acted += 1
                Spark.act()
            Spark()


async def reader(me: Process, seen: list[Any]) -> None:
    """A function that waits for messages, with and without a time limit."""
    while True:
        with trio.move_on_after(0.01):
            seen.append(await me.receive(int))


async def _use(node: Node, me: Process, refs: list[Ref[Any]], rounds: int) -> None:
    """Do what makes tasks wait and wake, while sparks act."""
    for number in range(rounds):
        for ref in refs:
            assert await ref.within(5).call(Sync.echo, number) == number
        requests: RequestCollection[int] = RequestCollection()
        requests.add(me.request(refs[0], Sync.echo, number), number)
        assert (await requests.wait(5))[1].value == number
        with trio.move_on_after(0.001):
            await me.receive(bytes)
        me.ref.send("own")
        assert await me.receive(str, 5) == "own"
        with trio.move_on_after(0):
            await me.receive(bytes)
        await trio.sleep(0.001)


async def _play(targets: str, rounds: int) -> tuple[int, int]:
    """Send numbers in finalizers to processes of these kinds; return how many, and how many came."""
    seen: list[Any] = []
    async with open_node("n") as node, node.mailbox() as me:
        kinds = {"sync": (Sync,), "async": (Async,), "function": (reader, seen)}
        made = {kind: await node.spawn(target, *args) for kind, (target, *args) in kinds.items()}
        wanted = [made[kind] for kind in targets.split("+")]
        others = [await node.spawn(Sync), await node.spawn(Async)]
        Spark.acted, Spark.chance = 0, random.Random(targets)
        Spark.act = lambda: wanted[Spark.acted % len(wanted)].send(Spark.acted)
        Spark.lives = True
        try:
            with eager():
                Spark()
                await _use(node, me, [*others, *(ref for ref in wanted if ref != made["function"])], rounds)
        finally:
            Spark.lives = False
        await trio.sleep(1)
        counts = [await ref.call(Sync.count) for ref in wanted if ref != made["function"]]
        return Spark.acted, sum(counts) + len(seen)


TARGETS = pytest.mark.parametrize("targets", ["sync", "async", "function", "sync+async+function"])


@TARGETS
def test_a_finalizer_may_send(targets: str) -> None:
    """U15: nothing is lost, nobody is woken twice, and the program goes on."""
    sent, came = trio.run(_play, targets, 30, clock=MockClock(autojump_threshold=0))
    assert sent == came > 20


@pytest.mark.soak
@TARGETS
def test_many_finalizers_may_send(targets: str) -> None:
    sent, came = trio.run(_play, targets, 1_000, clock=MockClock(autojump_threshold=0))
    assert sent == came > 20


async def _answered(tier: type[Sync], rounds: int) -> int:
    """Answer calls in finalizers; return how many finalizers have acted."""
    async with open_node("n") as node:
        ref = await node.spawn(tier)
        owed: list[Deferred[Any]] = node.processes[ref.serial].actor.owed if tier is Sync else []
        if tier is Async:
            owed = node.processes[ref.serial].body.actor.owed

        def answer() -> None:
            while owed:
                owed.pop().reply("by a finalizer")

        Spark.acted, Spark.chance, Spark.act = 0, random.Random(1), answer
        Spark.lives = True
        try:
            with eager():
                Spark()
                for _ in range(rounds):
                    with trio.move_on_after(1):
                        assert await ref.within(5).call(Sync.later) == "by a finalizer"
                    answer()
        finally:
            Spark.lives = False
        assert await ref.call(Sync.echo, 1) == 1
        return Spark.acted


@pytest.mark.parametrize("tier", [Sync, Async])
def test_a_finalizer_may_answer(tier: type[Sync]) -> None:
    """U15: also the call whose caller is about to wait."""
    assert trio.run(_answered, tier, 200, clock=MockClock(autojump_threshold=0)) > 5


async def _timed(rounds: int) -> None:
    async with open_node("n") as node, node.mailbox() as me:
        Spark.acted, Spark.chance = 0, random.Random(2)
        due: list[float] = []

        def set_one() -> None:
            due.append(trio.current_time() + 0.01)
            node.send_after(0.01, me.ref, due[-1])

        Spark.act, Spark.lives = set_one, True
        try:
            with eager():
                Spark()
                for _ in range(rounds):
                    node.send_after(1, me.ref, "tick")
                    await me.receive(str, 2)
        finally:
            Spark.lives = False
        assert len(due) > 5
        for _ in due:
            await me.receive(float, 1)


def test_a_finalizer_may_set_timers() -> None:
    """U15: also while the node works out when to wake next."""
    trio.run(_timed, 100, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("kind", ["sync", "async", "function"])
async def test_the_first_message_may_meet_another(
    kind: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """U15: the mailbox is made for the first message, and meanwhile a finalizer sends what is first then."""
    seen: list[int] = []

    def make() -> deque[Any]:
        monkeypatch.undo()
        ref.send(1)
        return deque()

    async with open_node("n") as node:
        targets: dict[str, tuple[Any, ...]] = {"sync": (Sync,), "async": (Async,), "function": (reader, seen)}
        target, *args = targets[kind]
        ref = await node.spawn(target, *args)
        monkeypatch.setattr(record, "deque", make)
        ref.send(2)
        await trio.sleep(1)
        if kind != "function":
            seen = await ref.call(Sync.all_seen)
    assert seen == [1, 2]


async def test_what_is_made_at_first_use_is_made_once(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """U15: the same of the control lane, and of what few processes have."""
    async with open_node("n") as node:
        process: Any = process_of(await node.spawn(Sync))

        def make() -> deque[Any]:
            monkeypatch.undo()
            process.control_put("first")
            return deque()

        monkeypatch.setattr(record, "deque", make)
        process.control_put("second")
        assert list(process.control) == ["first", "second"]
        process.control.clear()

        def make_extras() -> Any:
            monkeypatch.undo()
            process.extras().places = 7
            return record.Extras()

        monkeypatch.setattr(record, "Extras", make_extras)
        assert process.extras().places == 7
