"""Exit signals by a short cut (a kill, an end over a link, what the core does in C) and by the plain way.

Random programs of links, monitors, signals and suspensions run three times: in the compiled core, in its
twin, and in the twin with each signal sent and received as one that comes from another node. Whoever listens,
each mailbox, and what is left of links and monitors must be the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from trio._core import _run as trio_run
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    Actor,
    Child,
    Custom,
    Node,
    Process,
    Reason,
    Ref,
    RuntimeFault,
    Supervisor,
    open_node,
)
from enfilade.actors import system as sys_messages
from enfilade.actors.core import choice
from enfilade.actors.messages import signals
from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.reasons import checked
from enfilade.actors.messages.ref import checked_ref
from enfilade.actors.processes import links, signal_arrivals
from enfilade.actors.processes.record import Record

REASONS = (KILL, KILL, KILLED, NORMAL, SHUTDOWN, Custom("enough"), Custom("more"))

STEPS = 60


def shown(reason: Reason) -> tuple[str, str | None]:
    return str(reason), None if reason.by is None else repr(reason.by)


class Ears(Listener):
    """Notes what listeners are told of."""

    def __init__(self, notes: list[Any]) -> None:
        self.notes = notes

    def process_started(self, process: Process) -> None:
        self.notes.append(("started", process.serial))

    def process_crashing(self, process: Process, reason: Reason, error: BaseException | None) -> None:
        self.notes.append(("crashing", process.serial, shown(reason), repr(error)))

    def process_ended(self, process: Process, reason: Reason) -> None:
        self.notes.append(("ended", process.serial, shown(reason)))

    def message_dead(self, message: Any, ref: Ref[Any], reason: Reason) -> None:
        self.notes.append(("dead", repr(message), repr(ref), shown(reason)))

    def child_started(
        self, supervisor: Process, child_id: Hashable, ref: Ref[Any], restart_number: int
    ) -> None:
        self.notes.append(("child started", supervisor.serial, child_id, repr(ref), restart_number))

    def child_restarted(
        self,
        supervisor: Process,
        child_id: Hashable,
        old: Ref[Any],
        ref: Ref[Any],
        reason: Reason,
        in_period: int,
    ) -> None:
        self.notes.append(("restarted", supervisor.serial, child_id, repr(old), repr(ref), shown(reason)))

    def child_terminated(
        self, supervisor: Process, child_id: Hashable, ref: Ref[Any], reason: Reason, will_restart: bool
    ) -> None:
        self.notes.append(("terminated", supervisor.serial, child_id, repr(ref), shown(reason), will_restart))


class Member(Actor):
    """Notes what reaches it; one that avenges kills another when it is told of an end, and when it stops."""

    def __init__(self, notes: list[Any], traps: bool, avenges: Ref[Any] | None = None) -> None:
        self.process.trap_exits = traps
        self.notes, self.avenges = notes, avenges

    def hear(self, what: str, ref: Ref[Any], reason: Reason) -> None:
        self.notes.append((what, self.process.serial, repr(ref), shown(reason)))
        if self.avenges is not None:
            self.process.exit(self.avenges, KILL)

    def on_exit(self, message: Any) -> None:
        self.hear("exit", message.ref, message.reason)

    def on_down(self, message: Any) -> None:
        self.hear("down", message.ref, message.reason)

    def on_message(self, message: Any) -> None:
        self.notes.append(("message", self.process.serial, message))
        if message == "crash":
            raise LookupError("on purpose")
        if message == "stop":
            self.process.stop(Custom("stopped"))

    def on_stop(self, reason: Reason) -> None:
        self.hear("stop", self.process.ref, reason)


class Waiting(Member):
    """The same with a task."""

    async def on_message(self, message: Any) -> None:
        await trio.lowlevel.checkpoint()
        Member.on_message(self, message)


async def function(me: Process, notes: list[Any], traps: bool, _avenges: Ref[Any] | None = None) -> None:
    me.trap_exits = traps
    while (message := await me.receive()) != "stop":
        notes.append(("received", me.serial, repr(message)))
        if message == "crash":
            raise LookupError("on purpose")


class Program:
    """One run of a random program."""

    def __init__(self, seed: int, node: Node, me: Process) -> None:
        self.draw, self.node, self.me = random.Random(seed), node, me
        self.notes: list[Any] = []
        self.refs: list[Ref[Any]] = [me.ref]
        self.ways: tuple[Callable[[], Any], ...] = (
            self.spawn,
            self.bear,
            self.link,
            self.link,
            self.unlink,
            self.monitor,
            self.monitor,
            self.demonitor,
            self.send,
            self.exit,
            self.exit,
            self.exit,
            self.trap,
        )

    def record(self) -> Process | None:
        return self.node.processes.get(self.target().serial)

    def target(self) -> Ref[Any]:
        """A process, perhaps one that has ended, or a child that was restarted; never the mailbox."""
        alive = [process.ref for process in self.node.processes.values() if process is not self.me]
        return self.draw.choice((*self.refs[1:], *alive))

    async def spawn(self) -> None:
        kind = self.draw.choice((Member, Member, Waiting, function))
        avenges = self.draw.choice((None, None, *self.refs[1:]))
        self.refs.append(await self.node.spawn(kind, self.notes, self.draw.random() < 0.4, avenges))

    def bear(self) -> None:
        """Have a process start another, linked to it: the end of a parent is a request to stop."""
        parent = self.record()
        if parent is not None:
            kind = self.draw.choice((Member, Waiting, function))
            traps = self.draw.random() < 0.8
            self.refs.append(self.node.spawn_soon(kind, self.notes, traps, spawner=parent, link=True))

    async def supervise(self) -> None:
        children = [
            Child(Member, self.notes, False, id=number, restart=restart)
            for number, restart in enumerate(("permanent", "transient", "temporary"))
        ]
        supervisor = await self.node.spawn(Supervisor, children, intensity=self.draw.choice((1, 100)))
        self.refs += [ref for child in await supervisor.call(Supervisor.which_children) if (ref := child.ref)]
        self.refs.append(supervisor)

    def link(self) -> None:
        process, other = self.record(), self.target()
        if process is not None:
            process.link(other)

    def unlink(self) -> None:
        process = self.record()
        if process is not None and process.links:
            process.unlink(self.draw.choice(sorted(process.links, key=lambda ref: ref.serial)))

    def monitor(self) -> None:
        process = self.record()
        if process is not None:
            process.monitor(self.target())

    def demonitor(self) -> None:
        process = self.record()
        if process is not None and process.monitors:
            number = self.draw.choice(sorted(process.monitors))
            process.demonitor(process.monitors[number], flush=self.draw.random() < 0.5)

    def send(self) -> None:
        self.target().send(self.draw.choice(("hello", "hello", "crash", "stop")))

    def exit(self) -> None:
        sender = self.record() or self.me
        sender.exit(self.target(), self.draw.choice(REASONS))

    def trap(self) -> None:
        process = self.record()
        if process is not None:
            process.trap_exits = not process.trap_exits

    async def suspend(self) -> None:
        act = self.draw.choice((sys_messages.suspend, sys_messages.resume))
        with trio.move_on_after(1):
            await act(self.target())

    def state(self) -> list[Any]:
        """What is left of each process."""
        return [
            (
                serial,
                sorted((ref.serial, state) for ref, state in (process.links or {}).items()),
                sorted(process.monitors or {}),
                len(process.watchers or {}),
                process.exit_signal,
                process.suspended,
                process.trap_exits,
                [repr(message) for message in process.queue],
            )
            for serial, process in sorted(self.node.processes.items())
        ]

    async def attempt(self, act: Callable[[], Any]) -> None:
        try:
            done = act()
            if done is not None:
                await done
        except RuntimeFault as error:
            self.notes.append((act.__name__, repr(error)))

    async def run(self) -> list[Any]:
        self.node.hooks.add(Ears(self.notes))
        for _ in range(4):
            await self.spawn()
        if self.draw.random() < 0.5:
            await self.supervise()
        for _ in range(STEPS):
            await self.attempt(self.draw.choice(self.ways))
            if self.draw.random() < 0.2:
                await self.attempt(self.suspend)
            if self.draw.random() < 0.3:
                await wait_all_tasks_blocked()
                self.notes.append(self.state())
        await wait_all_tasks_blocked()
        return [*self.notes, self.state()]


async def outcome(seed: int) -> list[Any]:
    async with open_node("n") as node, node.mailbox() as me:
        node.dispatcher._clock = lambda: 0.0  # so that no slice ends by the time of a busy machine
        return await Program(seed, node, me).run()


def plain_exit(self: Process, ref: Ref[Any], reason: Reason) -> None:
    checked_ref(ref).deliver(signals.Exit(self.ref, checked(reason), linked=False))


def plain_link_ended(process: Record, sender: Ref[Any], reason: Reason) -> None:
    linked = process.links
    if process.ended is None and linked is not None and linked.get(sender) == links.UP:
        del linked[sender]
        process.body.linked_ended(sender, reason)
        process.exit_arrived(sender, reason, linked=True)


@contextmanager
def way(name: str) -> Iterator[None]:
    """Have signals take that way."""
    before = choice.in_use()
    with pytest.MonkeyPatch.context() as patch:
        choice.choose(is_compiled=name == "compiled")
        if name == "plain":
            patch.setattr(Process, "exit", plain_exit)
            patch.setattr(links, "link_ended", plain_link_ended)
            patch.setattr(signal_arrivals, "link_ended", plain_link_ended)
        try:
            yield
        finally:
            choice.choose(is_compiled=before == "compiled")


WAYS = ("plain", "python", "compiled") if choice.IS_AVAILABLE else ("plain", "python")


@pytest.mark.parametrize("seed", range(40))
def test_exits_are_the_same_by_any_way(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    outcomes = {}
    for name in WAYS:
        trio_run._r.seed(seed)
        with way(name):
            outcomes[name] = trio.run(outcome, seed, clock=MockClock(autojump_threshold=0.0))
    plain = outcomes.pop("plain")
    assert {note[0] for note in plain if type(note) is tuple} >= {"started", "ended"}
    for name, notes in outcomes.items():
        for index, (note, expected) in enumerate(zip(notes, plain, strict=False)):
            assert note == expected, (name, index)
        assert len(notes) == len(plain), name
