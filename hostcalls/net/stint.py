"""Work without waiting, for as long as is polite."""

from __future__ import annotations

import time

import trio

_LONGEST = 0.0005
"""Seconds that a task may work before others have their turn, as long as a guest's turn."""


class Stint:
    """The work of a task since it last let others work."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def rest(self) -> None:
        """Let others have their turn if the stint was long. A checkpoint only then."""
        if time.perf_counter() - self._began >= _LONGEST:
            await trio.lowlevel.checkpoint()
            self._began = time.perf_counter()
