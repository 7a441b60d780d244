"""Nodes that come under one name at the same moment."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio

from enfilade.actors import Node
from enfilade.transport.mesh import MeshError
from enfilade.transport.mesh.namesakes import Namesakes
from enfilade.transport.mesh.protocol import Message
from enfilade.transport.mesh.subjects import Subjects
from tests.transport.mesh.members import PATIENCE, nodes, server, until
from tests.transport.mesh.servers import NatsServer, needs_server

__all__ = ["server"]


@pytest.mark.real
@needs_server
@pytest.mark.parametrize("attempt", range(5))
async def test_mesh_17_of_many_that_come_at_once_one_stays(server: NatsServer, attempt: int) -> None:
    """MESH-56: all may have asked before anybody could be met; the others are told where it runs."""
    stayed: list[Node] = []
    refused: list[str] = []
    over = trio.Event()

    async def come() -> None:
        try:
            async with nodes(server.url, "a@east") as (node,):
                stayed.append(node)
                await over.wait()
        except MeshError as error:
            refused.append(str(error))

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(come)
            await until(lambda: len(stayed) + len(refused) == 4)
            assert len(stayed) == 1, refused
            assert all("a@east runs already in mesh 'default': process " in each for each in refused)
            over.set()


@pytest.mark.parametrize("stays", [False, True])
def test_mesh_17_the_higher_incarnation_gives_way(stays: bool) -> None:
    """Also when it has asked before the other could be met; but a node that stays has the name."""
    subjects = Subjects("default", "a@east", 7)
    namesakes = Namesakes(Mute(), subjects, lambda **_: b"", 0.0)  # type: ignore[arg-type]
    namesakes.stays = stays
    later, earlier = (msgspec.msgpack.encode(["one", 7, 0.0, each, False]) for each in (8, 6))
    namesakes.asked("answer", b"nonsense", is_contest=True)
    namesakes.asked("answer", later, is_contest=True)
    namesakes.asked("answer", earlier, is_contest=False)
    assert not trio.run(namesakes.contest)
    namesakes.stays = stays
    namesakes.asked("answer", earlier, is_contest=True)
    assert trio.run(namesakes.contest) == ("" if stays else "process 7 on host one")


class Mute:
    """A connection at which nobody answers."""

    def publish(self, *_: Any) -> bool:
        return True

    def ask(self, subject: str, payload: bytes, then: Callable[[Message], None]) -> Callable[[], None]:
        then(Message(1, subject, "", b"", b"NATS/1.0 503\r\n\r\n"))
        return lambda: None
