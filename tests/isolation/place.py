"""A place where objects of a program meet the runtime, and the table of all places."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import attrs

from tests.isolation.errors import ERRORS
from tests.isolation.errors_of_the_runtime import ERRORS_OF_THE_RUNTIME
from tests.isolation.pretenders import PRETENDERS
from tests.isolation.stage import Combination, Stage
from tests.isolation.values import VALUES

__all__ = ["PLACES", "Act", "Place", "handed", "raised"]

Act = Callable[[Stage], Awaitable[None]]


@attrs.frozen
class Place:
    """A place, the tiers that have it, whether a caller on another node has it, and what may be met there."""

    name: str
    tiers: tuple[str, ...]
    distances: tuple[bool, ...]
    objects: dict[str, Callable[[], Any]]
    act: Act

    def combinations(self) -> Iterable[Combination]:
        """Everything that can be tried here."""
        for tier in self.tiers:
            for far in self.distances:
                for name, make in self.objects.items():
                    yield Combination(self.name, tier, far, name, self.act, make)


PLACES: Final[list[Place]] = []
ALL_ERRORS: Final = ERRORS | ERRORS_OF_THE_RUNTIME
ALL_VALUES: Final = VALUES | PRETENDERS


def raised(tiers: str, *, near: bool = True, far: bool = False) -> Callable[[Act], Act]:
    """Mark a function in which an error is raised."""
    return lambda act: _place(act, "error", tiers, (near, far), ALL_ERRORS)


def handed(
    tiers: str, *, near: bool = True, far: bool = False, objects: dict[str, Any] = ALL_VALUES
) -> Callable[[Act], Act]:
    """Mark a function in which a value is handed over."""
    return lambda act: _place(act, "value", tiers, (near, far), objects)


def _place(act: Act, kind: str, tiers: str, near_far: tuple[bool, bool], objects: dict[str, Any]) -> Act:
    distances = tuple(is_far for is_far, has in zip((False, True), near_far, strict=True) if has)
    PLACES.append(Place(f"{kind}_{act.__name__}", tuple(tiers.split()), distances, objects, act))
    return act
