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
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._known: weakref.WeakValueDictionary[K, V] = weakref.WeakValueDictionary()
        self._held: dict[K, V] = {}

    def find(self, key: K, make: Callable[[], V]) -> V:
        """Return the value of `key`, made if it is not known.

        `make` runs without the lock: two threads may make the same value, and the first one is kept.
        """
        with self._lock:
            value = self._known.get(key)
            if value is not None:
                self._hold(key, value)
                return value
        made = make()
        with self._lock:
            value = self._known.setdefault(key, made)
            self._hold(key, value)
            return value

    def _hold(self, key: K, value: V) -> None:
        self._held.pop(key, None)
        self._held[key] = value
        if len(self._held) > self._size:
            del self._held[next(iter(self._held))]
