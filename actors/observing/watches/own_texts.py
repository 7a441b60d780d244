"""The texts that the program's own code makes for a watch: `format_status`, `format_message`, `repr`.

Such code may be slow. What it takes counts to the budget of observation, and a class whose text has once
taken longer than `LONGEST` is not asked again by the same watch. One that never returns holds the loop as a
handler would, and so only those who may inspect, or trace, have such code called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec
from weakref import WeakValueDictionary

from enfilade.actors.observing.tables.walker import Walker

__all__ = ["LONGEST", "SLOW", "OwnTexts"]

P = ParamSpec("P")

LONGEST: Final = 0.05
"""Seconds that a class may take for a text, and is asked again."""

SLOW: Final = "<not asked again: its code is slow>"
"""The text of a class that was slow."""


class OwnTexts:
    """The texts of one watch.

    Args:
        walker: measures the time, and takes it from the budget.
    """

    def __init__(self, walker: Walker) -> None:
        self._walker = walker
        self._slow: WeakValueDictionary[int, type] = WeakValueDictionary()  # a class may have no hash

    def is_slow(self, kind: type) -> bool:
        """Return true for a class that was slow, and is to be spared."""
        return self._slow.get(id(kind)) is kind

    def of(self, kind: type, make: Callable[P, str | None], *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Return `make(*args)`, a text that code of the class makes; `SLOW` for one that was slow.

        Args:
            kind: the class.
            make: makes the text, and does not raise.
        """
        if self.is_slow(kind):
            return SLOW
        began = self._walker.clock()
        text = make(*args, **kwargs)
        self.took(kind, self._walker.clock() - began)
        return text

    def took(self, kind: type, seconds: float) -> None:
        """Note that code of a class has taken so long. Not a checkpoint."""
        self._walker.worked(seconds)
        if seconds > LONGEST:
            self._slow[id(kind)] = kind
