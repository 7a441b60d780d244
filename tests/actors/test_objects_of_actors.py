"""The objects of actors: each process has one of its own."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from enfilade.actors import KILL, Actor, Child, Down, StartError, Supervisor, open_node


class Single(Actor):
    """Has one object, whoever makes one."""

    one: ClassVar[list[Any]] = []

    def __new__(cls) -> Single:
        if not cls.one:
            cls.one.append(super().__new__(cls))
        return cls.one[0]  # type: ignore[no-any-return]

    def who(self) -> Any:
        return self.process.ref


class SingleWithTask(Single):
    one: ClassVar[list[Any]] = []

    async def idle(self) -> None:
        """Makes it an actor that has a task."""


@pytest.mark.parametrize("actor", [Single, SingleWithTask])
async def test_an_object_of_two_processes(autojump_clock: object, actor: type[Single]) -> None:
    """S3: a class with one object starts one process at a time, which a supervisor can start again."""
    actor.one.clear()
    async with open_node("n") as node, node.mailbox() as me:
        tree = await node.spawn(Supervisor, [Child(actor, id="it", name="it")], intensity=9)
        for _ in range(3):
            first = node.whereis("it")
            assert first is not None
            with pytest.raises(StartError, match="object of <n@local"):
                await node.spawn(actor)
            assert await first.call(actor.who) == first
            me.monitor(first)
            first.exit(KILL)
            assert (await me.receive(Down)).ref == first
            await tree.call(Supervisor.children)
