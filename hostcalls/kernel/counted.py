"""Counting of hostcalls, while somebody wants to know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from enfilade.hostcalls.contracts.table import Entry

__all__ = ["Counted"]


class Counted(tuple[Entry, ...]):
    """The entries of a dispatch table that counts how often each is asked for.

    Attributes:
        entries: those that do not count.
    """

    def __new__(cls, entries: Sequence[Entry]) -> Counted:
        return super().__new__(cls, entries)

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries if isinstance(entries, tuple) else tuple(entries)
        self._counts = [0] * len(self.entries)

    def __getitem__(self, index: Any) -> Any:
        entry = super().__getitem__(index)
        self._counts[index] += 1
        return entry

    def by_name(self) -> dict[str, int]:
        """The counts of those that were asked for."""
        return {
            entry[3].hostcall.name: count
            for entry, count in zip(self.entries, self._counts, strict=True)
            if count
        }
