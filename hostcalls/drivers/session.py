"""Sessions: trees of entitlements; the contracts of `selium::session::*`.

A session says, for each capability, to which resources it extends: to none, to some, or to any. A guest has
no session unless its host puts one into its slots, so that for most guests every call here finds nothing.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Iterable
from typing import Any

import attrs

from enfilade.hostcalls.abi import (
    SessionCreate,
    SessionEntitlement,
    SessionRemove,
    SessionResource,
    catalogue,
)
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.errors import PermissionDenied, SubsystemError
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.operation import Operation, operation
from enfilade.hostcalls.resources.registry import Kind


class Scope(enum.Enum):
    """The scopes that are not a set of resources."""

    NONE = "none"
    ANY = "any"


@attrs.define(eq=False)
class Session:
    """Entitlements: for each capability that the session has, the resources that it extends to.

    `public_key` is kept for whoever authenticates sessions; nothing here verifies it.
    """

    parent: Session | None = None
    public_key: bytes = bytes(32)
    scopes: dict[Capability, set[int] | Scope] = attrs.field(factory=dict)
    id: bytes = attrs.field(factory=lambda: secrets.token_bytes(16))

    def covers(self, capability: Capability, resource: int) -> bool:
        """Tell whether the session has the capability for this resource."""
        scope = self.scopes.get(capability, Scope.NONE)
        return scope is Scope.ANY or (isinstance(scope, set) and resource in scope)


def operations() -> Iterable[Operation[Any, Any]]:
    """The operations of sessions."""
    yield operation(catalogue.SESSION_CREATE, create)
    yield operation(catalogue.SESSION_REMOVE, remove)
    yield operation(catalogue.SESSION_ADD_ENTITLEMENT, add_entitlement)
    yield operation(catalogue.SESSION_RM_ENTITLEMENT, rm_entitlement)
    yield operation(catalogue.SESSION_ADD_RESOURCE, add_resource)
    yield operation(catalogue.SESSION_RM_RESOURCE, rm_resource)


def create(caller: Caller, wanted: SessionCreate) -> int:
    """A session without entitlements below another; the parent may manage it from then on."""
    parent: Session = caller.get(wanted.session_id, Kind.SESSION).payload
    scope = parent.scopes.get(Capability.SESSION_LIFECYCLE, Scope.NONE)
    if scope is Scope.NONE:
        raise PermissionDenied
    session = Session(parent, wanted.pubkey)
    slot = caller.add(Kind.SESSION, session)
    if isinstance(scope, set):
        scope.add(slot)
    return slot


def remove(caller: Caller, wanted: SessionRemove) -> None:
    """End a session."""
    parent, session = _pair(caller, wanted.session_id, wanted.target_id)
    if session.parent is None:
        raise PermissionDenied
    resource = caller.get(wanted.target_id, Kind.SESSION)
    caller.slots.free(wanted.target_id)
    caller.registry.remove(resource)
    scope = parent.scopes[Capability.SESSION_LIFECYCLE]
    if isinstance(scope, set):
        scope.discard(wanted.target_id)


def add_entitlement(caller: Caller, wanted: SessionEntitlement) -> None:
    """Give a capability that the parent has, with an empty scope."""
    parent, session = _pair(caller, wanted.session_id, wanted.target_id)
    if wanted.capability not in parent.scopes:
        raise SubsystemError("attempted to create a session with entitlements beyond its own")
    session.scopes[wanted.capability] = set()


def rm_entitlement(caller: Caller, wanted: SessionEntitlement) -> None:
    """Take a capability away."""
    _, session = _pair(caller, wanted.session_id, wanted.target_id)
    if session.scopes.pop(wanted.capability, None) is None:
        raise SubsystemError("session not authorised to perform this action")


def add_resource(caller: Caller, wanted: SessionResource) -> int:
    """Extend a capability to a resource; 1 if it was new, 0 if the session has no scope to extend."""
    parent, session = _pair(caller, wanted.session_id, wanted.target_id)
    if not parent.covers(wanted.capability, wanted.resource_id):
        raise SubsystemError("attempted to create a session with entitlements beyond its own")
    scope = session.scopes.get(wanted.capability)
    if not isinstance(scope, set) or wanted.resource_id in scope:
        return 0
    scope.add(wanted.resource_id)
    return 1


def rm_resource(caller: Caller, wanted: SessionResource) -> int:
    """Take a resource out of the scope of a capability; 1 if it was in it."""
    _, session = _pair(caller, wanted.session_id, wanted.target_id)
    scope = session.scopes.get(wanted.capability)
    if scope is Scope.ANY:
        raise SubsystemError("attempted to revoke a resource from 'Any' scope")
    if not isinstance(scope, set) or wanted.resource_id not in scope:
        return 0
    scope.remove(wanted.resource_id)
    if not scope:
        session.scopes[wanted.capability] = Scope.NONE
    return 1


def _pair(caller: Caller, parent: int, target: int) -> tuple[Session, Session]:
    """The two sessions, if the first may manage the second."""
    manager: Session = caller.get(parent, Kind.SESSION).payload
    session: Session = caller.get(target, Kind.SESSION).payload
    if not manager.covers(Capability.SESSION_LIFECYCLE, target):
        raise PermissionDenied
    return manager, session
