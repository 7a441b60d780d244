"""The table "Same rules everywhere" of docs/semantics.md, row by row, for each tier, near and far."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import (
    KILL,
    Actor,
    Backoff,
    Child,
    Mailbox,
    Node,
    Ref,
    Resume,
    Supervisor,
    open_node,
    system,
)
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.mailbox import Overflow
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork
from tests.conformance.actors.subjects import BOOM

PAGE = Path(__file__).resolve().parents[2] / "docs/semantics.md"
COLUMNS = ("situation", "a call", "a message near", "a message far", "the actor")


def _table() -> dict[str, dict[str, str]]:
    """The rows of the table, by situation."""
    text = PAGE.read_text().partition("## Same rules everywhere")[2].partition("\n## ")[0]
    lines = [line.strip().strip("|").split("|") for line in text.splitlines() if line.strip().startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line] for line in lines]
    assert tuple(header) == COLUMNS
    return {row[0]: dict(zip(COLUMNS[1:], row[1:], strict=True)) for row in rows}


class Desk(Actor):
    """A sync actor."""

    fragile = False

    def note(self, value: Any) -> Any:
        return value

    def fail(self, text: str) -> None:
        raise LookupError(text)

    def stop_and_reply(self, value: Any) -> Any:
        self.process.stop(BOOM)
        return value

    def on_message(self, message: Any) -> None: ...

    def on_stop(self, reason: Any) -> None:
        if self.fragile:
            raise LookupError("on_stop")


class AsyncDesk(Desk):
    """The same with a task."""

    async def note(self, value: Any) -> Any:
        return value

    async def on_stop(self, reason: Any) -> None:
        super().on_stop(reason)


class Missing(Actor):
    """Not what the callee is."""

    def missing(self, value: Any) -> Any:
        return value


class Stage:
    """An actor called "desk" on one node, and who addresses it, from there or from another."""

    def __init__(self, home: Node, here: Node, kind: type[Desk], by_name: bool) -> None:
        self.home = home
        self.here = here
        self.kind = kind
        self.by_name = by_name
        self.own: Ref[Any]
        self.ref: Ref[Any]

    @property
    def is_far(self) -> bool:
        return self.here is not self.home

    async def spawn(self, kind: Any = None, **options: Any) -> None:
        self.own = await self.home.spawn(kind or self.kind, name="desk", **options)
        await self.find()

    async def find(self) -> None:
        found: Ref[Any] | None
        if self.is_far:
            found = await self.here.whereis_on(self.home.full_name, "desk")
        else:
            found = self.own
        assert found is not None
        named = self.here.remote("desk", self.home.full_name) if self.is_far else self.home.named("desk")
        self.ref = named if self.by_name else found

    async def fill(self, overflow: Overflow) -> None:
        await self.spawn(mailbox=Mailbox(1, overflow))
        await system.suspend(self.own)
        self.own.send("fills it")

    async def call(self, method: Any, *args: Any) -> str:
        """What comes of a call."""
        try:
            await self.ref.within(1).call(method, *args)
        except Exception as error:
            return f"`{type(error).__name__}`"
        return "reply"

    async def message(self, method: Any, *args: Any) -> str:
        """What comes of a cast: what is raised, or else what its node says of it."""
        home, here = self.home, self.here
        letters, letters_here, dropped = home.dead_letters.count, here.dead_letters.count, home.dropped
        try:
            self.ref.cast(method, *args)
        except Exception as error:
            return f"`{type(error).__name__}`"
        await trio.sleep(0.5)
        if home.dead_letters.count > letters:
            return "dead letter"
        if here.dead_letters.count > letters_here:
            return "dead letter here"
        return "dropped" if home.dropped > dropped else "taken"

    def fate(self) -> str:
        """What has become of the actor."""
        process = process_of(self.own)
        assert process is not None
        return "goes on" if process.ended is None else "ends"


@asynccontextmanager
async def _stage(kind: type[Desk], side: str, by_name: bool) -> AsyncIterator[Stage]:
    network = MemoryNetwork()
    policy = Policy.same_user(exports="*", ends="*")
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                open_node(name, carrier=network.carrier(name), listen=f"/{name}", policy=policy)
            )
            for name in ("home", "away")
        ]
        home, away = nodes
        if side == "far":
            await away.connect("/home")
        yield Stage(home, away if side == "far" else home, kind, by_name)


Play = Callable[[Stage, str], Awaitable[str]]
PLAYS: dict[str, Play] = {}


def plays(situation: str) -> Callable[[Play], Play]:
    """Enter a function that plays the situation, by a call or a message, and tells what came of it."""

    def enter(play: Play) -> Play:
        PLAYS[situation] = play
        return play

    return enter


async def _use(stage: Stage, way: str, method: Any, *args: Any) -> str:
    return await (stage.call if way == "call" else stage.message)(method, *args)


@plays("a method that its class does not have")
async def _unknown_method(stage: Stage, way: str) -> str:
    await stage.spawn()
    return await _use(stage, way, Missing.missing, 1)


@plays("the same, of a strict class")
async def _strict(stage: Stage, way: str) -> str:
    class Strict(stage.kind, strict=True):  # type: ignore[misc, name-defined, call-arg]
        pass

    await stage.spawn(Strict)
    return await _use(stage, way, Missing.missing, 1)


@plays("arguments that the method does not take")
async def _bad_arguments(stage: Stage, way: str) -> str:
    await stage.spawn()
    return await _use(stage, way, stage.kind.note, 1, 2, 3)


@plays("the handler raises")
async def _raises(stage: Stage, way: str) -> str:
    await stage.spawn()
    return await _use(stage, way, stage.kind.fail, "x")


@plays("the handler raises what is resumed (S15)")
async def _resumed(stage: Stage, way: str) -> str:
    class Hardy(stage.kind):  # type: ignore[misc, name-defined]
        on_failure = Resume(LookupError)

    await stage.spawn(Hardy)
    return await _use(stage, way, Hardy.fail, "x")


@plays("the handler stops the actor, and returns")
async def _stops(stage: Stage, way: str) -> str:
    await stage.spawn()
    return await _use(stage, way, stage.kind.stop_and_reply, 1)


@plays("the same, and `on_stop` raises")
async def _stops_badly(stage: Stage, way: str) -> str:
    class Fragile(stage.kind):  # type: ignore[misc, name-defined]
        fragile = True

    await stage.spawn(Fragile)
    return await _use(stage, way, Fragile.stop_and_reply, 1)


def _full(overflow: Overflow) -> Play:
    async def play(stage: Stage, way: str) -> str:
        await stage.fill(overflow)
        return await _use(stage, way, stage.kind.note, 1)

    return play


for _overflow in ("fail", "block", "drop_newest", "drop_oldest", "dead_letter", "crash"):
    PLAYS[f'full mailbox, "{_overflow}"'] = _full(_overflow)  # type: ignore[arg-type]


@plays("no reply within the time limit")
async def _late(stage: Stage, way: str) -> str:
    await stage.spawn()
    await system.suspend(stage.own)
    return await _use(stage, way, stage.kind.note, 1)


@plays("the actor has ended")
async def _ended(stage: Stage, way: str) -> str:
    await stage.spawn()
    stage.own.exit(KILL)
    await trio.sleep(0.5)
    return await _use(stage, way, stage.kind.note, 1)


async def _crash_child(stage: Stage, mailbox: Mailbox) -> None:
    backoff = Backoff(first=10, jitter=0)
    child = Child(stage.kind, id="desk", name="desk", backoff=backoff, mailbox=mailbox)
    await stage.home.spawn(Supervisor, [child])
    own = stage.home.whereis("desk")
    assert own is not None
    stage.own = own
    await stage.find()
    own.exit(KILL)
    await trio.sleep(0.5)


@plays("its supervisor is starting it again")
async def _restarting(stage: Stage, way: str) -> str:
    await _crash_child(stage, Mailbox())
    return await _use(stage, way, stage.kind.note, 1)


@plays("the same, and its mailbox is kept (SUP-25)")
async def _kept(stage: Stage, way: str) -> str:
    await _crash_child(stage, Mailbox(inherit=True))
    return await _use(stage, way, stage.kind.note, 1)


BY_NAME = ", by name"


@pytest.mark.parametrize("kind", [Desk, AsyncDesk], ids=["sync", "async"])
@pytest.mark.parametrize("side", ["near", "far"])
@pytest.mark.parametrize("way", ["call", "message"])
@pytest.mark.parametrize("situation", list(_table()))
async def test_same_rules_everywhere(
    autojump_clock: MockClock, situation: str, way: str, side: str, kind: type[Desk]
) -> None:
    """R1: each cell of the table is what happens."""
    row = _table()[situation]
    play = PLAYS[situation.removesuffix(BY_NAME)]
    async with _stage(kind, side, situation.endswith(BY_NAME)) as stage:
        came = await play(stage, way)
        await trio.sleep(2)
        assert came == row["a call" if way == "call" else f"a message {side}"]
        fates = row["the actor"].split(", or ")
        assert stage.fate() == fates[0 if way == "call" else -1]


def test_every_situation_is_in_the_table() -> None:
    """R1: the table has a row for each situation that is played."""
    assert {situation.removesuffix(BY_NAME) for situation in _table()} == set(PLAYS)
