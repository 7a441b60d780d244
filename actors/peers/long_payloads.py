"""Long payloads: how they travel without holding up anybody but those who have to wait for them.

To copy long bytes into a memory file, and out of one, takes a tenth of a second for some hundred megabytes,
in which the loop would do nothing else. So they are copied in fragments, and all others have a turn in
between. The order of signals stays: the frame leaves at its place, with a payload that says that it follows.
At the other end what is addressed to the same process waits behind it, and everything else passes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec
import trio

from enfilade.actors.messages.ref import Ref
from enfilade.actors.peers.ledger import Ledger
from enfilade.actors.peers.ref_passing import RefPassing
from enfilade.actors.processes.local_ref import process_of
from enfilade.transport import wire
from enfilade.transport.attachment import Attachment, Unfilled
from enfilade.transport.file_descriptor import close_all
from enfilade.transport.memory_file import read_in_fragments
from enfilade.transport.payload import late, long_files, number_of_late
from enfilade.transport.records import PayloadError

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["Arrivals", "Departures"]


HIGH_WATER: Final = 16 * 1024 * 1024
"""Bytes that may wait to be copied before senders that are willing to wait have to."""

TURN: Final = 64
"""Frames that are carried out in one turn, when what they have waited for has come."""

FRAME_SIZE: Final = 64
"""Bytes that a frame that waits takes, besides its payload."""

NUMBERED: Final = (wire.Call, wire.Monitor, wire.Spawn)
"""Frames that a later one refers to by their number."""

UNREADABLE: Final = msgspec.Raw(b"\xd4\x7f\x00")
"""What follows in the place of a payload that could not be copied: an extension that nobody knows."""


@attrs.define(eq=False)
class _Departure:
    number: int
    payload: msgspec.Raw
    files: Sequence[Attachment]
    unwritten: Sequence[Unfilled]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.unwritten)


class Departures:
    """The long payloads that have yet to leave for one other node.

    Args:
        say: sends a frame.
        link_has_room: waits until little waits to leave through the node link.
        start_soon: runs a task until the node stops.

    Attributes:
        size: bytes that wait to be copied.
    """

    def __init__(
        self,
        say: Callable[[wire.Frame, Sequence[Attachment]], None],
        link_has_room: Callable[[], Awaitable[None]],
        start_soon: Callable[..., None],
    ) -> None:
        self._say = say
        self._link_has_room = link_has_room
        self._start_soon = start_soon
        self._waiting: deque[_Departure] = deque()
        self.size = 0
        self._is_copying = False
        self._room = trio.lowlevel.ParkingLot()

    def add(
        self, number: int, payload: msgspec.Raw, files: Sequence[Attachment], unwritten: Sequence[Unfilled]
    ) -> msgspec.Raw:
        """Copy a payload soon; return what travels in its place meanwhile."""
        departure = _Departure(number, payload, files, unwritten)
        self._waiting.append(departure)
        self.size += departure.size
        if not self._is_copying:
            self._is_copying = True
            self._start_soon(self._copy_all)
        return late(number)

    async def _copy_all(self) -> None:
        try:
            while self._waiting:
                await self._link_has_room()
                if not self._waiting:
                    break
                departure = self._waiting[0]
                for _ in self._copy(departure):
                    await trio.lowlevel.checkpoint()
                    if not self._waiting or self._waiting[0] is not departure:
                        break  # it has left, or the node link is over
        finally:
            self._is_copying = False

    def _copy(self, departure: _Departure) -> Iterator[None]:
        """Copy the first payload that waits, a fragment at a time, and send it."""
        try:
            for file in departure.unwritten:
                yield from file.fill()
        except OSError:  # there is no room to copy it to
            self._waiting.popleft()
            self._drop(departure)
            self._say(wire.Payload(departure.number, UNREADABLE), ())
        else:
            self._waiting.popleft()
            self._count_off(departure)
            self._say(
                wire.Payload(departure.number, departure.payload, len(departure.files)), departure.files
            )

    def _drop(self, departure: _Departure) -> None:
        for file in departure.unwritten:
            file.drop()
        close_all(departure.files)
        self._count_off(departure)

    def _count_off(self, departure: _Departure) -> None:
        self.size -= departure.size
        if self.size <= HIGH_WATER:
            self._room.unpark_all()

    async def wait_for_room(self) -> None:
        """Wait until little waits to be copied. A checkpoint when it has to wait."""
        while self.size > HIGH_WATER:
            await self._room.park()

    def finish(self) -> None:
        """Copy all that waits, now: the node is about to say goodbye."""
        while self._waiting:
            for _ in self._copy(self._waiting[0]):
                pass

    def forget(self) -> None:
        """Drop all that waits: the node link is over."""
        waiting, self._waiting = self._waiting, deque()
        for departure in waiting:
            self._drop(departure)


@attrs.define(eq=False)
class _Held:
    """A frame that waits.

    Attributes:
        frame: the frame.
        files: what travelled with it, or with the payload that followed.
        number: under which its payload is to follow, if it is.
    """

    frame: Any
    files: Sequence[Attachment]
    number: int | None = None

    @property
    def size(self) -> int:
        return len(getattr(self.frame, "payload", b"")) + FRAME_SIZE


class Arrivals:
    """The frames of one other node that wait for a long payload, each behind those for the same process.

    Args:
        carry_out: carries a frame out, and does not fail: the frame, its files, and what was read from them.
        node: this node.
        ledger: what is open across the node link.
        passing: what the other node may address.
        may: tells whether the other node may ask for what a frame asks for.
        most_bytes: tells how many bytes of a payload are read ahead at most, and how many bytes of frames may
            wait.
        start_soon: runs a task until the node stops.

    Attributes:
        queues: the frames that wait, by what must stay in order; empty nearly always.
    """

    def __init__(
        self,
        carry_out: Callable[[wire.Frame, Sequence[Attachment], Mapping[int, bytes]], None],
        node: Node,
        ledger: Ledger,
        passing: RefPassing,
        may: Callable[[wire.Frame], bool],
        most_bytes: Callable[[], tuple[int, int]],
        start_soon: Callable[..., None],
    ) -> None:
        self._carry_out = carry_out
        self._node = node
        self._ledger = ledger
        self._passing = passing
        self._may = may
        self._most_bytes = most_bytes
        self._start_soon = start_soon
        # The keys of the calls, monitors and spawns that wait, by type and number.
        self._numbers: dict[tuple[type, int], Hashable] = {}
        self.queues: dict[Hashable, deque[_Held]] = {}
        self._late: dict[int, tuple[Hashable, _Held]] = {}
        self._ready: deque[Hashable] = deque()
        self._size = 0
        self._is_working = False

    def hold(self, frame: wire.Frame, files: Sequence[Attachment]) -> bool:
        """Hold a frame back if it has to wait, and take its files over; return false if it has not.

        Raises:
            MalformedBatch: too much waits, or a number is used twice.
        """
        payload = getattr(frame, "payload", None)
        number = None if payload is None else number_of_late(payload)
        must_wait = number is not None or (
            payload is not None and files and self._may(frame) and long_files(payload, files)
        )
        if not must_wait and not self.queues:
            return False
        key = self._key_of(frame)
        if key is None and must_wait:
            key = object()
        queue = self.queues.get(key)
        if queue is None and not must_wait:
            return False
        if isinstance(frame, NUMBERED):
            self._numbers[_kind_of(frame), frame.id] = key
        held = _Held(frame, files, number)
        self._size += held.size
        if self._size > self._most_bytes()[1]:
            close_all(files)
            raise wire.MalformedBatch("too much waits behind a payload that is to follow")
        if number is not None:
            if number in self._late:
                raise wire.MalformedBatch(f"payload {number} is to follow already")
            self._late[number] = key, held
        if queue is None:
            queue = self.queues[key] = deque()
            queue.append(held)
            self._look_at(key)
        else:
            queue.append(held)
        return True

    def _key_of(self, frame: wire.Frame) -> Hashable:
        """Tell which frames must stay in order: those of the same key, those for one process of this node.

        The key is None when the order of the frame does not matter.
        """
        ref: Ref[Any] | None
        match frame:
            case wire.Reply(number):
                call = self._ledger.calls.get(number)
                ref = None if call is None else call.caller
            case wire.Down(number):
                ref = self._ledger.monitors.get(number)
            case wire.Cancel(number):
                return self._numbers.get((wire.Call, number))
            case wire.Demonitor(number):
                return self._numbers.get((wire.Monitor, number))
            case wire.Abandon(number):
                return self._numbers.get((wire.Spawn, number))
            case wire.Spawn(number):
                return "spawn", number
            case wire.Returned():
                return None
            case _:
                to: wire.Target | None = getattr(frame, "to", None)
                if to is None:
                    return None
                if isinstance(to, str):
                    ref = self._node.whereis(to)
                elif isinstance(to, wire.Keyed):
                    return to  # whoever has the key when its turn comes
                else:
                    granted = self._passing.granted
                    ref = granted[to] if to in granted else None  # noqa: SIM401 - it is no dict
                if ref is None:
                    return "nobody", to
        process = process_of(ref)
        return None if process is None else process.serial

    def followed(self, frame: wire.Payload, files: Sequence[Attachment]) -> None:
        """Note that a payload has followed."""
        found = self._late.pop(frame.id, None)
        if found is None:
            close_all(files)
            return
        key, held = found
        self._size -= held.size
        held.frame.payload, held.files, held.number = frame.payload, files, None
        self._size += held.size
        if self.queues[key][0] is held:
            self._look_at(key)

    def _look_at(self, key: Hashable) -> None:
        """Have the first frame of a queue carried out, unless its payload has yet to follow."""
        if self.queues[key][0].number is None:
            self._ready.append(key)
            if not self._is_working:
                self._is_working = True
                self._start_soon(self._work)

    async def _work(self) -> None:
        try:
            while self._ready:
                key = self._ready.popleft()
                queue = self.queues.get(key)
                if queue:
                    await self._work_off(key, queue)
        finally:
            self._is_working = False

    async def _work_off(self, key: Hashable, queue: deque[_Held]) -> None:
        """Carry out the frames of a queue, as far as their payloads have come."""
        done = 0
        while queue and queue[0].number is None:
            held = queue[0]
            fetched: dict[int, bytes] = {}
            for _ in self._fetch(held, fetched) if held.files else () if done % TURN else (None,):
                await trio.lowlevel.checkpoint()
                if not queue or queue[0] is not held:
                    return  # the node link is over
            self._release(queue, fetched)
            done += 1
        if not queue and self.queues.get(key) is queue:
            del self.queues[key]

    def _release(self, queue: deque[_Held], fetched: Mapping[int, bytes]) -> None:
        held = queue.popleft()
        frame = held.frame
        self._size -= held.size
        if isinstance(frame, NUMBERED):
            self._numbers.pop((_kind_of(frame), frame.id), None)
        self._carry_out(frame, held.files, fetched)

    def _fetch(self, held: _Held, fetched: dict[int, bytes]) -> Iterator[None]:
        """Read what is long in the memory files of a frame, a fragment at a time."""
        if not self._may(held.frame):
            return  # nothing is read on behalf of who may not ask for it
        sizes = long_files(held.frame.payload, held.files)
        if sum(sizes.values()) > self._most_bytes()[0]:
            return  # decoding it will say so
        for index, size in sizes.items():
            file = held.files[index]
            assert isinstance(file, int), "memory files alone are long"
            with suppress(OSError, PayloadError):  # decoding it will say so, too
                fetched[index] = yield from read_in_fragments(file, size)

    def finish(self) -> None:
        """Carry out what has come whole, now: the node link is about to end."""
        queues, self.queues = self.queues, {}
        for queue in queues.values():
            while queue and queue[0].number is None:
                self._release(queue, {})
        self.queues = queues
        self._forget()

    def _forget(self) -> None:
        """Drop all that waits."""
        queues, self.queues = self.queues, {}
        self._late.clear()
        self._ready.clear()
        self._numbers.clear()
        self._size = 0
        for queue in queues.values():
            for held in queue:
                close_all(held.files)
            queue.clear()


def _kind_of(frame: wire.Frame) -> type:
    """The kind of a frame in `NUMBERED`, whether it carries the context of a trace or not."""
    return next(kind for kind in NUMBERED if isinstance(frame, kind))
