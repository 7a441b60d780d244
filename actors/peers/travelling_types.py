"""The types that travel between nodes, besides refs.

The runtime's own are exit reasons, what it tells processes, which may be passed on, and what supervisors and
patterns answer (`RECORDS`). Messages of guests travel too, but most nodes have no guests, and are spared the
engine: such classes are loaded when they are met.
"""

from __future__ import annotations

import importlib
from typing import Final

from enfilade.actors.messages import reasons
from enfilade.actors.messages.travelling import RECORDS
from enfilade.actors.node.child_events import ChildEvent
from enfilade.actors.node.groups import Joined, Left
from enfilade.actors.peers.events import NameLost, NodeDown, NodeUp
from enfilade.actors.processes.links import Exited, IdleTimeout
from enfilade.actors.processes.mailbox import Lagged
from enfilade.actors.processes.start import Started
from enfilade.transport.records import Record, TypeRegistry, UnregisteredType, registered

__all__ = ["load_all", "types"]


_OWN: Final[tuple[type, ...]] = (
    *(
        kind
        for kind in vars(reasons).values()
        if isinstance(kind, type) and issubclass(kind, reasons.Reason) and kind is not reasons.Reason
    ),
    *(ChildEvent, Exited, IdleTimeout, Joined, Lagged, Left, NameLost, NodeUp, NodeDown, Started),
)

_PREFIX: Final = "enfilade."

ABOVE: Final = (
    "enfilade.actors.patterns.events",
    "enfilade.actors.patterns.machine",
    "enfilade.actors.patterns.pool_answers",
    "enfilade.actors.supervision.child_spec",
    "enfilade.actors.supervision.children",
    "enfilade.actors.supervision.partition",
    "enfilade.actors.supervision.refusals",
)
"""The modules above this one that have classes which travel."""

_TRAVELLING = {"enfilade.Message": ("enfilade.hostcalls.resources.message", "Message")}
_STAYING = {
    (
        "enfilade.hostcalls.resources.message",
        "Held",
    ): "a guest's resource stays on its node: send the message without resources",
    (
        "enfilade.actors.supervision.child_spec",
        "Child",
    ): "a specification names code, which stays where it is: have a process of the other node make it",
    (
        "enfilade.actors.processes.links",
        "Down",
    ): "a Down has a monitor, which stays on its node: send its `ref` and its `reason`",
}


class Types(TypeRegistry):
    """The types that programs registered, those of the runtime, and the messages of guests."""

    def __init__(self, base: TypeRegistry) -> None:
        super().__init__(base)
        self._loaded = TypeRegistry()

    def by_type(self, cls: type) -> Record | None:
        found = super().by_type(cls) or self._loaded.by_type(cls)
        if found is not None:
            return found
        if RECORDS.get(cls.__name__) is cls:
            return self._load(f"{_PREFIX}{cls.__name__}", cls)
        place = cls.__module__, cls.__qualname__
        if place in _STAYING:
            raise UnregisteredType(_STAYING[place])
        for name, known in _TRAVELLING.items():
            if known == place:
                return self.by_name(name)
        return None

    def by_name(self, name: str) -> Record | None:
        found = super().by_name(name) or self._loaded.by_name(name)
        if found is not None or not name.startswith(_PREFIX):
            return found
        if name in _TRAVELLING:
            module, qualified = _TRAVELLING[name]
            return self._load(name, getattr(importlib.import_module(module), qualified))
        own = RECORDS.get(name.removeprefix(_PREFIX))
        return None if own is None else self._load(name, own)

    def _load(self, name: str, cls: type) -> Record | None:
        self._loaded.register(cls, name=name)
        return self._loaded.by_type(cls)


def load_all() -> None:
    """Load every class of the runtime that travels, whether or not this program uses it."""
    for module in ABOVE:
        importlib.import_module(module)


types: Final = Types(registered)
"""What travels between nodes: what the program registered, and what the runtime has."""

for _kind in _OWN:
    types.register(_kind, name=f"{_PREFIX}{_kind.__name__}")
