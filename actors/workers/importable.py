"""Targets by name: what a worker can import, and so what can be started on it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Importable", "entry_of"]


def entry_of(target: Any) -> str:
    """The name that a worker imports `target` by.

    Raises:
        ValueError: it has none.
    """
    if isinstance(target, str):
        entry = target
    else:
        entry = f"{getattr(target, '__module__', None)}:{getattr(target, '__qualname__', None)}"
    try:
        found = load(entry)
    except (ImportError, AttributeError, ValueError):
        found = None
    if entry.startswith("__main__:") or found is None or (found is not target and found != target != entry):
        raise ValueError(
            f"a worker cannot import {target!r}: it must be an actor class or a function at the top level of "
            "a module, and not of the program's main file"
        )
    return entry


def load(entry: str) -> Any:
    """What the entry "module:name" names.

    Raises:
        ImportError, AttributeError, ValueError: nothing.
    """
    module, _, name = entry.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


class Importable(Mapping[str, Any]):
    """The entries of a worker: whatever its employer names, and only that may name any."""

    def __getitem__(self, entry: str) -> Any:
        try:
            return load(entry)
        except (ImportError, AttributeError, ValueError) as error:
            raise KeyError(entry) from error

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
