"""Runs a script of `world.py` on our runtime, and writes down the same lines as the Erlang side."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Awaitable
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    NORMAL,
    SHUTDOWN,
    Actor,
    CallError,
    CallingSelf,
    Child,
    Crashed,
    Custom,
    Deferred,
    Down,
    Exit,
    Exited,
    FailedToStart,
    Ignore,
    NameTaken,
    Node,
    NoProcess,
    Process,
    ProcessDied,
    Reason,
    ReceiveTimeout,
    Ref,
    Shutdown,
    StartError,
    Supervisor,
    open_node,
)
from tests.oracle.ours import answer_of

__all__ = ["perform"]

REASONS = {"normal": NORMAL, "shutdown": SHUTDOWN, "kill": KILL, "shutdown:x": Shutdown("x")}


def given(reason: str) -> Reason:
    return REASONS.get(reason) or Custom(reason)


def shown(reason: Reason) -> str:
    """A reason as the Erlang side prints it."""
    match reason:
        case Shutdown(FailedToStart() as failure):
            return f"shutdown failed_to_start_child {failure.id} {shown(failure.reason)}"
        case Shutdown(str() as detail):
            return f"shutdown {detail}"
        case Crashed():
            return "crashed"
    return "noproc" if str(reason) == "no process" else str(reason)


class World:
    """One script: its processes, and what they have seen."""

    def __init__(self, node: Node, me: Process, tier: type[Server], nobody: Ref[Any]) -> None:
        self.node = node
        self.me = me
        self.tier = tier
        self.refs: dict[str, Ref[Any]] = {}
        self.nobody = nobody
        self.names: dict[Ref[Any], str] = {nobody: "nobody"}
        self.events: list[str] = []
        self.answer = ""
        self.definitions: dict[str, tuple[dict[str, Any], list[Child]]] = {}
        self.parents: dict[str, str] = {}
        self.supervisors: dict[str, Ref[Any]] = {}
        self.plans: dict[str, tuple[str, int]] = {}
        self.numbers: dict[str, int] = defaultdict(int)

    def ref(self, name: str) -> Ref[Any]:
        return self.node.named(name[1:]) if name[0] == "@" else self.refs.get(name, self.nobody)

    def name(self, ref: object) -> str:
        if isinstance(ref, Ref):
            return self.names.get(ref, "driver")
        return "undefined" if ref is None else str(ref)

    def event(self, whose: str, cause: str, text: str) -> None:
        self.events.append(f"\t{whose} {cause} {text}")

    def born(self, ref: Ref[Any], name: str, incarnation: str) -> None:
        self.refs[name] = ref
        self.names[ref] = incarnation
        self.me.monitor(ref)

    def incarnation(self, name: str) -> str:
        self.numbers[name] += 1
        return f"{name}{self.numbers[name]}"

    def seen(self, name: str, message: Any) -> None:
        match message:
            case Exited(ref=ref, reason=reason):
                self.event(name, self.name(ref), f"exit {shown(reason)}")
            case Down(monitor=monitor, ref=ref, reason=reason):
                whom = f"@{monitor.name}" if monitor.name else self.name(ref)
                self.event(name, whom, f"down {monitor.tag or '-'} {shown(reason)}")
            case ("text", sender, text):
                self.event(name, sender, f"message {text}")
            case ("timer", text):
                self.event(name, "timer", text)

    async def run(self, commands: list[str]) -> list[str]:
        """Carry the script out."""
        lines = []
        await trio.sleep(0.5)
        for command in commands:
            lines.append(command)
            answer = await self.command(command.split())
            if answer:
                lines.append(f"\tanswer - {answer}")
            lines += await self.report()
        return lines

    async def report(self) -> list[str]:
        await wait_all_tasks_blocked()
        with contextlib.suppress(ReceiveTimeout):
            while True:
                message = await self.me.receive(timeout=0)
                if isinstance(message, Down):
                    self.event("ends", self.name(message.ref), shown(message.reason))
        lines, self.events = self.events, []
        for name, ref in self.supervisors.items():
            if ref.serial in self.node.processes:
                infos = await ref.call(Supervisor.which_children)
                children = " ".join(f"{info.id}={self.name(info.ref)}" for info in infos)
                lines.append(f"\tchildren {name} {children}")
        return lines

    async def command(self, words: list[str]) -> str:
        match words:
            case ["new", name, kind, trap]:
                await self.start(None, name, kind, trap, "alone")
            case ["register", registered, name]:
                try:
                    self.node.register(registered, self.ref(name))
                except (NameTaken, NoProcess):
                    return "refused"
                return "ok"
            case ["unregister", registered]:
                try:
                    self.node.unregister(registered)
                except NoProcess:
                    return "refused"
                return "ok"
            case ["wait", units]:
                await trio.sleep(int(units))
            case ["define", name, strategy, intensity, auto]:
                flags = {"strategy": strategy, "intensity": int(intensity), "auto_shutdown": auto}
                self.definitions[name] = flags, []
            case ["child", supervisor, *fields]:
                self.definitions[supervisor][1].append(self.spec(supervisor, *fields))
            case ["boot", name]:
                try:
                    await self.me.spawn(Tree, self, name)
                except StartError as error:
                    return shown(error.reason)
                return "ok"
            case ["fail" | "decline" as outcome, name, count]:
                self.plans[name] = outcome, int(count)
            case ["halt", name]:
                self.me.exit(self.ref(name), SHUTDOWN)
            case ["ask", name, what, *arguments]:
                return await self.ask(self.ref(name), name, what, arguments)
            case [name, *action]:
                self.ref(name).send(Do(action))
        return ""

    async def ask(self, ref: Ref[Any], name: str, what: str, arguments: list[str]) -> str:
        if what == "count":
            try:
                counts = await ref.call(Supervisor.count_children)
            except CallError:
                return "noproc"
            return f"{counts.specs} {counts.active} {counts.supervisors} {counts.workers}"
        if what == "start":
            child = self.spec(name, *arguments)
            return await answer_of(self.name, ref, Supervisor.start_child, child, starting=True)
        request = getattr(Supervisor, f"{what}_child")
        answer = None if what == "restart" else "ok"
        return await answer_of(self.name, ref, request, *arguments, answer=answer)

    def spec(self, supervisor: str, *fields: str) -> Child:
        name, restart, shutdown, significant, kind = fields
        self.parents[name] = supervisor
        patience: Any = {"brutal_kill": "brutal_kill", "infinity": math.inf}.get(shutdown)
        options: Any = {
            "id": name,
            "restart": restart,
            "significant": significant == "significant",
            "shutdown": int(shutdown) / 1000 if patience is None else patience,
        }
        if kind == "supervisor":
            return Child(Tree, self, name, **options)
        trap = "plain" if kind == "plain" else "trap"
        return Child(self.tier, self, supervisor, name, kind, trap, **options)

    async def start(self, by: Process | None, name: str, kind: str, trap: str, option: str) -> None:
        spawner: Any = self.node if by is None else by
        options: Any = {}
        if option != "alone":
            options[option] = True
        if kind == "raw":
            ref = await spawner.spawn(raw, self, name, trap, **options)
            self.born(ref, name, name)
        else:
            await spawner.spawn(self.tier, self, "", name, kind, trap, **options)

    def planned(self, name: str) -> None:
        """Let the start of a child fail, or decline, if that is the plan."""
        outcome, count = self.plans.get(name, ("", 0))
        if count:
            self.plans[name] = outcome, count - 1
            self.event(self.parents.get(name, "driver"), "-", f"{outcome} {name}")
            raise Ignore if outcome == "decline" else Exit(Custom("boom"))


class Do:
    """What a process is told to do."""

    def __init__(self, action: list[str]) -> None:
        self.action = action


def perform_at_once(world: World, process: Process, name: str, action: list[str]) -> Awaitable[None] | None:
    """Do what takes no time; the rest is returned, for those that can wait."""
    match action:
        case ["link", other]:
            try:
                process.link(world.ref(other))
            except NoProcess:
                world.event(name, "-", "link noproc")
        case ["unlink", other]:
            process.unlink(world.ref(other))
        case ["monitor", other, label]:
            target: Any = other[1:] if other[0] == "@" else world.ref(other)
            labels(process)[label] = process.monitor(target, tag=label)
        case ["demonitor", label, *flush]:
            if label in labels(process):
                was_up = process.demonitor(labels(process)[label], flush=bool(flush))
                world.event(name, "-", f"demonitor {str(was_up).lower()}")
        case ["exit", other, reason]:
            process.exit(world.ref(other), given(reason))
        case ["die", reason]:
            raise Exit(given(reason))
        case ["crash"]:
            raise ValueError("as asked")
        case ["trap", trap]:
            process.trap_exits = trap == "on"
        case ["send", other, text]:
            try:
                world.ref(other).send(("text", name, text))
            except NoProcess:
                world.event(name, "-", "send refused")
        case ["cast", other, *request]:
            with contextlib.suppress(NoProcess):
                world.ref(other).cast(Server.tell, *request)
        case ["timer", label, units, text]:
            labels(process)[label] = process.send_after(int(units) - 0.5, process.ref, ("timer", text))
        case ["cancel", label]:
            if label in labels(process):
                world.event(name, "-", f"cancel {str(labels(process)[label].cancel()).lower()}")
        case ["spawn", *fields]:
            return world.start(process, *fields)
        case ["call", other, *request]:
            return call(world, process, name, other, request)
        case ["stop", other, reason]:
            return stop(world, name, other, given(reason))
    return None


def labels(process: Process) -> dict[str, Any]:
    """The monitors and timers of a process by their labels."""
    return LABELS.setdefault(process.ref, {})


LABELS: dict[Ref[Any], dict[str, Any]] = {}


async def call(world: World, process: Process, name: str, other: str, request: list[str]) -> None:
    await attempt(world, name, lambda: world.ref(other).within(math.inf).call(Server.ask, *request))


async def stop(world: World, name: str, other: str, reason: Reason) -> None:
    await attempt(world, name, lambda: world.ref(other).stop(reason))


async def attempt(world: World, name: str, fn: Any) -> None:
    try:
        answer = await fn() or "ok"
    except CallingSelf:
        answer = "calling_self"
    except ProcessDied as error:
        answer = f"died {shown(error.reason)}"
    except CallError:
        answer = "noproc"
    world.event(name, "-", f"result {answer}")


async def raw(me: Process, world: World, name: str, trap: str) -> None:
    """A process without a protocol."""
    me.trap_exits = trap == "trap"
    while True:
        message = await me.receive()
        if isinstance(message, Do):
            waiting = perform_at_once(world, me, name, message.action)
            if waiting is not None:
                await waiting
        else:
            world.seen(name, message)


class Server(Actor):
    """A process that answers calls, or a supervisor's child."""

    def __init__(self, world: World, group: str, name: str, kind: str, trap: str) -> None:
        if group:
            world.planned(name)
        self.world = world
        self.name = world.incarnation(name) if group else name
        self.group = group or self.name
        self.kind = kind
        self.kept: list[Deferred[str]] = []
        self.process.trap_exits = trap == "trap"
        world.born(self.process.ref, name, self.name)
        if group:
            world.event(group, "-", f"start {self.name}")

    def ask(self, *request: str) -> Any:
        match request:
            case ["echo", text]:
                return text
            case ["stop", reason, text]:
                self.process.stop(given(reason))
                return text
            case ["keep"]:
                self.kept.append(self.process.defer())
                return self.kept[-1]
        return self.request(request)

    def tell(self, *request: str) -> Any:
        match request:
            case ["answer", text]:
                if self.kept:
                    self.kept.pop(0).reply(text)
            case ["stop", reason]:
                self.process.stop(given(reason))
            case _:
                self.request(request)

    def request(self, request: tuple[str, ...]) -> Any:
        if request[0] == "die":
            raise Exit(given(request[1]))
        raise ValueError("as asked")

    def on_message(self, message: Any) -> Any:
        if not isinstance(message, Do):
            self.world.seen(self.name, message)
        elif message.action[0] == "spawn":
            _, name, kind, trap, option = message.action
            self.spawn_soon(name, kind, trap, option)
        else:
            perform_at_once(self.world, self.process, self.name, message.action)

    def spawn_soon(self, name: str, kind: str, trap: str, option: str) -> None:
        options: Any = {} if option == "alone" else {option: True}
        if kind == "raw":
            ref = self.process.spawn_soon(raw, self.world, name, trap, **options)
            self.world.born(ref, name, name)
        else:
            self.process.spawn_soon(type(self), self.world, "", name, kind, trap, **options)

    def on_exit(self, exited: Exited) -> Any:
        self.world.seen(self.name, exited)

    def on_down(self, down: Down) -> Any:
        self.world.seen(self.name, down)

    def on_stop(self, reason: Reason) -> Any:
        self.world.event(self.group, "-", f"stop {self.name} {shown(reason)}")
        if self.kind == "odd":
            raise Exit(Custom("odd"))


class AsyncServer(Server):
    """The same with a task."""

    async def nothing(self) -> None:
        """Makes the class an async one."""


class Tree(Supervisor):
    """A supervisor of a script."""

    __slots__ = ()

    def __init__(self, world: World, name: str) -> None:
        incarnation = world.incarnation(name)
        world.born(self.process.ref, name, incarnation)
        world.supervisors[incarnation] = self.process.ref
        world.event(world.parents.get(name, "driver"), "-", f"start {incarnation}")
        flags, children = world.definitions[name]
        super().__init__(children, period=3600.0, **flags)


async def nothing(me: Process) -> None:
    """Ends at once."""


def perform(commands: list[str], *, has_task: bool) -> list[str]:
    """Run one script, in virtual time; its servers have a task, or not."""

    async def main() -> list[str]:
        async with open_node("ours") as node, node.mailbox() as me:
            me.trap_exits = True
            nobody = await node.spawn(nothing)
            await wait_all_tasks_blocked()
            tier = AsyncServer if has_task else Server
            return await World(node, me, tier, nobody).run(commands)

    LABELS.clear()
    return trio.run(main, clock=MockClock(autojump_threshold=0))
