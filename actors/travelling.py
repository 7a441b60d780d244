"""The types that travel between nodes.

Messages of guests travel too, but most nodes have no guests, and are spared the engine: such classes are
loaded when they are met.
"""

from __future__ import annotations

import importlib

from transport.records import Record, Registry, UnregisteredType

__all__ = ["Types"]

_TRAVELLING = {"enfilade.Message": ("hostcalls.message", "Message")}
_STAYING = {
    ("hostcalls.message", "Held"): "a guest's resource stays on its node: send the message without resources"
}


class Types(Registry):
    """What the program registered, what the runtime registers here, and the messages of guests."""

    def __init__(self, base: Registry) -> None:
        super().__init__(base)
        self._loaded = Registry()

    def by_type(self, cls: type) -> Record | None:
        found = super().by_type(cls)
        if found is not None:
            return found
        place = cls.__module__, cls.__qualname__
        if place in _STAYING:
            raise UnregisteredType(_STAYING[place])
        for name, known in _TRAVELLING.items():
            if known == place:
                return self.by_name(name)
        return None

    def by_name(self, name: str) -> Record | None:
        found = super().by_name(name) or self._loaded.by_name(name)
        if found is None and name in _TRAVELLING:
            module, qualified = _TRAVELLING[name]
            self._loaded.register(getattr(importlib.import_module(module), qualified), name=name)
            return self._loaded.by_name(name)
        return found
