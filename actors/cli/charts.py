"""Message sequence charts of recordings, as text for Mermaid, and as pictures in SVG.

Participants come in the order in which they appear: named processes by their names, so that the incarnations
of a name are one participant, others by class and serial. The same recording gives the same bytes.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal
from xml.sax.saxutils import escape

import attrs

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
        node: the node of the recording.
        participants: in the order of appearance.
        events: from the top down.
    """

    node: str
    participants: list[str]
    events: list[Arrow | Note]


def chart_of(recording: Recording, *, only: tuple[str, ...] = (), most: int = 200) -> Chart:
    """The chart of a recording.

    Args:
        recording: the recording.
        only: the names of participants; none for all.
        most: how many events are shown; the rest is a remark.
    """
    names: dict[int, str] = {}
    participants: dict[str, None] = {}
    events: list[Arrow | Note] = []
    left_out = 0
    for event in _events(recording, names):
        ends = (event.source, event.target) if isinstance(event, Arrow) else (event.on,)
        if only and not any(end in only for end in ends):
            continue
        if len(events) >= most:
            left_out += 1
            continue
        participants.update(dict.fromkeys(end for end in ends if end is not None))
        events.append(event)
    if left_out:
        events.append(Note(None, f"{left_out} more are left out"))
    if recording.is_cut:
        events.append(Note(None, "the recording was cut here"))
    return Chart(recording.header["node"], list(participants), events)


def _events(recording: Recording, names: dict[int, str]) -> Iterator[Arrow | Note]:
    for record in recording.records:
        kind = record["record"]
        if kind == "process":
            names[record["serial"]] = record["name"] or f"{record['actor'] or 'process'}#{record['serial']}"
        elif kind == "gap":
            yield Note(None, f"{record['count']} entries are missing")
        elif kind == "entry":
            yield from _event(record, names)


def _event(entry: dict[str, Any], names: dict[int, str]) -> Iterator[Arrow | Note]:
    here = names[entry["process"]]
    sender = _name(entry.get("sender"), names)
    text = entry.get("method") or entry.get("type") or entry.get("kind") or ""
    match entry["what"]:
        case "got":
            yield Arrow(sender, here, text, "call" if entry.get("kind") == "call" else "message")
        case "done" if entry.get("kind") == "call" and entry.get("outcome") != "deferred":
            outcome = entry.get("outcome")
            yield Arrow(here, sender, text if outcome == "replied" else f"{text}: {outcome}", "reply")
        case "sent":
            yield Arrow(here, _name(entry.get("receiver"), names), text, "message")
        case "crashed":
            yield Arrow(here, here, f"crashed: {entry.get('outcome')}", "crash")
        case "ended":
            yield Note(here, f"ended: {entry.get('outcome')}")
        case "started":
            yield Note(here, f"started again, as {entry['process']}")


def _name(given: Any, names: dict[int, str]) -> str:
    if given is None:
        return OUTSIDE
    return names.get(given, f"#{given}") if isinstance(given, int) else str(given)


# Mermaid.

ARROWS: Final[dict[str, str]] = {"call": "->>", "reply": "-->>", "message": "-)", "crash": "-x"}


def mermaid_of(chart: Chart) -> str:
    """The chart as text for Mermaid."""
    ids = {name: f"p{number}" for number, name in enumerate(chart.participants)}
    lines = ["sequenceDiagram", f"    box {_mermaid_text(chart.node)}"]
    lines += [f"    participant {ids[name]} as {_mermaid_text(name)}" for name in ids if name != OUTSIDE]
    lines.append("    end")
    if OUTSIDE in ids:
        lines.append(f"    participant {ids[OUTSIDE]} as {OUTSIDE}")
    for event in chart.events:
        if isinstance(event, Arrow):
            arrow = f"{ids[event.source]}{ARROWS[event.style]}{ids[event.target]}"
            lines.append(f"    {arrow}: {_mermaid_text(event.text)}")
        elif ids:
            over = ids[event.on] if event.on is not None else _whole(list(ids.values()))
            lines.append(f"    Note over {over}: {_mermaid_text(event.text)}")
    return "\n".join(lines) + "\n"


def _whole(ids: list[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{ids[0]},{ids[-1]}"


def _mermaid_text(text: str) -> str:
    """A text in which nothing means anything to Mermaid."""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
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
)


def svg_of(chart: Chart) -> str:
    """The chart as a picture that needs nothing else."""
    places = {name: WIDTH // 2 + number * WIDTH for number, name in enumerate(chart.participants)}
    width = max(1, len(places)) * WIDTH
    height = TOP + STEP * (len(chart.events) + 1)
    count = sum(isinstance(event, Arrow) for event in chart.events)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}">',
        f"<title>{escape(f'Messages on {chart.node}')}</title>",
        f"<desc>{count} messages among {escape(', '.join(places) or 'nobody')}</desc>",
        f"<style>{CSS}</style>",
        f"<defs>{HEAD}</defs>",
    ]
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
    text = _short(note.text, 40)
    half = 10 + 4 * len(text)
    return [
        f'<rect x="{x - half}" y="{y - 14}" width="{2 * half}" height="22"/>',
        f'<text x="{x}" y="{y + 1}" text-anchor="middle">{escape(text)}</text>',
    ]


def _short(text: str, most: int) -> str:
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
