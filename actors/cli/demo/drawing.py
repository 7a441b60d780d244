"""The demo's board as rich draws it: a tree for each zone, what happened below them, and the summary."""

import textwrap

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from enfilade.actors.cli.demo.board import Board, ZoneView

EVENTS_SHOWN = 9
COLUMNS = 80

STYLES = {"sync actor": "cyan", "async actor": "cyan", "async function": "blue", "wasm guest": "magenta"}


def microseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e6:,.0f} \N{MICRO SIGN}s"


def _line(text: str, style: str = "") -> Text:
    """Text that is cut, not wrapped, where the terminal is narrow: the panels keep their height."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def zone_tree(zone: ZoneView, place: str = "") -> Tree:
    """The supervisor of a zone with its children; `place` is written before it."""
    tree = Tree(_line(f"{place}supervisor (one_for_one)", "bold"))
    for child in zone.children.values():
        line = _line(f"{child.id} ", STYLES[child.kind])
        line.append(child.kind, style="dim")
        if child.restarts:
            restarts = "1 restart" if child.restarts == 1 else f"{child.restarts} restarts"
            line.append(f" {restarts}", style="bold yellow")
        if child.detail:
            line.append(f" {child.detail}", style="dim")
        tree.add(line)
    return tree


def zone_panel(zone: ZoneView) -> Panel:
    """One zone: its tree, its counts, in a frame that says whether it is alive."""
    state = f"process {zone.pid}" if zone.up else ("down" if zone.starts else "starting")
    counts = _line("")
    counts.append("answered ", style="dim").append(f"{zone.total_answered:,}")
    counts.append("  failed ", style="dim").append(f"{zone.total_failed:,}")
    trip = _line("")
    trip.append("median round trip ", style="dim").append(microseconds(zone.median_round_trip))
    return Panel(
        Group(zone_tree(zone), Text(), counts, trip),
        title=f"zone {zone.name}",
        subtitle=state,
        border_style="green" if zone.up else ("red" if zone.starts else "yellow"),
        height=10,
    )


def instant(seconds: float) -> str:
    return f"{seconds:5.2f} s"


def wrapped(text: str, indent: int = 2) -> str:
    """A sentence in lines that fit a terminal of the usual width; the later ones are indented."""
    return textwrap.fill(text, COLUMNS, subsequent_indent=" " * indent, break_on_hyphens=False)


def event_line(at: float, text: str) -> str:
    start = f"{instant(at)}  "
    return wrapped(start + text, len(start))


def standing(board: Board) -> RenderableType:
    """The trees as they stand at the end, for a console that draws nothing while the show goes on."""
    trees = [zone_tree(zone, f"zone {zone.name}, process {zone.pid}: ") for zone in board.zones.values()]
    return Group(Text(), *trees, Text())


def draw(board: Board) -> RenderableType:
    """The whole board, for a live display: the zones side by side, as wide as the terminal."""
    zones = Table.grid(expand=True)
    for _ in board.zones:
        zones.add_column(ratio=1)
    zones.add_row(*(zone_panel(zone) for zone in board.zones.values()))
    events = Table.grid(padding=(0, 2, 0, 0))
    for at, text in board.events[-EVENTS_SHOWN:]:
        events.add_row(instant(at), text)
    return Group(zones, events)


def summary(board: Board, seconds: float) -> list[str]:
    """The outcome of the show, as lines of plain text."""
    calls = f"{board.total_answered:,} calls answered through doors in {seconds:.1f} s"
    return [
        f"{calls}; {board.total_failed:,} failed while their zone or guest was down",
        *(
            f"zone {zone.name}: started {zone.starts}x, processes restarted {zone.total_restarts}x, "
            f"median round trip {microseconds(zone.median_round_trip)}"
            for zone in board.zones.values()
        ),
    ]
