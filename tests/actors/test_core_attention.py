"""What a sync actor attends to between two messages, in C and in Python."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio._core._run as trio_run
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import KILL, NORMAL, Actor, Shutdown, open_node, system
from enfilade.actors.core import choice
from enfilade.actors.processes.local_ref import process_of

pytestmark = pytest.mark.skipif(not choice.IS_AVAILABLE, reason="the core is not compiled here")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = choice.in_use()
    yield
    choice.choose(is_compiled=before == "compiled")


class Attending(Actor):
    """Notes what it does, and goes on with what it was told."""

    def __init__(self, traps: bool) -> None:
        self.notes: list[Any] = []
        self.process.trap_exits = traps

    def on_message(self, message: Any) -> None:
        self.notes.append(message)
        if message == "goes on":
            self.process.continue_with(self.go_on, "then")
        elif message == "stops":
            self.process.stop()
        elif message == "goes on, and stops":
            self.process.continue_with(self.go_on, "never")
            self.process.stop(Shutdown("told"))
        elif message == "is suspended":
            self.process.continue_with(self.go_on, "while it is suspended")

    def go_on(self, word: str) -> None:
        self.notes.append(word)
        if word == "fails":
            raise LookupError("on purpose")

    def on_exit(self, exited: Any) -> None:
        self.notes.append(str(exited.reason))

    def on_stop(self, reason: Any) -> None:
        self.notes.append(f"on_stop {reason}")


async def _quietly(run: Any, *args: Any) -> None:
    try:
        await run(*args)
    except Exception:
        return  # it has ended


async def played(seed: int, is_compiled: bool) -> list[Any]:
    """Have an actor attend to drawn things, several at a time; what was seen after each time."""
    choice.choose(is_compiled=is_compiled)
    trio_run._r.seed(seed)
    draw = random.Random(seed)
    found = []
    async with open_node("n") as node, trio.open_nursery() as nursery:
        ref = await node.spawn(Attending, draw.random() < 0.5)
        process: Any = process_of(ref)
        actor = process.actor
        for _ in range(12):
            for _ in range(draw.choice([1, 2, 4])):
                match draw.choice(
                    [*["message"] * 4, *["continue"] * 4, "exit", "suspend", "resume", "guarded"]
                ):
                    case "message":
                        ref.send(
                            draw.choice(
                                [
                                    *range(6),
                                    "goes on",
                                    "is suspended",
                                    *["stops", "goes on, and stops"] * (draw.random() < 0.2),
                                ]
                            )
                        )
                    case "continue" if process.ended is None:
                        word = draw.choice([*["first", "second"] * 4, "fails"])
                        process.continue_with(actor.go_on, word)
                    case "exit":
                        ref.exit(
                            draw.choice([NORMAL, NORMAL, Shutdown("asked"), *[KILL] * (draw.random() < 0.2)])
                        )
                    case "suspend":
                        nursery.start_soon(_quietly, system.suspend, ref)
                        await wait_all_tasks_blocked()
                    case "resume":
                        nursery.start_soon(_quietly, system.resume, ref)
                        await wait_all_tasks_blocked()
                    case "guarded" if process.ended is None:
                        process.extras()  # what is rare about it is looked at from now on
            await wait_all_tasks_blocked()
            found.append((list(actor.notes), str(process.ended), process.suspended, process.idle))
        nursery.cancel_scope.cancel()
    return found


@pytest.mark.parametrize("seed", range(60))
async def test_both_attend_to_the_same(
    seed: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Continuations, exit signals, stops and suspension, in any order, and several before one turn."""
    monkeypatch.setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    twin, compiled = [await played(seed, is_compiled) for is_compiled in (False, True)]
    assert compiled == twin
