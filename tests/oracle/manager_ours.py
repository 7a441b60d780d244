"""Runs a script of `manager.py` on our `EventManager`, and writes down the same lines as the Erlang side."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    NORMAL,
    SHUTDOWN,
    Crashed,
    Custom,
    EventHandler,
    EventManager,
    HandlerExists,
    HandlerRemoved,
    NoHandler,
    NoProcess,
    Process,
    Reason,
    Ref,
    RemoveHandler,
    Shutdown,
    open_node,
)
from tests.oracle.manager import line

__all__ = ["perform"]

REASONS: dict[str, Reason] = {"normal": NORMAL, "shutdown": SHUTDOWN, "boom": Custom("boom")}


class Crash(Exception):
    """What a handler raises because the script says so."""


class Stage:
    """One script: what handlers do, and what was seen."""

    def __init__(self) -> None:
        self.table: dict[tuple[str, str], str] = {}
        self.seen: list[tuple[str, str]] = []
        self.owners: dict[str, Ref[Any]] = {}
        self.stops = False

    async def run(self, me: Process, commands: list[str]) -> list[str]:
        """Carry the script out."""
        lines = []
        manager: Ref[EventManager] | None = None
        for command in commands:
            match command.split():
                case ["on", key, event, what]:
                    self.table[key, event] = what
                case ["boot"]:
                    manager = await me.node.spawn(EventManager)
                case ["owner", name]:
                    self.owners[name] = await me.node.spawn(owner, self, name)
                case words:
                    assert manager is not None
                    self.stops = words[0] == "stop"
                    answer = await self.answer(manager, *words)
                    await wait_all_tasks_blocked()
                    lines.append(line(command, answer, self.seen))
                    self.seen = []
        return lines

    async def answer(self, manager: Ref[EventManager], *words: str) -> str:
        """Do what a command says, and return what its caller is told."""
        try:
            return str(await self.command(manager, *words))
        except HandlerExists:
            return "exists"
        except NoHandler:
            return "no handler"
        except NoProcess:
            return "no process"
        except Crash:
            return "crashed"

    async def command(self, manager: Ref[EventManager], *words: str) -> Any:
        """Do what a command says, and return the answer."""
        match words:
            case "add", key, *owners:
                supervised = self.owners[owners[0]] if owners else None
                await manager.call(EventManager.add_handler, key, Handler, self, key, supervised=supervised)
            case "delete", key:
                return await manager.call(EventManager.delete_handler, key)
            case "swap", key, new:
                await manager.call(EventManager.swap_handler, key, new, Handler, self, new)
            case ("which",):
                return " ".join(sorted(map(str, await manager.call(EventManager.which_handlers))))
            case "notify", event:
                manager.cast(EventManager.notify, event)
            case "sync", event:
                await manager.call(EventManager.notify, event)
            case "send", event:
                manager.send(event)
            case "call", key, event:
                return await manager.call(EventManager.call_handler, key, event)
            case "die", name, reason:
                self.owners[name].send(REASONS[reason])
            case "stop", reason:
                await manager.stop(REASONS[reason])
        return "-"


async def owner(me: Process, stage: Stage, name: str) -> None:
    """Ends as it is told, and writes down of which handlers it hears."""
    while True:
        match await me.receive():
            case HandlerRemoved(_, key, reason):
                what = "crashed" if isinstance(reason, Crashed) else "stop" if stage.stops else str(reason)
                stage.seen.append((str(key), f"tells {name} {what}"))
            case Reason() as reason:
                me.exit(me.ref, reason)
                return


class Handler(EventHandler):
    """A handler that does what the table says."""

    def __init__(self, stage: Stage, key: str, *left: str | None) -> None:
        self.stage = stage
        self.key = key
        if left:
            self.log(f"takes over from {left[0] or 'nothing'}")

    def log(self, what: str) -> None:
        self.stage.seen.append((self.key, what))

    def act(self, event: str) -> None:
        match self.stage.table.get((self.key, event)):
            case "remove":
                raise RemoveHandler(f"bye {self.key}")
            case "crash":
                raise Crash

    def on_add(self) -> None:
        self.log("start")
        self.act("start")

    def on_event(self, event: str) -> None:
        self.log(event)
        self.act(event)

    def on_call(self, request: str) -> str:
        self.log(f"call {request}")
        self.act(request)
        return f"{self.key}.{request}"

    def on_remove(self, reason: Reason) -> str:
        match reason:
            case _ if self.stage.stops:
                self.log("end stop")
            case Shutdown(detail):
                self.log(f"end owner {detail}")
            case _:
                self.log("end normal")
        self.act("end")
        return f"left by {self.key}"


def perform(commands: list[str]) -> list[str]:
    """Run one script, in virtual time."""

    async def main() -> list[str]:
        async with open_node("ours") as node, node.mailbox() as me:
            return await Stage().run(me, commands)

    return trio.run(main, clock=MockClock(autojump_threshold=0))
