"""The waits that a dump shows: for whom, for what, and for how long."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    Actor,
    Child,
    Mailbox,
    Node,
    Pool,
    Process,
    Ref,
    Supervisor,
    Worker,
    open_node,
    system,
)
from enfilade.actors.messages.reasons import KILLED
from enfilade.actors.observing.dumps.dump import dump, text_of
from enfilade.actors.observing.tables.diagnosis import diagnosed
from enfilade.actors.observing.tables.waits import Wait, wait_shown, waits_of
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.policy import Policy, Rights, Rule


class Till(Actor):
    async def pay(self) -> None:
        await trio.sleep_forever()


class Slow(Actor):
    """Takes its time to start, and to end."""

    async def on_start(self) -> None:
        await trio.sleep(50)


class Clerk(Worker):
    async def work(self, job: Any) -> None:
        await trio.sleep_forever()


async def caller(me: Process, target: Ref[Any], method: Any, *args: Any) -> None:
    await target.within(1_000).call(method, *args)


async def stubborn(me: Process) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(50)


def found(node: Node, place: str) -> list[tuple[int, int | None, str, float | None]]:
    """The waits of a kind: who waits for whom, for what, and for how long."""
    waits = [wait for wait in waits_of(node) if wait.place == place]
    for wait in waits:
        assert wait_shown(attrs.asdict(wait)).startswith(wait.waiting_text)
    return [(wait.waiting, wait.holder, wait.method, wait.seconds) for wait in waits]


async def test_how_long_a_call_has_waited_is_known_by_its_limit(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:
        till = await node.spawn(Till, name="till")
        client = await node.spawn(caller, till, Till.pay)
        await trio.sleep(12)
        ((waiting, holder, method, seconds),) = found(node, "at hand")
        assert (waiting, holder, method) == (client.serial, till.serial, "pay")
        assert seconds == pytest.approx(12, abs=0.1)
        (line,) = diagnosed(node, waits_of(node))
    assert line.startswith(f"1 process waits for {till!r}, which has been in Till.pay (test_waits.py:")
    assert ") for ≥ 12 s: " in line


async def test_waiting_for_room_in_a_mailbox(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:
        till = await node.spawn(Till, name="till", mailbox=Mailbox(1, "block"))
        await system.suspend(till)
        till.send("one")

        async def sender(me: Process) -> None:
            await till.send_wait("two")

        client = await node.spawn(sender)
        await wait_all_tasks_blocked()
        assert found(node, "room") == [(client.serial, till.serial, "", None)]
        assert f"{client!r} waits for room in the mailbox of {till!r}" in "\n".join(text_of(dump(node)))


async def test_waiting_for_a_start(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:

        async def starter(me: Process) -> None:
            await me.spawn(Slow, name="slow")

        client = await node.spawn(starter)
        await wait_all_tasks_blocked()
        slow = node.whereis("slow")
        assert slow is not None
        assert found(node, "start") == [(client.serial, slow.serial, "", None)]


async def test_a_supervisor_waits_for_the_start_and_the_end_of_children(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:
        top = node.spawn_soon(Supervisor, [Child(Slow, id="slow", name="slow")])
        await wait_all_tasks_blocked()
        slow = node.whereis("slow")
        assert slow is not None
        assert [wait[:2] for wait in found(node, "start")] == [(top.serial, slow.serial)]
        await trio.sleep(60)
        other = await node.spawn(Supervisor, [Child(stubborn, id="stubborn", name="stubborn", shutdown=40)])

        async def stopper(me: Process) -> None:
            await other.stop()

        client = await node.spawn(stopper)
        await wait_all_tasks_blocked()
        last = node.whereis("stubborn")
        assert last is not None
        ends = {wait[:2] for wait in found(node, "end")}
    assert ends == {(client.serial, other.serial), (other.serial, last.serial)}


async def test_waiting_for_a_worker_of_a_pool(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:
        pool = await node.spawn(Pool, Clerk, size=1, name="clerks")
        clients = [await node.spawn(caller, pool, Pool.submit, number) for number in range(3)]
        await wait_all_tasks_blocked()
        waiting = {wait[0] for wait in found(node, "worker")}
        ((served, holder, *_),) = found(node, "deferred")
        assert {*waiting, served} == {client.serial for client in clients}
        assert (len(waiting), holder) == (2, pool.serial)
        (at_hand,) = found(node, "at hand")
        assert (at_hand[0], at_hand[2]) == (pool.serial, "work")


async def test_a_lock_leads_to_the_process_that_holds_it(autojump_clock: MockClock) -> None:
    lock = trio.Lock()

    async def holder(me: Process) -> None:
        async with lock:
            await trio.sleep_forever()

    async def waiter(me: Process) -> None:
        async with lock:
            """Nothing is done with it."""

    async with open_node("bank") as node:
        first = await node.spawn(holder)
        await wait_all_tasks_blocked()
        second = await node.spawn(waiter)
        await wait_all_tasks_blocked()
        assert found(node, "held") == [(second.serial, first.serial, "a lock", None)]
        (line,) = diagnosed(node, waits_of(node))
        assert line.startswith(f"1 process waits for {first!r}, which is in ")


async def test_two_locks_in_two_orders_are_a_circle(autojump_clock: MockClock) -> None:
    one, two = trio.Lock(), trio.Lock()

    async def taking(me: Process, first: trio.Lock, second: trio.Lock) -> None:
        async with first:
            await me.receive()
            async with second:
                """Nothing is done with them."""

    async with open_node("bank") as node:
        refs = [await node.spawn(taking, one, two), await node.spawn(taking, two, one)]
        await wait_all_tasks_blocked()
        for ref in refs:
            ref.send("go on")
        await wait_all_tasks_blocked()
        (line, *_) = diagnosed(node, waits_of(node))
        for ref in refs:
            node.processes[ref.serial].interrupt(KILLED)
    a, b = refs
    assert line == (
        f"circle of 2 waits: {a!r} waits for a lock, which {b!r} holds, "
        f"{b!r} waits for a lock, which {a!r} holds"
    )


async def test_an_event_is_named_and_holds_nobody(autojump_clock: MockClock) -> None:
    class Waiting(Actor):
        async def go(self) -> None:
            await trio.Event().wait()

    async with open_node("bank") as node:
        waiting = await node.spawn(Waiting)
        waiting.cast(Waiting.go)
        await wait_all_tasks_blocked()
        assert found(node, "trio") == [(waiting.serial, None, "an event", None)]


async def test_waiting_for_another_node(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    policy = Policy(rules=[Rule(rights=Rights(exports="*"))])
    async with (
        open_node("bank", listen="/bank", policy=policy, carrier=network.carrier("bank")) as bank,
        open_node("eye", policy=policy, carrier=network.carrier("eye")) as eye,
    ):
        await eye.connect("/bank")
        await bank.spawn(Till, name="till")
        till = eye.remote("till", "bank@local")
        client = await eye.spawn(caller, till, Till.pay)
        await trio.sleep(3)
        ((waiting, holder, method, seconds),) = found(eye, "elsewhere")
        assert (waiting, holder, method) == (client.serial, None, "pay")
        assert seconds == pytest.approx(3, abs=0.1)
        (line,) = diagnosed(eye, waits_of(eye))
        assert line.startswith("1 process waits for ")
        assert "bank@local" in line
        assert " on another node: " in line


@pytest.mark.parametrize("place", ["at hand", "credit", "trio"])
def test_a_wait_is_shown_in_words(place: str) -> None:
    wait = Wait(1, "<a@b:1>", None, "<a@c:2>", "", place, 2.0)
    assert wait_shown(attrs.asdict(wait)).endswith(", for 2.0 s")
