"""The history of a world: what its nodes told by their hooks, and what the test noted itself."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.reasons import NO_CONNECTION, Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.signals import Call, Cast
from enfilade.actors.simulation.checkers.calls import Calls
from enfilade.actors.simulation.checkers.linearizable import Operation
from enfilade.actors.simulation.checkers.serializable import Append, Read, Transaction
from enfilade.actors.simulation.machine.custody import LIFE, Life

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = [
    "Down",
    "Ended",
    "Event",
    "Fired",
    "History",
    "Lost",
    "Named",
    "Opened",
    "Over",
    "Sent",
    "Started",
    "Taken",
    "Unnamed",
    "Up",
    "Watching",
    "numbered",
]

DROPPING: Final = frozenset({"drop_newest", "drop_oldest", "lag"})
"""The policies of a mailbox that let messages vanish: they do not become dead letters."""


@attrs.frozen
class Event:
    """Something that happened.

    Attributes:
        at: virtual time.
        host: where.
        life: in which of its lives.
    """

    at: float
    host: str
    life: int


@attrs.frozen
class Opened(Event):
    """A life has opened its node."""

    full_name: str
    incarnation: int


@attrs.frozen
class Started(Event):
    """A process has begun."""

    serial: int


@attrs.frozen
class Ended(Event):
    """A process has ended."""

    serial: int


@attrs.frozen
class Named(Event):
    """A process has a name."""

    serial: int
    name: str


@attrs.frozen
class Unnamed(Event):
    """A process has its name no longer."""

    serial: int
    name: str


@attrs.frozen
class Up(Event):
    """The node link to a peer is up."""

    peer: str


@attrs.frozen
class Down(Event):
    """The node link to a peer is over."""

    peer: str


@attrs.frozen
class Over(Event):
    """A life is over: it was crashed, or has ended in order."""


@attrs.frozen
class Sent(Event):
    """A message was sent, the next one of its channel; the test says so.

    Attributes:
        channel: names the sender and the target.
        number: counted from 0 for each channel.
        peer: the full name of the target's node; empty if the test did not tell.
    """

    channel: str
    number: int
    peer: str = ""


@attrs.frozen
class Taken(Event):
    """A message was taken; the test says so."""

    channel: str
    number: int


@attrs.frozen
class Lost(Event):
    """A message has become a dead letter.

    Attributes:
        channel, number: those that the message carries, as `numbered` finds them; None and -1 if it cannot be
            told which message it was.
    """

    channel: str | None
    number: int


@attrs.frozen
class Watching(Event):
    """A process has begun to monitor another; the test says so.

    Attributes:
        number: names the monitor; counted from 0.
        watcher: the serial of the process that monitors.
        target: the full name of the node, the incarnation and the serial of the one that is monitored.
    """

    number: int
    watcher: int
    target: tuple[str, int, int]


@attrs.frozen
class Fired(Event):
    """A monitor has told of an end; the test says so.

    Attributes:
        number: of the monitor.
        is_lost: whether it told of a lost node, not of the end of a process.
    """

    number: int
    is_lost: bool


Note: TypeAlias = Callable[..., None]


def numbered(message: object) -> tuple[str, int] | None:
    """The channel and the number that a message carries: a text followed by an integer, among the items of a
    tuple or a list, or among the arguments of a cast or a call. None if it carries none.
    """
    items: Any = message.args if isinstance(message, Cast | Call) else message
    if isinstance(items, tuple | list):
        for channel, number in pairwise(items):
            if isinstance(channel, str) and type(number) is int:
                return channel, number
    return None


class History:
    """Events in the order in which they happened, and operations.

    Args:
        now: the time of the world.
        note: writes a line of the world's log.

    Attributes:
        events: all of them.
        operations: those of `called`.
        transactions: those of `transaction`.
        calls: those of the hosts, which the world follows by itself.
    """

    def __init__(self, now: Callable[[], float], note: Note) -> None:
        self.events: list[Event] = []
        self.operations: list[Operation] = []
        self.transactions: list[Transaction] = []
        self.calls = Calls()
        self._monitors = 0
        self._now = now
        self._note = note

    def add(self, kind: type[Event], life: Life, *fields: Any) -> None:
        """Note an event of a life; one that is over has none."""
        if not life.is_over:
            self.events.append(kind(self._now(), life.name, life.number, *fields))
            self._note(kind.__name__.lower(), life.name, *fields)

    def sent(self, channel: str, number: int, to: str = "") -> None:
        """Note that the running code of a host sends a message of a channel.

        Args:
            channel: names the sender and the target.
            number: of the message, from 0 on. The message is to carry both, side by side, as items of a tuple
                or as arguments: then it is known among dead letters.
            to: the full name of the target's node. Without it the end of any node link explains a loss.
        """
        self._of_here(Sent, channel, number, *([to] if to else []))

    def taken(self, channel: str, number: int) -> None:
        """Note that the running code of a host has taken a message of a channel."""
        self._of_here(Taken, channel, number)

    def watching(self, watcher: Ref[Any], target: Ref[Any]) -> int:
        """Note that a process of this host has begun to monitor another; `fired` takes the number."""
        number = self._monitors
        self._monitors += 1
        place = (target.node_name, target.incarnation, target.serial)
        self._of_here(Watching, number, watcher.serial, place)
        return number

    def fired(self, number: int, reason: Reason) -> None:
        """Note that a monitor has told of an end."""
        self._of_here(Fired, number, reason == NO_CONNECTION)

    def _of_here(self, kind: type[Event], *fields: Any) -> None:
        life = LIFE.get()
        if life is None:
            raise RuntimeError("events of a history are noted by code of a host: see World.on")
        self.add(kind, life, *fields)

    def called(self, client: str, key: Hashable, name: str, *arguments: Any) -> int:
        """Note that a client begins an operation; `answered` takes the number that this returns."""
        self.operations.append(Operation(client, key, name, arguments, self._now()))
        self._note("called", client, name)
        return len(self.operations) - 1

    def answered(self, number: int, answer: Any) -> None:
        """Note the answer to an operation. Of a life that is over nothing is noted.

        Raises:
            AssertionError: it was answered before.
        """
        life = LIFE.get()
        if life is not None and life.is_over:
            return
        operation = self.operations[number]
        if operation.answered <= self._now():
            raise AssertionError(f"an operation was answered twice: {operation}, and now {answer!r}")
        self.operations[number] = attrs.evolve(operation, answered=self._now(), answer=answer)
        self._note("answered", operation.client, operation.name)

    def transaction(
        self,
        client: str,
        *operations: Append | Read,
        outcome: Literal["committed", "aborted", "unknown"] = "committed",
    ) -> None:
        """Note a transaction of a client when its outcome is known, or known never to come."""
        number = len(self.transactions)
        self.transactions.append(Transaction(number, client, operations, outcome))
        self._note("transaction", client, outcome)

    def of(self, kind: type[Event]) -> list[Any]:
        """The events of a kind."""
        return [event for event in self.events if type(event) is kind]

    def follow(self, node: Node, life: Life) -> None:
        """Note what the node of a life tells, from its opening."""
        self.add(Opened, life, node.full_name, node.incarnation)
        node.hooks.add(_Scribe(self, life))


class _Scribe(Listener):
    """Writes down what a node tells."""

    def __init__(self, history: History, life: Life) -> None:
        self._add = history.add
        self._life = life

    def process_started(self, process: Process) -> None:
        self._add(Started, self._life, process.ref.serial)

    def process_ended(self, process: Process, reason: Reason) -> None:
        self._add(Ended, self._life, process.ref.serial)

    def name_registered(self, process: Process, name: str) -> None:
        self._add(Named, self._life, process.ref.serial, name)

    def name_released(self, process: Process, name: str) -> None:
        self._add(Unnamed, self._life, process.ref.serial, name)

    def message_dead(self, message: Any, ref: Ref[Any], reason: Reason) -> None:
        carried = numbered(message)
        if carried is not None:
            self._add(Lost, self._life, *carried)
        elif not isinstance(message, Cast | tuple | list):  # which would have carried a number
            self._add(Lost, self._life, None, -1)

    def mailbox_overflowed(self, process: Process) -> None:
        if process.mailbox.overflow in DROPPING:
            self._add(Lost, self._life, None, -1)

    def node_up(self, peer: str) -> None:
        self._add(Up, self._life, peer)

    def node_down(self, peer: str, reason: str) -> None:
        self._add(Down, self._life, peer)

    def child_terminated(
        self, supervisor: Process, child_id: Hashable, ref: Ref[Any], reason: Reason, will_restart: bool
    ) -> None:
        self._add(ChildEnded, self._life, supervisor.ref.serial, will_restart)

    def supervisor_gave_up(
        self, supervisor: Process, child_id: Hashable, reason: Reason, restarts: int, period: float
    ) -> None:
        self._add(GaveUp, self._life, supervisor.ref.serial)


@attrs.frozen
class ChildEnded(Event):
    """A supervisor has learned that a child ended."""

    supervisor: int
    will_restart: bool


@attrs.frozen
class GaveUp(Event):
    """A supervisor has given up."""

    supervisor: int
