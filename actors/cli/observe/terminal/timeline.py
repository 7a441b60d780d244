"""The timeline: restarts and give-ups on a time axis, by supervisor, and the events below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.text import Text

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.terminal.page import ListPage, cut, heading, shorten

__all__ = ["TimelinePage", "report"]

Event = Mapping[str, Any]

SPANS: Final = (60.0, 600.0, 3600.0, 21_600.0)
"""The seconds that the axis may show."""

STYLES: Final = {
    "process.crashed": "red",
    "supervisor.gave_up": "bold red",
    "process.unkillable": "bold red",
    "child.start_failed": "red",
    "process.deadlock": "bold yellow",
    "process.slow": "yellow",
    "child.restarted": "yellow",
    "node.down": "yellow",
    "node.refused": "yellow",
    "child.started": "dim",
    "child.removed": "dim",
}

SECONDS: Final = ("seconds", "period", "next_in")
"""The fields that are lengths of time."""

MARKS: Final = {"child.restarted": "mark", "supervisor.gave_up": "cross"}


class TimelinePage(ListPage):
    """The timeline of a node, the newest event first."""

    title = "timeline"
    hints = (("enter", "report"), ("[ ]", "span"), ("v", "all, restarts, crashes"))

    FAMILIES: Final = (("all", ""), ("restarts", "child.restarted"), ("crashes", "process.crashed"))

    def __init__(self, desk: Any, sight: Any) -> None:
        super().__init__(desk, sight)
        self._span = 600.0
        self._family = 0
        self._selected: int | None = None
        self._shown: list[Event] = []

    def draw(self, width: int, height: int) -> list[Text]:
        kind = self.FAMILIES[self._family][1]
        self._shown = [e for e in reversed(self.sight.timeline) if not kind or e["kind"] == kind]
        numbers = [event["number"] for event in self._shown]
        if self._selected in numbers and self.cursor:
            place = numbers.index(self._selected)
            self.top += place - self.cursor  # what is seen stays, though others came above it
            self.cursor = place
        return super().draw(width, height)

    def moved(self) -> None:
        self._selected = self._shown[self.cursor]["number"] if self.cursor < len(self._shown) else None

    @property
    def count(self) -> int:
        return len(self._shown)

    def heads(self, width: int, height: int) -> list[Text]:
        rows = self._axis(width)
        most = max(1, height // 3)
        more = len(rows) - most
        title = heading("restarts", width, self.glyphs, f"last {words.age(self._span)}")
        if more > 0:
            rows = [*rows[: most - 1], Text(f"  and {more + 1} more supervisors", style="dim")]
        family = self.FAMILIES[self._family][0]
        return [title, *rows, heading("events" if family == "all" else family, width, self.glyphs)]

    def _axis(self, width: int) -> list[Text]:
        """A line for each supervisor that has restarted a child in this time, the latest first."""
        label = min(30, width // 3)
        cells = width - label - 8
        marks: dict[str, list[str]] = {}
        counts: dict[str, int] = {}
        for event in self.sight.timeline:
            glyph = MARKS.get(event["kind"])
            ago = self.sight.seconds_ago(event)
            if glyph is None or ago > self._span:
                continue
            name = words.ref_shown(event.get("supervisor"))
            line = marks.pop(name, None) or [self.glyphs.on_its_way] * cells
            place = max(0, min(cells - 1, cells - 1 - int(ago / self._span * cells)))
            if line[place] != self.glyphs.cross:
                line[place] = getattr(self.glyphs, glyph)
            marks[name] = line
            counts[name] = counts.get(name, 0) + (event["kind"] == "child.restarted")
        lines = []
        for name, line in reversed(marks.items()):
            text = Text(cut(name, label, self.glyphs) + " ")
            text.append("".join(line), style="yellow")
            text.append(cut(f"{counts[name]:,}", 6, self.glyphs, at_right=True), style="bold")
            lines.append(text)
        return lines or [Text("  no restart", style="dim")]

    def item(self, number: int, width: int) -> Text:
        event = self._shown[number]
        ago = words.age(int(self.sight.seconds_ago(event)))
        line = Text(cut(ago, 7, self.glyphs, at_right=True) + "  ", style="dim")
        line.append(cut(event["kind"], 19, self.glyphs), style="dim")
        line.append(words.described(event), style=STYLES.get(event["kind"], ""))
        shorten(line, width, self.glyphs)
        return line

    def empty(self) -> str:
        return "nothing has happened yet"

    def status(self) -> str:
        missed = f", {self.sight.missed:,} missed" if self.sight.missed else ""
        return f"{self.range_shown()} events{missed}"

    def key(self, key: str) -> bool:
        if key == "enter" and self.cursor < len(self._shown):
            event = self._shown[self.cursor]
            self.desk.read(words.described(event), list(report(event, self.sight.seconds_ago(event))))
        elif key in ("[", "]"):
            at = SPANS.index(self._span) + (1 if key == "[" else -1)
            self._span = SPANS[max(0, min(at, len(SPANS) - 1))]
        elif key == "v":
            self._family = (self._family + 1) % len(self.FAMILIES)
            self.cursor = self.top = 0
        else:
            return super().key(key)
        return True


def report(event: Event, ago: float) -> Iterator[Text]:
    """An event in full; a crash report with its frames, message and state."""
    yield _fact("when", f"{words.age(int(ago))} ago, event {event['number']:,}")
    yield _fact("kind", event["kind"])
    for field in ("ref", "actor", "name", "label", "supervisor", "child_id", "old", "peer", "restarts"):
        if event.get(field) is not None:
            yield _fact(field.replace("_", " "), words.ref_shown(event[field]))
    if event.get("reason") is not None:
        yield _fact("reason", words.why(event["reason"]))
    message = event.get("message")
    if isinstance(message, Mapping):
        sender = "" if message.get("sender") is None else f" from {words.ref_shown(message['sender'])}"
        yield _fact("it handled", f"{message['kind']} {words.one_line(message.get('what') or '')}{sender}")
    if event.get("queued") is not None:
        yield _fact("waiting", f"{event['queued']:,} messages")
    error = event.get("exception")
    if isinstance(error, Mapping):
        yield Text("")
        yield Text(words.failure(event), style="bold red")
        for frame in error.get("frames") or ():
            line = Text(f"  {words.one_line(frame['function'])}", style="")
            line.append(f"  {words.one_line(frame['file'])}:{frame['line']}", style="dim")
            yield line
        for note in error.get("notes") or ():
            yield Text(f"  note: {words.one_line(note)}")
        if error.get("hidden"):
            yield Text("  its text is hidden: it needs the right to inspect", style="dim")
    if event.get("state"):
        yield Text("")
        yield _fact("state", event["state"])
    known = {"ref", "actor", "name", "label", "supervisor", "child_id", "old", "peer", "reason", "message"}
    known |= {"kind", "number", "at", "node", "queued", "exception", "state", "hidden", "restarts"}
    for field, value in event.items():
        if field not in known and value is not None:
            shown = words.age(value) if field in SECONDS else words.ref_shown(value)
            yield _fact(field.replace("_", " "), shown)


def _fact(label: str, value: Any) -> Text:
    text = Text(f"{label:12}  ", style="dim")
    text.append(words.one_line(value), style="")
    return text
