"""The commands that look at nodes and at what was recorded of them: names and parameters."""

import math
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from typer.core import TyperGroup

from enfilade.actors.cli.numbers import number

__all__ = ["Secret", "looking"]

looking = typer.Typer()

LARGEST_PORT: Final = 65_535

SERIAL: Final = re.compile(r"[0-9]{1,18}")
"""A process that is named by its serial."""

Secret = Annotated[Path | None, typer.Option(help="A file with the node's secret.")]

Given = Annotated[
    Path | None,
    typer.Argument(
        metavar="[DOOR]",
        help="The node: its door, zone file, name or process id; by default, the one that runs.",
    ),
]


@looking.command()
def top(
    door: Given = None,
    sort: Annotated[
        str,
        typer.Option(
            help="serial, queued, rate, busy, memory, restarts, age, or another column: the largest first."
        ),
    ] = "busy",
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=500, help="The number of processes.")
    ] = 20,
    every: Annotated[float, number(min=0.1, max=60.0, help="Seconds between two updates.")] = 1.0,
    times: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after this many updates; 1 if the output is not a terminal."),
    ] = None,
    match: Annotated[str, typer.Option(help="Show only matching processes, such as 'queued > 10'.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print each update as a JSON document.")] = False,
    secret: Secret = None,
) -> None:
    """Show the busiest processes of a node, until interrupted."""
    from enfilade.actors.cli.top import show_top

    if times is None and not sys.stdout.isatty():
        times = 1
    options: dict[str, Any] = {"every": every, "times": times, "match": match, "as_json": json}
    raise typer.Exit(show_top(door, secret, sort=sort, count=count, **options))


@looking.command()
def observe(
    doors: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DOOR]...",
            help="The nodes, named as for `top`, or dump files; by default, the one that runs.",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Observe the nodes that these are connected to as well.")
    ] = False,
    web: Annotated[bool, typer.Option("--web", help="Serve a page for a browser of this machine.")] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port of the page; 0 picks a free one.")
    ] = 0,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in your browser.")] = False,
    allow: Annotated[
        str, typer.Option(metavar="RIGHTS", help="Further rights of the page, from inspect,trace,control.")
    ] = "",
    read_only: Annotated[bool, typer.Option("--read-only", help="Offer no actions.")] = False,
    ascii_: Annotated[bool, typer.Option("--ascii", help="Draw with ASCII characters alone.")] = False,
    secret: Secret = None,
) -> None:
    """Watch nodes, or dumps, on the terminal, or in a browser; steer their processes."""
    from enfilade.actors.cli.observe.command import observe_in_browser, observe_on_terminal

    looks: dict[str, Any] = {"follows": follow, "read_only": read_only, "ascii_only": ascii_}
    if not web:
        if port or open_ or allow:
            raise typer.BadParameter("--port, --open and --allow need --web")
        raise typer.Exit(observe_on_terminal(doors or [], secret, **looks))
    if read_only or ascii_:
        raise typer.BadParameter(
            "--read-only and --ascii are for the terminal; the page may act with --allow"
        )
    rights = [right for each in allow.split(",") if (right := each.strip())]
    page: dict[str, Any] = {"follows": follow, "port": port, "opens": open_, "allowed": rights}
    raise typer.Exit(observe_in_browser(doors or [], secret, **page))


@looking.command()
def dump(
    given: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DOOR | FILE | show FILE]",
            help="The node, named as for `top`, or a saved dump; by default, the one that runs.",
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", "--to", help="Write the dump to a file, as lines of JSON.")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Write text to the file instead.")] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="Show the idle processes of a very large node as well.")
    ] = False,
    stacks: Annotated[
        Literal["all", "stuck", "none"],
        typer.Option(
            help="The stacks to print: all; only those of tasks that do not wait for a message; none."
        ),
    ] = "all",
    secret: Secret = None,
) -> None:
    """Show what a node is doing, and who waits for whom; or show a saved dump."""
    from enfilade.actors.cli.dump import dump_node, show_dump

    if given is not None and len(given) == 2 and given[0].name == "show":
        raise typer.Exit(show_dump(given[1], stacks))
    if given is not None and len(given) > 1:
        raise typer.BadParameter("expected one node or file, got several")
    door = None if given is None else given[0]
    if door is not None and door.suffix != ".toml" and door.is_file():
        raise typer.Exit(show_dump(door, stacks))
    raise typer.Exit(dump_node(door, secret, save=save, as_text=text, everything=all_, stacks=stacks))


@looking.command()
def metrics(
    doors: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DOOR]...", help="The nodes, named as for `top`; by default, the one that runs."
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS:]PORT",
            help="Serve them at this port of the loopback interface; 0 picks a free one.",
        ),
    ] = None,
    secret: Secret = None,
) -> None:
    """Print the metrics of nodes in the text format of Prometheus, or serve them at /metrics."""
    from enfilade.actors.cli.metrics import print_metrics, serve_metrics

    if listen is None:
        raise typer.Exit(print_metrics(doors or [], secret))
    raise typer.Exit(serve_metrics(doors or [], secret, _loopback_port(listen)))


def _loopback_port(given: str) -> int:
    """The port of a loopback address.

    Raises:
        BadParameter: it is no port, or of another address.
    """
    host, _, port = given.rpartition(":")
    if host not in ("", "127.0.0.1", "localhost", "[::1]"):
        advice = "metrics are served to this machine alone; forward the port: ssh -L PORT:127.0.0.1:PORT HOST"
        raise typer.BadParameter(f"expected a loopback address such as 127.0.0.1:9464, got {given}: {advice}")
    if not (port.isdecimal() and port.isascii() and int(port) <= LARGEST_PORT):
        raise typer.BadParameter(f"expected a port up to {LARGEST_PORT}, got {port or given}")
    return int(port)


class _OrDoor(TyperGroup):
    """A group whose first word, where it is none of its commands, is the door for "node"."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["node", *args]
        return super().parse_args(ctx, args)


trace = typer.Typer(
    cls=_OrDoor, help="Show the messages of some processes: `enfilade trace DOOR PROCESS...`."
)
looking.add_typer(trace, name="trace")


@trace.command("node")
def trace_node(
    door: Annotated[
        Path,
        typer.Argument(
            metavar="[DOOR]",
            help="The node: its door, zone file, name or process id; by default, the one that runs.",
        ),
    ],
    processes: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROCESS...", help="Serials, names, patterns of names, or actor:CLASS."),
    ] = None,
    sends: Annotated[bool, typer.Option("--sends", help="Also show what they send.")] = False,
    match: Annotated[str, typer.Option(help="Show only matching entries, such as 'method = post'.")] = "",
    count: Annotated[int, typer.Option(min=1, help="End after this many messages.")] = 100,
    for_: Annotated[float, number("--for", min=0.01, help="End after this many seconds.")] = 10.0,
    rate: Annotated[float, number(min=1.0, help="End when there are more entries a second.")] = 1_000.0,
    contents: Annotated[bool, typer.Option("--contents", help="Show the contents of messages.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Trace those, too, that a traced process sends to.")
    ] = False,
    save: Annotated[Path | None, typer.Option(help="Write a recording to a file.")] = None,
    secret: Secret = None,
) -> None:
    """Show the messages of processes of a node, until the trace ends by itself."""
    from enfilade.actors.cli.trace import trace_node as run
    from enfilade.actors.observing.protocol.views import TraceView

    node, given = (door, processes) if processes else (None, [str(door)])
    if node is None and door.exists():
        raise typer.BadParameter(f"expected the processes of {door} that are to be traced")
    named = tuple(int(each) if SERIAL.fullmatch(each) else each for each in given)
    view = TraceView(named, sends, match, count, for_, rate, contents, follow)
    raise typer.Exit(run(node, secret, view, save=save))


Recorded = Annotated[Path, typer.Argument(help="The recording.", exists=True, dir_okay=False)]
AllRecorded = Annotated[
    list[Path],
    typer.Argument(help="The recordings, each of another node.", exists=True, dir_okay=False),
]


@trace.command("play")
def trace_play(
    files: AllRecorded,
    speed: Annotated[float | None, number(min=0.001, help="Play it this many times as fast.")] = None,
    step: Annotated[bool, typer.Option("--step", help="Wait for the return key after each entry.")] = False,
) -> None:
    """Show recordings, in one order."""
    from enfilade.actors.cli.trace import play_recording

    raise typer.Exit(play_recording(files, speed=speed, steps=step))


@trace.command("redact")
def trace_redact(file: Recorded) -> None:
    """Take the contents of messages out of a recording."""
    from enfilade.actors.cli.recordings import redact

    typer.echo(f"{file}: contents taken out of {redact(file)} entries")


@looking.command()
def chart(
    files: AllRecorded,
    format_: Annotated[
        Literal["mermaid", "svg"], typer.Option("--format", help="Text for Mermaid, or a picture.")
    ] = "mermaid",
    only: Annotated[list[str] | None, typer.Option(help="A participant; may be repeated.")] = None,
    from_: Annotated[
        float, number("--from", min=0.0, help="Begin this many seconds after the first entry.")
    ] = 0.0,
    to: Annotated[
        float, number("--to", min=0.0, help="End this many seconds after the first entry.")
    ] = math.inf,
    max_: Annotated[int, typer.Option("--max", min=1, help="The maximum number of events.")] = 200,
) -> None:
    """Print recordings of traces as one message sequence chart."""
    from enfilade.actors.cli.trace import draw_chart

    names = tuple(only or ())
    raise typer.Exit(draw_chart(files, form=format_, only=names, most=max_, start=from_, end=to))
