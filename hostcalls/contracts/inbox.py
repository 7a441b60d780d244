"""Selective receive: a guest waits for the first message that it wants, and all others keep their place.

The queue belongs to the embedder, so that bounds and dead letters work as for its other processes; an
`Inbox` looks at what has come in, takes out what is not for guests, and remembers how far it has looked: a
message is offered to a waiting receive once.
"""

from __future__ import annotations

from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeVar

from enfilade.hostcalls.abi.actor_types import ActorReceive, Kinds
from enfilade.hostcalls.abi.errors import HostcallError, InvalidArgument
from enfilade.hostcalls.abi.received import Wish
from enfilade.hostcalls.contracts.host import Ended, Incoming, Request, Upgrade
from enfilade.hostcalls.resources.clock import Clock, Timer
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.message import Message

C = TypeVar("C")
T = TypeVar("T")


def selects(wanted: ActorReceive, incoming: Incoming) -> bool:
    """Tell whether this receive wants a message."""
    kinds = wanted.kinds or Kinds.USUAL
    if type(incoming) is bytes:
        return bool(kinds & Kinds.PLAIN) and not wanted.tag
    if isinstance(incoming, Request):
        return bool(kinds & Kinds.REQUEST)
    if isinstance(incoming, Message):
        return bool(kinds & Kinds.PLAIN) and wanted.tag in (None, incoming.tag)
    if isinstance(incoming, Upgrade):
        return bool(kinds & Kinds.UPGRADE)
    assert isinstance(incoming, Ended)
    return bool(kinds & (Kinds.EXITED if incoming.monitor is None else Kinds.DOWN))


class Sorter(Protocol):
    """The embedder's knowledge of its messages."""

    def admit(self, message: Any) -> Any:
        """Look at a message for the first time; what stays in the queue for it, or None if nothing does."""
        ...

    def translate(self, message: Any) -> Incoming:
        """An admitted message, as guests know it."""
        ...

    def taken(self, message: Any, incoming: Incoming) -> None:
        """The guest has got this message, and it is no longer in the queue."""
        ...


class WaitingReceive(Future[Any]):
    """A receive for which there was no message: the future of one.

    Attributes:
        select: tells whether it wants a message.
        convert: makes of a message what the guest is given.
        timer: the end of its time; None.
        wish: what it asks for, if it is one that an exchange can answer; None.
        key: the guest's future; set by whoever answers that.
    """

    __slots__ = ("_forget", "convert", "key", "select", "timer", "wish")

    def __init__(
        self,
        select: Callable[[Incoming], bool],
        convert: Callable[[Any], Any],
        forget: Callable[[WaitingReceive], None],
    ) -> None:
        super().__init__()
        self.select = select
        self.convert = convert
        self.timer: Timer | None = None
        self.wish: Wish | None = None
        self.key = -1
        self._forget = forget

    def cancel(self) -> None:
        if not self.done:
            self._forget(self)
            super().cancel()

    def stop_timer(self) -> None:
        """It waits no longer."""
        if self.timer is not None:
            self.timer.cancel()


class Inbox:
    """The receiving side of one guest."""

    __slots__ = ("_clock", "_queue", "_returned", "_seen", "_sorter", "_spare", "_waiting")

    def __init__(self, queue: deque[Any], clock: Clock, sorter: Sorter) -> None:
        self._queue = queue
        self._clock = clock
        self._sorter = sorter
        self._seen = 0  # messages at the head of the queue that were looked at
        self._returned: list[float] = []  # the serials of those at its head that were put back
        self._waiting: WaitingReceive | None = None
        self._spare: WaitingReceive | None = None  # one that was answered in an exchange

    def look(self) -> bool:
        """Look at what has come in; whether the guest got the message that it waits for."""
        if self._seen == len(self._queue):
            return False
        for index, message in self._unseen():
            waiting = self._waiting
            if waiting is not None:
                incoming = self._sorter.translate(message)
                if waiting.select(incoming):
                    self._waiting = None
                    waiting.stop_timer()
                    try:
                        value = self._take(index, message, incoming, waiting.convert)
                    except HostcallError as error:
                        waiting.fail(error)
                    else:
                        waiting.resolve(value)
                    return True
        return False

    def take_bytes(self, limit: int) -> bytes | None:
        """Take the first message if it is mere bytes, no more than `limit`; or return None.

        It is for a guest that receives such messages and now asks for one; nobody may be waiting.
        """
        queue = self._queue
        if not queue or self._waiting is not None:
            return None
        message = queue[0]
        if type(message) is not bytes or len(message) > limit:
            return None
        del queue[0]
        self.is_gone(0)
        return message

    def wait(self, wish: Wish, caller: C, convert: Callable[[C, Any, Any], Any]) -> WaitingReceive | None:
        """Wait as `receive` does for ever; None where something is there, or somebody waits.

        `convert` is called with the caller, what it asks for, and the message.
        """
        if self._queue or self._waiting is not None:
            return None
        waiting, self._spare = self._spare, None
        if waiting is None or waiting.wish is not wish:
            wanted = wish.wanted
            waiting = WaitingReceive(partial(selects, wanted), partial(convert, caller, wanted), self._forget)
            waiting.wish = wish
        self._waiting = waiting
        return waiting

    @property
    def in_exchange(self) -> WaitingReceive | None:
        """The receive that waits, if an exchange can answer it, and there is nothing that it did not want."""
        waiting = self._waiting
        return waiting if waiting is not None and waiting.wish is not None and not self._seen else None

    def answered(self, waiting: WaitingReceive) -> None:
        """The receive that waits was answered in an exchange, and is over."""
        self._waiting = None
        self._spare = waiting

    def are_gone(self, count: int) -> None:
        """So many messages were taken out of the queue, from the first on."""
        self._seen = max(0, self._seen - count)
        del self._returned[:count]

    def return_message(self, message: Any, serial: float) -> None:
        """Put back a message that the guest was given and has not looked at: see `ActorHost.put_back`."""
        index = bisect(self._returned, serial)
        self._returned.insert(index, serial)
        self._queue.insert(index, message)
        self._seen = 0  # whoever waits may want it

    def look_again(self) -> None:
        """Messages were taken out of the queue by others: do not rely on where the rest is."""
        self._seen = 0
        self._returned.clear()

    def is_gone(self, position: int) -> None:
        """The message at that position was taken out of the queue."""
        if position < self._seen:
            self._seen -= 1
        if position < len(self._returned):
            del self._returned[position]

    def receive(
        self,
        select: Callable[[Incoming], bool],
        timeout: float | None,
        convert: Callable[[Incoming | None], T],
    ) -> T | Future[T]:
        """See `enfilade.hostcalls.contracts.host.ActorHost.receive`."""
        if self._waiting is not None:
            raise InvalidArgument
        translate = self._sorter.translate
        for index, message in enumerate(islice(self._queue, self._seen)):
            incoming = translate(message)
            if select(incoming):
                return self._take(index, message, incoming, convert)
        for index, message in self._unseen():
            incoming = translate(message)
            if select(incoming):
                return self._take(index, message, incoming, convert)
        if timeout is not None and timeout <= 0:
            return convert(None)
        waiting = self._waiting = WaitingReceive(select, convert, self._forget)
        if timeout is not None:
            waiting.timer = self._clock.call_later(timeout, lambda: self._timed_out(waiting))
        return waiting

    def offer(self, incoming: Incoming) -> bool:
        """Give something that is no message to the receive that waits, if it wants it; whether it did."""
        waiting = self._waiting
        if waiting is None or not waiting.select(incoming):
            return False
        self._waiting = None
        waiting.stop_timer()
        waiting.resolve(waiting.convert(incoming))
        return True

    def set_aside(self) -> WaitingReceive | None:
        """Let the receive that waits get no message any more, only its timeout, until it is put back."""
        waiting, self._waiting = self._waiting, None
        return waiting

    def put_back(self, waiting: WaitingReceive | None) -> None:
        """Let it wait again, unless its time was over meanwhile. Nobody waits now."""
        if waiting is not None and not waiting.done:
            self._waiting = waiting
            self._seen = 0  # what has come in meanwhile was not offered to it

    def _unseen(self) -> Iterator[tuple[int, Any]]:
        """Look at one new message after the other; what stays in the queue, and where it is."""
        queue, admit = self._queue, self._sorter.admit
        while (index := self._seen) < len(queue):
            message = queue[index]
            admitted = admit(message)
            if admitted is None:
                del queue[index]
                del self._returned[index : index + 1]
                continue
            if admitted is not message:
                queue[index] = admitted
            self._seen = index + 1
            yield index, admitted

    def _take(self, index: int, message: Any, incoming: Incoming, convert: Callable[[Incoming], T]) -> T:
        """Take a message out of the queue, unless it cannot be converted."""
        value = convert(incoming)
        del self._queue[index]
        del self._returned[index : index + 1]
        self._seen -= 1
        self._sorter.taken(message, incoming)
        return value

    def _timed_out(self, waiting: WaitingReceive) -> None:
        if self._waiting is waiting:
            self._waiting = None
        waiting.resolve(waiting.convert(None))

    def _forget(self, waiting: WaitingReceive) -> None:
        if self._waiting is waiting:
            self._waiting = None
        if waiting.timer is not None:
            waiting.timer.cancel()
