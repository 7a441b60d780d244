"""The rules that hold near and far alike: each case runs within one node, and between two of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from enfilade.actors import SHUTDOWN, Actor, CallTimeout, Deferred, Node, Process, Ref, open_node
from enfilade.actors.testing import VirtualClock
from tests.conformance.actors.abroad import BACK_ENDS, autojump_clock, open_abroad, passed, settled

__all__ = ["autojump_clock"]


@attrs.frozen
class Place:
    """Where a case is, and where its subject is.

    Attributes:
        here: the node of the case.
        there: the node of the subject; near, the same.
    """

    here: Node
    there: Node

    @property
    def is_far(self) -> bool:
        return self.here is not self.there

    def seen(self, ref: Ref[Any]) -> Ref[Any]:
        """A ref of the other node as it is seen here."""
        return passed(ref, self.there, self.here) if self.is_far else ref

    async def spawn(self, target: Any, *args: Any, **options: Any) -> Any:
        """Start the subject."""
        return self.seen(await self.there.spawn(target, *args, **options))

    def named(self, name: str) -> Ref[Any]:
        """The subject by its name."""
        return self.here.remote(name, self.there.full_name) if self.is_far else self.here.named(name)


@asynccontextmanager
async def _place(where: str, directory: Path) -> AsyncIterator[Place]:
    if where == "near":
        async with open_node("home") as node:
            yield Place(node, node)
    else:
        async with open_abroad(where, directory) as abroad:
            yield Place(abroad.home, abroad.far)


@pytest.fixture(params=["near", *BACK_ENDS])
async def place(
    request: pytest.FixtureRequest, tmp_path: Path, autojump_clock: VirtualClock
) -> AsyncIterator[Place]:
    """Near, and far by each carrier."""
    async with _place(request.param, tmp_path) as place:
        yield place


class Clerk(Actor):
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.owed: list[Deferred[Any]] = []

    def later(self) -> Deferred[Any]:
        self.owed.append(self.process.defer())
        return self.owed[-1]

    def given_up(self) -> list[Any]:
        return [deferred.given_up_by for deferred in self.owed]

    def callers(self) -> list[Any]:
        return [deferred.caller for deferred in self.owed]

    def answer(self) -> None:
        for deferred in self.owed:
            deferred.reply("late")


async def _cancelled(process: Process, clerk: Ref[Clerk]) -> None:
    with trio.move_on_after(1):
        await clerk.call(Clerk.later)
    await process.receive()


async def _timed_out(process: Process, clerk: Ref[Clerk]) -> None:
    with pytest.raises(CallTimeout):
        await clerk.within(1).call(Clerk.later)
    await process.receive()


async def _request(process: Process, clerk: Ref[Clerk]) -> None:
    request = process.request(clerk, Clerk.later)
    await trio.sleep(1)
    request.cancel()
    await process.receive()


async def _ended(process: Process, clerk: Ref[Clerk]) -> None:
    process.node.timers.call_after(1, process.ref.exit, SHUTDOWN)
    await clerk.call(Clerk.later)


@pytest.mark.parametrize("asker", [_cancelled, _timed_out, _request, _ended])
async def test_who_gave_up(autojump_clock: VirtualClock, place: Place, asker: Any) -> None:
    """C16, D8: the callee learns at once that nobody waits, and who it was that asked."""
    home = await place.there.spawn(Clerk)
    clerk = place.seen(home)
    asking = await place.here.spawn(asker, clerk)
    await settled()
    assert await home.call(Clerk.callers) == [asking]
    assert await home.call(Clerk.given_up) == [None]
    await trio.sleep(0.5)
    assert await home.call(Clerk.given_up) == [None]
    await trio.sleep(1)
    assert await home.call(Clerk.given_up) == [asking]
    await home.call(Clerk.answer)
    assert await home.call(Clerk.given_up) == [asking]
    with trio.move_on_after(1):
        await clerk.call(Clerk.later)
    await settled()
    _, by = await home.call(Clerk.given_up)
    assert by == place.here.ref
    asking.exit(SHUTDOWN)


async def test_who_was_answered_has_not_given_up(autojump_clock: VirtualClock, place: Place) -> None:
    """C16: what was answered was not given up."""
    home = await place.there.spawn(Clerk)
    async with place.here.mailbox() as me:
        request = me.request(place.seen(home), Clerk.later)
        await settled()
        await home.call(Clerk.answer)
        assert await request.receive(1) == "late"
        request.cancel()
        await settled()
        assert await home.call(Clerk.given_up) == [None]
