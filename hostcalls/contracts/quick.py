"""The outcomes of hostcalls that a short cut answers (`enfilade.hostcalls.contracts.operation.Quick`)."""

from __future__ import annotations

from typing import Any, Final

import attrs

from enfilade.hostcalls.resources.futures import Future

__all__ = ["DONE", "Again", "Done", "Later"]


class Done:
    """There is nothing left to do: the future has its answer, or was dropped."""


DONE: Final = Done()


@attrs.frozen
class Again:
    """Done, and the guest has made the same hostcall again meanwhile.

    Attributes:
        future: its future.
    """

    future: int


@attrs.frozen
class Later:
    """Done, and the guest has made another hostcall of this kind meanwhile, whose answer is to come.

    Attributes:
        future: its future.
        size: bytes of its arguments.
        outcome: has the answer when there is one.
    """

    future: int
    size: int
    outcome: Future[Any]
