"""The bound of a mailbox, and the policies for messages that find it full.

A mailbox has two lanes. The *control lane* carries signals and system messages; it is never bounded and is
served before any message. The *data lane* is a deque of messages in order of arrival, and this file is about
its bound. Replies, exit and down messages lie in the data lane, so that they keep their place among the
messages of the same sender, but are never refused.

Whether a message is let in is the queue's own affair, so a sender need not ask: to `append` to the plain
deque of an unbounded mailbox costs no test, and the queue of a bounded mailbox, or of a process that has
ended, does something else instead.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import attrs

from enfilade.actors.messages.errors import MailboxFull
from enfilade.actors.messages.hooks import call
from enfilade.actors.messages.reasons import Crashed
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.signals import may_be_dropped
from enfilade.actors.processes.keyed_timers import Tick
from enfilade.fields import is_int

if TYPE_CHECKING:
    from enfilade.actors.processes.record import Record

__all__ = [
    "LIMITLESS",
    "NOTHING",
    "UNBOUNDED",
    "BoundedQueue",
    "ClosedQueue",
    "Lagged",
    "Mailbox",
    "Overflow",
    "Place",
    "UnusedQueue",
    "bury_left",
    "is_kept",
    "keep",
    "mailbox_full",
    "make_room",
    "oldest_droppable",
    "put",
    "take_left",
    "wait_for_room",
]


Overflow = Literal["block", "drop_newest", "drop_oldest", "lag", "fail", "dead_letter", "crash"]

LIMITLESS = sys.maxsize

NOTHING: Final = object()
"""In the place of a message that could be dropped, if there is none."""


def _check_capacity(_instance: object, _attribute: object, value: int | None) -> None:
    if value is not None and not (is_int(value) and value >= 1):
        raise ValueError(
            f"the capacity of a mailbox must be None or an int of at least 1, got {safe_repr(value)}"
        )


def _check_overflow(_instance: object, _attribute: object, value: object) -> None:
    if value not in get_args(Overflow):
        policies = ", ".join(get_args(Overflow))
        raise ValueError(f"the overflow of a mailbox must be one of {policies}, got {safe_repr(value)}")


def _check_inherit(_instance: object, _attribute: object, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"the inherit of a mailbox must be True or False, got {safe_repr(value)}")


@attrs.frozen
class Mailbox:
    """The bound of a data lane.

    Attributes:
        capacity: how many messages may wait, at least 1; None: any number, as in Erlang.
        overflow: what becomes of a message that finds no room; what is dropped is counted.

            * "block": `send` raises `MailboxFull`, `send_wait` waits (as it does under every policy).
            * "drop_newest": the message is dropped.
            * "drop_oldest": the oldest waiting message is dropped in its favour.
            * "lag": so it is, and a `Lagged` in the place of what was dropped tells the receiver how much it
              has missed; that notice counts, so the capacity is at least 2.
            * "fail": the sender gets `MailboxFull`.
            * "dead_letter": the message becomes a dead letter.
            * "crash": the receiver ends, as one that outgrew its heap.

        inherit: keep the queue when the process dies, for the incarnation that its supervisor starts next,
            and let messages in meanwhile, by the same bound and policy. The message that was being handled is
            not kept.
    """

    capacity: int | None = attrs.field(default=None, validator=_check_capacity)
    overflow: Overflow = attrs.field(default="dead_letter", validator=_check_overflow)
    inherit: bool = attrs.field(default=False, validator=_check_inherit)

    def __attrs_post_init__(self) -> None:
        if self.overflow == "lag" and self.capacity == 1:
            raise ValueError("the capacity of a mailbox with the overflow 'lag' must be at least 2, got 1")


@attrs.frozen
class Lagged:
    """The receiver was too slow: here the mailbox has dropped `missed` messages in favour of later ones.

    What, for example, the receivers of a broadcast are told, if each has a mailbox with the policy "lag".
    """

    missed: int


UNBOUNDED = Mailbox()


def checked_mailbox(mailbox: Mailbox) -> Mailbox:
    """Return `mailbox`, what the program has given as one.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(mailbox, Mailbox):
        raise TypeError(f"mailbox must be a Mailbox, such as Mailbox(capacity=100), got {safe_repr(mailbox)}")
    return mailbox


class BoundedQueue(deque[Any]):
    """The data lane of a bounded mailbox, which applies its policy to messages that find no room."""

    __slots__ = ("_process",)

    def __init__(self, process: Record) -> None:
        self._process = process  # without super(), which has nothing to do for an empty deque

    def append(self, message: Any) -> None:
        process = self._process
        if len(self) < process.limit:
            put(self, message)
        else:
            overflow(process, message)

    def drop(self, position: int) -> Any:
        """Take the message at `position` out, to make room, and return it."""
        message = self[position]
        del self[position]
        return message


class UnusedQueue(list[Any]):
    """The data lane of a process that nothing has been sent yet: always empty.

    The first message makes the deque. An empty deque is larger than all else that an idle actor has, and many
    actors are only ever called, or wait for a message that seldom comes. It is a list, so that Python sees
    that it is empty without calling anything.
    """

    __slots__ = ("_process",)

    def __init__(self, process: Record) -> None:
        self._process = process  # without super(), which would slow down every spawn and restart

    def append(self, message: Any) -> None:
        self._process.open_queue().append(message)


class ClosedQueue:
    """The data lane of a process that has ended: it is empty, and what comes is undeliverable."""

    __slots__ = ("_process",)

    def __init__(self, process: Record) -> None:
        self._process = process

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def append(self, message: Any) -> None:
        overflow(self._process, message)


def oldest_droppable(messages: Iterable[Any]) -> int:
    """The position of the oldest of these messages that a policy may drop, -1 if there is none.

    What is only the runtime's to send stays: a receiver that misses the end of a process, or its own order
    to stop, would wait for ever. Runs no code of the program.
    """
    for position, message in enumerate(messages):
        if may_be_dropped(message.message if type(message) is Tick else message):
            return position
    return -1


# Queue a message whether there is room or not.
put = deque.append


def mailbox_full(process: Record) -> MailboxFull:
    """The error that names `process`."""
    return MailboxFull(process.ref, process.mailbox.capacity or 0)


def make_room(process: Record) -> bool:
    """Drop what is oldest in favour of one more message, if that is the policy; false if it is not."""
    policy = process.mailbox.overflow
    if policy not in ("drop_oldest", "lag"):
        return False
    extras = process.extras_or_none
    if extras is not None and len(process.queue) < process.limit + extras.places:
        return True  # only a `Place` stands in the way: when its message comes, it drops what is oldest then
    oldest = process.drop_oldest()
    missed, dropped = (oldest.missed, 0) if type(oldest) is Lagged else (1, 1)
    if oldest is NOTHING:
        return True  # all must stay: the next one takes the place of this one
    if policy == "lag":
        further = int(process.drop_oldest() is not NOTHING)
        process.put_first(Lagged(missed + further))
        dropped += further
    process.node.dropped += dropped
    return True


def overflow(process: Record, message: Any) -> None:
    """Apply the policy to `message`: `process` has ended, or its mailbox is full. Not a checkpoint.

    Raises:
        MailboxFull: by the policies "block" and "fail".
    """
    node = process.node
    if process.ended is not None and not is_kept(process):
        node.dead_letters.publish(message, process.ref, process.ended)
        return
    mailbox = process.mailbox
    if node.hooks.mailbox_overflowed:
        call(node.hooks.mailbox_overflowed, process)  # type: ignore[arg-type]
    match mailbox.overflow:
        case "block" | "fail":
            raise mailbox_full(process)
        case "drop_newest":
            node.dropped += 1
        case "drop_oldest" | "lag":
            make_room(process)
            process.put(message)
        case "dead_letter":
            node.dead_letters.publish(message, process.ref, Crashed(mailbox_full(process)))
        case "crash":
            process.interrupt(Crashed(mailbox_full(process)))
            node.dead_letters.publish(message, process.ref, Crashed(mailbox_full(process)))


async def wait_for_room(process: Record) -> None:
    """Wait until the data lane of `process` has room, or the process has ended.

    A checkpoint when it has to wait; cancellation leaves the queue of waiting senders.

    Raises:
        MailboxFull: the sender is the process itself, which would wait for ever.
    """
    while process.ended is None and len(process.queue) >= process.limit:
        if process.node.current is process:
            raise mailbox_full(process)
        await process.room().park()


class Place:
    """A place in a bounded mailbox that is kept for one message, which is under way from another node.

    Nobody who waits for room gets it. Where the oldest is dropped for want of room, others use it meanwhile.
    """

    __slots__ = ("_process",)

    def __init__(self, process: Record) -> None:
        self._process: Record | None = process
        process.extras().places += 1
        process.reckon_limit()

    def give_back(self) -> None:
        """Let others have the place. Harmless when repeated."""
        process, self._process = self._process, None
        if process is None or process.ended is not None:
            return
        extras = process.extras()
        extras.places -= 1
        process.reckon_limit()
        if extras.room is not None:
            extras.room.unpark(count=max(0, process.limit - len(process.queue)))


# What a process with `Mailbox.inherit` leaves is at first in `Extras.heir`. While its supervisor restarts it,
# its data lane is open again, and holds that and what has come since.


def is_kept(process: Record) -> bool:
    """Return true if the mailbox of `process`, which has ended, takes messages for its next incarnation."""
    return process.mailbox.inherit and isinstance(process.queue, deque)


def keep(process: Record) -> None:
    """Take messages for the heir of `process` from now on, if it has ended and may have one."""
    mailbox = process.mailbox
    if process.ended is None or not mailbox.inherit or is_kept(process):
        return
    left = take_left(process)
    process.queue = deque() if mailbox.capacity is None else BoundedQueue(process)
    process.queue.extend(left)
    process.limit = LIMITLESS if mailbox.capacity is None else mailbox.capacity


def take_left(process: Record) -> deque[Any]:
    """Take away what `process`, which has ended, has for its heir; then it takes no more."""
    left: deque[Any] | None
    if is_kept(process):
        left, process.queue = process.queue, ClosedQueue(process)  # type: ignore[assignment]
        process.limit = 0
    else:
        left = None if process.extras_or_none is None else process.extras_or_none.heir
    extras = process.extras_or_none
    if extras is not None:
        extras.heir = None
        if not extras.stop_requests:  # otherwise it is just ending
            process.extras_or_none = None
    return deque() if left is None else left


def bury_left(process: Record) -> None:
    """There will be no heir of `process`: fail the calls that it left; the rest are dead letters."""
    reason = process.ended
    if reason is None:
        return
    for message in take_left(process):
        process.node.dead_letters.publish(message, process.ref, reason)
