"""The log of a node, for those who may inspect it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from rich.text import Text

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.observed import Look
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.terminal.page import Desk, ListPage, cut, shorten
from enfilade.actors.observing.protocol.views import LogView
from enfilade.actors.observing.watches.client import State

__all__ = ["LogPage"]

LINES: Final = 2_000
"""Lines that are remembered."""

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")

STYLES: Final = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red", "DEBUG": "dim"}


class LogPage(ListPage):
    """The log of a node, the newest line first."""

    title = "log"
    hints = (("v", "level"), ("/", "logger"), ("enter", "the whole line"))

    def __init__(self, desk: Desk, sight: Sight) -> None:
        super().__init__(desk, sight)
        self._level = "INFO"
        self._prefix = ""
        self._lines: deque[Mapping[str, Any]] = deque(maxlen=LINES)
        self._missed = 0

    def _view(self) -> LogView:
        return LogView(self._level, self._prefix)

    def looks(self) -> list[Look]:
        return [Look(self._view(), self.take, right="inspect")]

    async def take(self, state: State) -> None:
        """Take a state in, and wait until it has been drawn."""
        if state.update.full:  # what is kept comes again
            self._lines.clear()
        new = state.fields.get("lines") or []
        self._lines.extendleft(new)
        self._missed += state.update.missed
        if new and self.cursor and not state.update.full:
            self.cursor += len(new)  # what is seen stays, though others came above it
            self.top += len(new)
        await self.desk.painted()

    @property
    def count(self) -> int:
        return len(self._lines)

    def item(self, number: int, width: int) -> Text:
        line = self._lines[number]
        moment = time.strftime("%H:%M:%S", time.localtime(line["at"]))
        level = words.one_line(line["level"])
        text = Text(f"{moment}  ", style="dim")
        text.append(cut(level, 9, self.glyphs), style=STYLES.get(level, ""))
        text.append(f"{words.one_line(line['logger'])}  ", style="dim")
        text.append(words.one_line(line["message"]))
        shorten(text, width, self.glyphs)
        return text

    def empty(self) -> str:
        return f"no line at {self._level} or above since somebody looks"

    def status(self) -> str:
        prefix = f" of {self._prefix}" if self._prefix else ""
        missed = f", {self._missed:,} missed" if self._missed else ""
        return self.refused or f"{self.count:,} lines{prefix} at {self._level} or above{missed}"

    def key(self, key: str) -> bool:
        if key == "v":
            self._level = LEVELS[(LEVELS.index(self._level) + 1) % len(LEVELS)]
            self._ask_again()
        elif key == "/":
            self.desk.ask("the beginning of the loggers' names", self._prefix, self._choose)
        elif key == "enter" and self.cursor < len(self._lines):
            line = self._lines[self.cursor]
            told = [
                Text(f"{name:10} {words.one_line(value)}")
                for name, value in line.items()
                if value is not None
            ]
            self.desk.read("a line of the log", told)
        else:
            return super().key(key)
        return True

    def _choose(self, prefix: str) -> None:
        self._prefix = prefix.strip()
        self._ask_again()

    def _ask_again(self) -> None:
        self.cursor = self.top = 0
        if self._looks:
            self.desk.soon_sync(self._looks[0].change, self._view())
