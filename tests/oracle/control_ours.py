"""Runs a script of `control.py` on our runtime, and writes down the same lines as the Erlang side."""

from __future__ import annotations

import math
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    NORMAL,
    SHUTDOWN,
    Actor,
    Crashed,
    Custom,
    Down,
    Exited,
    Node,
    NoProcess,
    Process,
    ProcessDied,
    Reason,
    Ref,
    open_node,
    system,
)
from enfilade.actors.processes.local_ref import process_of

__all__ = ["perform"]

REASONS = {"normal": NORMAL, "shutdown": SHUTDOWN, "kill": KILL}


def given(reason: str) -> Reason:
    return REASONS.get(reason) or Custom(reason)


def shown(reason: Reason) -> str:
    return "crashed" if isinstance(reason, Crashed) else str(reason)


class Server(Actor):
    """A server whose state is a number; its class stands for the version of its code."""

    version = "first"

    def __init__(self, script: Script, name: str, traps: bool) -> None:
        self.process.trap_exits = traps
        self.script = script
        self.name = name
        self.value = 0

    def add(self, number: int) -> str:
        self.value += number
        return str(self.value)

    def add_unasked(self, number: int) -> None:
        self.value += number
        self.script.note(self.name, f"adds {number}")

    def stop(self, reason: Reason) -> str:
        self.process.stop(reason)
        return "stopping"

    def crash(self) -> None:
        raise LookupError("crash")

    def on_message(self, message: Any) -> None:
        self.script.note(self.name, f"text {message}")

    def on_exit(self, exited: Exited) -> None:
        self.script.note(self.name, f"exit {shown(exited.reason)}")

    def on_stop(self, reason: Reason) -> None:
        self.script.note(self.name, f"stops {self.version} {self.value} {shown(reason)}")

    def on_code_change(self, old: type, extra: str) -> None:
        if extra == "crash":
            raise LookupError("crash")
        self.script.note(self.name, "changes")


class Second(Server):
    version = "second"


class AsyncServer(Server):
    async def add(self, number: int) -> str:
        await trio.lowlevel.checkpoint()
        return super().add(number)


class AsyncSecond(AsyncServer):
    version = "second"


OTHER = {Server: Second, Second: Server, AsyncServer: AsyncSecond, AsyncSecond: AsyncServer}


class Script:
    """One script: its servers, and what they have handled."""

    def __init__(self, node: Node, stranger: Process, kind: type[Server], nursery: trio.Nursery) -> None:
        self.node = node
        self.stranger = stranger
        self.kind = kind
        self.nursery = nursery
        self.refs: dict[str, Ref[Any]] = {}
        self.events: list[str] = []

    def note(self, whose: str, what: str) -> None:
        self.events.append(f"{whose} {what}")

    async def run(self, commands: list[str]) -> list[str]:
        """Carry the script out."""
        lines = []
        for command in commands:
            try:
                answer = await self.command(command.split())
            except NoProcess:
                answer = "noproc"
            except LookupError:
                answer = "refused"
            await wait_all_tasks_blocked()
            events = sorted(self.events, key=lambda text: text.split()[0])  # stable: each in its own order
            lines.append(f"{command} | {answer} | {', '.join(events)}")
            self.events = []
        return lines

    async def command(self, words: list[str]) -> str:
        match words:
            case ["boot", name, trap]:
                self.refs[name] = await self.node.spawn(self.kind, self, name, trap == "trap")
                await self.node.spawn(watch, self, name)
            case ["cast", name, "add", number]:
                self.refs[name].cast(Server.add_unasked, int(number))
            case ["cast", name, method, *reason]:
                self.refs[name].cast(getattr(Server, method), *map(given, reason))
            case ["send", name, text]:
                self.refs[name].send(text)
            case ["call", label, name, "add", number]:
                self.nursery.start_soon(self.ask, label, name, Server.add, int(number))
            case ["call", label, name, method, *reason]:
                self.nursery.start_soon(self.ask, label, name, getattr(Server, method), *map(given, reason))
            case ["exit", name, reason]:
                self.stranger.exit(self.refs[name], given(reason))
            case [order, name, *rest]:
                return await self.control(self.refs[name], order, rest)
        return ""

    async def ask(self, label: str, name: str, method: Any, *args: Any) -> None:
        try:
            answer = await self.refs[name].within(math.inf).call(method, *args)
        except ProcessDied as died:
            answer = f"died {shown(died.reason)}"
        except NoProcess:
            answer = "died noproc"
        self.note(label, answer)

    async def control(self, ref: Ref[Any], order: str, rest: list[str]) -> str:
        match order, rest:
            case "suspend", []:
                await system.suspend(ref)
            case "resume", []:
                await system.resume(ref)
            case "get", []:
                state = await system.get_state(ref)
                return f"{actor_of(ref).version} {state['value']}"
            case "set", ["crash"]:
                await system.replace_state(ref, fail)
            case "set", [number]:
                state = await system.replace_state(ref, lambda state: {**state, "value": int(number)})
                return f"{actor_of(ref).version} {state['value']}"
            case "status", []:
                return "suspended" if (await system.get_status(ref)).suspended else "running"
            case "terminate", [reason]:
                await system.terminate(ref, given(reason))
            case "change", [extra]:
                await system.change_code(ref, OTHER.get(type(actor_of(ref)), self.kind), extra)
        return "ok"


def actor_of(ref: Ref[Any]) -> Any:
    process = process_of(ref)
    return None if process is None else process.body.actor


def fail(state: dict[str, Any]) -> dict[str, Any]:
    raise LookupError("crash")


async def watch(me: Process, script: Script, name: str) -> None:
    """Write down the end of a server."""
    me.monitor(script.refs[name])
    down = await me.receive(Down)
    script.note(name, f"ends {shown(down.reason)}")


async def idle(me: Process) -> None:
    """Be there."""
    await trio.sleep_forever()


def perform(commands: list[str], *, has_task: bool) -> list[str]:
    """Run one script, in virtual time."""

    async def main() -> list[str]:
        kind = AsyncServer if has_task else Server
        async with open_node("ours") as node, trio.open_nursery() as nursery:
            stranger = process_of(await node.spawn(idle))
            assert stranger is not None
            lines = await Script(node, stranger, kind, nursery).run(commands)
            nursery.cancel_scope.cancel()
        return lines

    return trio.run(main, clock=MockClock(autojump_threshold=0))
