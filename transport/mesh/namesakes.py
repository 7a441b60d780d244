"""One node for one name: who comes asks whether the name is in use, and of two that come at once one stays.

A node asks twice. Before it can be met, whoever answers has the name, and the newcomer is refused. Once it
can be met, it asks those that came at the same moment: of two, the one with the higher incarnation gives way,
and a node that stays already has the name in any case. The question and its answer pass both, so it is enough
that one of them arrives.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import msgspec
import trio

from enfilade.transport.mesh.connection import Connection, NoResponders
from enfilade.transport.mesh.protocol import Message, decoded
from enfilade.transport.mesh.subjects import Subjects
from enfilade.transport.printable import printable

__all__ = ["Namesakes"]

ASKING_SECONDS: Final = 2.0
"""Time for a node of the same name to answer, before this one takes it."""

RIVALS_SECONDS: Final = 0.1
"""Time for further answers when a node that gives way has answered."""

LATEST: Final = 253_402_300_799
"""The last second of a year with four digits."""


class _Namesake(msgspec.Struct, array_like=True):
    """What a node says of itself to another of its name. Fields are added at the end only."""

    host: str
    process: int
    since: float = 0.0
    incarnation: int = 0
    stays: bool = True

    def __str__(self) -> str:
        since = ""
        if 0 < self.since <= LATEST:
            since = f", since {datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M:%S} UTC"
        return f"process {self.process} on host {printable(self.host, 64)}{since}"


class Namesakes:
    """One node's part in having one node for one name.

    Args:
        connection: to the servers.
        subjects: of the node.
        question: encodes a question of either kind, which what the node says of itself follows.
        since: when the node began, in seconds since 1970.

    Attributes:
        stays: whether the name is this node's: from then on it does not give way.
    """

    def __init__(
        self, connection: Connection, subjects: Subjects, question: Callable[..., bytes], since: float
    ) -> None:
        self.stays = False
        self._connection = connection
        self._subjects = subjects
        self._question = question
        self._since = since
        self._rival = ""

    async def find(self) -> str:
        """Return where another node of this name runs, in words; empty when none can be met. A checkpoint."""
        where = ""
        with trio.move_on_after(ASKING_SECONDS), suppress(NoResponders):
            subject = self._subjects.meeting_of(self._subjects.node)
            question = self._question(is_contest=False) + self._told()
            answer = await self._connection.request(subject, question)
            where = "a process on an unknown host"
            with suppress(ValueError):
                where = str(decoded(answer.payload, _Namesake))
        return where

    async def contest(self) -> str:
        """Find out whether this node, which can be met now, has to give way. A checkpoint.

        Returns:
            Where the node that stays runs, in words; empty when this one stays.
        """
        subject = self._subjects.meeting_of(self._subjects.node)
        decided = trio.Event()

        def then(message: Message) -> None:
            if not message.has_no_responders:
                self._hear(message)
                limit.deadline = min(limit.deadline, trio.current_time() + RIVALS_SECONDS)
            if message.has_no_responders or self._rival:
                decided.set()

        with trio.move_on_after(ASKING_SECONDS) as limit:
            question = self._question(is_contest=True) + self._told()
            forget = self._connection.ask(subject, question, then)
            try:
                await decided.wait()
            finally:
                forget()
        self.stays = not self._rival
        return self._rival

    def _hear(self, answer: Message) -> None:
        with suppress(ValueError):
            found = decoded(answer.payload, _Namesake)
            if found.stays or found.incarnation < self._subjects.incarnation:
                self._rival = str(found)

    def asked(self, reply: str, said: bytes, *, is_contest: bool) -> None:
        """Answer a question.

        Args:
            reply: where to.
            said: what the node that asks says of itself.
            is_contest: whether it can be met, too; it has this node's name then.
        """
        with suppress(ValueError):
            found = decoded(said, _Namesake)
            if is_contest and not self.stays and found.incarnation < self._subjects.incarnation:
                self._rival = str(found)
        self._connection.publish(reply, self._told())

    def _told(self) -> bytes:
        own = self._subjects.incarnation
        return msgspec.msgpack.encode(
            _Namesake(os.uname().nodename, os.getpid(), self._since, own, self.stays)
        )
