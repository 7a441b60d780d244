"""Processes that many cases need."""

from __future__ import annotations

from typing import Any

import trio

from enfilade.actors import Actor, Custom, Exit, Process, Reason, Ref

BOOM = Custom("boom")


async def idle(me: Process) -> None:
    """Lives until it is ended."""
    await trio.sleep_forever()


async def obedient(me: Process) -> None:
    """Ends with the reason that it is sent."""
    raise Exit(await me.receive(match=Reason))


async def trapper(me: Process, observer: Ref[Any]) -> None:
    """Traps exits and passes on everything that it receives."""
    me.trap_exits = True
    observer.send("ready")
    while True:
        observer.send(await me.receive())


class Sync(Actor):
    """A sync actor with a bit of everything."""

    def __init__(self, observer: Ref[Any] | None = None, trap: bool = False) -> None:
        self.observer = observer
        self.process.trap_exits = trap
        self.seen: list[Any] = []

    def tell(self, what: Any) -> None:
        if self.observer is not None:
            self.observer.send(what)

    def echo(self, value: Any) -> Any:
        return value

    def note(self, value: Any) -> None:
        self.seen.append(value)
        self.tell(value)

    def notes(self) -> list[Any]:
        return self.seen

    def end(self, reason: Reason) -> None:
        raise Exit(reason)

    def fail(self) -> None:
        raise ValueError("as asked")

    def link_to(self, ref: Ref[Any]) -> None:
        self.process.link(ref)

    def stop_with(self, reason: Reason, reply: Any) -> Any:
        self.process.stop(reason)
        return reply

    def on_message(self, message: Any) -> None:
        self.note(message)

    def on_stop(self, reason: Reason) -> None:
        self.tell(("stopped", reason))


class Async(Actor):
    """The same with a task of its own."""

    def __init__(self, observer: Ref[Any] | None = None, trap: bool = False) -> None:
        self.observer = observer
        self.process.trap_exits = trap
        self.seen: list[Any] = []

    def tell(self, what: Any) -> None:
        if self.observer is not None:
            self.observer.send(what)

    async def echo(self, value: Any) -> Any:
        return value

    async def slow_echo(self, value: Any, seconds: float) -> Any:
        self.tell("begun")
        await trio.sleep(seconds)
        self.tell("done")
        return value

    async def note(self, value: Any) -> None:
        self.seen.append(value)
        self.tell(value)

    async def notes(self) -> list[Any]:
        return self.seen

    async def end(self, reason: Reason) -> None:
        raise Exit(reason)

    async def fail(self) -> None:
        raise ValueError("as asked")

    async def link_to(self, ref: Ref[Any]) -> None:
        self.process.link(ref)

    async def stop_with(self, reason: Reason, reply: Any) -> Any:
        self.process.stop(reason)
        return reply

    async def on_message(self, message: Any) -> None:
        await self.note(message)

    async def on_stop(self, reason: Reason) -> None:
        self.tell(("stopped", reason))


TIERS = [Sync, Async]
