"""Cancelling what a guest has left under way, which may be much."""

from __future__ import annotations

from typing import Any, Final

import trio

from enfilade.hostcalls.resources.futures import Future

__all__ = ["AT_ONCE", "cancel_many"]

AT_ONCE: Final = 256
"""Operations of a guest that has ended that are cancelled before other processes get their turn."""


async def cancel_many(left: list[Future[Any] | trio.CancelScope]) -> None:
    """Cancel many operations, and let others run in between; once cancelled, all that are left."""
    try:
        while left:
            await trio.lowlevel.checkpoint()
            now, left = left[:AT_ONCE], left[AT_ONCE:]
            for operation in now:
                operation.cancel()
    finally:
        for operation in left:
            operation.cancel()
