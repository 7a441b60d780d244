"""The event handlers and machines that meet hostile objects."""

from __future__ import annotations

from typing import Any

from enfilade.actors import (
    EventHandler,
    EventManager,
    Machine,
    Reason,
)
from enfilade.actors.patterns.machine import after, enter, leave, when
from tests.isolation.stage import Stage


class Handler(EventHandler):
    def __init__(self, where: str, make: Any) -> None:
        self.where, self.make = where, make
        self.meet("made")

    def meet(self, where: str) -> None:
        if self.where == where:
            raise self.make()

    def on_add(self) -> None:
        self.meet("on_add")

    def on_event(self, event: Any) -> None:
        self.meet("on_event")

    def on_call(self, request: Any) -> Any:
        self.meet("on_call")
        return self.make() if self.where == "answer" else request

    def on_remove(self, reason: Reason) -> Any:
        self.meet("on_remove")
        return self.make() if self.where == "left" else None


async def manager(stage: Stage) -> Any:
    return await stage.cast(await stage.home.spawn(EventManager), EventManager.which_handlers)


def machine(stage: Stage, where: str) -> type[Machine]:
    class Armed(Machine):
        initial = "idle"

        def ping(self) -> str:
            return "pong"

        def move(self) -> None:
            self.become("busy")

        @when("idle", move)
        def begin(self) -> None:
            if where == "clause":
                raise stage.make()
            self.become("busy")

        @enter("busy")
        def busy(self) -> None:
            if where == "enter":
                raise stage.make()

        @leave("idle")
        def no_longer_idle(self) -> None:
            if where == "leave":
                raise stage.make()

        @after(0.1, "busy")
        def overdue(self) -> None:
            if where == "after":
                raise stage.make()

        def turn(self, state: Any) -> Any:
            self.become(state)

        def put_off(self, *_: Any) -> Any:
            self.postpone()

    return Armed
