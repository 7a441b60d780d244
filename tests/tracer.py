"""A tracer that acts at one chosen line: what a signal, or Python's garbage collector, may do at any."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["Tracer", "of_the_runtime"]


def of_the_runtime(frame: FrameType) -> bool:
    """Tell whether a frame runs code of the runtime itself."""
    name = frame.f_globals.get("__name__", "")
    return isinstance(name, str) and name.startswith("enfilade.")


class Tracer:
    """Calls a function before one of the lines that are gone through while this is entered.

    Attributes:
        lines: the lines that were gone through: file and number.
    """

    def __init__(
        self,
        at: int = -1,
        act: Callable[[], object] = bool,
        within: Callable[[FrameType], bool] = of_the_runtime,
    ) -> None:
        """Act before line `at`, counted from 0, of the functions whose frames `within` accepts."""
        self.lines: list[tuple[str, int]] = []
        self._at = at
        self._act = act
        self._within = within

    def __enter__(self) -> Tracer:
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _called(self, frame: FrameType, _event: str, _: object) -> Any:
        return self._stepped if self._within(frame) else None

    def _stepped(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            self.lines.append((frame.f_code.co_filename, frame.f_lineno))
            if len(self.lines) == self._at + 1:
                self._act()
        return self._stepped
