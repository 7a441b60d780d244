"""Message sequence charts of recordings, as text for Mermaid, and as pictures in SVG.

Participants come in the order in which they appear: named processes by their names, so that the incarnations
of a name are one participant, others by class and serial. The same recording gives the same bytes.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal
from xml.sax.saxutils import escape

import attrs

from enfilade.actors.cli.merging import Key, Merged, Step, key_of, merged
from enfilade.actors.cli.recordings import Recording

__all__ = ["Arrow", "Chart", "Note", "chart_of", "mermaid_of", "svg_of"]

OUTSIDE: Final = "outside"
"""Stands for those who are not in the recording."""

Style = Literal["call", "reply", "message", "crash"]


@attrs.frozen
class Arrow:
    """A message from one participant to another."""

    source: str
    target: str
    text: str
    style: Style


@attrs.frozen
class Note:
    """A remark; on no participant it stands over the whole."""

    on: str | None
    text: str


@attrs.frozen
class Chart:
    """A chart.

    Attributes:
        nodes: the nodes of the recordings.
        participants: in the order of appearance, those of one of several nodes beside each other; and the
            node of each, or None.
        events: from the top down.
    """

    nodes: list[str]
    participants: dict[str, str | None]
    events: list[Arrow | Note]


def chart_of(
    recordings: Recording | Sequence[Recording],
    *,
    only: tuple[str, ...] = (),
    most: int = 200,
    start: float = 0.0,
    end: float = math.inf,
) -> Chart:
    """The chart of recordings, in one order.

    Args:
        recordings: a recording, or several, each of another node.
        only: the names of participants; none for all.
        most: how many events are shown; the rest is a remark.
        start, end: the seconds, from the first entry on, between which events are shown.
    """
    whole = merged([recordings] if isinstance(recordings, Recording) else recordings)
    reader = _Reader(whole)
    appeared: dict[str, str | None] = {}
    events: list[Arrow | Note] = []
    left_out = 0
    for at, event in reader.events():
        ends = (event.source, event.target) if isinstance(event, Arrow) else (event.on,)
        if not start <= at <= end or (only and not any(each in only for each in ends)):
            continue
        if len(events) >= most:
            left_out += 1
            continue
        appeared.update({each: reader.home_of(each) for each in ends if each is not None})
        events.append(event)
    if whole.by_clock:
        nodes = ", ".join([whole.nodes[0], *whole.by_clock])
        events.insert(0, Note(None, f"≈ the order between {nodes} is that of their clocks"))
    if left_out:
        events.append(Note(None, f"{left_out} more are left out"))
    if whole.is_cut:
        events.append(Note(None, "the recording was cut here"))
    homes = [*whole.nodes, *dict.fromkeys(home for home in appeared.values() if home not in whole.nodes)]
    if len(whole.nodes) > 1:
        appeared = {each: home for node in homes for each, home in appeared.items() if home == node}
    return Chart(whole.nodes, appeared, events)


class _Reader:
    """Makes the events of recordings that were merged."""

    def __init__(self, whole: Merged) -> None:
        self._steps = whole.steps
        self._names: dict[Key, str] = {}
        self._homes: dict[str, str] = {}
        for step in whole.steps:
            if step.record["record"] == "process":
                self._name(step)
        self._senders = self._matched()

    def _name(self, step: Step) -> None:
        record = step.record
        name = record["name"] or f"{record['actor'] or 'process'}#{record['serial']}"
        if self._homes.setdefault(name, step.node) != step.node:
            name = f"{name} of {step.node}"
            self._homes[name] = step.node
        self._names[step.node, record["serial"]] = name

    def _matched(self) -> dict[int, str]:
        """The sender of each message that a process got, where both ends were recorded: by its step."""
        under_way: dict[tuple[Any, ...], deque[tuple[int, str]]] = {}
        senders: dict[int, str] = {}
        for number, step in enumerate(self._steps):
            entry = step.record
            if entry.get("what") == "sent" and key_of(step.node, entry.get("receiver")) in self._names:
                receiver = key_of(step.node, entry["receiver"])
                queue = under_way.setdefault((receiver, *_kind(entry)), deque())
                queue.append((number, self._who(step.node, entry["process"])))
            elif entry.get("what") == "got":
                here = key_of(step.node, entry["process"])
                waiting = under_way.get((here, *_kind(entry)))
                if waiting:
                    sent, who = waiting.popleft()
                    senders[number] = senders[sent] = who
        return senders

    def home_of(self, participant: str) -> str | None:
        """The node of a participant; None for one that stands for others."""
        return self._homes.get(participant)

    def events(self) -> Iterator[tuple[float, Arrow | Note]]:
        """The events, and when each was."""
        for number, step in enumerate(self._steps):
            record = step.record
            if record["record"] == "gap":
                yield step.at, Note(None, f"{record['count']} entries are missing")
            elif record["record"] == "entry":
                event = self._event(number, step.node, record)
                if event is not None:
                    yield step.at, event

    def _event(self, number: int, node: str, entry: dict[str, Any]) -> Arrow | Note | None:
        here = self._who(node, entry["process"])
        sender = self._who(node, entry.get("sender"))
        text = entry.get("method") or entry.get("type") or entry.get("kind") or ""
        outcome = entry.get("outcome")
        match entry["what"]:
            case "got":
                style: Style = "call" if entry.get("kind") == "call" else "message"
                return Arrow(self._senders.get(number, sender), here, text, style)
            case "done" if entry.get("kind") == "call" and outcome != "deferred":
                return Arrow(here, sender, text if outcome == "replied" else f"{text}: {outcome}", "reply")
            case "sent" if number not in self._senders:
                return Arrow(here, self._who(node, entry.get("receiver")), text, "message")
            case "crashed":
                return Arrow(here, here, f"crashed: {outcome}", "crash")
            case "ended":
                return Note(here, f"ended: {outcome}")
            case "started":
                return Note(here, f"started again, as {entry['process']}")
        return None

    def _who(self, node: str, given: Any) -> str:
        """The participant that a process is."""
        if given is None:
            return OUTSIDE
        key = key_of(node, given)
        if key is None:
            return str(given)
        name = self._names.get(key)
        if name is None:
            name = f"#{given}" if isinstance(given, int) else str(given)
            self._homes.setdefault(name, key[0])
        return name


def _kind(entry: dict[str, Any]) -> tuple[Any, Any]:
    return entry.get("kind"), entry.get("method") or entry.get("type")


# Mermaid.

ARROWS: Final[dict[str, str]] = {"call": "->>", "reply": "-->>", "message": "-)", "crash": "-x"}


def mermaid_of(chart: Chart) -> str:
    """The chart as text for Mermaid."""
    ids = {name: f"p{number}" for number, name in enumerate(chart.participants)}
    lines = ["sequenceDiagram"]
    for home, names in _boxes(chart):
        indent = "    "
        if home is not None:
            lines.append(f"    box {_mermaid_text(home)}")
        lines += [f"{indent}participant {ids[name]} as {_mermaid_text(name)}" for name in names]
        if home is not None:
            lines.append("    end")
    for event in chart.events:
        if isinstance(event, Arrow):
            arrow = f"{ids[event.source]}{ARROWS[event.style]}{ids[event.target]}"
            lines.append(f"    {arrow}: {_mermaid_text(event.text)}")
        elif ids:
            over = ids[event.on] if event.on is not None else _whole(list(ids.values()))
            lines.append(f"    Note over {over}: {_mermaid_text(event.text)}")
    return "\n".join(lines) + "\n"


def _boxes(chart: Chart) -> list[tuple[str | None, list[str]]]:
    """The participants of each node, in order."""
    boxes: dict[str | None, list[str]] = {}
    for name, home in chart.participants.items():
        boxes.setdefault(home, []).append(name)
    return list(boxes.items())


def _whole(ids: list[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{ids[0]},{ids[-1]}"


def _mermaid_text(text: str) -> str:
    """A text in which nothing means anything to Mermaid."""
    shown = _plain(text)
    for char in "#;:<>&\"'%":
        shown = shown.replace(char, f"\0{ord(char)}\1")
    return shown.replace("\0", "#").replace("\1", ";") or " "


# SVG.

WIDTH: Final = 160
STEP: Final = 34
TOP: Final = 60
"""Pixels from one participant to the next, from one event to the next, and above the first."""

HEAD: Final = (
    '<marker id="head" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
    '<path d="M0,0 L7,4 L0,8"/></marker>'
)
"""The head of an arrow."""

CSS: Final = (
    "text{font:13px sans-serif;fill:#111}line,path{stroke:#333;fill:none}.reply{stroke-dasharray:5 4}"
    ".crash{stroke:#b00020}rect{fill:#f2f2f2;stroke:#777}.life{stroke:#aaa}"
    "@media(prefers-color-scheme:dark){text{fill:#eee}line,path{stroke:#ccc}.crash{stroke:#ff6b81}"
    "rect{fill:#333;stroke:#999}.life{stroke:#666}svg{background:#1b1b1b}}"
    "rect.node{fill:none;stroke-dasharray:2 3}"
)


def svg_of(chart: Chart) -> str:
    """The chart as a picture that needs nothing else."""
    places = {name: WIDTH // 2 + number * WIDTH for number, name in enumerate(chart.participants)}
    width = max(1, len(places)) * WIDTH
    height = TOP + STEP * (len(chart.events) + 1)
    count = sum(isinstance(event, Arrow) for event in chart.events)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}">',
        f"<title>{escape('Messages on ' + ', '.join(map(_plain, chart.nodes)))}</title>",
        f"<desc>{count} messages among {escape(', '.join(map(_plain, places)) or 'nobody')}</desc>",
        f"<style>{CSS}</style>",
        f"<defs>{HEAD}</defs>",
    ]
    boxes = [(home, names) for home, names in _boxes(chart) if home is not None]
    for home, names in boxes if len(boxes) > 1 else ():
        x, across = places[names[0]] - WIDTH // 2 + 3, len(names) * WIDTH - 6
        lines.append(f'<rect class="node" x="{x}" y="3" width="{across}" height="{height - 6}" rx="6"/>')
        lines.append(f'<text x="{x + 8}" y="{height - 9}">{escape(_short(home, 20 * len(names)))}</text>')
    for name, x in places.items():
        lines.append(f'<line class="life" x1="{x}" y1="{TOP - 22}" x2="{x}" y2="{height}"/>')
        lines.append(f'<rect x="{x - 70}" y="12" width="140" height="26" rx="4"/>')
        lines.append(f'<text x="{x}" y="30" text-anchor="middle">{escape(_short(name, 20))}</text>')
    for number, event in enumerate(chart.events):
        y = TOP + STEP * (number + 1) - 10
        lines += _arrow(event, places, y) if isinstance(event, Arrow) else _note(event, places, width, y)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _arrow(arrow: Arrow, places: dict[str, int], y: int) -> list[str]:
    start, end = places[arrow.source], places[arrow.target]
    text = escape(_short(arrow.text, 40))
    if start == end:
        cross = f"M{start + 14},{y - 6} l12,12 m0,-12 l-12,12"
        path = cross if arrow.style == "crash" else f"M{start},{y} h20"
        return [
            f'<path class="{arrow.style}" d="{path}"/>',
            f'<text x="{start + 34}" y="{y + 5}">{text}</text>',
        ]
    return [
        f'<line class="{arrow.style}" x1="{start}" y1="{y}" x2="{end}" y2="{y}" marker-end="url(#head)"/>',
        f'<text x="{(start + end) // 2}" y="{y - 5}" text-anchor="middle">{text}</text>',
    ]


def _note(note: Note, places: dict[str, int], width: int, y: int) -> list[str]:
    x = width // 2 if note.on is None else places[note.on]
    text = _short(note.text, 100 if note.on is None else 40)
    half = 10 + 4 * len(text)
    return [
        f'<rect x="{x - half}" y="{y - 14}" width="{2 * half}" height="22"/>',
        f'<text x="{x}" y="{y + 1}" text-anchor="middle">{escape(text)}</text>',
    ]


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _short(text: str, most: int) -> str:
    shown = _plain(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
