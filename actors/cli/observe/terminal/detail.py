"""One process in detail. What it has to do with other processes can be followed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from rich.text import Text

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.observed import Look
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.terminal.page import Desk, ListPage, Target, heading, shorten
from enfilade.actors.cli.observe.terminal.table import STYLES, target_of
from enfilade.actors.observing.client import State
from enfilade.actors.observing.views import ProcessView

__all__ = ["DetailPage"]

REF = re.compile(r"^<([^:<>]+):(\d+)[ >]")
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
    hints = (("enter", "follow"), ("f", "follow the name"), ("esc", "back"))

    def __init__(self, desk: Desk, sight: Sight) -> None:
        super().__init__(desk, sight)
        self.process: int | str | None = None
        self._fields: Mapping[str, Any] = {}
        self._lines: list[_Line] = []

    def open(self, process: int | str) -> None:
        """Show another process from now on. Called within trio, or while the page is not shown."""
        self.process = process
        self._fields, self._lines = {}, []
        self.cursor = self.top = 0
        if self._looks:
            self._looks[0].change(ProcessView(process))

    def looks(self) -> list[Look]:
        if self.process is None:
            return []
        return [Look(ProcessView(self.process), self.take, inspects=True)]

    async def take(self, state: State) -> None:
        """Take a state in, and wait until it has been drawn."""
        self._fields = state.fields
        self._lines = list(self._told(state.fields))
        await self.desk.painted()

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
        if self.process is None:
            return "no process is chosen: press enter on one of the processes or of the tree"
        return "asking the node"

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
        if key == "f" and self._fields.get("name"):
            serial, name = self._fields["serial"], self._fields["name"]
            self.desk.soon_sync(self.open, serial if isinstance(self.process, str) else name)
            return True
        return super().key(key)

    @property
    def target(self) -> Target | None:
        return target_of(self._fields) if self._fields.get("serial") else None

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
        if get("ended"):
            yield _Line(Text(f"it has ended: {words.why(get('ended'))}", style="red"))
        yield self._fact("kind", get("kind"))
        yield self._fact("name", get("name"))
        if get("label"):
            yield self._fact("label", get("label"))
        child = "" if get("child_id") is None else f"child {words.one_line(get('child_id'))!r} of "
        if get("supervisor") is not None:
            yield self._fact("supervisor", f"{child}process {get('supervisor')}", get("supervisor"))
            yield self._fact("restarts", get("restarts") or 0)
        elif get("parent"):
            yield self._fact("started by", f"process {get('parent')}", get("parent"))
        yield self._fact("memory", f"about {words.size(get('memory'))}")
        if get("busy") is not None:
            handled = words.number(get("handled"))
            yield self._fact("handled", f"{handled} messages, busy {words.share(get('busy'))} of the time")
        if get("method"):
            yield self._fact("handles", get("method"))
        if get("waits_for"):
            yield self._fact("waits for", get("waits_for"), self._serial(get("waits_for")))
        yield from self._mailbox(fields)
        yield from self._refs("links", get("link_refs"))
        yield from self._refs("monitors", get("monitor_refs"))
        yield from self._refs("is monitored by", get("watcher_refs"))
        yield from self._refs("started for", get("callers"))
        yield from self._rest(fields)
        yield from self._stack(fields)
        yield from self._state(fields)

    def _fact(self, label: str, value: Any, leads_to: int | None = None) -> _Line:
        text = Text(f"{label:{LABEL}}", style="dim")
        text.append("-" if value is None else words.one_line(value), style="underline" if leads_to else "")
        return _Line(text, leads_to)

    def _mailbox(self, fields: Mapping[str, Any]) -> Iterator[_Line]:
        queued, capacity = fields.get("queued") or 0, fields.get("capacity")
        room = "" if capacity is None else f" of {capacity:,}, then {fields.get('overflow')}"
        yield _Line(Text(f"mailbox: {queued:,}{room}"), is_title=True)
        messages = fields.get("messages") or []
        for number, message in enumerate(messages, 1):
            yield _Line(Text(f"{number:>4}  {words.one_line(message)}"))
        if queued > len(messages):
            yield _Line(Text(f"      and {queued - len(messages):,} more", style="dim"))
        if not queued:
            yield _Line(Text("  no message waits", style="dim"))
        for field in ("deferred", "stashed"):
            if fields.get(field):
                yield self._fact(field, fields[field])

    def _refs(self, title: str, refs: Any) -> Iterator[_Line]:
        if not refs:
            return
        yield _Line(Text(f"{title}: {len(refs)}"), is_title=True)
        for ref in refs:
            serial = self._serial(ref)
            yield _Line(Text(f"  {words.ref_shown(ref)}", style="underline" if serial else ""), serial)

    def _rest(self, fields: Mapping[str, Any]) -> Iterator[_Line]:
        lines = []
        if fields.get("groups"):
            lines.append(self._fact("groups", ", ".join(map(words.one_line, fields["groups"]))))
        for field, label in (("timers", "timers"), ("aliases", "aliases")):
            if fields.get(field):
                lines.append(self._fact(label, fields[field]))
        if fields.get("trap_exits"):
            lines.append(self._fact("exit signals", "are turned into messages"))
        if lines:
            yield _Line(Text("more"), is_title=True)
            yield from lines

    def _stack(self, fields: Mapping[str, Any]) -> Iterator[_Line]:
        stack = fields.get("stack")
        if stack:
            yield _Line(Text("stack, the innermost last"), is_title=True)
            for frame in stack:
                text = Text(f"  {words.one_line(frame['function'])}", style="")
                text.append(f"  {words.one_line(frame['file'])}:{frame['line']}", style="dim")
                yield _Line(text)

    def _state(self, fields: Mapping[str, Any]) -> Iterator[_Line]:
        if fields.get("hidden"):
            yield _Line(Text("state"), is_title=True)
            yield _Line(Text("  hidden: it needs the right to inspect", style="dim"))
        elif fields.get("status") is not None:
            yield _Line(Text("state"), is_title=True)
            yield _Line(Text(f"  {words.one_line(fields['status'])}"))

    def _serial(self, ref: Any) -> int | None:
        """The serial of a ref that is shown as text, if it is of this node."""
        found = REF.match(ref) if isinstance(ref, str) else None
        return int(found[2]) if found and found[1] == self.sight.fields.get("full_name") else None
