"""The order in which a state machine handles postponed events and time-outs, as in `gen_statem`."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import IdleTimeout, Machine, Mailbox, Node, ProcessDied, Ref, open_node, system
from enfilade.actors.patterns.machine import after, enter, leave, when
from enfilade.actors.testing import Probe

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Told(Machine):
    """Tells a probe what it does, and in which state."""

    initial = "a"

    def __init__(self, to: Ref[Any]) -> None:
        self.to = to

    def go(self, state: str) -> None:
        self.become(state)

    def event(self, number: int) -> None:
        self.to.send((self.state, number))

    def on_message(self, message: Any) -> None:
        self.to.send(type(message))


class Postponing(Told):
    @when("a", Told.event)
    def _put_off(self, number: int) -> None:
        self.postpone()


async def test_a_change_in_the_midst_of_postponed_events_begins_with_the_oldest(
    autojump_clock: MockClock, node: Node, probe: Probe
) -> None:
    class Choosy(Postponing):
        @when("b", Told.event)
        def _choose(self, number: int) -> None:
            if number == 1:
                self.postpone()
            self.to.send(("b", number))
            if number == 2:
                self.become("c")

    ref = await node.spawn(Choosy, probe.ref)
    for number in range(5):
        ref.cast(Choosy.event, number)
    ref.cast(Choosy.go, "b")
    for told in [("b", 0), ("b", 2), ("c", 1), ("c", 3), ("c", 4)]:
        await probe.expect(told)


async def test_a_time_out_that_waits_when_its_state_is_left_does_not_come(
    autojump_clock: MockClock, node: Node, probe: Probe
) -> None:
    class Slow(Told):
        async def leave_late(self) -> None:
            await trio.sleep(5)
            self.become("b")

        @after(1.0, "a")
        def _late(self) -> None:
            self.to.send("late")

    ref = await node.spawn(Slow, probe.ref)
    await ref.call(Slow.leave_late)
    await probe.expect_nothing(10)


async def test_a_time_out_waits_while_the_machine_is_suspended(
    autojump_clock: MockClock, node: Node, probe: Probe
) -> None:
    class Timed(Told):
        @after(1.0, "a")
        def _over(self) -> None:
            self.to.send("over")

    ref = await node.spawn(Timed, probe.ref)
    await system.suspend(ref)
    await probe.expect_nothing(10)
    await system.resume(ref)
    await probe.expect("over")


async def test_a_postponed_event_cancels_an_event_time_out_as_a_new_one_does(
    autojump_clock: MockClock, node: Node, probe: Probe
) -> None:
    class Armed(Postponing):
        def arm(self, state: str) -> None:
            self.become(state)
            self.process.timeout_after(5)

    ref = await node.spawn(Armed, probe.ref)
    ref.cast(Armed.event, 1)
    await ref.call(Armed.arm, "b")
    await probe.expect(("b", 1))
    await probe.expect_nothing(20)
    await ref.call(Armed.arm, "c")
    await probe.expect(lambda told: told is IdleTimeout, 6)


@pytest.mark.parametrize("count", [2, 7])
async def test_postponed_events_take_no_place_in_a_bounded_mailbox(
    autojump_clock: MockClock, node: Node, probe: Probe, count: int
) -> None:
    ref = await node.spawn(Postponing, probe.ref, mailbox=Mailbox(capacity=1, overflow="fail"))
    for number in range(count):
        ref.cast(Postponing.event, number)
        await trio.sleep(1)
    await ref.call(Postponing.go, "b")
    for number in range(count):
        await probe.expect(("b", number))


class Torn(Machine):
    """Does two things at once that exclude one another."""

    initial = "here"

    def ask(self) -> str:
        self.kept = self.process.defer()
        self.postpone()

    def go(self, state: str, again: bool = False) -> list[str]:
        self.seen = []
        self.become(state, again=again)
        return self.seen

    @leave("there")
    def _turning_back(self) -> None:
        self.become("here")

    @leave("here")
    def _leaving(self) -> None:
        self.seen.append("left")

    @enter("here")
    def _entering(self) -> None:
        self.seen = [*getattr(self, "seen", ()), "entered"]


@pytest.mark.parametrize("is_idle", [True, False])
async def test_a_deferred_call_cannot_be_postponed(autojump_clock: MockClock, is_idle: bool) -> None:
    """The caller gets neither an answer that nobody gave, nor none: it hears of the mistake."""
    async with open_node("node") as node, node.mailbox() as me:
        torn = await node.spawn(Torn)
        with pytest.raises(ProcessDied) as caught:
            await (torn.call(Torn.ask) if is_idle else me.request(torn, Torn.ask).receive())
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert "deferred" in str(caught.value.__cause__)


async def test_a_state_that_is_being_left_cannot_be_changed(autojump_clock: MockClock) -> None:
    """Its `leave` function would run without end; a state that is entered again is left first."""
    async with open_node("node") as node:
        torn = await node.spawn(Torn)
        assert await torn.call(Torn.go, "here", again=True) == ["left", "entered"]
        await torn.call(Torn.go, "there")
        with pytest.raises(ProcessDied) as caught:
            await torn.call(Torn.go, "elsewhere")
        assert "'there' is being left" in str(caught.value.__cause__)
