"""The registry: every resource that guests can have, and who holds it.

A guest never names a resource itself. It names a *slot*, a number of its own (`slots.py`), or a *shared
handle*, a random number of 63 bits that leads to the resource for every guest that knows it, and is never
used twice.

A resource lives as long as somebody can reach it:

* a slot of a living guest, a message on its way, a child resource (a reader holds its channel), or the host
  holds it;
* or it has a shared handle, and the process that created it lives.

When the last of these goes, so does the resource: its readers and writers are closed, its singleton id,
shared handle and log relation erased. Nothing of a dead guest is left behind that nobody else uses.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import attrs

from enfilade.hostcalls.abi.errors import AlreadyExists, InvalidArgument, NotFound, RegistryError

T = TypeVar("T")


class Kind(enum.Enum):
    """The kind of a resource."""

    PROCESS = "process"
    CHANNEL = "channel"
    READER = "reader"
    WRITER = "writer"
    SESSION = "session"
    ACTOR = "actor"
    REQUEST = "request"
    LISTENER = "listener"
    NET_READER = "net reader"
    NET_WRITER = "net writer"
    TLS_SERVER = "tls server"
    TLS_CLIENT = "tls client"
    OTHER = "other"


class Departure(enum.Enum):
    """Why a resource has gone."""

    RELEASED = "released"
    """Nobody holds it any more."""

    PROCESS_ENDED = "process ended"
    """The process that held or owned it last has ended."""


@attrs.define(eq=False)
class Resource:
    """One entry of the registry.

    Attributes:
        id: its number, never used twice.
        kind: what it is.
        payload: the thing itself, or None while it is only reserved.
        owner: the id of the process that created it, None when that has ended or there was none.
        holds: how many slots, messages, children and host objects hold it.
        shared: its shared handle.
        alive: whether it is still in the registry.
        singleton: the well-known id under which guests find it; None.
        release: called when it is removed; None.
        departure: why it has gone; set before `release` is called.
        parent: the channel of a reader or writer, which holds it; None.
        orphaned: whether the process that created it has ended.
        moved: called with the id of the process that owns it from now on, None while it is on its way; None.
        spent: tells that nothing will come of it any more, whoever uses it; None for what is never spent.
    """

    id: int
    kind: Kind
    payload: Any = None
    owner: int | None = None
    holds: int = 0
    shared: int | None = None
    alive: bool = True
    singleton: bytes | None = None
    release: Callable[[], None] | None = None
    departure: Departure | None = None
    parent: Resource | None = None
    orphaned: bool = False
    moved: Callable[[int | None], None] | None = None
    spent: Callable[[], bool] | None = None


class HandleTable(Generic[T]):
    """Numbers from 0 for objects; a freed number is the next one given out."""

    __slots__ = ("_entries", "_free")

    def __init__(self) -> None:
        self._entries: list[T | None] = []
        self._free: list[int] = []

    def insert(self, value: T) -> int:
        """Give `value` a number."""
        if self._free:
            handle = self._free.pop()
            self._entries[handle] = value
        else:
            handle = len(self._entries)
            self._entries.append(value)
        return handle

    def get(self, handle: int) -> T:
        """Return the entry with this number. Raises `NotFound`."""
        value = self._entries[handle] if 0 <= handle < len(self._entries) else None
        if value is None:
            raise NotFound
        return value

    def remove(self, handle: int) -> T:
        """Free the number and return what had it. Raises `NotFound`."""
        value = self.get(handle)
        self._entries[handle] = None
        self._free.append(handle)
        return value

    def __len__(self) -> int:
        return len(self._entries) - len(self._free)

    def items(self) -> Iterator[tuple[int, T]]:
        """All numbers in use and what they stand for."""
        return ((handle, value) for handle, value in enumerate(self._entries) if value is not None)


class SecretHandles:
    """Shared handles that cannot be guessed: random numbers from 1 to 2^63 - 1.

    They are positive in every reading of 64 bits, and not 0, which the wire formats of upstream's network
    library refuse.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[int, Resource] = {}

    def insert(self, resource: Resource) -> int:
        """Give `resource` a handle."""
        handle = 0
        while not handle or handle in self._entries:
            handle = secrets.randbits(63)
        self._entries[handle] = resource
        return handle

    def get(self, handle: int) -> Resource:
        """Return the resource with this handle. Raises `NotFound`."""
        resource = self._entries.get(handle)
        if resource is None:
            raise NotFound
        return resource

    def remove(self, handle: int) -> Resource:
        """Forget the handle and return what had it. Raises `NotFound`."""
        resource = self.get(handle)
        del self._entries[handle]
        return resource


class Registry:
    """All resources of one runtime.

    Args:
        upstream: keep upstream's rules: shared handles are counted from 0, freed ones are used again, and
            whoever has a resource may do with it what its owner may.

    Attributes:
        upstream: whether these rules are kept.
        departures: counts the resources that have gone, the holds that were given up and the processes that
            have ended.
    """

    def __init__(self, *, upstream: bool = False) -> None:
        self.upstream = upstream
        self.departures = 0
        self._resources: dict[int, Resource] = {}
        self._last_id = 0
        self._shared: SecretHandles | HandleTable[Resource] = HandleTable() if upstream else SecretHandles()
        self._singletons: dict[bytes, Resource] = {}
        self._owned: dict[int, dict[int, Resource]] = {}
        self._log_channels: dict[int, Resource] = {}  # by process
        self._logging: dict[int, int] = {}  # the process, by its log channel

    def __len__(self) -> int:
        return len(self._resources)

    # Entries.

    def add(
        self,
        kind: Kind,
        payload: Any,
        *,
        owner: int | None = None,
        release: Callable[[], None] | None = None,
    ) -> Resource:
        """Add `payload` as a resource of `kind`, without a holder yet; `owner` is the process that owns it.

        `release` is called when it is removed.
        """
        self._last_id = identity = self._last_id + 1
        resource = Resource(identity, kind, payload, owner, release=release)
        self._resources[identity] = resource
        if owner is not None:
            try:
                self._owned[owner][identity] = resource
            except KeyError:
                self._owned[owner] = {identity: resource}
        return resource

    def reserve(self, kind: Kind, *, owner: int | None = None) -> Resource:
        """Make an entry of `kind`, owned by `owner`, whose payload comes later, by `initialise`."""
        if owner is not None:
            return self.add(kind, None, owner=owner)
        self._last_id = identity = self._last_id + 1
        self._resources[identity] = resource = Resource(identity, kind)
        return resource

    def initialise(self, identity: int, payload: Any) -> None:
        """Give the reserved entry `identity` its `payload`.

        Raises `RegistryError` if it has one, or does not exist.
        """
        resource = self._resources.get(identity)
        if resource is None or resource.payload is not None:
            raise RegistryError
        resource.payload = payload

    def discard(self, identity: int) -> None:
        """Remove the entry `identity`, if it exists."""
        resource = self._resources.get(identity)
        if resource is not None:
            self.remove(resource)

    def get(self, identity: int, kind: Kind) -> Resource:
        """Return the resource `identity`. Raises `NotFound`, and `InvalidArgument` unless it is of `kind`."""
        resource = self._resources.get(identity)
        if resource is None:
            raise NotFound
        if resource.kind is not kind:
            raise InvalidArgument
        return resource

    def of_kind(self, kind: Kind) -> list[Resource]:
        """Return all resources of `kind`, in the order of their ids."""
        return [resource for resource in self._resources.values() if resource.kind is kind]

    def owned(self, process: int) -> int:
        """Return the number of resources that `process` owns."""
        return len(self._owned.get(process, ()))

    def remove(self, resource: Resource, departure: Departure = Departure.RELEASED) -> None:
        """Erase `resource` and all its relations, and release its payload by `departure`. Idempotent."""
        if not resource.alive:
            return
        resource.alive = False
        resource.departure = departure
        self.departures += 1
        del self._resources[resource.id]
        if resource.shared is not None:
            self._shared.remove(resource.shared)
            resource.shared = None
        if resource.singleton is not None:
            del self._singletons[resource.singleton]
        if resource.owner is not None:
            self._owned[resource.owner].pop(resource.id, None)
        if resource.id in self._logging:
            del self._log_channels[self._logging.pop(resource.id)]
        if resource.release is not None:
            resource.release()
        if resource.kind is Kind.PROCESS:
            if resource.id in self._log_channels:
                self._forget_log_channel(resource.id)
            resource.payload = None  # which leads back here

    # Holding.

    def hold(self, resource: Resource) -> None:
        """Keep `resource` until `unhold`."""
        resource.holds += 1

    def unhold(self, resource: Resource, departure: Departure = Departure.RELEASED) -> None:
        """Give up one hold; `resource` is removed, by `departure`, if nothing else can reach it."""
        resource.holds -= 1
        self.departures += 1
        if resource.holds <= 0:
            self._remove_unreachable(resource, departure)

    def owner_ended(self, process: int) -> None:
        """Release what `process`, which has ended, created, unless another process holds it."""
        self.departures += 1
        if process not in self._owned:
            return
        owned = tuple(self._owned.pop(process).values())
        for resource in owned:
            resource.owner = None
            resource.orphaned = True
        for resource in owned:  # one that goes may take others along
            self._remove_unreachable(resource, Departure.PROCESS_ENDED)

    def own(self, resource: Resource, process: int | None) -> None:
        """Make `process` the owner of `resource`: what was sent away belongs to its receiver."""
        if resource.owner is not None:
            self._owned[resource.owner].pop(resource.id, None)
        resource.owner = process
        resource.orphaned = False
        if process is not None and resource.alive:
            self._owned.setdefault(process, {})[resource.id] = resource
        if resource.moved is not None:
            resource.moved(process)

    def _remove_unreachable(self, resource: Resource, departure: Departure) -> None:
        if resource.holds <= 0 and (resource.shared is None or resource.owner is None):
            self.remove(resource, departure)

    # Shared handles.

    def share(self, resource: Resource) -> int:
        """Return the shared handle of `resource`, made at the first call."""
        if resource.shared is None:
            resource.shared = self._shared.insert(resource)
        return resource.shared

    def shared(self, handle: int) -> Resource:
        """Return the resource with the shared `handle`. Raises `NotFound`."""
        return self._shared.get(handle)

    # Singletons.

    def register_singleton(self, identity: bytes, resource: Resource) -> None:
        """Name `resource` by `identity` until it goes. Raises `AlreadyExists` if either is taken."""
        if identity in self._singletons or resource.singleton is not None:
            raise AlreadyExists
        self._singletons[identity] = resource
        resource.singleton = identity

    def singleton(self, identity: bytes) -> Resource:
        """Return the resource named `identity`. Raises `NotFound`."""
        resource = self._singletons.get(identity)
        if resource is None:
            raise NotFound
        return resource

    # Log channels.

    def register_log_channel(self, process: Resource, channel: Resource) -> int | None:
        """Make `channel` the log channel of `process`, and of no other; an earlier one is replaced.

        Returns the id of the process whose log channel it was before, if there was one.
        """
        self.hold(channel)
        before = self._logging.get(channel.id)
        self._forget_log_channel(process.id)
        if before is not None:
            self._forget_log_channel(before)
        self._log_channels[process.id] = channel
        self._logging[channel.id] = process.id
        return before

    def log_channel(self, process: int) -> Resource:
        """Return the log channel of `process`. Raises `NotFound`."""
        channel = self._log_channels.get(process)
        if channel is None:
            raise NotFound
        return channel

    def _forget_log_channel(self, process: int) -> None:
        channel = self._log_channels.pop(process, None)
        if channel is not None:
            del self._logging[channel.id]
            self.unhold(channel)
