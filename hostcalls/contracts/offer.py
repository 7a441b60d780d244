"""Outputs that hold something for the guest, and that the guest may never look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen(eq=False)
class Offer(Generic[T]):
    """An output that is taken back when the guest drops the hostcall's future without having polled it.

    A contract gives one as the value of a `Future` or another awaitable: slots that nobody would know, and
    bytes that nobody would have read, must not be lost. Outputs that hold nothing are given as they are,
    which is cheaper.

    Attributes:
        value: the output.
        take_back: called once when the guest has dropped the future, never when it has the value. A guest
            that ends is not asked: what it owns goes with it.
    """

    value: T
    take_back: Callable[[], object]
