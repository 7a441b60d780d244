"""Everything that is decided about a guest before it exists."""

from __future__ import annotations

import attrs

from hostcalls.abi import AbiParam
from hostcalls.capability import Capability
from hostcalls.engine import Call, Linked, Module
from hostcalls.invocation import Argument
from hostcalls.limits import Limits
from hostcalls.table import Entry


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
        label: for people, in logs and backtraces.
        parent: the process id of the guest that starts it, or None.
    """

    module: Module
    entrypoint: str = "start"
    grants: frozenset[Capability] = frozenset()
    arguments: tuple[Argument, ...] = ()
    results: tuple[AbiParam, ...] = ()
    limits: Limits = attrs.field(factory=Limits)
    label: str = ""
    parent: int | None = None


@attrs.frozen(kw_only=True, eq=False)
class Prepared:
    """A launch that was checked, with all that any number of guests begun from it can share.

    Made by `hostcalls.kernel.Kernel.prepare`, for that kernel.

    Attributes:
        launch: what is to be started.
        entries: the dispatch table's entries for its grants.
        linked: its module, joined with the hostcalls.
        call: the call of the entrypoint, or None when the arguments must first become slots of the guest.
        writes: what to put into the guest's memory before the call, with its places.
        receives: whether the guest can receive messages at all.
    """

    launch: Launch
    entries: tuple[Entry, ...]
    linked: Linked
    call: Call | None
    writes: tuple[tuple[int, bytes], ...]
    receives: bool
