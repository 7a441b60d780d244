"""Handles: what stands for something that lives in this program, and cannot be copied with the handle.

A handle turns up in data: a ref in a message, a deferred reply in a table of jobs. `copy.deepcopy` and
`dataclasses.asdict` copy data, and keep the handle. `pickle`, which would have to copy what it stands for,
refuses.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn, Self, SupportsIndex

__all__ = ["Handle"]


class Handle:
    """The base of handles: a copy of a handle, deep or not, is the handle itself."""

    __slots__ = ()

    how_to_pass_on: ClassVar[str] = "it is good in its own program only"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"cannot pickle the {type(self).__name__} {self!r}: {self.how_to_pass_on}")
