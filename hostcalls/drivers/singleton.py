"""Singletons: resources that every guest can find by a well-known id; the contracts of
`selium::singleton::*`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from enfilade.hostcalls.abi import SingletonLookup, SingletonRegister, catalogue
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.operation import Operation, operation


def operations() -> Iterable[Operation[Any, Any]]:
    """The operations of singletons."""
    yield operation(catalogue.SINGLETON_REGISTER, register)
    yield operation(catalogue.SINGLETON_LOOKUP, lookup)


def register(caller: Caller, wanted: SingletonRegister) -> None:
    """Give the caller's resource with a shared handle an id, until it goes."""
    registry = caller.registry
    resource = registry.shared(wanted.resource)
    caller.check_owner(resource, "register")
    registry.register_singleton(wanted.id.value, resource)


def lookup(caller: Caller, wanted: SingletonLookup) -> int:
    """The shared handle of the resource with this id."""
    registry = caller.registry
    return registry.share(registry.singleton(wanted.id.value))
