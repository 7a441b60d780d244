"""One process in detail. What it has to do with other processes can be followed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from rich.text import Text

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.actions import Target, target_of
from enfilade.actors.cli.observe.facts import process_facts
from enfilade.actors.cli.observe.observed import Look
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.terminal.page import Desk, ListPage, fact_line, heading, shorten
from enfilade.actors.cli.observe.terminal.table import STYLES
from enfilade.actors.observing.protocol.views import ProcessView
from enfilade.actors.observing.watches.client import State

__all__ = ["DetailPage"]

LABEL = 14


@attrs.frozen
class _Line:
    """A line: its text, and the process that it leads to; or a title, which is drawn with a rule."""

    text: Text
    leads_to: int | None = None
    is_title: bool = False


class DetailPage(ListPage):
    """The details of one process of a node."""

    title = "detail"
    hints = (("enter", "follow"), ("f", "follow the name"), ("v", "contents of messages"), ("esc", "back"))

    def __init__(self, desk: Desk, sight: Sight) -> None:
        super().__init__(desk, sight)
        self.process: int | str | None = None
        self._fields: Mapping[str, Any] = {}
        self._messages: list[Any] | None = None
        self._shows_contents = False
        self._over = ""
        self._lines: list[_Line] = []

    def open(self, process: int | str) -> None:
        """Show another process from now on. Called within trio, or while the page is not shown."""
        self.process, self.life, self._over = process, self.sight.observed.life, ""
        self._clear()
        for look, view in zip(self._looks, self._views(), strict=False):
            look.change(view)

    def _clear(self) -> None:
        self._fields, self._lines, self._messages = {}, [], None
        self.cursor = self.top = 0

    def _views(self) -> list[ProcessView]:
        assert self.process is not None
        views = [ProcessView(self.process)]
        return [*views, ProcessView(self.process, contents=True)] if self._shows_contents else views

    def looks(self) -> list[Look]:
        if self.process is None:
            return []
        kinds = (("inspect", self.take), ("trace", self._take_contents))
        return [
            Look(view, take, right=right) for view, (right, take) in zip(self._views(), kinds, strict=False)
        ]

    async def take(self, state: State) -> None:
        """Take a state in, and wait until it has been drawn."""
        if self._is_of_another():
            return
        self._fields = state.fields
        await self._drawn()

    async def _take_contents(self, state: State) -> None:
        if self._is_of_another():
            return
        self._messages = state.fields.get("messages")
        await self._drawn()

    def _is_of_another(self) -> bool:
        """Tell whether a state is of another process than was chosen: of another start of the node, which has
        given its serial again.
        """
        if not self.keep_up() or not isinstance(self.process, int):
            return False
        self._over = f"the node has been started again since process {self.process} was chosen"
        self.process = None
        self._clear()
        self.hide()
        self.desk.redraw()
        return True

    async def _drawn(self) -> None:
        seen = self._shows_contents and self._messages is not None
        fields = {**self._fields, "messages": self._messages} if seen else self._fields
        self._lines = list(self._told(fields)) if self._fields else []
        await self.desk.painted()

    def _switch_contents(self) -> None:
        """Show the contents of the messages that wait, or no more."""
        self.hide()
        self._shows_contents, self._messages = not self._shows_contents, None
        self.show()

    @property
    def count(self) -> int:
        return len(self._lines)

    def item(self, number: int, width: int) -> Text:
        line = self._lines[number]
        if line.is_title:
            return heading(line.text.plain, width, self.glyphs)
        text = line.text.copy()
        shorten(text, width, self.glyphs)
        return text

    def empty(self) -> str:
        if self._over:
            return self._over
        if self.process is None:
            return "no process is chosen: press enter on one of the processes or of the tree"
        return self.sight.observed.not_yet

    def status(self) -> str:
        if self.refused:
            return self.refused
        if not self._fields:
            return ""
        how = "followed by its name" if isinstance(self.process, str) else f"serial {self.process}"
        return f"{self.range_shown()} lines, {how}"

    def key(self, key: str) -> bool:
        if key == "enter" and self.cursor < len(self._lines):
            leads_to = self._lines[self.cursor].leads_to
            if leads_to is not None:
                self.desk.open_process(leads_to)
            return True
        if key == "v" and self.process is not None:
            self.desk.soon_sync(self._switch_contents)
            return True
        if key == "f" and self._fields.get("name"):
            serial, name = self._fields["serial"], self._fields["name"]
            self.desk.soon_sync(self.open, serial if isinstance(self.process, str) else name)
            return True
        return super().key(key)

    @property
    def target(self) -> Target | None:
        return target_of(self._fields, self.life) if self._fields.get("serial") else None

    def _told(self, fields: Mapping[str, Any]) -> Iterator[_Line]:
        get = fields.get
        state = get("state") or "unknown"
        if state == "unknown":
            yield _Line(Text("there is no such process, or it ended a while ago", style="dim"))
            return
        title = Text(words.one_line(get("actor") or get("kind") or "process"), style="bold")
        title.append(f"  {words.ref_shown(get('ref') or get('serial'))}", style="")
        title.append(f"  {state}", style=STYLES.get(state, "green"))
        yield _Line(title)
        for fact in process_facts(fields, self.sight.fields.get("full_name")):
            text = fact_line(fact, LABEL)
            yield _Line(text, fact.leads_to, is_title=fact.mood == "title")
