"""A fault in each step that the runtime takes for a process ends that process alone. Clause U2."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any, get_args

import attrs
import pytest
import trio

from enfilade.actors import (
    NORMAL,
    Actor,
    Crashed,
    Deferred,
    Node,
    Process,
    Ref,
    RuntimeFault,
    StartError,
    StepFailed,
    open_node,
)
from enfilade.actors.messages import signals
from enfilade.actors.messages.request import Request
from enfilade.actors.node.reports import Reports
from enfilade.actors.processes import end, links, start
from enfilade.actors.processes.dispatcher import Dispatcher
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.record import Record
from enfilade.actors.processes.steps import Step
from enfilade.actors.processes.sync_body import SyncBody
from enfilade.actors.processes.timers import Timer, Timers
from tests.actors.steps.bystanders import Bystander, end_of, unharmed


class Injected(BaseException):
    """Not even an `Exception`."""


class Victim(Actor):
    """Has the runtime take steps for it."""

    def fail(self) -> None:
        raise ValueError("its own")

    def end(self) -> None:
        self.process.stop(NORMAL)

    def set_timer(self) -> None:
        self.process.timers.start("key", 0.1, "message")

    def drop(self) -> Deferred[None]:
        deferred = self.process.defer()
        cycle: list[object] = [deferred]
        cycle.append(cycle)
        return deferred

    def ask(self, other: Ref[Bystander]) -> None:
        self.process.request(other, Bystander.ping).then(lambda _: None)

    def on_message(self, message: object) -> None:
        return None


class VictimWithTask(Victim):
    async def ask_and_wait(self, other: Ref[Any]) -> None:
        await self.process.request(other, Bystander.ping).receive(0.1)


async def never(me: Process) -> None:
    await trio.sleep_forever()


Trigger = Callable[[Node, Process, Ref[Any]], Any]


async def _cast_fail(node: Node, me: Process, victim: Ref[Any]) -> None:
    victim.cast(Victim.fail)


async def _call_fail(node: Node, me: Process, victim: Ref[Any]) -> None:
    with pytest.raises(RuntimeFault):
        await victim.call(Victim.fail)


async def _end(node: Node, me: Process, victim: Ref[Any]) -> None:
    victim.cast(Victim.set_timer)  # so that it has something to release
    victim.cast(Victim.end)


async def _timer(node: Node, me: Process, victim: Ref[Any]) -> None:
    victim.cast(Victim.set_timer)


async def _wait(node: Node, me: Process, victim: Ref[Any]) -> None:
    victim.cast(VictimWithTask.ask_and_wait, await node.spawn(never))


async def _ask(node: Node, me: Process, victim: Ref[Any]) -> None:
    victim.cast(Victim.ask, await node.spawn(Bystander))


async def _drop(node: Node, me: Process, victim: Ref[Any]) -> None:
    request = me.request(victim, Victim.drop)
    await trio.sleep(0.1)
    gc.collect()
    with pytest.raises(RuntimeFault):
        await request.receive()


async def _link(node: Node, me: Process, victim: Ref[Any]) -> None:
    async with node.mailbox() as other:
        other.link(victim)


async def _watch(node: Node, me: Process, victim: Ref[Any]) -> None:
    process = process_of(victim)
    assert process is not None
    async with node.mailbox() as other:
        process.monitor(other.ref)


def _if_down(process: Any, message: Any) -> Any:
    return process if type(message) is links.Down else process.node


async def _task(node: Node, me: Process, victim: Ref[Any]) -> None:
    async def fails() -> None:
        raise Injected

    node.start_task(fails, "task", node.processes[victim.serial])


@attrs.frozen
class Fault:
    """A fault in a step.

    Attributes:
        holder, name: what is made to raise, for the victim.
        process_of: the process of a call of it.
        trigger: has the runtime take the step.
        kinds: the victims.
    """

    step: Step
    holder: Any
    name: str
    process_of: Callable[..., Any]
    trigger: Trigger
    kinds: tuple[type[Victim], ...] = (Victim, VictimWithTask)


FAULTS = [
    Fault("dispatch", SyncBody, "crash", lambda body, *_: body.process, _cast_fail, (Victim,)),
    Fault("hand-off", SyncBody, "end_with", lambda body, *_: body.process, _call_fail, (Victim,)),
    Fault("end", end, "_release_names", lambda process, *_: process, _end),
    Fault("end", end, "_release_extras", lambda process, *_: process, _end),
    Fault("end", end, "_fail_calls", lambda process, *_: process, _end),
    Fault("timer", Timer, "fire", lambda timer: timer.owner, _timer),
    Fault("time limit", Request, "expire", lambda request: request.process, _wait, (VictimWithTask,)),
    Fault("reply", Process, "continue_with", lambda process, *_: process, _ask),
    Fault("finalizer", Record, "settle_deferred", lambda process, *_: process, _drop),
    Fault("signal", signals.arrivals, signals.Link, lambda process, *_: process, _link),
    Fault("signal", Record, "put", lambda process, message: _if_down(process, message), _watch),
    Fault("task", None, "", lambda: None, _task),
]

ELSEWHERE: set[Step] = {"start", "report"}


def test_every_step_has_its_fault() -> None:
    """U2: the list of steps is the list of tests."""
    assert {fault.step for fault in FAULTS} | ELSEWHERE == set(get_args(Step))


@pytest.fixture
def inject(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Make a function raise whenever it is called for a process."""

    def injected(
        holder: Any, name: Any, process_of: Callable[..., Any], victim: Callable[[Any], bool]
    ) -> None:
        real = holder[name] if isinstance(holder, dict) else getattr(holder, name)

        def raises(*args: Any) -> Any:
            if victim(process_of(*args)):
                raise Injected
            return real(*args)

        (monkeypatch.setitem if isinstance(holder, dict) else monkeypatch.setattr)(holder, name, raises)

    yield injected
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        pytest.param(fault, kind, id=f"{fault.step}-{fault.name}-{kind.__name__}")
        for fault in FAULTS
        for kind in fault.kinds
    ],
)
async def test_a_fault_in_a_step(
    autojump_clock: object,
    caplog: pytest.LogCaptureFixture,
    inject: Callable[..., None],
    fault: Fault,
    kind: type[Victim],
) -> None:
    """U2: the process ends with `StepFailed`, whose cause is the fault; it is reported once."""
    async with unharmed() as (node, me):
        victim = await node.spawn(kind, name="victim")
        me.monitor(victim)
        if fault.holder is not None:
            inject(fault.holder, fault.name, fault.process_of, lambda process: process.ref == victim)
        await fault.trigger(node, me, victim)
        reason = await end_of(me, victim)
        assert isinstance(reason, Crashed)
        assert isinstance(reason.error, StepFailed)
        assert reason.error.step == fault.step
        assert reason.error.ref == victim
        assert type(reason.error.__cause__) is Injected
        await trio.sleep(1)
        reports = [record for record in caplog.records if fault.step in record.getMessage()]
        assert len(reports) == 1
        if fault.name != "_release_names":
            assert node.whereis("victim") is None


@pytest.mark.parametrize("kind", [Victim, VictimWithTask])
async def test_a_fault_in_a_start(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch, kind: type[Victim]
) -> None:
    """U2: a start fails, however it is done, and its name is free."""

    def fails(*_: object) -> None:
        raise Injected

    async with unharmed() as (node, me):
        with monkeypatch.context() as patched:
            patched.setattr(start, "run", fails)
            if kind is VictimWithTask:
                with pytest.raises(StartError):
                    await node.spawn(kind, name="victim")
                assert node.whereis("victim") is None
            ref = node.spawn_soon(kind, name="victim")
            me.monitor(ref)
            if kind is Victim:
                ref.cast(Victim.end)
            reason = await end_of(me, ref)
        if kind is VictimWithTask:
            assert isinstance(reason, Crashed)
            assert isinstance(reason.error, StepFailed)
            assert reason.error.step == "start"
        assert node.whereis("victim") is None


@pytest.mark.parametrize("kind", [Victim, VictimWithTask])
async def test_a_fault_in_a_report(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch, kind: type[Victim]
) -> None:
    """U2: an end that cannot be reported is an end nevertheless."""

    def fails(*_: object) -> None:
        raise Injected

    async with unharmed() as (node, me):
        victim = await node.spawn(kind)
        me.monitor(victim)
        with monkeypatch.context() as patched:
            patched.setattr(Reports, "abnormal_exit", fails)
            victim.cast(Victim.fail)
            reason = await end_of(me, victim)
        assert isinstance(reason, Crashed)
        assert isinstance(reason.error, ValueError)


@pytest.mark.parametrize(
    ("service", "name"), [(Timers, "fire_due"), (Dispatcher, "_slice"), (Dispatcher, "renew_handoffs")]
)
def test_a_part_that_all_depend_on(monkeypatch: pytest.MonkeyPatch, service: type, name: str) -> None:
    """U2: when the dispatcher or the timers fail themselves, the node ends at once, and says so."""

    async def main() -> None:
        async with open_node("n") as node, node.mailbox() as me:
            await node.spawn(Bystander)
            await node.spawn(never)
            ref = await node.spawn(Victim)

            def fails(*_: object) -> None:
                raise Injected

            monkeypatch.setattr(service, name, fails)
            ref.cast(Victim.set_timer)
            me.send_after(0, me.ref, "wake")
            await trio.sleep_forever()

    async def timed() -> None:
        with trio.fail_after(3):
            await main()

    with pytest.raises(RuntimeFault, match="a part of the runtime failed") as failed:
        trio.run(timed)
    assert type(failed.value.__cause__) is Injected
