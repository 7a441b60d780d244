"""Numbers that are followed from update to update: mailboxes, waits, credit. The lints look at them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Credit", "Mailboxes", "Row", "Waits"]

Row = Mapping[str, Any]
"""A row of a table."""


class Mailboxes:
    """The growth of the longest mailboxes: since when each has grown, and from what length."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[float, int]] = {}
        self._rows: dict[int, Row] = {}
        self._now = 0.0

    def note(self, at: float, rows: list[Row]) -> None:
        """Note the longest mailboxes at a moment."""
        since: dict[int, tuple[float, int]] = {}
        for row in rows:
            serial, queued = row["serial"], row.get("queued") or 0
            before = self._rows.get(serial)
            grows = before is not None and queued > (before.get("queued") or 0)
            since[serial] = self._since[serial] if grows and serial in self._since else (at, queued)
        self._since, self._rows, self._now = since, {row["serial"]: row for row in rows}, at

    def growing(self, seconds: float) -> dict[int, tuple[Row, float, int]]:
        """The rows of those that have grown for at least so long, for how long, and from what length."""
        return {
            serial: (self._rows[serial], self._now - at, queued)
            for serial, (at, queued) in self._since.items()
            if self._now - at >= seconds
        }


class Waits:
    """The moments since which processes wait for the call that they wait for."""

    def __init__(self) -> None:
        self._since: dict[tuple[int, str], tuple[float, Row]] = {}
        self._now = 0.0

    def note(self, at: float, rows: list[Row]) -> None:
        """Note who waits for whom at a moment."""
        waits = {(row["serial"], row["waits_for"]): row for row in rows if row.get("waits_for")}
        self._since = {key: (self._since.get(key, (at, row))[0], row) for key, row in waits.items()}
        self._now = at

    def longer_than(self, seconds: float) -> dict[int, tuple[Row, float]]:
        """The rows of those that have waited for longer, and for how long."""
        return {
            serial: (row, self._now - at)
            for (serial, _), (at, row) in self._since.items()
            if self._now - at > seconds
        }


class Credit:
    """The time for which the window of each node link has been used up.

    Attributes:
        used_up: seconds, by peer, of those whose window is used up now.
    """

    def __init__(self) -> None:
        self.used_up: dict[str, float] = {}
        self._since: dict[str, float] = {}

    def note(self, at: float, links: list[Row]) -> None:
        """Note the node links at a moment."""
        full = [
            link["name"]
            for link in links
            if link.get("window") and (link.get("under_way") or 0) >= link["window"]
        ]
        self._since = {name: self._since.get(name, at) for name in full}
        self.used_up = {name: at - since for name, since in self._since.items()}
