"""The testing kit: fixtures, probes, schedules, faults, leaks."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import KILLED, NORMAL, Actor, Crashed, Down, Exited, Node, Process, Ref, open_node
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.actors.testing import (
    Leak,
    Probe,
    Unexpected,
    check_leaks,
    crash_at,
    drop_queued,
    kill_after,
    open_probe,
    run_with_seed,
    stall,
)

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Echo(Actor):
    def __init__(self) -> None:
        self.count = 0

    def on_message(self, message: Any) -> None:
        to, value = message
        self.count += 1
        to.send(value)

    def counted(self) -> int:
        return self.count


async def test_a_probe_receives_what_it_expects(node: Node, probe: Probe, autojump_clock: MockClock) -> None:
    echo = await node.spawn(Echo)
    for value in (1, "two", 3.0):
        echo.send((probe.ref, value))
    assert await probe.expect(int) == 1
    assert await probe.expect("two") == "two"
    assert await probe.expect(lambda value: value > 2) == 3.0
    await probe.expect_nothing(seconds=60)


async def test_a_probe_says_what_came_instead(node: Node, probe: Probe, autojump_clock: MockClock) -> None:
    probe.ref.send("a")
    with pytest.raises(Unexpected, match=r"expected int, but the next message was 'a'"):
        await probe.expect(int)
    with pytest.raises(Unexpected, match=r"expected a message, but nothing came within 5.0 s"):
        await probe.expect()
    probe.ref.send("b")
    with pytest.raises(Unexpected, match=r"expected no message, got 'b'"):
        await probe.expect_nothing()
    probe.ref.send("c")
    with pytest.raises(Unexpected, match=r"expected 'd', but only \['c'\] came"):
        await probe.expect_eventually("d")
    probe.ref.send("e")
    assert await probe.expect_eventually("e") == "e"
    assert await probe.expect() == "c"


async def test_time_is_virtual(node: Node, probe: Probe, autojump_clock: MockClock) -> None:
    node.send_after(3600, probe.ref, "later")
    began = trio.current_time()
    await probe.expect("later", seconds=4000)
    assert trio.current_time() - began == pytest.approx(3600)


async def test_a_process_crashes_at_a_chosen_message(
    node: Node, probe: Probe, autojump_clock: MockClock
) -> None:
    echo = await node.spawn(Echo)
    probe.process.monitor(echo)
    crash_at(echo, 2, ValueError("injected"))
    echo.send((probe.ref, 1))
    echo.send((probe.ref, 2))
    assert await probe.expect(int) == 1
    down = await probe.expect(Down)
    assert isinstance(down.reason, Crashed)
    assert isinstance(down.reason.error, ValueError)


async def test_a_process_is_killed_at_a_chosen_step(
    node: Node, probe: Probe, autojump_clock: MockClock
) -> None:
    tree = await node.spawn(Supervisor, [Child(Echo, name="echo")])
    first = node.whereis("echo")
    assert first is not None
    kill_after(node.named("echo"), 2)
    for value in range(3):
        first.send((probe.ref, value))
    assert [await probe.expect(int) for _ in range(2)] == [0, 1]
    await probe.expect_nothing(seconds=1)
    assert node.whereis("echo") not in (None, first), "its supervisor started another"
    kill_after(tree)
    await trio.sleep(1)
    assert node.whereis("echo") is None


async def test_a_stalled_process_queues_what_comes(
    node: Node, probe: Probe, autojump_clock: MockClock
) -> None:
    echo = await node.spawn(Echo)
    stall(echo, 30.0)
    echo.send((probe.ref, 1))
    await probe.expect_nothing(seconds=29)
    await probe.expect(1)


async def test_queued_messages_can_be_lost(node: Node, probe: Probe, autojump_clock: MockClock) -> None:
    echo = await node.spawn(Echo)
    stall(echo, 1.0)
    for value in range(4):
        echo.send((probe.ref, value))
    assert drop_queued(echo, lambda message: message[1] % 2 == 0) == 2
    assert [await probe.expect(int) for _ in range(2)] == [1, 3]


async def test_a_probe_traps_exits(node: Node, probe: Probe, autojump_clock: MockClock) -> None:
    async def brief(me: Process) -> None:
        await me.receive()

    ref = await node.spawn(brief)
    probe.process.link(ref)
    ref.send("end")
    assert (await probe.expect(Exited)).reason == NORMAL
    other = await node.spawn(brief)
    probe.process.link(other)
    kill_after(other)
    assert (await probe.expect(Exited)).reason == KILLED


async def test_leaks_are_named() -> None:
    async with open_node("n") as node:
        await node.spawn(Echo, name="echo")
        with pytest.raises(Leak, match=r"1 processes, 1 names") as caught:
            check_leaks(node)
        assert caught.value.held == {"processes": 1, "names": 1}
        check_leaks(node, allow={"processes": 1, "names": 1})
    check_leaks(node)


async def _race(order: list[int]) -> None:
    class Racer(Actor):
        def on_message(self, number: int) -> None:
            order.append(number)

    async with open_node("n") as node:
        refs: list[Ref[Racer]] = [await node.spawn(Racer) for _ in range(6)]
        for number, ref in enumerate(refs):
            ref.send(number)
            ref.send(number + 100)
        await trio.sleep(1)


def test_seeds_give_different_schedules_and_the_same_seed_the_same() -> None:
    def order(seed: int) -> list[int]:
        seen: list[int] = []
        run_with_seed(seed, _race, seen)
        return seen

    orders = {seed: order(seed) for seed in range(8)}
    assert len({tuple(seen) for seen in orders.values()}) > 1
    for seed, seen in orders.items():
        assert order(seed) == seen
        assert sorted(seen) == [*range(6), *range(100, 106)]
        assert all(seen.index(number) < seen.index(number + 100) for number in range(6)), "FIFO in each pair"


def test_a_failure_names_its_seed() -> None:
    async def fail() -> None:
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose") as caught:
        run_with_seed(7, fail)
    assert "seed 7" in caught.value.__notes__[0]


async def test_the_probe_can_be_opened_by_hand() -> None:
    async with open_node("n") as node, open_probe(node, trap_exits=False) as probe:
        assert not probe.process.trap_exits
        probe.ref.send(1)
        await probe.expect(1)
