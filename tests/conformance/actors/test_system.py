"""System messages: conformance group N."""

import logging
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
from trio.testing import MockClock

from enfilade.actors import (
    SHUTDOWN,
    Actor,
    Child,
    Node,
    NoProcess,
    Process,
    ProcessDied,
    Reason,
    Ref,
    open_node,
    system,
)
from enfilade.actors.guests import Guest
from enfilade.actors.patterns.machine import Machine, when
from enfilade.actors.supervision.supervisor import Supervisor


class Sync(Actor):
    def __init__(self, value: int = 0) -> None:
        self.value = value

    def add(self, n: int) -> int:
        self.value += n
        return self.value

    def on_message(self, message: Any) -> None:
        self.value = message


class Async(Sync):
    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()


ACTORS = pytest.mark.parametrize("actor", [Sync, Async])


@ACTORS
async def test_act_n1_a_suspended_process_keeps_its_messages_until_it_is_resumed(actor: type[Sync]) -> None:
    async with open_node("n") as node, node.mailbox() as me:
        ref: Ref[Sync] = await node.spawn(actor)
        await system.suspend(ref)
        await system.suspend(ref)
        request = me.request(ref, Sync.add, 5)
        ref.send(10)
        await trio.testing.wait_all_tasks_blocked()
        assert not request.check()
        assert (await system.get_status(ref)).queued == 2
        await system.resume(ref)
        assert await request.receive() == 5
        assert await ref.call(Sync.add, 1) == 11


class Trapping(Sync):
    def __init__(self) -> None:
        self.process.trap_exits = True
        self.reasons: list[Reason] = []

    def keep(self, reasons: list[Reason]) -> None:
        self.reasons = reasons

    def on_stop(self, reason: Reason) -> None:
        self.reasons.append(reason)


class AsyncTrapping(Trapping):
    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("actor", [Trapping, AsyncTrapping])
async def test_act_n1_a_suspended_process_ends_with_its_parent(
    autojump_clock: MockClock, actor: type[Trapping]
) -> None:
    """S12, as `sys` has it: the parent's exit is heard, anybody else's is a message that waits."""
    reasons: list[Reason] = []
    async with open_node("n") as node, node.mailbox() as me:
        supervisor = await node.spawn(Supervisor, [Child(actor, id="a")])
        (info,) = await supervisor.call(Supervisor.children)
        await info.ref.call(Trapping.keep, reasons)
        await system.suspend(info.ref)
        me.exit(info.ref, SHUTDOWN)
        await trio.testing.wait_all_tasks_blocked()
        assert (await system.get_status(info.ref)).queued == 1
        with trio.fail_after(1):
            await supervisor.call(Supervisor.terminate_child, "a")
        assert reasons == [SHUTDOWN]


async def test_act_n1_a_suspended_supervisor_can_be_stopped(autojump_clock: MockClock) -> None:
    """It puts off requests, but not its end, and stops its children."""
    async with open_node("n") as node:
        inner = Child(Supervisor, [Child(Sync)], id="inner")
        outer = await node.spawn(Supervisor, [inner])
        (info,) = await outer.call(Supervisor.children)
        await system.suspend(info.ref)
        with trio.fail_after(1):
            await outer.call(Supervisor.terminate_child, "inner")
        await system.suspend(outer)
        with trio.fail_after(1):
            await outer.stop(SHUTDOWN)
        assert not node.processes


async def test_act_n1_a_request_that_was_given_up_is_not_carried_out(autojump_clock: MockClock) -> None:
    class Busy(Sync):
        async def work(self) -> None:
            await trio.sleep(10)

    async with open_node("n") as node:
        ref = await node.spawn(Busy)
        ref.cast(Busy.work)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await system.suspend(ref)
        await trio.sleep(20)
        assert not (await system.get_status(ref)).suspended


@ACTORS
async def test_act_n2_the_state_can_be_read_running_and_suspended(actor: type[Sync]) -> None:
    async with open_node("n") as node:
        ref: Ref[Sync] = await node.spawn(actor, 7)
        assert await system.get_state(ref) == {"value": 7}
        await system.suspend(ref)
        assert await system.get_state(ref) == {"value": 7}


@ACTORS
async def test_the_state_can_be_replaced_and_a_raising_function_changes_nothing(
    actor: type[Sync],
) -> None:
    async with open_node("n") as node:
        ref: Ref[Sync] = await node.spawn(actor, 7)
        assert await system.replace_state(ref, lambda state: {"value": state["value"] * 2}) == {"value": 14}
        assert await ref.call(Sync.add, 0) == 14

        def fail(state: dict[str, Any]) -> dict[str, Any]:
            raise LookupError("on purpose")

        with pytest.raises(LookupError, match="on purpose"):
            await system.replace_state(ref, fail)
        assert await ref.call(Sync.add, 0) == 14


@ACTORS
async def test_act_n4_a_trace_tells_messages_in_order_until_it_is_off(
    actor: type[Sync], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="enfilade.trace")
    async with open_node("n") as node:
        ref: Ref[Sync] = await node.spawn(actor)
        await system.trace(ref, keep=3)
        await ref.call(Sync.add, 1)
        ref.cast(Sync.add, 2)
        ref.send(9)
        assert await ref.call(Sync.add, n=3) == 12
        lines = await system.trace(ref, on=False)
        assert lines == ["cast add(2)", "message 9", "call add(n=3)"], "the last three"
        logged = [record.getMessage().partition(" got ")[2] for record in caplog.records]
        assert logged == ["call add(1)", "cast add(2)", "message 9", "call add(n=3)"]
        await ref.call(Sync.add, 4)
        assert len(caplog.records) == 4


@ACTORS
async def test_act_n5_statistics_count_what_came_in(actor: type[Sync]) -> None:
    async with open_node("n") as node:
        ref: Ref[Sync] = await node.spawn(actor)
        assert await system.statistics(ref) is None
        assert await system.statistics(ref, on=True) is None
        ref.send(1)
        ref.cast(Sync.add, 1)
        await ref.call(Sync.add, 1)
        counted = await system.statistics(ref, on=False)
        assert counted is not None
        assert (counted.messages, counted.calls, counted.casts, counted.replies) == (3, 1, 1, 1)
        assert 0 < counted.busy < counted.seconds
        assert await system.statistics(ref) is None


@ACTORS
async def test_an_observer_that_raises_removes_itself(actor: type[Sync]) -> None:
    class Bad:
        seen = 0

        def received(self, process: Process, message: Any) -> None:
            self.seen += 1
            raise RuntimeError("on purpose")

        def handled(self, process: Process, message: Any) -> None:
            raise AssertionError("it is gone")

    async with open_node("n") as node:
        ref: Ref[Sync] = await node.spawn(actor)
        bad = Bad()
        await system.install(ref, bad)
        assert await ref.call(Sync.add, 1) == 1
        assert await ref.call(Sync.add, 1) == 2
        assert bad.seen == 1
        assert await system.uninstall(ref, bad) is False


async def test_act_n7_a_hand_written_process_takes_part(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="enfilade.trace")

    async def summing(me: Process) -> None:
        state = {"sum": 0}
        system.expose(me, lambda: state, state.update)
        while True:
            number = await me.receive(int)
            state["sum"] += number

    async with open_node("n") as node:
        ref = await node.spawn(summing)
        await trio.testing.wait_all_tasks_blocked()
        ref.send(5)
        await trio.testing.wait_all_tasks_blocked()
        assert await system.get_state(ref) == {"sum": 5}
        await system.replace_state(ref, lambda state: {"sum": 100})
        await system.suspend(ref)
        ref.send(1)
        await trio.testing.wait_all_tasks_blocked()
        assert await system.get_state(ref) == {"sum": 100}
        await system.trace(ref)
        await system.statistics(ref, on=True)
        await system.resume(ref)
        await trio.testing.wait_all_tasks_blocked()
        assert await system.get_state(ref) == {"sum": 101}
        counted = await system.statistics(ref)
        assert counted is not None
        assert counted.messages == 1
        assert await system.trace(ref, on=False) == ["message 1"]
        await system.terminate(ref)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(NoProcess):
            await system.get_state(ref)


@ACTORS
async def test_code_is_changed_between_two_messages_and_the_state_is_kept(actor: type[Sync]) -> None:
    class Doubling(actor):  # type: ignore[misc, valid-type]
        def on_code_change(self, old: type, extra: int) -> None:
            assert old is actor
            self.value += extra

        def add(self, n: int) -> int:
            self.value += 2 * n
            return self.value

    async with open_node("n") as node:
        ref: Ref[Sync] = await node.spawn(actor, 1)
        await system.change_code(ref, Doubling, 10)
        assert await ref.call(Sync.add, 1) == 13


async def test_a_code_change_that_fails_changes_nothing() -> None:
    class Refusing(Sync):
        def on_code_change(self, old: type, extra: object) -> None:
            self.value = 99
            raise ValueError("on purpose")

    async with open_node("n") as node:
        ref = await node.spawn(Sync, 1)
        with pytest.raises(ValueError, match="on purpose"):
            await system.change_code(ref, Refusing)
        with pytest.raises(TypeError, match="async methods"):
            await system.change_code(ref, Async)
        assert await ref.call(Sync.add, 1) == 2


async def test_machines_and_supervisors_are_processes_too() -> None:
    class Lamp(Machine):
        initial = "off"

        def press(self) -> None:
            """Nothing, in a state without a clause."""

        @when("off", press)
        def _on(self) -> None:
            self.become("on")

    async with open_node("n") as node:
        lamp = await node.spawn(Lamp)
        await lamp.call(Lamp.press)
        assert (await system.get_state(lamp))["_machine_state"] == "on"
        supervisor = await node.spawn(Supervisor, [])
        await system.suspend(supervisor)
        assert (await system.get_status(supervisor)).suspended
        await system.resume(supervisor)
        assert await supervisor.call(Supervisor.which_children) == ()


async def test_a_process_that_ends_first_fails_the_request() -> None:
    async def deaf(me: Process) -> None:
        await trio.sleep_forever()

    async with open_node("n") as node:
        ref = await node.spawn(deaf)
        errors: list[BaseException] = []

        async def ask() -> None:
            try:
                await system.get_state(ref)
            except ProcessDied as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            await _kill(node, ref)
        assert len(errors) == 1


async def _kill(node: Node, ref: Ref[Any]) -> None:
    from enfilade.actors import KILL

    node.exit(ref, KILL)
    await trio.testing.wait_all_tasks_blocked()


async def test_a_guest_has_a_status_and_no_state() -> None:
    from wasmtime import wat2wasm

    text = """(module (import "selium::async" "yield_now" (func $yield)) (memory (export "memory") 17)
      (func (export "start") (loop $again (call $yield) (br $again))))"""
    async with open_node("n") as node:
        ref = await node.spawn(Guest(bytes(wat2wasm(text)), label="idle"))
        assert (await system.get_status(ref)).state is None
        with pytest.raises(system.NoState):
            await system.get_state(ref)


async def test_a_stopping_reason_is_kept() -> None:
    reasons: list[Reason] = []

    class Watched(Sync):
        def on_stop(self, reason: Reason) -> None:
            reasons.append(reason)

    async with open_node("n") as node:
        ref = await node.spawn(Watched)
        await system.suspend(ref)
        await system.terminate(ref)
        await trio.testing.wait_all_tasks_blocked()
        assert [str(reason) for reason in reasons] == ["normal"]
