"""The demo's board as rich draws it: a tree for each zone, what happened below them, and the summary."""

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text
from rich.tree import Tree

from actors.cli.demo.board import Board, ZoneView

EVENTS_SHOWN = 9
PANEL_WIDTH = 58

STYLES = {"supervisor": "bold", "actor": "cyan", "task": "blue", "guest": "magenta"}


def microseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e6:,.0f} \N{MICRO SIGN}s"


def zone_panel(zone: ZoneView) -> Panel:
    """One zone: its tree, its counts, in a frame that says whether it is alive."""
    state = f"process {zone.pid}" if zone.up else ("down" if zone.starts else "starting")
    tree = Tree(Text("supervisor (one_for_one)", style=STYLES["supervisor"]))
    for child in zone.children.values():
        line = Text(f"{child.id} ", style=STYLES.get(child.kind, ""))
        line.append(child.kind, style="dim")
        if child.restarts:
            line.append(f"  restarted {child.restarts}x", style="bold yellow")
        if child.detail:
            line.append(f"  {child.detail}", style="dim")
        tree.add(line)
    counts = Text.assemble(
        ("answered ", "dim"),
        f"{zone.past_answered + zone.answered:,}",
        ("  failed ", "dim"),
        f"{zone.past_failed + zone.failed:,}",
        ("  round trip ", "dim"),
        microseconds(zone.median_round_trip),
    )
    return Panel(
        Group(tree, Text(), counts),
        title=f"zone {zone.name}",
        subtitle=state,
        border_style="green" if zone.up else ("red" if zone.starts else "yellow"),
        width=PANEL_WIDTH,
        height=10,
    )


def event_line(at: float, text: str) -> str:
    return f"{at:5.2f} s  {text}"


def draw(board: Board) -> RenderableType:
    """The whole board, for a live display."""
    zones = Columns([zone_panel(zone) for zone in board.zones.values()], equal=True)
    events = Text(
        "\n".join(event_line(at, text) for at, text in board.events[-EVENTS_SHOWN:]), overflow="fold"
    )
    return Group(zones, events)


def summary(board: Board, seconds: float) -> list[str]:
    """What the show came to, as lines of plain text."""
    calls = f"{board.answered:,} calls answered through doors in {seconds:.1f} s"
    return [
        f"{calls}; {board.failed:,} failed while their zone or guest was down",
        *(
            f"zone {zone.name}: started {zone.starts}x, processes restarted {zone.restarts}x, "
            f"median round trip {microseconds(zone.median_round_trip)}"
            for zone in board.zones.values()
        ),
    ]
