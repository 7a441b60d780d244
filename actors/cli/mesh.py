"""`enfilade mesh`: the server of this machine, and what is in the mesh."""

import json
import logging
import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import trio
import typer

from enfilade.actors.cli.mesh_authority import refusals
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.opening import open_node
from enfilade.transport.mesh.authority import join
from enfilade.transport.mesh.connection import Connection
from enfilade.transport.mesh.directory import MeshNode
from enfilade.transport.mesh.identity import Identity, client_context, read_identity
from enfilade.transport.mesh.keeper import Keeper, read_server_file
from enfilade.transport.mesh.settings import Mesh, Server
from enfilade.transport.mesh.subjects import Subjects
from enfilade.transport.mesh.watcher import Quiet

__all__ = ["install", "kinds_of", "run_server", "show_kinds", "show_nodes", "show_status"]

LISTENING_SECONDS: Final = 1.0
"""Time for nodes to answer a newcomer."""

STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_server(path: Path) -> int:
    """Run this machine's server until a signal asks it to go.

    Returns:
        0.

    Raises:
        Refusal: the file is wrong, or the server does not start.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with refusals():
        keeper = Keeper(read_server_file(path))
        trio.run(_run_server, keeper, keeper.name)
    return 0


async def _run_server(keeper: Keeper, name: str) -> None:
    with trio.open_signal_receiver(*STOPPING) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(keeper.run)
            typer.echo(f"{name} serves at {keeper.address}")
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break


def install(bundle: Path, directory: Path) -> int:
    """Install a bundle, connect once, and print what a zone file needs."""
    with refusals():
        join(bundle, directory)
        identity = read_identity(directory)
    days = f"for {identity.days_left:.0f} days"
    if identity.hosts:
        typer.echo(f"{directory} is the identity of the server at {', '.join(identity.hosts)}, {days}")
        return 0
    typer.echo(f"{directory} is the identity of {identity.node} in mesh {identity.mesh}, {days}")
    if not identity.servers:
        return 0
    for server in trio.run(_try_all, identity):
        typer.echo(f"server {server['address']}: {server['problem'] or 'takes it'}")
    typer.echo("\n[mesh]")
    typer.echo(f"servers = {json.dumps(list(identity.servers))}")
    typer.echo(f"identity = {json.dumps(str(directory))}")
    if identity.mesh != "default":
        typer.echo(f"name = {json.dumps(identity.mesh)}")
    return 0


async def _try_all(identity: Identity) -> list[dict[str, Any]]:
    """Connect to each server once: its address, the seconds of a round trip, or what is wrong."""
    found: list[dict[str, Any]] = [
        {"address": each, "seconds": None, "problem": ""} for each in identity.servers
    ]
    async with trio.open_nursery() as nursery:
        for entry in found:
            nursery.start_soon(_try, identity, entry)
    return found


async def _try(identity: Identity, entry: dict[str, Any]) -> None:
    incarnation = int.from_bytes(os.urandom(8), "big")
    subjects = Subjects(identity.mesh, identity.node, incarnation)
    connection = Connection(
        [Server.parse(entry["address"])],
        name=f"{identity.node}/{incarnation:x}",
        inbox=subjects.inbox,
        watcher=Quiet(),
        entropy=os.urandom,
        random=random.random,
        tls=client_context(identity),
        guard=subjects.guard,
    )
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(connection.run)
            began = trio.current_time()
            await connection.settled()
            entry["seconds"] = trio.current_time() - began
            nursery.cancel_scope.cancel()
    except* OSError as errors:
        entry["problem"] = str(errors.exceptions[0])


def _identity(path: Path | None) -> Identity:
    if path is None:
        raise Refusal("expected --identity with a directory of `enfilade mesh join`")
    with refusals():
        identity = read_identity(path)
    if not identity.servers:
        raise Refusal(f"{path} names no servers: have the authority made with --server")
    return identity


def show_status(path: Path | None, *, as_json: bool) -> int:
    """Report on servers and nodes; 0 when all servers answer, 1 when some do, 2 when none does."""
    identity = _identity(path)
    servers = trio.run(_try_all, identity)
    up = [each for each in servers if not each["problem"]]
    nodes = trio.run(_listen, identity) if up else ()
    if as_json:
        report = {
            "mesh": identity.mesh,
            "days_left": identity.days_left,
            "servers": servers,
            "nodes": [attrs.asdict(each) for each in nodes],
        }
        typer.echo(json.dumps(report))
    else:
        for each in servers:
            told = each["problem"] or f"answers in {1000 * each['seconds']:.1f} ms"
            typer.echo(f"server {each['address']}: {told}")
        typer.echo(f"{len(nodes)} nodes in mesh {identity.mesh}")
        typer.echo(f"the certificate ends in {identity.days_left:.0f} days")
    return 0 if len(up) == len(servers) else 1 if up else 2


def show_nodes(path: Path | None, *, as_json: bool) -> int:
    """List the nodes in the mesh."""
    nodes = trio.run(_listen, _identity(path))
    if as_json:
        typer.echo(json.dumps([attrs.asdict(each) for each in nodes]))
        return 0
    for each in nodes:
        typer.echo(
            f"{each.name} at {each.host}, process {each.process}: {', '.join(each.entries) or 'no entries'}"
        )
    return 0


def show_kinds(path: Path | None, *, as_json: bool) -> int:
    """List the kinds of keyed actors, and who runs each."""
    kinds = kinds_of(trio.run(_listen, _identity(path)))
    if as_json:
        typer.echo(json.dumps(kinds))
        return 0
    for name, kind in kinds.items():
        typer.echo(f"{name}: {kind['shards']} shards, at {', '.join(kind['nodes'])}")
    return 0


def kinds_of(nodes: Sequence[MeshNode]) -> dict[str, dict[str, Any]]:
    """Return the kinds that nodes run, each with its number of shards and the nodes."""
    kinds: dict[str, dict[str, Any]] = {}
    for node in nodes:
        for name, shards in node.kinds:
            kinds.setdefault(name, {"shards": shards, "nodes": []})["nodes"].append(node.name)
    return dict(sorted(kinds.items()))


async def _listen(identity: Identity) -> tuple[MeshNode, ...]:
    """Be in the mesh for a moment, and hear who else is."""
    name, _, zone = identity.node.partition("@")
    mesh = Mesh(servers=identity.servers, name=identity.mesh, identity=identity.directory)
    try:
        async with open_node(name, zone=zone, mesh=mesh) as node:
            await trio.sleep(LISTENING_SECONDS)
            return tuple(each for each in node.mesh.nodes() if each.name != identity.node)
    except OSError as error:
        raise Refusal(str(error)) from error
