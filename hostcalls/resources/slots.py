"""The slots of one guest: the numbers by which it knows its resources.

A number that the guest has freed itself is the next one given out. Guests written against the library that
the ABI comes from free almost nothing, however: a server takes slots for each client and forgets them. So
when a guest has as many as it may have, the host looks for room:

1. Slots are taken away that lead to nothing any more, the oldest first: the resource is gone; nothing will
   come of it (`Resource.spent`); or its channel was created by a process that has ended, no other process
   holds it, and everything in it has been read. Their numbers are never given out again. A guest that still
   remembers one finds nothing there, and never something else.
2. A second slot for a resource, or a second writer of a channel, becomes another use of a slot that the guest
   has. It must be freed as often as it was given.

Below its limit a guest notices nothing of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from enfilade.hostcalls.abi.errors import InvalidArgument, LimitReached, NotFound
from enfilade.hostcalls.resources.registry import Departure, Kind, Registry, Resource

_NUMBERS = 1 << 32
"""Slots are u32 in the guest ABI."""


@attrs.frozen(eq=False)
class Mark:
    """The content of a guest's slots at one moment: their resources, further uses, numbers to give out."""

    resources: Mapping[int, Resource]
    uses: Mapping[int, int]
    free: tuple[int, ...]
    next: int


class Slots:
    """The resources of one guest, under the numbers by which the guest knows them.

    Args:
        registry: where the resources are.
        limit: how many slots the guest may use.

    Attributes:
        limit: as above.
        own: the resource that the guest itself is, and the encoded number of its oldest slot; None until
            `note_own`, and after a slot of an actor was freed.
    """

    __slots__ = ("_actors", "_free", "_next", "_registry", "_searched", "_table", "_uses", "limit", "own")

    def __init__(self, registry: Registry, limit: int) -> None:
        self._registry = registry
        self.limit = limit
        self._table: dict[int, Resource] = {}  # in the order in which they were given
        self._actors: dict[Any, list[int]] = {}  # the slots of each actor, the oldest first
        self._free: list[int] = []
        self._next = 0
        self._uses: dict[int, int] = {}  # of slots that were given more than once: how often more
        self._searched = -1  # `Registry.departures` after the last search for useless slots
        self.own: tuple[Resource, bytes] | None = None

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[tuple[int, Resource]]:
        return iter(self._table.items())

    def insert(self, resource: Resource) -> int:
        """Return a new slot for `resource`; when there is no room, one that leads to it already.

        Raises `LimitReached` when there is neither.
        """
        if len(self._table) >= self.limit and not self.has_room():
            slot = next((slot for slot in reversed(self._table) if self._table[slot] is resource), None)
            if slot is not None:
                return self.share(slot)
            if not self.make_room():
                raise LimitReached("resources", self.limit)
        resource.holds += 1
        if self._free:
            slot = self._free.pop()
        elif self._next < _NUMBERS:
            slot = self._next
            self._next += 1
        else:
            raise LimitReached("resources", _NUMBERS)
        self._table[slot] = resource
        if resource.kind is Kind.ACTOR:
            self._actors.setdefault(resource.payload, []).append(slot)
        return slot

    @property
    def coming(self) -> int:
        """The number that `insert` gives out next, where there is room; and again, once it is freed."""
        return self._free[-1] if self._free else self._next

    def share(self, slot: int) -> int:
        """Count one more use of `slot`, which takes one more `free` or `take`; return it."""
        self._uses[slot] = self._uses.get(slot, 0) + 1
        return slot

    def check_room(self, slots: int = 1) -> None:
        """Raise `LimitReached` unless the guest may have so many `slots` more."""
        if len(self._table) + slots > self.limit and not self.make_room(slots):
            raise LimitReached("resources", self.limit)

    def get(self, slot: int, kind: Kind | None = None) -> Resource:
        """Return the resource in `slot`, of `kind` if that is given.

        Raises `NotFound` when the slot is empty or its resource is gone, `InvalidArgument` when it is of
        another kind.
        """
        resource = self._table.get(slot)
        if resource is None or not resource.alive:
            raise NotFound
        if kind is not None and resource.kind is not kind:
            raise InvalidArgument
        return resource

    def content(self, slot: int) -> Resource | None:
        """Return the resource in `slot`, even when it is gone; None when the slot is empty."""
        return self._table.get(slot)

    def peek(self, slot: int, kind: Kind) -> Any:
        """Return what the resource in `slot` is, or None unless it lives and is of `kind`."""
        resource = self._table.get(slot)
        return resource.payload if resource is not None and resource.alive and resource.kind is kind else None

    def actor(self, wanted: Any) -> int | None:
        """Return the oldest slot for the actor `wanted`, or None; in constant time."""
        for slot in self._actors.get(wanted, ()):
            if self._table[slot].alive:
                return slot
        return None

    def note_own(self, wanted: Any) -> bytes | None:
        """Return the encoded number of the oldest slot for the guest itself, `wanted`, and keep it in `own`;
        None if it has no slot for itself.
        """
        slot = self.actor(wanted)
        if slot is None:
            return None
        encoded = slot.to_bytes(4, "little")
        self.own = self._table[slot], encoded
        return encoded

    def find(self, kind: Kind, wanted: Callable[[Resource], bool]) -> int | None:
        """Return the oldest slot of a living resource of `kind` for which `wanted` is true, or None."""
        for slot, resource in self._table.items():
            if resource.kind is kind and resource.alive and wanted(resource):
                return slot
        return None

    def free(self, slot: int) -> None:
        """Free `slot`, even when its resource is gone. Raises `NotFound` when it is empty."""
        resource = self._table.get(slot)
        if resource is None:
            raise NotFound
        if not self._uses or not self._used_once_less(slot):
            self._forget(slot)
            self._registry.unhold(resource)

    def take(self, slot: int) -> Resource:
        """Free `slot` but keep its hold, which the caller now has. Raises `NotFound`."""
        resource = self.get(slot)
        if self._used_once_less(slot):
            self._registry.hold(resource)
        else:
            self._forget(slot)
        return resource

    def mark(self) -> Mark:
        """Note what is in the slots now, for `restore`. It holds nothing."""
        return Mark(dict(self._table), dict(self._uses), tuple(self._free), self._next)

    def restore(self, mark: Mark) -> None:
        """Free every slot that was given since `mark`.

        A slot that was freed since stays empty, and its number is not given out again: who knows it from
        before the mark finds nothing there, and never something else.
        """
        before = mark.resources
        for slot, resource in list(self._table.items()):
            if before.get(slot) is not resource:
                self._uses.pop(slot, None)
                self.free(slot)
        uses = {slot: min(uses, mark.uses.get(slot, 0)) for slot, uses in self._uses.items()}
        self._uses = {slot: times for slot, times in uses.items() if times}
        self._free = list(mark.free)
        self._next = mark.next

    def clear(self) -> None:
        """Free every slot: the guest has ended."""
        if not self._table and not self._uses and not self._free:
            return
        table, self._table = self._table, {}
        self._actors.clear()
        self.own = None
        self._uses.clear()
        self._free.clear()
        for resource in table.values():
            self._registry.unhold(resource, Departure.PROCESS_ENDED)

    def has_room(self) -> bool:
        """Return whether there is room for one slot; look for some if something has gone since the last look.

        What is spent, and has not gone, is found by `make_room` alone.
        """
        if len(self._table) < self.limit:
            return True
        return self._searched != self._registry.departures and self.make_room()

    def make_room(self, slots: int = 1) -> bool:
        """Take away slots that lead to nothing, up to a quarter of the limit; return whether `slots` fit.

        The youngest are spared if that is enough: the guest may still be at work with them.
        """
        useless = self._useless()
        enough = max(self.limit - max(self.limit // 4, slots), 0)
        while useless and len(self._table) > enough:
            for slot in useless.pop():
                self._uses.pop(slot, None)
                self._registry.unhold(self._remove(slot))
        self._searched = self._registry.departures
        return len(self._table) + slots <= self.limit

    def _used_once_less(self, slot: int) -> bool:
        """Count one use less of a slot that was given more than once; False for every other slot."""
        uses = self._uses.pop(slot, 0)
        if uses > 1:
            self._uses[slot] = uses - 1
        return uses > 0

    def _forget(self, slot: int) -> None:
        self._remove(slot)
        self._free.append(slot)

    def _remove(self, slot: int) -> Resource:
        resource = self._table.pop(slot)
        if resource.kind is Kind.ACTOR:
            self.own = None
            slots = self._actors[resource.payload]
            slots.remove(slot)
            if not slots:
                del self._actors[resource.payload]
        return resource

    def _useless(self) -> list[list[int]]:
        """The slots that lead to nothing, those of one channel together, the oldest last."""
        gone: list[list[int]] = []
        left: dict[Resource, list[int]] = {}  # slots of channels that may be left, in the place of the first
        for slot, resource in self._table.items():
            if not resource.alive or (resource.spent is not None and resource.spent()):
                gone.append([slot])
                continue
            channel = resource.parent or resource
            if channel.kind is not Kind.CHANNEL:
                continue
            if channel.orphaned or not channel.alive or channel.payload.terminated:
                found = left.get(channel)
                if found is None:
                    found = left[channel] = []
                    gone.append(found)
                found.append(slot)
        for channel, slots in left.items():
            if not self._is_left(channel, slots):
                slots.clear()
        return [slots for slots in reversed(gone) if slots]

    def _is_left(self, channel: Resource, slots: list[int]) -> bool:
        """Tell whether nobody but this guest has the channel, and nothing in it waits for the guest.

        `slots` are those of the channel, and of its readers and writers that live.
        """
        if not channel.alive or channel.payload.terminated:
            return True
        if channel.singleton is not None:
            return False
        own: dict[Resource, int] = {}
        for slot in slots:
            resource = self._table[slot]
            own[resource] = own.get(resource, 0) + 1
        ends = [resource for resource in own if resource is not channel]
        if own.get(channel, 0) + sum(end.holds == own[end] for end in ends) != channel.holds:
            return False
        if not ends:
            return not channel.payload.frames
        return not any(end.kind is Kind.READER and end.payload.unread for end in ends)
