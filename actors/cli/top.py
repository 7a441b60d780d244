"""`enfilade top`: the processes of a node that have most to do, again and again."""

import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import trio
import typer

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.operator import one_line, visit_node
from enfilade.actors.cli.places import place_of
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.messages.errors import NoProcess, Refused
from enfilade.actors.node.node import Node
from enfilade.actors.observing.protocol.views import NodeView, TableView
from enfilade.actors.observing.watches.client import Client, State, States, WatchEnded

__all__ = ["show_top"]

COLUMNS = (
    "serial",
    "name",
    "label",
    "actor",
    "state",
    "queued",
    "rate",
    "busy",
    "memory",
    "restarts",
    "started_at",
    "method",
)
WAIT = 30.0

COUNTED = 1.0
"""Seconds after which there are rates, so that a picture says something."""

SHOWN = {"busy": words.share, "memory": words.size, "started_at": words.age}
"""What makes the text of those columns that are no plain numbers."""


def show_top(
    given: Path | None,
    secret: Path | None,
    *,
    sort: str = "busy",
    count: int = 20,
    every: float = 1.0,
    times: int | None,
    match: str = "",
    as_json: bool = False,
) -> int:
    """Print the node's numbers and its first processes by a column, `times` times or until interrupted.

    Args:
        given: as of `places.place_of`.
        secret: the file of the secret that it asks for; None.
        sort: "age", or a column of the table of processes; the largest come first.
        count: how many processes.
        every: seconds between two pictures.
        times: how many pictures; None for any number. The first comes when there are rates.
        match: which processes, as of `TableView`.
        as_json: whether to print each picture as a JSON document on one line.

    Returns:
        0.

    Raises:
        Refusal: the node cannot be reached, does not let us, or something goes beyond its limits.
    """
    is_by_age = sort == "age"
    view = TableView(
        columns=COLUMNS,
        sort="started_at" if is_by_age else sort,
        descending=not is_by_age,
        count=count,
        match=match,
    )

    async def visit(node: Node, peer: str) -> None:
        client = Client(node, peer)
        if not await client.rights():
            raise Refusal(f"node {peer} does not let us observe it; `[[peer]] observe = true` does")
        try:
            async with client.watch(view, every) as table, client.watch(NodeView(), every) as numbers:
                began = (await _next(table)).update.at
                shown = 0
                while times is None or shown < times:
                    fields, state = (await _next(numbers)).fields, await _next(table)
                    if state.update.at - began >= COUNTED:
                        _print(fields, state, as_json=as_json)
                        shown += 1
        except (Refused, NoProcess) as error:
            raise Refusal(one_line(error)) from error
        except WatchEnded as error:
            raise Refusal(f"node {peer} is gone: {one_line(error)}") from error

    place = place_of(given, secret)
    try:
        visit_node(place.door, place.secret, visit)
    except KeyboardInterrupt:
        return 0
    return 0


async def _next(states: States) -> State:
    with trio.fail_after(WAIT + states.interval):
        return await anext(states)


def _print(node: dict[str, Any], table: State, *, as_json: bool) -> None:
    if as_json:
        document = {"node": node, "total": table.fields["total"], "processes": table.rows}
        typer.echo(msgspec.json.encode(document).decode())
        return
    if sys.stdout.isatty():
        typer.echo("\x1b[H\x1b[2J", nl=False)
    moment = time.strftime("%H:%M:%S")
    seen = node["observation"]
    numbers = {
        **{name: node[name] for name in ("processes", "queued", "crashes", "dead_letters")},
        "up": f"{node['uptime']:.0f} s",
        "busy": words.share(node["loop"]["busy"]),
        "memory": words.size(node["memory"]["rss"]),
        "observed for": f"{seen['seconds']:.3f} s",
    }
    shown = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in numbers.items())
    typer.echo(f"{moment} {one_line(node['full_name'])}: {shown}")
    if not seen["sampling"]:
        typer.echo("it cannot tell how busy each process is: its sampler is not compiled")
    now = node["started_at"] + node["uptime"]
    rows = [tuple("AGE" if name == "started_at" else name.upper() for name in COLUMNS)]
    for row in table.rows:
        started = row.get("started_at")
        fields = {**row, "started_at": None if started is None else max(0.0, now - started)}
        rows.append(tuple(_cell(name, fields.get(name)) for name in COLUMNS))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        typer.echo("  ".join(map(str.ljust, cells, widths)).rstrip())
    typer.echo("")


def _cell(column: str, value: Any) -> str:
    if value is None:
        return "-"
    shown = SHOWN.get(column)
    return one_line(value)[:40] if shown is None else shown(value)
