"""A module joined with the hostcalls that one set of capabilities grants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from enfilade.hostcalls.engine.module import Module


@attrs.frozen(order=True)
class Import:
    """One hostcall that a module may import: the functions `create`, `poll` and `drop` of one import
    module.

    Attributes:
        module_name: the import module's full name, such as `selium::time::now`.
        index: the number under which submissions name this hostcall; from 0 to 2^32 - 1.
        denied: the capability was not granted. `create` then answers a future whose first `poll` fails with
            "permission denied" (docs/guests.md, "A hostcall that was not granted").
        clock: the engine answers by itself, with a `TimeNow` of the machine's clocks.
        returns: an answer that the guest drops without having polled it comes back, as a submission
            `RETURNED`.
    """

    module_name: str
    index: int
    denied: bool = False
    clock: bool = False
    returns: bool = False


class Linked:
    """A module with its imports resolved, ready to be instantiated any number of times.

    Made by `Engine.link`, which answers the same object for the same module and hostcalls while it is in
    use.
    """

    __slots__ = ("__weakref__", "_linked", "module")

    def __init__(self, module: Module, linked: Any) -> None:
        self.module = module
        self._linked = linked
