"""Runs a scenario of `scenario.py` on our supervisor, and writes down the same lines as the Erlang side."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    Actor,
    AlreadyPresent,
    CallError,
    Child,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    Custom,
    Down,
    DynamicSupervisor,
    Exit,
    FailedToStart,
    Ignore,
    NoChildIds,
    Node,
    Process,
    Reason,
    Ref,
    Shutdown,
    StartError,
    StartFailed,
    Supervisor,
    open_node,
)

REASONS = {"normal": NORMAL, "shutdown": SHUTDOWN}


def shown(reason: Reason) -> str:
    """A reason as Erlang would print it."""
    if isinstance(reason, Shutdown) and isinstance(reason.detail, FailedToStart):
        return f"shutdown failed_to_start_child {reason.detail.id} {shown(reason.detail.reason)}"
    if reason == KILLED:
        return "killed"
    return str(reason)


class Stage:
    """One scenario: its supervisor, and what its children do."""

    def __init__(self, node: Node, me: Process) -> None:
        self.node = node
        self.me = me
        self.flags: dict[str, Any] = {}
        self.children: list[Child] = []
        self.supervisor: Ref[Supervisor] | None = None
        self.end: Reason | None = None
        self.plans: dict[str, tuple[str, int]] = {}
        self.numbers: dict[str, int] = defaultdict(int)
        self.latest: dict[str, Ref[Any]] = {}
        self.names: dict[Ref[Any], str] = {}
        self.simple = False
        self.events: list[str] = []
        self.downs: list[str] = []

    def name(self, ref: object) -> str:
        return self.names[ref] if isinstance(ref, Ref) else "undefined" if ref is None else str(ref)

    async def run(self, commands: list[str]) -> list[str]:
        """Carry the scenario out: one line for each command, but for those that only prepare."""
        lines = []
        for command in commands:
            word, *arguments = command.split()
            if word == "flags":
                strategy, intensity, auto_shutdown = arguments
                self.flags = {"intensity": int(intensity), "period": 3600.0, "auto_shutdown": auto_shutdown}
                self.simple = strategy == "simple_one_for_one"
                if not self.simple:
                    self.flags["strategy"] = strategy
            elif word == "child":
                self.children.append(self.spec(arguments))
            else:
                answer = await getattr(self, word)(*arguments)
                lines.append(await self.report(command, answer))
        if self.supervisor is not None and self.end is None:
            await self.stop()
        return lines

    def spec(self, fields: list[str]) -> Child:
        id, restart, shutdown, kind, significant, behaviour = fields  # noqa: A001 (the field's name)
        patience: Any = {"brutal_kill": "brutal_kill", "infinity": math.inf}.get(shutdown)
        actor = Stubborn if behaviour == "stubborn" else Player
        options: Any = {
            "id": id,
            "restart": restart,
            "type": kind,
            "significant": significant == "significant",
            "shutdown": int(shutdown) / 1000 if patience is None else patience,
        }
        return Child(actor, self, id, behaviour, **options)

    async def report(self, command: str, answer: str) -> str:
        await wait_all_tasks_blocked()
        while self.me.queue:
            self.note(await self.me.receive(Down))
        events, downs = ", ".join(self.sorted(self.events)), ", ".join(sorted(self.downs))
        self.events, self.downs = [], []
        return f"{command} -> {answer} | {events} | {downs} | {await self.state()}"

    def sorted(self, texts: Iterable[str]) -> list[str]:
        """Children of a dynamic supervisor have no order, nor has what happens to several of them."""
        return sorted(texts) if self.simple else list(texts)

    def note(self, down: Down) -> None:
        if down.ref == self.supervisor:
            self.end = down.reason
        else:
            self.downs.append(f"{self.names[down.ref]}:{shown(down.reason)}")

    async def state(self) -> str:
        if self.supervisor is None:
            return "none"
        if self.end is not None:
            return f"exit {shown(self.end)}"
        children = await self.supervisor.call(Supervisor.which_children)
        return " ".join(
            self.sorted(
                f"{'-' if child.id is None else child.id}={self.name(child.ref)}" for child in children
            )
        )

    async def boot(self) -> str:
        kind, children = (DynamicSupervisor, self.children[0]) if self.simple else (Supervisor, self.children)
        try:
            self.supervisor = await self.me.spawn(kind, children, **self.flags)
        except StartError as error:
            return shown(error.reason)
        self.me.monitor(self.supervisor)
        return "ok"

    async def fail(self, id: str, count: str) -> str:  # noqa: A002 (the field's name)
        self.plans[id] = ("fail", int(count))
        return "ok"

    async def decline(self, id: str, count: str) -> str:  # noqa: A002 (the field's name)
        self.plans[id] = ("decline", int(count))
        return "ok"

    async def crash(self, id: str, reason: str) -> str:  # noqa: A002 (the field's name)
        if reason == "kill":
            self.me.exit(self.latest[id], KILL)
        else:
            self.latest[id].cast(Player.end, REASONS.get(reason, Custom(reason)))
        return "ok"

    async def stray(self) -> str:
        stray = await self.node.spawn(Stray, self.supervisor)
        stray.exit(Custom("stray"))
        return "ok"

    async def stop(self) -> str:
        assert self.supervisor is not None
        self.me.exit(self.supervisor, SHUTDOWN)
        while self.end is None:
            self.note(await self.me.receive(Down))
        return "ok"

    async def count(self) -> str:
        assert self.supervisor is not None
        counts = await self.supervisor.call(Supervisor.count_children)
        return f"{counts.specs} {counts.active} {counts.supervisors} {counts.workers}"

    async def grow(self) -> str:
        return await self.ask(DynamicSupervisor.start_from_template)

    async def finish(self, name: str) -> str:
        return await self.ask(DynamicSupervisor.terminate_child, self.latest[name], answer="ok")

    async def terminate(self, id: str) -> str:  # noqa: A002 (the field's name)
        return await self.ask(Supervisor.terminate_child, id, answer="ok")

    async def restart(self, id: str) -> str:  # noqa: A002 (the field's name)
        return await self.ask(Supervisor.restart_child, id)

    async def delete(self, id: str) -> str:  # noqa: A002 (the field's name)
        return await self.ask(Supervisor.delete_child, id, answer="ok")

    async def start(self, *fields: str) -> str:
        return await self.ask(Supervisor.start_child, self.spec(list(fields)), starting=True)

    async def ask(self, request: Callable[..., Any], *arguments: Any, **options: Any) -> str:
        assert self.supervisor is not None
        return await answer_of(self.name, self.supervisor, request, *arguments, **options)


async def answer_of(
    name: Callable[[object], str],
    supervisor: Ref[Any],
    request: Callable[..., Any],
    *arguments: Any,
    answer: str | None = None,
    starting: bool = False,
) -> str:
    """The answer of a supervisor as Erlang would print it; `name` shows refs."""
    try:
        ref = await supervisor.call(request, *arguments)
    except ChildRunning as refusal:
        return f"already_started {name(refusal.ref)}" if starting else "running"
    except ChildRestarting:
        return "restarting"
    except ChildNotFound:
        return "not_found"
    except AlreadyPresent:
        return "already_present"
    except StartFailed as failure:
        return f"start failed {shown(failure.reason)}"
    except NoChildIds:
        return "start failed simple_one_for_one"
    except CallError:
        return "noproc"
    return answer or f"ok {name(ref)}"


class Player(Actor):
    """A child of a scenario."""

    def __init__(self, stage: Stage, id: str, behaviour: str) -> None:  # noqa: A002 (the field's name)
        self.stage = stage
        self.behaviour = behaviour
        self.by_itself = False
        self.process.trap_exits = behaviour != "plain"
        stage.numbers[id] += 1
        self.name = f"{id}{stage.numbers[id]}"
        outcome, count = stage.plans.get(id, ("", 0))
        if count:
            stage.plans[id] = (outcome, count - 1)
            stage.events.append(f"{outcome} {self.name}")
            raise Ignore if outcome == "decline" else Exit(Custom("boom"))
        stage.latest[id] = stage.latest[self.name] = self.process.ref
        stage.names[self.process.ref] = self.name
        stage.events.append(f"start {self.name}")
        stage.me.monitor(self.process.ref)

    def end(self, reason: Reason) -> None:
        self.by_itself = True
        raise Exit(reason)

    def on_stop(self, reason: Reason) -> Any:
        if not self.by_itself:
            self.stage.events.append(f"stop {self.name} {shown(reason)}")
            if self.behaviour == "odd":
                raise Exit(Custom("odd"))


class Stubborn(Player):
    async def on_stop(self, reason: Reason) -> None:
        super().on_stop(reason)
        if not self.by_itself:
            await trio.sleep_forever()


class Stray(Actor):
    """A process that links itself to a supervisor that is not its own."""

    def __init__(self, supervisor: Ref[Any]) -> None:
        self.process.link(supervisor)


def perform(commands: list[str]) -> list[str]:
    """Run one scenario, in virtual time."""

    async def main() -> list[str]:
        async with open_node("ours") as node, node.mailbox() as me:
            me.trap_exits = True
            return await Stage(node, me).run(commands)

    return trio.run(main, clock=MockClock(autojump_threshold=0))
