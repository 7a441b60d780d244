"""`enfilade trace`: the messages of some processes of a node; `enfilade chart`: the same as a picture."""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import typer

from enfilade.actors.cli.charts import chart_of, mermaid_of, svg_of
from enfilade.actors.cli.merging import merged
from enfilade.actors.cli.operator import one_line, visit_node
from enfilade.actors.cli.places import place_of
from enfilade.actors.cli.recordings import Recording, Writer, entry_shown, read_recording, write_records
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.messages.errors import NoProcess, Refused
from enfilade.actors.node.node import Node
from enfilade.actors.observing.protocol.views import TraceView
from enfilade.actors.observing.watches.client import Client, WatchEnded

__all__ = ["draw_chart", "play_recording", "trace_node"]

EVERY = 0.2
"""Seconds between two updates."""


def trace_node(given: Path | None, secret: Path | None, view: TraceView, *, save: Path | None = None) -> int:
    """Print the entries of a trace until it ends, or is interrupted.

    Args:
        given: as of `places.place_of`.
        secret: the file of the secret that it asks for; None.
        view: what is traced.
        save: a file for the recording.

    Returns:
        0.

    Raises:
        Refusal: the node cannot be reached, does not let us trace, or something goes beyond its limits.
    """
    made: list[Writer] = []

    async def visit(node: Node, peer: str) -> None:
        client = Client(node, peer, "trace")
        made.append(Writer(peer, attrs.asdict(view), contents=view.contents))
        try:
            await _follow(client, view, made[0])
        except NoProcess as error:
            raise Refusal(f"node {peer} does not let us trace; `[[peer]] trace = true` does") from error
        except Refused as error:
            problem = f"node {peer} does not let us trace: {one_line(error)}"
            raise Refusal(problem) from error
        except WatchEnded as error:
            raise Refusal(f"node {peer} is gone: {one_line(error)}") from error

    place = place_of(given, secret)
    try:
        visit_node(place.door, place.secret, visit)
    except KeyboardInterrupt:
        if made:
            made[0].end("interrupted")
    finally:
        if save is not None and made:
            write_records(made[0].records, save)
            typer.echo(f"{save}: {len(made[0].records)} records", err=True)
    return 0


async def _follow(client: Client, view: TraceView, writer: Writer) -> None:
    async with client.watch(view, EVERY) as states:
        async for state in states:
            if state.update.number == 1 and not state.fields["traced"] and state.fields["ended"] is None:
                typer.echo("no process is called so; one that comes is traced", err=True)
            for entry in state.fields["entries"]:
                before = len(writer.records)
                writer.add(entry)
                for record in writer.records[before:]:
                    _print(record, writer.texts)
            writer.heard(state.update.at)
            why = state.fields["ended"]
            if why is not None:
                writer.end(why)
                typer.echo(f"the trace has ended: {why}")
                return


def play_recording(files: Sequence[Path], *, speed: float | None = None, steps: bool = False) -> int:
    """Print the entries of recordings, in one order.

    Args:
        files: the recordings, each of another node.
        speed: how much faster than it happened; None for at once.
        steps: whether each entry waits for the return key.

    Returns:
        0.

    Raises:
        Refusal: one is not a recording.
    """
    recordings = [read_recording(file) for file in files]
    whole = merged(recordings)
    texts: dict[str, dict[int, str]] = {node: {} for node in whole.nodes}

    for node in whole.nodes:
        typer.echo(f"recording of node {one_line(node)}")
    if whole.by_clock:
        typer.echo("≈ the order between the nodes is that of their clocks")
    passed = 0.0
    for step in whole.steps:
        is_entry = step.record["record"] == "entry"
        if speed is not None and is_entry:
            time.sleep(max(0.0, step.at - passed) / speed)
            passed = step.at
        shown = {**step.record, "ns": round(step.at * 1e9)} if is_entry else step.record
        _print(shown, texts[step.node])
        if steps and is_entry and not sys.stdin.readline():
            return 0
    for recording in recordings:
        _print_end(recording)
    return 0


def draw_chart(
    files: Sequence[Path],
    *,
    form: str = "mermaid",
    only: tuple[str, ...] = (),
    most: int = 200,
    start: float = 0.0,
    end: float = math.inf,
) -> int:
    """Print recordings as a message sequence chart.

    Args:
        files: the recordings, each of another node.
        form: "mermaid" or "svg".
        only: the participants that are shown, and those they talk to; none for all.
        most: how many events.
        start, end: the seconds, from the first entry on, between which events are shown.

    Returns:
        0.

    Raises:
        Refusal: one is not a recording.
    """
    recordings = [read_recording(file) for file in files]
    chart = chart_of(recordings, only=only, most=most, start=start, end=end)
    typer.echo(mermaid_of(chart) if form == "mermaid" else svg_of(chart), nl=False)
    return 0


def _print_end(recording: Recording) -> None:
    if recording.is_cut:
        typer.echo("the recording was cut here")
    else:
        typer.echo(f"the trace had ended: {one_line(recording.records[-1]['why'])}")


def _print(record: dict[str, Any], texts: dict[int, str]) -> None:
    """Print an entry as one line; note the name of a process."""
    if record["record"] == "process":
        texts[record["serial"]] = record["text"]
    elif record["record"] in ("entry", "gap"):
        typer.echo(entry_shown(record, texts))
