"""The actions of operators, as a node on the other side of a node link asks for them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import Actor, Child, Node, NotConnected, Ref, Refused, RuntimeFault, Supervisor
from enfilade.actors.observing.watches.control import Control
from enfilade.transport.policy import CONTROL, Rights
from tests.actors.observing.pair import observed


class Till(Actor):
    def pay(self, coins: int) -> int:
        return coins


@attrs.frozen
class Shop:
    """A node with two tills below its root, and the control process as the operator sees it."""

    node: Node
    control: Ref[Any]

    def serial(self, name: str) -> int:
        found = self.node.whereis(name)
        assert found is not None
        return found.serial


@asynccontextmanager
async def shop() -> AsyncIterator[Shop]:
    async with observed(Rights(control=True)) as (bank, eye):
        tills = [Child(Till, id=f"till {number}", name=f"till {number}") for number in range(2)]
        bank.root = await bank.spawn(Supervisor, tills, name="root", intensity=9)
        yield Shop(bank, eye.remote(CONTROL, "bank@local"))


async def test_obs_9_an_action_is_an_event_and_a_line_of_the_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Who, what, on whom; a suspended process takes no message until it is resumed."""
    caplog.set_level(logging.INFO, "enfilade")
    async with shop() as found, found.node.events("operator.acted") as events:
        till = found.node.named("till 0")
        await found.control.call(Control.suspend, found.serial("till 0"))
        event = await anext(events)
        assert event.on == found.node.whereis("till 0")
        with trio.move_on_after(1) as waiting:
            await till.call(Till.pay, 1)
        assert waiting.cancelled_caught
        await found.control.call(Control.resume, found.serial("till 0"))
        assert await till.call(Till.pay, 2) == 2
    assert (event.operator, event.action) == ("eye@local", "suspend")
    (line,) = (record for record in caplog.records if "suspend" in record.getMessage())
    assert line.levelno == logging.INFO
    assert line.getMessage().startswith("operator eye@local: suspend on <bank@local:")


async def test_children_are_ended_and_started_again(autojump_clock: MockClock) -> None:
    async with shop() as found:
        root, first = found.serial("root"), found.serial("till 0")
        await found.control.call(Control.terminate_child, root, "till 0")
        assert found.node.whereis("till 0") is None
        await found.control.call(Control.restart_child, root, "till 0")
        assert found.serial("till 0") != first
        with pytest.raises(Refused, match="nothing"):
            await found.control.call(Control.terminate_child, root, "nothing")


async def test_a_process_is_killed_or_asked_to_end_with_a_reason(autojump_clock: MockClock) -> None:
    """Its supervisor starts it again."""
    async with shop() as found, found.node.events("child.terminated") as events:
        for action, said in ((Control.kill, ()), (Control.exit, ("no more change",))):
            before = found.serial("till 1")
            await found.control.call(action, before, *said)
            event = await anext(events)
            await wait_all_tasks_blocked()
            assert event.ref.serial == before
            assert found.serial("till 1") != before
            assert event.reason.type == ("Killed" if action is Control.kill else "Custom")
        assert "no more change" in event.reason.text


async def test_what_is_not_there_is_refused(autojump_clock: MockClock) -> None:
    """And a process that is no supervisor has no children."""
    async with shop() as found:
        for action in (Control.suspend, Control.resume, Control.kill):
            with pytest.raises(Refused, match="there is no process 4711"):
                await found.control.call(action, 4_711)
        with pytest.raises(Refused, match="is not a supervisor"):
            await found.control.call(Control.restart_child, found.serial("till 0"), "till 1")


async def test_who_carries_out_orders_is_not_suspended(autojump_clock: MockClock) -> None:
    """There would be nobody to resume it. It may be killed, and is there again."""
    async with shop() as found:
        own = found.serial(CONTROL)
        with pytest.raises(Refused, match="nobody could resume it"):
            await found.control.call(Control.suspend, own)
        with contextlib.suppress(RuntimeFault):
            await found.control.call(Control.kill, own)
        await trio.sleep(1)
        assert found.serial(CONTROL) != own
        await found.control.call(Control.suspend, found.serial("till 0"))


@pytest.mark.parametrize("serial", [0, -1, 2**70, True, "1", None, 1.0, [1]])
@pytest.mark.parametrize("action", ["suspend", "resume", "kill", "send", "exit"])
async def test_what_is_no_serial_is_refused(action: str, serial: Any, autojump_clock: MockClock) -> None:
    more = {"send": [1], "exit": ["enough"]}.get(action, [])
    async with shop() as found:
        with pytest.raises(Refused, match="there is no process"):
            await found.control.call(getattr(Control, action), serial, *more)


async def test_ids_that_look_alike_are_not_mistaken_for_one_another(autojump_clock: MockClock) -> None:
    async with shop() as found:
        children = [Child(Till, id=1, name="one"), Child(Till, id="1", name="other"), Child(Till, id=2)]
        alike = await found.node.spawn(Supervisor, children)
        for action in (Control.terminate_child, Control.restart_child):
            with pytest.raises(Refused, match="2 children whose ids are shown as '1'"):
                await found.control.call(action, alike.serial, "1")
        await found.control.call(Control.terminate_child, alike.serial, "2")
        assert found.node.whereis("one")
        assert found.node.whereis("other")
        assert (await alike.call(Supervisor.count_children)).active == 2


async def test_a_reason_of_an_operator_is_a_text_of_a_line(autojump_clock: MockClock) -> None:
    """However long it is, and whatever it is made of."""
    async with shop() as found, found.node.events("process.ended") as events:
        for reason in ("\x1b[2J\n" * 10, "x" * 100_000, 7, None, ["a"]):
            tills = await found.node.spawn(Till)
            await found.control.call(Control.exit, tills.serial, reason)
            event = await anext(events)
            assert event.ref == tills
            assert len(str(event.reason)) < 1_100
            assert str(event.reason).isprintable()


async def test_a_suspended_process_can_be_killed_and_its_successor_runs(autojump_clock: MockClock) -> None:
    async with shop() as found:
        old = found.serial("till 0")
        await found.control.call(Control.suspend, old)
        await found.control.call(Control.suspend, old)
        await found.control.call(Control.kill, old)
        await wait_all_tasks_blocked()
        assert await found.node.named("till 0").call(Till.pay, 7) == 7
        with pytest.raises(Refused, match=f"there is no process {old}"):
            await found.control.call(Control.resume, old)


async def test_one_resume_is_enough_however_often_it_was_suspended(autojump_clock: MockClock) -> None:
    async with shop() as found:
        for _ in range(3):
            await found.control.call(Control.suspend, found.serial("till 0"))
        await found.control.call(Control.resume, found.serial("till 0"))
        await found.control.call(Control.resume, found.serial("till 0"))
        with trio.fail_after(1):
            assert await found.node.named("till 0").call(Till.pay, 7) == 7


@pytest.mark.parametrize("timeout", [5.0, -1, float("nan"), "5", None, 10**400])
async def test_a_drain_that_cannot_be_is_refused(timeout: Any, autojump_clock: MockClock) -> None:
    """In no mesh, or for no time: the process that carries out orders goes on, and so does the node."""
    async with shop() as found:
        own = found.serial(CONTROL)
        expected = (NotConnected, "is in no mesh") if timeout == 5.0 else (Refused, "a time limit")
        with pytest.raises(expected[0], match=expected[1]):
            await found.control.call(Control.drain, timeout)
        assert found.serial(CONTROL) == own
        assert await found.node.named("till 0").call(Till.pay, 1) == 1


@pytest.mark.parametrize("name", ["nobody", 7, None, ["a"]])
async def test_an_upgrade_of_nobody_is_answered(name: Any, autojump_clock: MockClock) -> None:
    async with shop() as found:
        own = found.serial(CONTROL)
        answer = await found.control.call(Control.upgrade, name, "module.wasm", 5.0)
        assert "no process of this node has the name" in answer
        assert found.serial(CONTROL) == own
