"""Pictures of a node: the scene, what one picture has, and which fields have changed since the last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    from enfilade.actors.observing.watches.own_texts import OwnTexts
    from enfilade.actors.observing.watches.shared import Watching

__all__ = ["Changes", "Picture", "Pictures", "Scene", "Shot"]


@attrs.frozen
class Scene:
    """The subject of a picture, and how it is taken.

    Attributes:
        watching: what the watches of the node share.
        budget: the share of the time that the node may spend on it.
        inspects: whether what holds data may be seen.
        interval: seconds between two pictures.
        own_texts: the texts that the program's own code makes.
        right: the right that the observer has shown by the process that it asked.
    """

    watching: Watching
    budget: float
    inspects: bool
    interval: float
    own_texts: OwnTexts
    right: str = "observe"


@attrs.frozen
class Shot:
    """One picture.

    Attributes:
        data: the fields of the view.
        missed: events, or lines, that were dropped since the one before.
        is_new: true if it shows something else than the one before, so that it is the whole.
        has_more: true if the next one is due as soon as this one is acknowledged.
    """

    data: dict[str, Any]
    missed: int = 0
    is_new: bool = False
    has_more: bool = False


class Picture(Protocol):
    """The pictures of one view, one after the other."""

    async def shot(self, *, is_full: bool) -> Shot:
        """The whole of it, or what has changed since the last time."""

    def close(self) -> None:
        """Forget what is kept for it. Not a checkpoint."""


Pictures = Mapping[type, Callable[[Scene, Any], Picture]]
"""What makes the pictures of a view, by the class of the view."""


class Changes:
    """The fields that were shown last."""

    def __init__(self) -> None:
        self.shown: dict[str, Any] = {}

    def of(self, fields: dict[str, Any], *, is_full: bool) -> dict[str, Any]:
        """The fields that differ from what was shown last; all of them in a full picture."""
        before, self.shown = self.shown, fields
        if is_full:
            return fields
        return {name: value for name, value in fields.items() if name not in before or before[name] != value}
