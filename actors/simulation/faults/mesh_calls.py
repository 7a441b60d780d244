"""Calls of strangers in a mesh: clients of its servers that are no nodes of it, or not whom they name."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from enfilade.actors.simulation.faults.stranger_calls import Call, Story
from enfilade.actors.simulation.host import EPOCH
from enfilade.transport.mesh.announcer import own_node
from enfilade.transport.mesh.carrier import MeshCarrier
from enfilade.transport.mesh.settings import Mesh, MeshError
from enfilade.transport.mesh.subjects import MOST_CHARACTERS, Subjects
from enfilade.transport.wire import PREFIX

if TYPE_CHECKING:
    from enfilade.actors.simulation.host import Host
    from enfilade.actors.simulation.world import World

__all__ = ["MeshCall"]

NOBODY: Final = "stranger@nowhere"
"""The name under which speaks whose own name no subject can have."""

ELSEWHERE: Final = "elsewhere"
"""The mesh of another user."""

PAUSE: Final = 0.05
"""Mean of the seconds between two messages that make no sense."""

SCOPES: Final = ("groups", "nothing")
"""Published tables: one that nodes have, and one that they have not."""

LARGEST: Final = 64
"""Bytes of a message that makes no sense."""

_HEAD: Final = struct.Struct(">BQB")


class MeshCall(Call):
    """The call of a stranger in a mesh, who connects to a server, and speaks to the host from there."""

    def __init__(self, world: World, host: Host, what: Story, seconds: float, draw: int) -> None:
        super().__init__(world, host, what, seconds, draw)
        assert world.cluster is not None, "the host is in a mesh"
        mesh: Mesh = self.host.options["mesh"]
        name = self.name if "@" in self.name and len(self.name) <= MOST_CHARACTERS else NOBODY
        speaks_in = ELSEWHERE if self.what == "user" else mesh.name
        self._own = Subjects(speaks_in, name, self.incarnation)
        self._carrier = MeshCarrier(
            mesh,
            self._own,
            list(mesh.addresses),
            None,
            None,
            own_node(self._own, (), (), ""),
            entropy=self.draws.bytes,
            random=self.draws.random,
            unix_time=lambda: EPOCH + world.now(),
            dial=partial(world.cluster.dial, self.process),
        )

    async def begin(self) -> None:
        """See `Call`."""
        async with trio.open_nursery() as nursery:
            try:
                with suppress(MeshError):  # no server is there
                    await nursery.start(self._carrier.connection.run)
                    if self.what == "nonsense":
                        nursery.start_soon(self._talk_nonsense)
                    await self.talk(self._carrier)
            finally:
                nursery.cancel_scope.cancel()

    async def _talk_nonsense(self) -> None:
        """Publish what makes no sense wherever the host listens, again and again."""
        while True:
            subject = self.draws.choice(self._subjects())
            reply = self._own.inbox + ".0" if self.draws.below(2) else ""
            self._carrier.connection.publish(subject, self.draws.choice(self._payloads)(), reply)
            await trio.sleep(self.draws.exponential(PAUSE))

    def _subjects(self) -> list[str]:
        """The subjects of a stranger that the host listens to, and that of answers to the host's requests."""
        host, own = self.host.full_name, self._own
        latest = self.host.latest
        incarnation = self.draws.below(2**32) if latest is None else latest.incarnation
        return [
            own.meeting_of(host),
            own.inlet(host, incarnation, self.draws.below(2**32)),
            own.probe_of(host, incarnation),
            own.beat,
            own.announcement,
            own.question,
            *map(own.change_of, SCOPES),
            *(own.table_of(host, scope) for scope in SCOPES),
            f"{Subjects(own.mesh, host, incarnation).inbox}.{self.draws.bytes(8).hex()}",
        ]

    @property
    def _payloads(self) -> tuple[Callable[[], bytes], ...]:
        """What makes payloads: bytes; something with the head of a message; something with that of a batch;
        lists of numbers and texts, as all else is made of.
        """
        return self._bytes, self._message, self._batch, self._list

    def _bytes(self) -> bytes:
        return self.draws.bytes(self.draws.below(LARGEST))

    def _message(self) -> bytes:
        return _HEAD.pack(self.draws.below(256), self.incarnation, self.draws.below(256)) + self._bytes()

    def _batch(self) -> bytes:
        return _HEAD.pack(0, self.incarnation, 0) + PREFIX + self._bytes()

    def _list(self) -> bytes:
        values: tuple[Any, ...] = (self.draws.below(2**32), "", [], None, "x" * 40, -1, [["groups", 1]], True)
        return msgspec.msgpack.encode([self.draws.choice(values) for _ in range(self.draws.below(8))])
