"""`enfilade dump`: what a node is doing at this moment, and who waits for whom."""

from pathlib import Path
from typing import Any

import msgspec
import typer

from enfilade.actors.cli.files import read_own
from enfilade.actors.cli.operator import visit_node
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.messages.errors import NoProcess, Refused
from enfilade.actors.node.node import Node
from enfilade.actors.observing.desk import Desk
from enfilade.actors.observing.dump import FORMAT, text_of, written
from enfilade.transport.policy import INSPECT

__all__ = ["dump_node", "show_dump"]

SECONDS = 30.0


def dump_node(door: Path, secret: Path | None, *, save: Path | None = None, everything: bool = False) -> int:
    """Print a dump of the node at a door: the diagnosis first.

    Args:
        door: the path of its door.
        secret: the file of the secret that it asks for; None.
        save: a file to write instead, as lines of JSON.
        everything: whether idle processes have their lines in a very large node, too.

    Returns:
        0.

    Raises:
        Refusal: the node cannot be reached, does not let us, or does not answer.
    """

    async def visit(node: Node, peer: str) -> list[dict[str, Any]]:
        try:
            return await node.remote(INSPECT, peer).within(SECONDS).call(Desk.dump, everything)
        except (Refused, NoProcess) as error:
            problem = f"node {peer} does not let us inspect it; `[[peer]] inspect = true` does"
            raise Refusal(problem) from error

    records = visit_node(door, secret, visit)
    if save is not None:
        try:
            save.write_bytes(b"".join(written(records)))
        except OSError as error:
            raise Refusal(f"the dump {save} cannot be written: {error.strerror}") from error
        typer.echo(f"{save}: {len(records)} records")
        return 0
    for line in text_of(records):
        typer.echo(line)
    return 0


def show_dump(file: Path) -> int:
    """Print a dump that was saved. One that was cut is shown as far as it goes.

    Returns:
        0.

    Raises:
        Refusal: it is not a dump.
    """
    records: list[dict[str, Any]] = []
    is_cut = True
    for line in read_own(file, "dump").splitlines():
        try:
            record = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError:
            break
        records.append(record)
        is_cut = record.get("record") != "end"
    if not records or records[0].get("record") != "header" or records[0].get("format") != FORMAT:
        raise Refusal(f"{file} is not a dump of format {FORMAT}")
    for shown in text_of(records):
        typer.echo(shown)
    if is_cut:
        typer.echo("the dump was cut here")
    return 0
