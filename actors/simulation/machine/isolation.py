"""Modules of each life's own: what a program keeps in global variables does not survive a crash.

A named module is imported anew for each life, and stands in `sys.modules`, and in its package, while code of
that life runs. What was imported before by name, outside of the lives, stays what it was.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

__all__ = ["import_anew", "installed"]


@contextmanager
def installed(modules: dict[str, ModuleType]) -> Iterator[None]:
    """Let modules be found under their names for the length of a block."""
    before = {name: sys.modules.get(name) for name in modules}
    try:
        for name, module in modules.items():
            _install(name, module)
        yield
    finally:
        for name, old in before.items():
            _install(name, old)


def import_anew(names: Sequence[str]) -> dict[str, ModuleType]:
    """Import modules once more, beside those that others have.

    Raises:
        ModuleNotFoundError: there is no module of that name.
    """
    before = {name: sys.modules.pop(name, None) for name in names}
    try:
        return {name: importlib.import_module(name) for name in names}
    finally:
        for name, old in before.items():
            _install(name, old)


def _install(name: str, module: ModuleType | None) -> None:
    package, _, last = name.rpartition(".")
    if module is None:
        sys.modules.pop(name, None)
        return
    sys.modules[name] = module
    if package in sys.modules:
        setattr(sys.modules[package], last, module)
