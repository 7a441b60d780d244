"""Hints that a node has gone, and the probes that find out whether it has; `presence` says what follows.

A hint is the word of a server that a client has left it, or a Hello that nobody heard. The client's name in
it is what the client said of itself: whoever lies there has another node probed, and no more.
"""

from collections.abc import Callable, Sequence

import msgspec
import trio

from enfilade.transport.mesh.connection import Connection
from enfilade.transport.mesh.presence import PROBE_SECONDS, Death, Presence
from enfilade.transport.mesh.protocol import Message, decoded
from enfilade.transport.mesh.subjects import DISCONNECTED, Subjects

__all__ = ["Doubts"]


class _Client(msgspec.Struct):
    name: str = ""


class _Left(msgspec.Struct):
    """A server's account of a client that has left it, as far as it matters."""

    client: _Client


class Doubts:
    """The doubts of one node about others, and its answers to theirs.

    Args:
        connection: to the servers.
        subjects: of this node.
        presence: of the others.
        bury: tells of deaths.

    Attributes:
        ignored: words of a server that make no sense.
    """

    def __init__(
        self,
        connection: Connection,
        subjects: Subjects,
        presence: Presence,
        bury: Callable[[Sequence[Death]], None],
    ) -> None:
        self.ignored = 0
        self._connection = connection
        self._subjects = subjects
        self._presence = presence
        self._bury = bury
        self._doubted = trio.Event()
        connection.subscribe(f"{subjects.probes}.*", self._probed)

    def listen_to_server(self) -> None:
        """Take the word of servers, which are configured to give it."""
        self._connection.subscribe(DISCONNECTED, self._client_left)

    def hint(self, node: str, incarnation: int | None = None) -> None:
        """Take a hint that a node, or one start of it, has gone."""
        if self._presence.hinted(node, incarnation):
            self._doubted.set()

    async def probe(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Probe the nodes that are doubted, again and again."""
        task_status.started()
        while True:
            await self._doubted.wait()
            self._doubted = trio.Event()
            await trio.sleep(PROBE_SECONDS)
            while due := self._presence.due_probes():
                forget = [self._ask_whether(node, incarnation) for node, incarnation in due]
                await trio.sleep(PROBE_SECONDS)
                for each in forget:
                    each()

    def _ask_whether(self, node: str, incarnation: int) -> Callable[[], None]:
        def then(message: Message) -> None:
            if message.has_no_responders:
                self._bury(self._presence.probe_missed(node, incarnation))
            else:
                now = trio.current_time()
                self._bury(self._presence.probe_answered(node, incarnation, now))

        return self._connection.ask(self._subjects.probe_of(node, incarnation), b"", then)

    def _probed(self, message: Message) -> None:
        if message.reply:
            self._connection.publish(message.reply, b"")

    def _client_left(self, message: Message) -> None:
        try:
            left = decoded(message.payload, _Left, msgspec.json.decode)
            node, _, incarnation = left.client.name.rpartition("/")
            self.hint(node, int(incarnation, 16))
        except ValueError:
            self.ignored += 1
