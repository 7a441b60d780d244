"""A launch that any number of guests can begin from."""

from __future__ import annotations

import attrs

from enfilade.hostcalls.contracts.launch import Launch
from enfilade.hostcalls.contracts.table import Entry
from enfilade.hostcalls.engine import Call, Linked


@attrs.frozen(kw_only=True, eq=False)
class Prepared:
    """A launch that was checked, with all that any number of guests begun from it can share.

    Made by `enfilade.hostcalls.Kernel.prepare`, for that kernel.

    Attributes:
        launch: what is to be started.
        entries: the dispatch table's entries for its grants.
        linked: its module, joined with the hostcalls.
        call: the call of the entrypoint, or None when the arguments must first become slots of the guest.
        writes: what to put into the guest's memory before the call, with its places.
        receives: whether the guest can receive messages at all.
        is_alone: whether the guest, if it is the root of a tree, stays alone in it: its own limits then do.
    """

    launch: Launch
    entries: tuple[Entry, ...]
    linked: Linked
    call: Call | None
    writes: tuple[tuple[int, bytes], ...]
    receives: bool
    is_alone: bool
