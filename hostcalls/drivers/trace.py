"""Trace contexts for guests: the contract of `enfilade::trace::context`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from enfilade.hostcalls.abi import catalogue
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.operation import Operation, operation

__all__ = ["operations"]


def operations() -> Iterable[Operation[Any, Any]]:
    """The operation of traces."""
    yield operation(catalogue.TRACE_CONTEXT, context)


def context(caller: Caller, _: None) -> str:
    """The `traceparent` of what the guest is doing: 55 characters, or none if that belongs to no trace."""
    actors = caller.host.actors
    return "" if actors is None else actors.traceparent
