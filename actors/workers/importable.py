"""Targets by name: actor classes and functions that a worker can import, and so can start."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from enfilade.actors.messages.safe_text import safe_repr

__all__ = ["Importable", "entry_of"]


def entry_of(target: Any) -> str:
    """Return the name by which a worker imports `target`.

    Raises:
        ValueError: a worker cannot import `target`.
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
            f"a worker cannot import {safe_repr(target)}: expected an actor class or a function at the top "
            "level of a module other than the program's main file"
        )
    return entry


def load(entry: str) -> Any:
    """Import the object of the entry "module:name".

    Raises:
        ImportError, AttributeError, ValueError: there is no such object.
    """
    module, _, name = entry.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


class Importable(Mapping[str, Any]):
    """The entries of a worker: everything importable, because only its employer may start entries."""

    def __getitem__(self, entry: str) -> Any:
        try:
            return load(entry)
        except (ImportError, AttributeError, ValueError) as error:
            raise KeyError(entry) from error

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
