"""The guest on whose behalf a contract runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.errors import InvalidArgument, LimitReached, PermissionDenied
from enfilade.hostcalls.contracts.authority import Authority
from enfilade.hostcalls.contracts.budget import Budget, Place
from enfilade.hostcalls.contracts.host import NOBODY, Host
from enfilade.hostcalls.contracts.launch import Launch
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.net.account import Account
from enfilade.hostcalls.net.policy import Network
from enfilade.hostcalls.resources.logs import Forwarder
from enfilade.hostcalls.resources.registry import Kind, Registry, Resource
from enfilade.hostcalls.resources.slots import Slots


class Caller:
    """A guest process, as drivers know it. It is the payload of the process's entry in the registry.

    Args:
        launch: what it is started with: its capabilities, limits, label, parent and rights.

    Attributes:
        process: its entry in the registry; `process.id` is the process id.
        registry: the runtime's resources.
        slots: its own.
        grants: its capabilities.
        limits: its bounds.
        host: what the embedder does for it, until it has ended.
        label: for people.
        parent: the process id of the guest that started it, or None.
        authority: the names that it may find, take and end.
        network: where it may use the network.
        ended: whether it has ended; it can still be stopped once, and its log channel read, until it is
        forgotten.
        children: how many guests it has started that have not ended.
        log: what forwards its log channel, if it has registered one.
        readers: how many readers it has made of each channel that live, by the channel's id.
        place: its place in its tree.
    """

    __slots__ = (
        "authority",
        "children",
        "ended",
        "grants",
        "host",
        "label",
        "limits",
        "log",
        "network",
        "parent",
        "place",
        "process",
        "readers",
        "registry",
        "slots",
    )

    def __init__(
        self,
        process: Resource,
        registry: Registry,
        launch: Launch,
        host: Host,
        place: Place,
    ) -> None:
        self.process = process
        self.registry = registry
        self.host = host
        self.place = place
        self.parent = launch.parent
        self.grants: frozenset[Capability] = launch.grants
        self.limits: Limits = launch.limits
        self.label: str = launch.label
        self.authority: Authority = launch.authority
        self.network: Network = launch.network
        self.ended = False
        self.children = 0
        self.log: Forwarder | None = None
        self.readers: dict[int, int] = {}
        self.slots = Slots(registry, self.limits.resources)

    @property
    def budget(self) -> Budget:
        """The budget that it shares with its tree."""
        return self.place.budget

    @property
    def id(self) -> int:
        """The process id."""
        return self.process.id

    @property
    def account(self) -> Account:
        """The account of the network that it shares with its tree."""
        return self.budget.account

    def adopt(self, launch: Launch) -> None:
        """Be the guest that `launch` describes from now on: another module in the same process."""
        self.grants = launch.grants
        self.limits = launch.limits
        self.label = launch.label
        self.authority = launch.authority
        self.network = launch.network
        self.slots.limit = launch.limits.resources

    def get(self, slot: int, kind: Kind) -> Resource:
        """Return the resource of `kind` in the guest's `slot`. Raises `NotFound` or `InvalidArgument`."""
        return self.slots.get(slot, kind)

    def add(
        self,
        kind: Kind,
        payload: Any,
        release: Callable[[], None] | None = None,
        *,
        parent: Resource | None = None,
    ) -> int:
        """Give the guest a slot for `payload`, a new resource of `kind`, which the guest then owns.

        `release` is called once: when nobody has the resource any more, or now, if the guest has as many as
        it may have. Then `LimitReached` is raised. `parent` is the channel of a reader or writer.
        """
        try:
            self.check_room()
        except InvalidArgument:
            if release is not None:
                release()
            raise
        return self.give(kind, payload, release, parent=parent)

    def give(
        self,
        kind: Kind,
        payload: Any,
        release: Callable[[], None] | None = None,
        *,
        parent: Resource | None = None,
    ) -> int:
        """As `add`, after `check_room` has found that there is room."""
        resource = self.registry.add(kind, payload, owner=self.process.id, release=release)
        resource.parent = parent
        return self.slots.insert(resource)

    def check_room(self, resources: int = 1) -> None:
        """Raise `LimitReached` unless the guest may have so many slots more, and own so many resources.

        One that has ended may have none (`InvalidArgument`): nobody would ever take them from it.
        """
        if self.ended:
            raise InvalidArgument
        self.slots.check_room(resources)
        limit = self.limits.resources
        if self.registry.owned(self.process.id) + resources > limit:
            self.slots.make_room(resources)
            if self.registry.owned(self.process.id) + resources > limit:
                raise LimitReached("resources", limit)

    @property
    def has_room(self) -> bool:
        """True if `check_room` finds room for one resource, and has nothing to do for it."""
        limit = self.limits.resources
        return not self.ended and len(self.slots) < limit and self.registry.owned(self.process.id) < limit

    def check_owner(self, resource: Resource, operation: str) -> None:
        """Raise `PermissionDenied` unless the guest owns the resource: it made it, or was sent it.

        `operation` names what the guest wants to do. By upstream's rules everybody may.
        """
        if resource.owner != self.id and not self.registry.upstream:
            raise PermissionDenied(
                why=f"only the owner of a {resource.kind.value} may {operation} it; "
                "send the resource in a message to give it away, or use Policy(upstream=True)"
            )

    def end(self) -> None:
        """The guest has ended: give up all it holds. The entry stays, for those who ask after it."""
        if not self.ended:
            self.ended = True
            self.host = NOBODY  # the entry is kept for a while, and shall not keep the process
            self.slots.clear()
            self.registry.owner_ended(self.process.id)
