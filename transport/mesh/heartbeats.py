"""Heart-beats: how a node says that it lives, and hears it of the nodes that it watches."""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import trio

from enfilade.transport.mesh.connection import Connection
from enfilade.transport.mesh.presence import Death, Presence
from enfilade.transport.mesh.protocol import Message
from enfilade.transport.mesh.subjects import Subjects, from_token

__all__ = ["Heartbeats"]


class Heartbeats:
    """The heart-beats of one node, and those that it listens to.

    Args:
        connection: to the servers.
        subjects: of this node.
        presence: of the others.
        seconds: between two beats.
        carry_out: deals with deaths.

    Attributes:
        ignored: beats that make no sense.
    """

    def __init__(
        self,
        connection: Connection,
        subjects: Subjects,
        presence: Presence,
        seconds: float,
        carry_out: Callable[[Sequence[Death]], None],
    ) -> None:
        self.ignored = 0
        self._connection = connection
        self._subjects = subjects
        self._presence = presence
        self._seconds = seconds
        self._carry_out = carry_out
        self._wanted: Counter[tuple[str, int]] = Counter()
        self._subscribed: dict[str, int] = {}

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Say again and again that this node lives, and find out who does not."""
        task_status.started()
        number = 0
        while True:
            number += 1
            beat = msgspec.msgpack.encode([self._subjects.incarnation, number])
            self._connection.publish(self._subjects.beat, beat)
            self._carry_out(self._presence.pass_time(trio.current_time()))
            await trio.sleep(self._seconds)

    def watch(self, node: str, incarnation: int) -> None:
        """Watch a start of a node, which has just been heard, until `unwatch` was called as often."""
        self._wanted[node, incarnation] += 1
        self._carry_out(self._presence.watch(node, incarnation, trio.current_time()))
        if node not in self._subscribed:
            subject = self._subjects.beat_of(node)
            self._subscribed[node] = self._connection.subscribe(subject, self._heard)

    def unwatch(self, node: str, incarnation: int) -> None:
        """Take back one call of `watch`."""
        self._wanted[node, incarnation] -= 1
        if self._wanted[node, incarnation] > 0:
            return
        del self._wanted[node, incarnation]
        self._presence.forget(node, incarnation)
        if not any(name == node for name, _ in self._wanted):
            self._connection.unsubscribe(self._subscribed.pop(node))

    def _heard(self, message: Message) -> None:
        try:
            node = from_token(message.subject.rpartition(".")[2])
            incarnation, _ = msgspec.msgpack.decode(message.payload, type=tuple[int, int])
        except (ValueError, msgspec.DecodeError):
            self.ignored += 1
            return
        self._carry_out(self._presence.heard(node, incarnation, trio.current_time()))
