"""The messages of some processes, as they come, for those who may trace."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import attrs
from rich.text import Text

from enfilade.actors.cli.observe.observed import Look
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.terminal.page import Desk, ListPage, shorten
from enfilade.actors.cli.recordings import Writer, entry_shown
from enfilade.actors.observing.protocol.views import TraceView
from enfilade.actors.observing.watches.client import State

__all__ = ["TracePage"]

ENTRIES: Final = 2_000
"""Entries that are remembered."""

EVERY: Final = 0.2
"""Seconds between two updates."""

LONGEST: Final = 60.0
"""Seconds of a trace."""

SWITCHES: Final = {"s": "sends", "f": "follow", "v": "contents"}
"""The keys that turn a field of the view on and off."""

SAID: Final = {"sends": "sends", "follow": "those they send to", "contents": "contents"}
"""How the status names those that are on."""

NAMED: Final = re.compile(r'"([^"]*)"|[^\s,]+')
"""A process that is named: one of several words stands in quotes."""

STYLES: Final = {"crashed": "red", "ended": "dim", "done": "dim"}


class TracePage(ListPage):
    """A trace, the newest entry first. It begins when processes are named, and ends by itself."""

    title = "trace"
    hints = (("/", "processes"), ("s", "what they send"), ("f", "whom to"), ("v", "contents"), ("x", "end"))

    def __init__(self, desk: Desk, sight: Sight) -> None:
        super().__init__(desk, sight)
        self._view: TraceView | None = None
        self._records: deque[Mapping[str, Any]] = deque(maxlen=ENTRIES)
        self._clear()

    def _clear(self) -> None:
        self._ended: str | None = None
        self._records.clear()
        self._writer = Writer("", {}, contents=True)
        self.cursor = self.top = 0

    def looks(self) -> list[Look]:
        if self._view is None or self._ended is not None:
            return []
        return [Look(self._view, self.take, interval=EVERY, right="trace")]

    def hide(self) -> None:
        """Nobody reads what is traced now, so the trace ends."""
        super().hide()
        if self._view is not None:
            self._ended = self._ended or "another page was shown"

    async def take(self, state: State) -> None:
        """Take a state in, and wait until it has been drawn."""
        assert self._view is not None
        if self.keep_up() and any(isinstance(named, int) for named in self._view.processes):
            self._ended = "the node has been started again"  # and has given the serials to others
            super().hide()
            self.desk.redraw()
            return
        before = len(self._writer.records)
        for entry in state.fields["entries"]:
            self._writer.add(entry)
        new = [each for each in self._writer.records[before:] if each["record"] in ("entry", "gap")]
        self._records.extendleft(new)
        if self.cursor:  # what is seen stays, though others came above it
            self.cursor += len(new)
            self.top += len(new)
        self._ended = self._ended or state.fields["ended"]
        if self._ended is not None:
            super().hide()  # it does not begin again with the next connection
        await self.desk.painted()

    @property
    def count(self) -> int:
        return len(self._records)

    def item(self, number: int, width: int) -> Text:
        record = self._records[number]
        text = Text(entry_shown(record, self._writer.texts))
        style = STYLES.get(record.get("what", ""))
        if style is not None:
            text.stylize(style)
        shorten(text, width, self.glyphs)
        return text

    def empty(self) -> str:
        if self._view is None:
            return "no process is traced; / names some"
        return "no message has come yet" if self._ended is None else "no message came"

    def status(self) -> str:
        if self.refused:
            return self.refused
        if self._view is None:
            return ""
        named = " ".join(map(str, self._view.processes))
        state = "tracing" if self._ended is None else f"ended ({self._ended}):"
        more = [text for field, text in SAID.items() if getattr(self._view, field)]
        return f"{state} {named}, {self.count:,} entries" + (f", with {' and '.join(more)}" if more else "")

    def key(self, key: str) -> bool:
        if key == "/":
            named = "" if self._view is None else " ".join(map(_quoted, self._view.processes))
            self.desk.ask(
                'processes: serials, names, "names in two words", patterns, actor:Class', named, self._choose
            )
        elif key in SWITCHES and self._view is not None:
            field = SWITCHES[key]
            change: dict[str, Any] = {field: not getattr(self._view, field)}
            self._begin(attrs.evolve(self._view, **change))
        elif key == "x" and self._view is not None and self._ended is None:
            self._ended = "asked"
            self.desk.soon_sync(self.hide)
        else:
            return super().key(key)
        return True

    def _choose(self, text: str) -> None:
        named = tuple(
            int(found[0]) if found[1] is None and found[0].isdecimal() else found[1] or found[0]
            for found in NAMED.finditer(text)
        )
        if named:
            before = TraceView() if self._view is None else self._view
            self._begin(attrs.evolve(before, processes=named, count=ENTRIES, seconds=LONGEST))

    def _begin(self, view: TraceView) -> None:
        self._view = view
        self.desk.soon_sync(self._start)

    def _start(self) -> None:
        super().hide()
        self._clear()
        self.life = self.sight.observed.life
        self.show()
        self.desk.redraw()


def _quoted(named: int | str) -> str:
    """A process as it is typed."""
    is_plain = isinstance(named, int) or (NAMED.fullmatch(named) is not None and not named.isdecimal())
    return str(named) if is_plain else f'"{named}"'
