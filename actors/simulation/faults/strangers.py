"""Strangers: processes that are no nodes of the system, and call its nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

import attrs

from enfilade.actors.simulation.faults.stranger_calls import Call, Story

if TYPE_CHECKING:
    from enfilade.actors.simulation.world import World

__all__ = ["Stranger"]

WORDS: Final[dict[Story, str]] = {
    "version": "speaks a version that nobody knows",
    "secret": "has another secret",
    "name": "has a name that it cannot have",
    "stale": "says that it is a node of the past",
    "nonsense": "sends what is no handshake",
    "user": "says that it is a node of another user",
}


@attrs.frozen
class Stranger:
    """Let a process that is no node of the system call a host, and stay on the line for so many seconds.

    Attributes:
        host: the name of the host that is called.
        what: how it begins. It speaks another "version"; it has another "secret", or one where none is asked
            for; its "name" is that of the host itself, or none; it is "stale", for it says that it is an
            earlier life of another host, or one of which nobody has heard; it sends "nonsense"; or it belongs
            to another "user", and says that it is another host. Of a host in a mesh it is a client of the
            servers: its nonsense goes to all that the host listens to, and another user has another mesh.
        seconds: how long it stays.
        draw: what it draws its bytes by.
    """

    host: str
    what: Story = attrs.field(default="nonsense", validator=attrs.validators.in_(get_args(Story)))
    seconds: float = attrs.field(default=1.0, validator=attrs.validators.ge(0.0))
    draw: int = 0

    def __str__(self) -> str:
        return f"{self.host} is called for {self.seconds:g} s by a stranger, who {WORDS[self.what]}"

    def strike(self, world: World) -> None:
        """Strike `world`: see `Fault`."""
        host = world.host(self.host)
        if "mesh" in host.options:
            # Worlds without a mesh do without all this.
            from enfilade.actors.simulation.faults.mesh_calls import MeshCall

            world.start(MeshCall(world, host, self.what, self.seconds, self.draw).run)
        elif host.address in world.network.homes:
            world.start(Call(world, host, self.what, self.seconds, self.draw).run)
