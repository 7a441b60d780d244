"""Everything that is decided about a guest before it exists."""

from __future__ import annotations

import attrs

from enfilade.hostcalls.abi import AbiParam
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.contracts.authority import Authority
from enfilade.hostcalls.contracts.budget import Place
from enfilade.hostcalls.contracts.entrypoint import Argument
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.engine import Module
from enfilade.hostcalls.net.policy import Network


@attrs.frozen(kw_only=True, eq=False)
class Launch:
    """A guest to be started.

    Attributes:
        module: the compiled module.
        entrypoint: the name of the export to call.
        grants: its capabilities.
        arguments: the arguments, free of the caller's slots.
        results: what the entrypoint is declared to return.
        limits: its bounds.
        authority: the names that it may find, take and end.
        label: for people, in logs and backtraces.
        network: where it may use the network.
        parent: the process id of the guest that starts it, or None.
        place: its place in the tree of the guest that starts it; None for the root of a tree of its own.
    """

    module: Module
    entrypoint: str = "start"
    grants: frozenset[Capability] = frozenset()
    arguments: tuple[Argument, ...] = ()
    results: tuple[AbiParam, ...] = ()
    limits: Limits = attrs.field(factory=Limits)
    authority: Authority = attrs.field(factory=Authority)
    label: str = ""
    network: Network = attrs.field(factory=Network.loopback)
    parent: int | None = None
    place: Place | None = None
