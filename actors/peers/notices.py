"""Notices about a peer in the log: a peer may do wrong as often as it likes, and fills no disk with it."""

from __future__ import annotations

import logging
from typing import Any, Final

import attrs
import trio

from enfilade.actors.messages.guarded import log

__all__ = ["Notices"]

SECONDS: Final = 1.0
"""Between two notices of one kind."""


@attrs.define
class _Kind:
    due: float
    omitted: int = 0


class Notices:
    """Notices about one peer: of each kind one a second, which says how many more there were."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}

    def warn(
        self, text: str, *values: Any, level: int = logging.WARNING, error: BaseException | None = None
    ) -> None:
        """Log `text % values`, unless a notice with this text was logged within a second. Never raises.

        Args:
            text: of the notice; the same for each of its kind.
            values: what is different.
            level: of the line.
            error: its traceback is logged, too.
        """
        now = trio.current_time()
        kind = self._kinds.get(text)
        if kind is None:
            self._kinds[text] = _Kind(now + SECONDS)
        elif now < kind.due:
            kind.omitted += 1
            return
        else:
            omitted, kind.omitted, kind.due = kind.omitted, 0, now + SECONDS
            if omitted:
                log(
                    level,
                    text + " (and %d more like it since the last such line)",
                    *values,
                    omitted,
                    error=error,
                )
                return
        log(level, text, *values, error=error)

    def close(self, name: str) -> None:
        """Log how many notices were omitted in the end: the node link to the node `name` is over."""
        omitted = sum(kind.omitted for kind in self._kinds.values())
        self._kinds.clear()
        if omitted:
            log(logging.WARNING, "%d more notices about node %s were omitted", omitted, name)
