"""The hand-over from one module to another, as the guest's host sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from enfilade.hostcalls.contracts.host import Incoming
from enfilade.hostcalls.resources.futures import Future

__all__ = ["Handover"]

T = TypeVar("T")


class Handover(Protocol):
    """Another module takes the guest's place: `enfilade.actors.guests.upgrade.Upgrade`."""

    def receive(
        self, select: Callable[[Incoming], bool], convert: Callable[[Incoming | None], T]
    ) -> T | None:
        """Answer a receive, or return None where it is to wait for messages as ever."""
        ...

    def export_state(self, state: bytes) -> Future[None] | None:
        """Keep the state; the future is resolved if the guest is to go on. None: it goes on at once."""
        ...

    def import_state(self) -> bytes | None:
        """Return the state, to the new module."""
        ...

    def step(self) -> bool:
        """Go one step further after a turn of the guest; return whether it did."""
        ...

    def roll_back(self, why: str) -> None:
        """Let the guest go on with the module that it has."""
        ...
