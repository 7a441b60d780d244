"""Values that are expensive to make: found again while they are in use, and the latest for longer."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A mapping that holds its `size` most recently used values, and finds any that somebody else still
    holds.

    Safe to use from any thread. Values must allow weak references.

    What several threads ask for at the same time is made by the first of them, while the others wait.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._known: weakref.WeakValueDictionary[K, V] = weakref.WeakValueDictionary()
        self._held: dict[K, V] = {}
        self._making: dict[K, threading.Lock] = {}

    def find(self, key: K, make: Callable[[], V]) -> V:
        """Return the value of `key`, made if it is not known. What `make` raises is raised."""
        with self._lock:
            value = self._look(key)
            if value is not None:
                return value
            turn = self._making.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                value = self._look(key)
            if value is not None:
                return value
            try:
                value = make()
            finally:
                with self._lock:
                    self._making.pop(key, None)
            with self._lock:
                self._known[key] = value
                self._hold(key, value)
        return value

    def clear(self) -> list[V]:
        """Hold nothing any more; what is known."""
        with self._lock:
            known = list(self._known.values())
            self._known.clear()
            self._held.clear()
        return known

    def _look(self, key: K) -> V | None:
        value = self._known.get(key)
        if value is not None:
            self._hold(key, value)
        return value

    def _hold(self, key: K, value: V) -> None:
        self._held.pop(key, None)
        self._held[key] = value
        if len(self._held) > self._size:
            del self._held[next(iter(self._held))]
