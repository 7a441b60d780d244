"""`enfilade dump`: what a node is doing at this moment, and who waits for whom."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import trio
import typer

from enfilade.actors.cli.files import read_own
from enfilade.actors.cli.operator import NoAnswer, one_line, visit_node
from enfilade.actors.cli.places import place_of, running_place
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.messages.errors import NoProcess, Refused
from enfilade.actors.node.node import Node
from enfilade.actors.observing.discovery.running_nodes import RunningNode, running_nodes
from enfilade.actors.observing.dumps.dump import Stacks, read, text_of, written
from enfilade.actors.observing.protocol.views import DumpView
from enfilade.actors.observing.watches.client import Client as Watcher
from enfilade.actors.observing.watches.client import WatchEnded
from enfilade.transport.doors import Client, DoorError, DoorOpenError

__all__ = ["dump_node", "read_dump", "show_dump"]

SECONDS: Final = 120.0
"""Seconds that a node may take for its dump."""

EVERY: Final = 0.1
BUDGET: Final = 0.5
"""Seconds between two pieces of it, and the share of its time that it takes: whoever dumps is in a hurry."""

PATIENCE: Final = 2.0
"""Seconds after which a node that does not answer is asked by a signal."""

FILE_SECONDS: Final = 5.0
"""Seconds that it may take then until the file is there."""

LOOKING: Final = 0.05
"""Seconds between two looks for the file."""


def dump_node(
    given: Path | None,
    secret: Path | None,
    *,
    save: Path | None = None,
    as_text: bool = False,
    everything: bool = False,
    stacks: Stacks = "all",
) -> int:
    """Print a dump of a node: the diagnosis first. A node that does not answer is asked by a signal.

    Args:
        given: as of `places.place_of`.
        secret: the file of the secret that it asks for; None.
        save: a file to write instead, as lines of JSON.
        as_text: whether the file has the text that is printed else.
        everything: whether idle processes have their lines in a very large node, too.
        stacks: the stacks that are printed.

    Returns:
        0.

    Raises:
        Refusal: the node cannot be reached, does not let us, or does not answer.
    """

    async def visit(node: Node, peer: str) -> list[dict[str, Any]]:
        try:
            return await _asked(node, peer, everything=everything)
        except (Refused, NoProcess) as error:
            problem = f"node {peer} does not let us inspect it; `[[peer]] inspect = true` does"
            raise Refusal(problem) from error
        except WatchEnded as error:
            raise Refusal(f"node {peer} is gone: {one_line(error)}") from error

    if given is not None and given.name.isdecimal() and not given.exists():
        node = running_place(given)
        if node.door is None:
            return _show(_dumped_by_signal(node), save, stacks, as_text=as_text)
    place = place_of(given, secret)
    try:
        records = visit_node(place.door, place.secret, visit, patience=PATIENCE)
    except NoAnswer as error:
        records = _dumped_by_signal(_behind(place.door, error))
    return _show(records, save, stacks, as_text=as_text)


async def _asked(node: Node, peer: str, *, everything: bool) -> list[dict[str, Any]]:
    """The records of a dump, which the node makes in steps between its other work."""
    records: list[dict[str, Any]] = []
    client = Watcher(node, peer, "inspect")
    with trio.fail_after(SECONDS):
        async with client.watch(DumpView(everything), EVERY, BUDGET) as states:
            async for state in states:
                records += state.fields["records"]
                if state.fields["is_last"]:
                    break
    return records


def _behind(door: Path, silence: NoAnswer) -> RunningNode:
    """The node behind a door that does not answer: the door knows the process without asking it."""
    try:
        with Client.open(str(door)) as client:
            pid = client.info().target
    except (DoorOpenError, DoorError) as error:
        raise Refusal(f"{silence}; the door does not say which process serves it: {error}") from error
    for node in running_nodes():
        if (
            node.pid == pid
            and node.door is not None
            and os.path.realpath(node.door) == os.path.realpath(door)
        ):
            return node
    raise Refusal(
        f"{silence}; process {pid} has not announced itself to this user, and may not take SIGQUIT for a dump"
    )


def _dumped_by_signal(node: RunningNode) -> list[dict[str, Any]]:
    """Have a node write a dump file, and read it."""
    if node.dumps is None:
        raise Refusal(f"process {node.pid} of {node.full_name} does not take SIGQUIT for a dump")
    place = Path(node.dumps)
    before = set(place.glob("*.jsonl"))
    os.kill(node.pid, signal.SIGQUIT)
    deadline = time.monotonic() + FILE_SECONDS
    while time.monotonic() < deadline:
        made = set(place.glob("*.jsonl")) - before
        if made:
            return read_dump(max(made))[0]
        time.sleep(LOOKING)
    raise Refusal(
        f"process {node.pid} of {node.full_name} has written no dump to {place} within {FILE_SECONDS:g} s; "
        "the stacks of its threads are on its standard error"
    )


def _show(records: Sequence[dict[str, Any]], save: Path | None, stacks: Stacks, *, as_text: bool) -> int:
    lines = text_of(records, stacks)
    if save is not None:
        data = (f"{line}\n".encode() for line in lines) if as_text else written(records)
        try:
            save.write_bytes(b"".join(data))
        except OSError as error:
            raise Refusal(f"the dump {save} cannot be written: {error.strerror}") from error
        typer.echo(f"{save}: {len(records)} records")
        return 0
    for line in lines:
        typer.echo(line)
    return 0


def read_dump(file: Path) -> tuple[list[dict[str, Any]], bool]:
    """The records of a dump that was saved, as far as it goes, and whether it was cut.

    Raises:
        Refusal: it cannot be read, belongs to somebody else, or is not a dump.
    """
    try:
        return read(read_own(file, "dump"))
    except ValueError as error:
        raise Refusal(f"{file} is not a dump: {error}") from error


def show_dump(file: Path, stacks: Stacks = "all") -> int:
    """Print a dump that was saved. One that was cut is shown as far as it goes.

    Args:
        file: the file.
        stacks: the stacks that are printed.

    Returns:
        0.

    Raises:
        Refusal: it is not a dump.
    """
    records, is_cut = read_dump(file)
    for shown in text_of(records, stacks):
        typer.echo(shown)
    if is_cut:
        typer.echo("the dump was cut here")
    return 0
