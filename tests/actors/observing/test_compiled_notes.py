"""What is noted of the children of supervisors, in C and in Python."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import KILL, NORMAL, Actor, Custom, Supervisor, open_node
from enfilade.actors.messages.hooks import call
from enfilade.actors.messages.reasons import KILLED, NO_PROCESS, Reason, asked_by
from enfilade.actors.observing.choice import CHOICE
from enfilade.actors.observing.events.light_ref import LightRef
from enfilade.actors.observing.events.listeners import RESTARTING
from enfilade.actors.processes.local_ref import process_of

pytestmark = pytest.mark.skipif(not CHOICE.is_available, reason="the core is not compiled here")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = CHOICE.in_use()
    yield
    CHOICE.choose(is_compiled=before == "compiled")


class Till(Actor):
    """A child, as far as it matters here."""


class Odd(type):
    """A metaclass, whose classes are not looked up."""

    def __hash__(cls) -> int:
        raise RuntimeError("looked up")


@attrs.frozen(eq=False)
class OddReason(Reason, metaclass=Odd):  # type: ignore[misc]
    """A reason of a program's own."""


async def noted(seed: int, is_compiled: bool) -> list[Any]:
    """Have drawn ends and restarts noted; what the timeline and the subscribers have of them."""
    CHOICE.choose(is_compiled=is_compiled)
    draw = random.Random(seed)
    told: list[Any] = []
    async with open_node("n") as node:
        supervisor: Any = process_of(await node.spawn(Supervisor, [], name=draw.choice([None, "head"])))
        local = [
            await node.spawn(
                Till, name=draw.choice([None, f"till {number}"]), label=draw.choice([None, "left"])
            )
            for number in range(6)
        ]
        await local[0].stop()
        refs = [*local, LightRef(node, 4_711, "afar"), None]
        ended = []
        for number in range(60):
            await trio.sleep(draw.random())
            reason = draw.choice([KILLED, KILL, NORMAL, NO_PROCESS, Custom("why"), OddReason()])
            if draw.random() < 0.5:
                reason = asked_by(reason, draw.choice(refs))
            ref, is_subscribed = draw.choice(refs), node.detach("all")
            if draw.random() < 0.2:
                node.attach(
                    "all", draw.choice(["child.*", "child.restarted"]), lambda event, _: told.append(event)
                )
            if draw.random() < 0.5:
                call(node.hooks.child_terminated, supervisor, number, ref, reason, draw.random() < 0.7)
                ended.append(ref)
            else:
                old = draw.choice([*ended, *refs])
                call(node.hooks.child_restarted, supervisor, number, old, ref, reason, len(ended))
            told.append(is_subscribed)
        return [repr(event) for event in (*node.timeline, *told)]


@pytest.mark.parametrize("seed", range(12))
def test_both_note_the_same(seed: int) -> None:
    in_c, in_python = (
        trio.run(noted, seed, is_compiled, clock=MockClock(autojump_threshold=0))
        for is_compiled in (True, False)
    )
    assert in_c == in_python


@pytest.mark.parametrize("is_compiled", [True, False])
async def test_the_first_of_too_many_ends_is_forgotten(is_compiled: bool, autojump_clock: MockClock) -> None:
    CHOICE.choose(is_compiled=is_compiled)
    async with open_node("n") as node:
        supervisor: Any = process_of(await node.spawn(Supervisor, []))
        refs = [await node.spawn(Till) for _ in range(RESTARTING + 1)]
        for ref in refs:
            call(node.hooks.child_terminated, supervisor, 1, ref, KILLED, True)
        await trio.sleep(2)
        for old in refs[:2]:
            call(node.hooks.child_restarted, supervisor, 1, old, refs[-1], KILLED, 1)
        forgotten, kept = node.timeline[-2:]
        assert forgotten.seconds is None
        assert kept.seconds == pytest.approx(2)


@pytest.mark.parametrize("is_compiled", [True, False])
async def test_a_supervisor_that_is_none_is_an_error_of_the_listener(
    is_compiled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    CHOICE.choose(is_compiled=is_compiled)
    async with open_node("n") as node:
        ref = await node.spawn(Till)
        other: Any = process_of(await node.spawn(Till))
        call(node.hooks.child_terminated, other, 1, ref, KILLED, True)
        before = node.timeline
        call(node.hooks.child_restarted, other, 1, ref, ref, KILLED, 1)
        assert node.timeline == before
    assert "strategy" in caplog.text


@pytest.mark.parametrize("is_compiled", [True, False])
async def test_notes_take_no_references(is_compiled: bool) -> None:
    CHOICE.choose(is_compiled=is_compiled)
    async with open_node("n") as node:
        supervisor: Any = process_of(await node.spawn(Supervisor, [], name="head"))
        old, ref = await node.spawn(Till), await node.spawn(Till, label="right")
        reason = asked_by(KILLED, ref)
        held = (supervisor, old, ref, process_of(ref), reason, type(reason), "right")
        counts, blocks = [], []
        for _ in range(6):
            for number in range(2_000):  # until all that is kept is of this round
                call(node.hooks.child_terminated, supervisor, number, old, reason, True)
                call(node.hooks.child_restarted, supervisor, number, old, ref, reason, 1)
            gc.collect()
            counts.append([sys.getrefcount(each) for each in held])
            blocks.append(sys.getallocatedblocks())  # of numbers, too, which nothing else holds
        assert blocks[-1] - blocks[1] < 1_000
        assert counts[1:] == counts[1:2] * 5
