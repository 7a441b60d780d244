"""Processes of each tier that deal with a hostile object where they are told to."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ClassVar

import trio

from enfilade.actors import Actor, Call, Deferred, Down, Exit, Exited, Process, Reason, Ref

__all__ = ["VARIABLE", "Async", "Sync", "Victim", "function"]

VARIABLE: ContextVar[Any] = ContextVar("variable", default=None)


class Victim(Actor):
    """What both tiers of actors share.

    Attributes:
        where: at which place to raise, once.
        make: makes the hostile object.
    """

    where: ClassVar[str] = ""
    make: ClassVar[Callable[[], Any]]

    def meet(self, where: str) -> None:
        """Raise, if this is the place."""
        if self.where == where:
            self.where = ""  # type: ignore[misc]
            raise self.make()


class Sync(Victim):
    """The victim without a task."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.kept = (args, kwargs)
        self.deferred: Deferred[Any] | None = None
        self.process.trap_exits = self.where == "on_exit"
        self.meet("init")

    def on_start(self) -> Any:
        self.meet("on_start")
        return self.make() if self.where == "started" else None

    def on_message(self, message: Any) -> Any:
        self.kept = message
        self.meet("on_message")

    def on_down(self, down: Down) -> Any:
        self.meet("on_down")

    def on_exit(self, exited: Exited) -> Any:
        self.meet("on_exit")

    def on_stop(self, reason: Reason) -> Any:
        self.meet("on_stop")

    def format_status(self) -> Any:
        self.meet("format_status")
        return self.make() if self.where == "status" else None

    def on_code_change(self, old: type, extra: Any) -> None:
        self.meet("on_code_change")

    def ping(self) -> Any:
        return "pong"

    def fire(self) -> Any:
        self.meet("handler")

    def take(self, *args: Any, **kwargs: Any) -> Any:
        self.kept = (args, kwargs)

    def give(self) -> Any:
        return self.make()

    def crash(self) -> Any:
        raise ValueError("as asked")

    def leave(self) -> Any:
        self.process.stop()
        return "left"

    def leave_with(self, wrap: Callable[[Any], Reason]) -> Any:
        raise Exit(wrap(self.make()))

    def stop_with(self, wrap: Callable[[Any], Reason]) -> Any:
        self.process.stop(wrap(self.make()))

    def defer(self) -> Any:
        self.deferred = self.process.defer()
        return self.deferred

    def answer(self, *, failing: bool) -> Any:
        assert self.deferred is not None
        if failing:
            self.deferred.fail(self.make())
        else:
            self.deferred.reply(self.make())

    def forward(self, ref: Ref[Any]) -> Any:
        deferred = self.process.defer()
        deferred.forward(ref, Sync.take, self.make())
        return deferred

    def refuse(self) -> Any:
        return self.process.refuse(self.make())

    def proceed(self) -> Any:
        self.process.continue_with(self.meet, "continuation")

    def ask(self, ref: Ref[Any]) -> Any:
        request = self.process.request(ref, Sync.take)
        request.then(lambda _: self.meet("then"))

    def watch(self, ref: Ref[Any]) -> Any:
        self.process.monitor(ref)
        self.process.link(ref)

    def set_timer(self) -> Any:
        self.process.timers.start("key", 0.1, self.make())

    def set_timer_key(self) -> Any:
        self.process.timers.start(self.make(), 0.1, "message")

    def set_variable(self) -> Any:
        VARIABLE.set(self.make())

    def keep(self) -> Any:
        self.value = self.make()


class Async(Sync):
    """The victim with a task: every method and hook waits before it does the same."""


def _async(name: str) -> Any:
    method = getattr(Sync, name)

    async def wait(self: Any, *args: Any, **kwargs: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return method(self, *args, **kwargs)

    wait.__name__, wait.__qualname__ = name, f"Async.{name}"
    return wait


for _name in (
    *("on_start", "on_message", "on_down", "on_exit", "on_stop"),
    *("ping", "fire", "take", "give", "crash", "leave", "leave_with", "stop_with", "defer", "answer"),
    *("forward", "refuse", "proceed", "ask", "watch", "set_timer", "set_timer_key", "set_variable", "keep"),
):
    setattr(Async, _name, _async(_name))


def function(where: str, make: Callable[[], Any]) -> Any:
    """The victim that is an async function."""

    async def body(me: Process, *_: Any, **__: Any) -> None:
        def meet(place: str) -> None:
            nonlocal where
            if where == place:
                where = ""
                raise make()

        meet("init")
        if where == "predicate":
            await me.receive(lambda _: meet("predicate") or True)
        while True:
            match await me.receive():
                case Call(method="ping") as call:
                    call.reply("pong")
                case Call(method="fire") as call:
                    meet("handler")
                    call.reply(None)
                case Call(method="give") as call:
                    call.reply(make())
                case Call(method="take") as call:
                    call.reply(None)
                case Call(method="refuse") as call:
                    call.fail(make())
                case Call(method="leave_with") as call:
                    raise Exit(call.args[0](make()))
                case Call(method="set_variable") as call:
                    VARIABLE.set(make())
                    call.reply(None)
                case Call() as call:
                    call.reply(None)
                case _:
                    meet("on_message")

    return body
