"""Every verb between two nodes of a mesh, and over doors beside it: what comes of each is the same."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import KILL, Actor, Custom, Down, Exited, Node, NoProcess, ProcessDied, Ref, open_node
from enfilade.transport import Policy
from tests.transport.mesh.members import PATIENCE, server
from tests.transport.mesh.servers import NatsServer, needs_server

__all__ = ["server"]

pytestmark = [pytest.mark.real, needs_server]


class Clerk(Actor):
    """Does what is asked of it, and remembers."""

    def __init__(self, *seen: Any) -> None:
        self.seen = list(seen)
        self.process.trap_exits = True

    def on_message(self, message: Any) -> None:
        self.seen.append(message)

    def on_exit(self, notice: Exited) -> None:
        self.seen.append(("exit", str(notice.reason)))

    def note(self, value: Any) -> None:
        self.seen.append(value)

    def history(self) -> list[Any]:
        return self.seen

    def fail(self, text: str) -> None:
        raise ValueError(text)


class Victim(Actor):
    """Ends with whom it is linked to."""

    def link(self, other: Ref[Any]) -> None:
        self.process.link(other)

    def unlink(self, other: Ref[Any]) -> None:
        self.process.unlink(other)


ENTRIES: dict[str, Any] = {"Clerk": Clerk, "Victim": Victim}


@asynccontextmanager
async def over_mesh(url: str, _: Path) -> AsyncIterator[tuple[Node, Node]]:
    policy = Policy.same_mesh(exports="*", ends="*", entries="*")
    async with (
        open_node("a", zone="x", mesh=url, policy=policy) as a,
        open_node("b", zone="x", mesh=url, policy=policy, entries=ENTRIES) as b,
    ):
        await a.connect("b@x")
        yield a, b


@asynccontextmanager
async def over_doors(_: str, directory: Path) -> AsyncIterator[tuple[Node, Node]]:
    policy = Policy.same_user(exports="*", ends="*", entries="*")
    door = str(directory / "b.door")
    async with (
        open_node("a", zone="x", policy=policy, listen=str(directory / "a.door")) as a,
        open_node("b", zone="x", policy=policy, listen=door, entries=ENTRIES) as b,
    ):
        await a.connect(door)
        yield a, b


async def transcript(a: Node, b: Node) -> list[Any]:
    """Use every verb on processes of the other node, and say what came of it."""
    told: list[Any] = []
    clerk = (await a.spawn_on("b@x", "Clerk", "first")).within(PATIENCE)
    clerk.cast(Clerk.note, "cast")
    clerk.send("send")
    await clerk.send_wait("send_wait")
    told.append(await clerk.call(Clerk.history))
    await b.spawn(Clerk, name="desk")
    desk = await a.whereis_on("b@x", "desk")
    assert desk is not None
    told.append((desk.node_name, await a.whereis_on("b@x", "nobody")))
    async with a.mailbox() as me:
        tag = me.monitor(clerk)
        me.demonitor(tag)
        me.monitor(clerk)
        me.exit(clerk, Custom("asked"))
        told.append(await clerk.call(Clerk.history))
        await clerk.stop()
        told.append(str((await me.receive(Down)).reason))
        me.monitor(desk)
        me.exit(desk, KILL)
        told.append(str((await me.receive(Down)).reason))
        me.monitor(clerk)
        told.append(str((await me.receive(Down)).reason))
        for ends in (False, True):
            near = await a.spawn(Victim)
            far = (await a.spawn_on("b@x", "Victim")).within(PATIENCE)
            me.monitor(far)
            await far.call(Victim.link, near)
            if not ends:
                await far.call(Victim.unlink, near)
            near.exit(Custom("gone"))
            if not ends:
                await far.stop()
            told.append(str((await me.receive(Down)).reason))
    broken = (await a.spawn_on("b@x", "Clerk")).within(PATIENCE)
    for method, args in ((Clerk.fail, ("odd",)), (Clerk.history, ())):
        try:
            told.append(await broken.call(method, *args))
        except (ProcessDied, NoProcess) as error:
            told.append((type(error).__name__, str(error.__cause__)))
    return told


async def test_mesh_19_every_verb_does_what_it_does_over_doors(server: NatsServer, tmp_path: Path) -> None:
    told = []
    with trio.fail_after(2 * PATIENCE):
        for way in (over_doors, over_mesh):
            async with way(server.url, tmp_path) as (a, b):
                told.append(await transcript(a, b))
    doors, mesh = told
    assert mesh == doors
    assert mesh[0] == ["first", "cast", "send", "send_wait"]
    assert mesh[2][-1] == ("exit", "asked")
    assert mesh[3:8] == ["normal", "killed", "no process", "normal", "gone"]
    assert mesh[8] == ("ProcessDied", "odd")
