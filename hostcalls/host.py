"""What the embedder does for one guest.

`hostcalls` does not know what a process of the runtime is. Whoever runs guests implements this protocol,
one object for each guest, and everything that a guest can cause outside of its own memory goes through it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from .launch import Launch


class Host(Protocol):
    """The embedder's side of one guest."""

    def start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run `function` as a task that ends with the runtime at the latest. It never raises."""
        ...

    async def start_child(self, launch: Launch) -> int:
        """Start a guest as a child of this one and return its process id, when it is ready to run.

        Raises `hostcalls.errors.StartError`.
        """
        ...

    def stop(self) -> None:
        """Make this guest end; it may still do so later, and asking again does nothing."""
        ...
