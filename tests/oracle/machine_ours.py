"""Runs a script of `machine.py` on our `Machine`, and writes down the same lines as the Erlang side."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    NORMAL,
    Custom,
    Deferred,
    IdleTimeout,
    Machine,
    Process,
    ProcessDied,
    Reason,
    Ref,
    Request,
    after,
    enter,
    open_node,
)
from tests.oracle.machine import STATES

__all__ = ["Ambiguous", "perform"]

NEAR = 0.25
"""What lies closer together than this may come in either order on a machine that is busy."""


class Ambiguous(Exception):
    """Two things that a script does lie so near in time that Erlang may see them in either order."""


def reason(found: Reason) -> str:
    """A reason as Erlang would print it."""
    return "crash" if isinstance(getattr(found, "error", None), ZeroDivisionError) else str(found)


class Stage:
    """One script: its table, and what the machine has seen."""

    def __init__(self) -> None:
        self.table: dict[tuple[str, str], list[str]] = {}
        self.lasts: dict[str, int] = {}
        self.seen: list[str] = []
        self.answers: list[str] = []
        self.requests: dict[str, Request[Any]] = {}
        self.moments: list[float] = []

    def machine(self, has_task: bool) -> type[Machine]:
        """The machine's class."""
        body: dict[str, Any] = {}
        for state in STATES:
            body[f"enter_{state}"] = enter(state)(lambda self, state=state: self.log(f"enter {state}"))
            if state in self.lasts:
                body[f"lasted_{state}"] = after(self.lasts[state] - 0.5, state)(
                    lambda self: self.clocked("lasted")
                )
        if has_task:
            body["nothing"] = _nothing
        return type("Scripted", (_Scripted,), body)

    async def run(self, me: Process, commands: list[str], has_task: bool) -> list[str]:
        """Carry the script out."""
        lines = []
        ref: Ref[Any] | None = None
        for command in commands:
            word, *rest = command.split()
            if word == "real_time":
                continue
            if word == "state":
                self.lasts[rest[0]] = int(rest[1])
                continue
            if word == "on":
                self.table[rest[0], rest[1]] = rest[2:]
                continue
            if word == "boot":
                ref = await me.node.spawn(self.machine(has_task), self, rest[0])
            elif word == "wait":
                await trio.sleep(int(rest[0]))
                self.moments.append(trio.current_time())
            else:
                assert ref is not None
                for event in rest:
                    self.put(me, ref, *event.split(":"))
            await wait_all_tasks_blocked()
            for label, request in list(self.requests.items()):
                if request.settled:
                    del self.requests[label]
                    self.answers.append(f"{label}={await self.answer(request)}")
            lines.append(f"{command} | {', '.join(self.seen)} | {', '.join(sorted(self.answers))}")
            self.seen, self.answers = [], []
        moments = sorted(self.moments)
        if any(later - sooner < NEAR for sooner, later in pairwise(moments)):
            raise Ambiguous
        return lines

    def put(self, me: Process, ref: Ref[Any], kind: str, event: str, label: str = "") -> None:
        if kind == "cast":
            ref.cast(_Scripted.event, event)
        elif kind == "send":
            ref.send(event)
        else:
            self.requests[label] = me.request(ref, _Scripted.event, event)

    async def answer(self, request: Request[Any]) -> str:
        try:
            return str(await request.receive(0))
        except ProcessDied as died:
            return f"died {reason(died.reason)}"
        except Exception as error:
            return "died " + {"NoProcess": "noproc"}.get(type(error).__name__, repr(error))


async def _nothing(self: Machine) -> None:
    """Makes it an actor with a task."""


class _Scripted(Machine):
    """A machine that does what the table says."""

    def __init__(self, stage: Stage, state: str) -> None:
        self.stage = stage
        self.owed: list[Deferred[Any]] = []
        self.become(state)

    def log(self, text: str) -> None:
        self.stage.seen.append(text)

    def clocked(self, event: str) -> None:
        """Handle an event that the clock brought."""
        self.stage.moments.append(trio.current_time())
        self.event(event)

    def event(self, event: str) -> Any:
        state = str(self.state)
        self.log(f"{state} {event}")
        actions = iter(self.stage.table.get((state, event), ()))
        answer: Any = f"{state}.{event}"
        postponed = False
        following: str | None = None
        inserted: list[str] = []
        for action in actions:
            match action:
                case "next":
                    following = next(actions)
                case "stop":
                    found = next(actions)
                    self.process.stop(NORMAL if found == "normal" else Custom(found))
                case "crash":
                    raise ZeroDivisionError
                case "postpone":
                    postponed = True
                case "owe":
                    deferred = self.process.defer_if_called()
                    if deferred is not None:
                        self.owed.append(deferred)
                        answer = deferred
                case "pay":
                    if self.owed:
                        self.owed.pop(0).reply(f"{state}.{event}")
                case "insert":
                    inserted.append(next(actions))
                case "timer":
                    key, units = next(actions), int(next(actions))
                    share = {"red": 0.15, "blue": 0.8}[key]
                    self.process.timers.start(key, units - share, ("clock", key))
                case "cancel":
                    self.process.timers.cancel(next(actions))
                case "idle":
                    self.process.timeout_after(int(next(actions)) - 0.35)
        for each in inserted:
            self.process.continue_with(self.event, each)
        if following is not None:
            self.become(following)
        if postponed:
            self.postpone()
        return answer

    def on_message(self, message: Any) -> None:
        match message:
            case IdleTimeout():
                self.clocked("idle")
            case ("clock", str() as key):
                self.clocked(key)
            case _:
                self.event(message)

    def on_stop(self, reason_: Reason) -> None:
        self.log(f"stop {self.state} {reason(reason_)}")


def perform(commands: list[str], *, has_task: bool = False) -> list[str]:
    """Run one script, in virtual time.

    Raises:
        Ambiguous: it is no use to compare it.
    """

    async def main() -> list[str]:
        async with open_node("ours") as node, node.mailbox() as me:
            return await Stage().run(me, commands, has_task)

    return trio.run(main, clock=MockClock(autojump_threshold=0))
