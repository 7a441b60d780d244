"""Refusals: what a guest was not allowed, told to people.

A guest reads the short texts of the ABI, and most guests give up without passing them on. So the host keeps
the whole story of each refusal: it logs it, and adds it to the reason of a guest that ends by an
`unreachable` instruction, which is how guests give up.
"""

from __future__ import annotations

import contextlib
import logging

import attrs

from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.engine import Trap, TrapKind

logger = logging.getLogger("enfilade.hostcalls")

_MOST_LINES = 16
"""Lines that one guest can cause in the log; later refusals are still part of its exit reason."""


class Refusals:
    """The refusals of one guest.

    Args:
        guest: its label.
    """

    __slots__ = ("_guest", "_last", "_told")

    def __init__(self, guest: str) -> None:
        self._guest = guest
        self._last = ""
        self._told: set[str] = set()

    def __bool__(self) -> bool:
        """True once something was refused."""
        return bool(self._last)

    def note(self, hostcall: str, why: str) -> None:
        """Note that `hostcall` was refused, and log it unless the same was logged before."""
        self._last = f"{hostcall} was refused: {why}"
        if self._last in self._told or len(self._told) >= _MOST_LINES:
            return
        self._told.add(self._last)
        with contextlib.suppress(Exception):  # a log handler may fail
            logger.warning("guest %s: %s", self._guest, self._last)

    def explain(self, trap: Trap) -> Trap:
        """Return the trap with the last refusal in its message, if the guest gave up after one."""
        if not self._last or trap.kind is not TrapKind.UNREACHABLE:
            return trap
        return attrs.evolve(trap, message=self._last)


def denied(capability: Capability) -> str:
    """Say that a hostcall of this capability was not granted."""
    name = capability.title
    return f"the capability {name} is not granted; grant it: capabilities=[{name!r}], --capabilities {name}"
