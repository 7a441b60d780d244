"""`enfilade mesh`: the server of this machine, and what is in the mesh."""

import json
import logging
import os
import random
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec
import trio
import typer

from enfilade.actors.cli.mesh_authority import refusals
from enfilade.actors.cli.mesh_place import Visitor
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.opening import open_node
from enfilade.transport.mesh.authority import join
from enfilade.transport.mesh.connection import Connection, NoResponders
from enfilade.transport.mesh.directory import MeshNode
from enfilade.transport.mesh.identity import client_context, read_identity
from enfilade.transport.mesh.keeper import Keeper, read_server_file
from enfilade.transport.mesh.lease import Claim
from enfilade.transport.mesh.registry import Epoch, MeshRegistry, NoAnswer
from enfilade.transport.mesh.settings import Mesh, MeshError, Server
from enfilade.transport.mesh.shared_server import SharedServer
from enfilade.transport.mesh.subjects import Subjects, from_token
from enfilade.transport.mesh.watcher import Quiet

__all__ = [
    "install",
    "kinds_of",
    "run_server",
    "show_kinds",
    "show_names",
    "show_nodes",
    "show_status",
    "try_all",
]

LISTENING_SECONDS: Final = 1.0
"""Time for nodes to answer a newcomer."""

PERMISSION_SECONDS: Final = 0.5
"""Time for a server to tell about streams; it does not answer who may not ask."""

REGISTRY_SECONDS: Final = 3.0
"""Time for the registry to answer that it is there."""

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
    trouble: MeshError | None = None
    with trio.open_signal_receiver(*STOPPING) as signals:
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(keeper.run)
            except MeshError as error:
                trouble = error
            else:
                typer.echo(f"{name} serves at {keeper.address}")
                async for _ in signals:
                    nursery.cancel_scope.cancel()
                    break
    if trouble is not None:
        raise trouble


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
    mesh = Mesh(servers=identity.servers, name=identity.mesh, identity=directory)
    for server in trio.run(try_all, Visitor(identity.node, mesh, identity)):
        typer.echo(f"server {server['address']}: {server['problem'] or 'takes it'}")
    typer.echo("\n[mesh]")
    typer.echo(f"servers = {json.dumps(list(identity.servers))}")
    typer.echo(f"identity = {json.dumps(str(directory))}")
    if identity.mesh != "default":
        typer.echo(f"name = {json.dumps(identity.mesh)}")
    return 0


def _servers(visitor: Visitor) -> tuple[Sequence[Server], str | None]:
    """Return the servers of a mesh, and the token that they ask for; none where none was ever embedded."""
    if not visitor.mesh.is_embedded:
        return visitor.mesh.addresses, None
    found = SharedServer(visitor.mesh).recorded()
    return ([], None) if found is None else ([found[0]], found[1])


async def try_all(visitor: Visitor) -> list[dict[str, Any]]:
    """Connect to each server once: its address, the seconds of a round trip, or what is wrong."""
    servers, _ = _servers(visitor)
    urls = visitor.mesh.servers if visitor.identity is not None else map(str, servers)
    found: list[dict[str, Any]] = [{"address": each, "seconds": None, "problem": ""} for each in urls]
    async with trio.open_nursery() as nursery:
        for server, entry in zip(servers, found, strict=True):
            nursery.start_soon(_try, visitor, server, entry)
    return found


async def _try(visitor: Visitor, server: Server, entry: dict[str, Any]) -> None:
    try:
        async with _connected(visitor, [server]) as connection:
            entry["seconds"] = connection.round_trip
    except OSError as error:
        entry["problem"] = str(error)


@asynccontextmanager
async def _connected(visitor: Visitor, servers: Sequence[Server]) -> AsyncIterator[Connection]:
    """Be connected to one of these servers for the length of a block, which may ask the registry.

    Raises:
        OSError: none of them answers as it should.
        NoAnswer: the block raised it.
    """
    incarnation = int.from_bytes(os.urandom(8), "big")
    subjects = Subjects(visitor.mesh.name, visitor.name, incarnation)
    identity, (_, token) = visitor.identity, _servers(visitor)
    connection = Connection(
        servers,
        name=f"{visitor.name}/{incarnation:x}",
        inbox=subjects.inbox,
        watcher=Quiet(),
        entropy=os.urandom,
        random=random.random,
        token=token,
        owner=None if token is None else os.geteuid(),
        tls=None if identity is None else partial(client_context, identity),
        guard="" if identity is None else subjects.guard,
    )
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(connection.run)
            yield connection
            nursery.cancel_scope.cancel()
    except* (OSError, NoAnswer) as errors:
        raise errors.exceptions[0] from None


def show_status(visitor: Visitor, *, as_json: bool) -> int:
    """Report on servers, registry and nodes. Starts no server.

    Returns:
        0 when all servers answer and the registry is well, 2 when no server answers, 1 otherwise.
    """
    tried = trio.run(try_all, visitor)
    servers = [
        server for server, each in zip(_servers(visitor)[0], tried, strict=True) if not each["problem"]
    ]
    nodes = trio.run(_listen, visitor) if servers else ()
    registry = (
        trio.run(_survey, visitor, servers) if servers else {**NO_REGISTRY, "problem": "no server answers"}
    )
    days_left = None if visitor.identity is None else visitor.identity.days_left
    if as_json:
        report = {
            "mesh": visitor.mesh.name,
            "days_left": days_left,
            "servers": tried,
            "registry": registry,
            "nodes": [attrs.asdict(each) for each in nodes],
        }
        typer.echo(json.dumps(report))
    else:
        for each in tried:
            told = each["problem"] or f"answers in {1000 * each['seconds']:.1f} ms"
            typer.echo(f"server {each['address']}: {told}")
        kept = f"kept by {registry['replicas'] or 'its'} servers, led by {registry['leader'] or 'one'}"
        typer.echo(f"registry: {registry['problem'] or kept}")
        if len(tried) == PAIR:
            typer.echo(
                "with 2 servers one keeps the registry: a third lets the mesh go on when any one is lost"
            )
        typer.echo(f"{len(nodes)} {'node' if len(nodes) == 1 else 'nodes'} in mesh {visitor.mesh.name}")
        if days_left is not None:
            typer.echo(f"the certificate ends in {days_left:.0f} days")
    if not servers:
        return 2
    return 0 if len(servers) == len(tried) and not registry["problem"] else 1


PAIR: Final = 2
"""Servers that keep no more of a registry than one does."""

NO_REGISTRY: Final = {"lease": None, "began": None, "leader": None, "replicas": None, "problem": ""}
"""What a report says of a registry of which nothing is known. A leader is for operators to know."""


async def _survey(visitor: Visitor, servers: Sequence[Server]) -> dict[str, Any]:
    """Find out how the registry is."""
    found: dict[str, Any] = dict(NO_REGISTRY)
    try:
        async with _connected(visitor, servers) as connection:
            registry = MeshRegistry(connection, visitor.mesh.name)
            try:
                epoch = await _epoch(registry)
                found |= {"lease": epoch.lease, "began": epoch.began}
                if await _may_ask(connection):
                    survey = await registry.survey()
                    found |= {"leader": survey.leader, "replicas": survey.replicas}
                    behind = survey.replicas - survey.current
                    if behind:
                        found["problem"] = f"{behind} of {survey.replicas} servers that keep it are behind"
            except NoAnswer as error:
                found["problem"] = str(error)
    except OSError as error:
        found["problem"] = str(error)
    return found


async def _epoch(registry: MeshRegistry) -> Epoch:
    """Read the epoch; a server that has just been started is given time to make the registry.

    Raises:
        NoAnswer: nobody answers, or there is no registry.
    """
    problem = NoAnswer("the mesh has no registry")
    with trio.move_on_after(REGISTRY_SECONDS):
        while True:
            try:
                epoch, _ = await registry.epoch()
            except NoAnswer as error:
                problem = error
            else:
                if epoch is not None:
                    return epoch
            await trio.sleep(0.1)
    raise problem


async def _may_ask(connection: Connection) -> bool:
    """Tell whether this client is an operator: servers tell nobody else about streams."""
    with trio.move_on_after(PERMISSION_SECONDS):
        with suppress(NoResponders):
            await connection.request("$JS.API.INFO", b"")
        return True
    return False


def show_nodes(visitor: Visitor, *, as_json: bool) -> int:
    """List the nodes in the mesh."""
    nodes = trio.run(_listen, visitor)
    if as_json:
        typer.echo(json.dumps([attrs.asdict(each) for each in nodes]))
        return 0
    for each in nodes:
        typer.echo(
            f"{each.name} at {each.host}, process {each.process}: {', '.join(each.entries) or 'no entries'}"
        )
    return 0


def show_kinds(visitor: Visitor, *, as_json: bool) -> int:
    """List the kinds of keyed actors, who runs each, and how many of its shards each holds."""
    kinds = kinds_of(trio.run(_listen, visitor))
    try:
        owners = trio.run(_read_owners, visitor)
    except (OSError, NoAnswer) as error:
        raise Refusal(str(error)) from error
    for name, kind in kinds.items():
        kind["owners"] = owners.get(name, {})
    if as_json:
        typer.echo(json.dumps(kinds))
        return 0
    for name, kind in kinds.items():
        held = kind["owners"]
        nodes = [f"{each} ({held.get(each, 0)})" for each in sorted({*kind["nodes"], *held})]
        typer.echo(f"{name}: {kind['shards']} shards, at {', '.join(nodes)}")
    return 0


async def _read_owners(visitor: Visitor) -> dict[str, dict[str, int]]:
    """Return how many shards of each kind each node has claimed."""
    async with _connected(visitor, _running(visitor)) as connection:
        found = await MeshRegistry(connection, visitor.mesh.name).entries("shard")
    owners: dict[str, Counter[str]] = defaultdict(Counter)
    for key, entry in found:
        with suppress(ValueError, msgspec.DecodeError):
            _, kind, number = key.split(".")
            if number.isdigit():
                owners[from_token(kind)][msgspec.msgpack.decode(entry.value, type=Claim).node] += 1
    return {kind: dict(sorted(counts.items())) for kind, counts in owners.items()}


def kinds_of(nodes: Sequence[MeshNode]) -> dict[str, dict[str, Any]]:
    """Return the kinds that nodes run, each with its number of shards and the nodes."""
    kinds: dict[str, dict[str, Any]] = {}
    for node in nodes:
        for name, shards in node.kinds:
            kinds.setdefault(name, {"shards": shards, "nodes": []})["nodes"].append(node.name)
    return dict(sorted(kinds.items()))


def show_names(visitor: Visitor, *, as_json: bool) -> int:
    """List the global names that are claimed, and the node that claims each."""
    try:
        claims = trio.run(_read_names, visitor)
    except (OSError, NoAnswer) as error:
        raise Refusal(str(error)) from error
    if as_json:
        typer.echo(json.dumps({name: claim.node for name, claim in claims.items()}))
        return 0
    for name, claim in claims.items():
        typer.echo(f"{name}: {claim.node}")
    return 0


async def _read_names(visitor: Visitor) -> dict[str, Claim]:
    async with _connected(visitor, _running(visitor)) as connection:
        found = await MeshRegistry(connection, visitor.mesh.name).entries("name")
    names = {}
    for key, entry in found:
        with suppress(ValueError, msgspec.DecodeError):
            names[from_token(key.removeprefix("name."))] = msgspec.msgpack.decode(entry.value, type=Claim)
    return dict(sorted(names.items()))


async def _listen(visitor: Visitor) -> tuple[MeshNode, ...]:
    """Be in the mesh for a moment, and hear who else is."""
    servers = _running(visitor)
    name, _, zone = visitor.name.partition("@")
    try:
        async with _connected(visitor, servers):
            pass  # there is one: the node that is opened now need not start it
        async with open_node(name, zone=zone, mesh=visitor.mesh) as node:
            await trio.sleep(LISTENING_SECONDS)
            return tuple(each for each in node.mesh.nodes() if each.name != visitor.name)
    except OSError as error:
        raise Refusal(str(error)) from error


def _running(visitor: Visitor) -> Sequence[Server]:
    """Return the servers of a mesh.

    Raises:
        Refusal: it is an embedded one that no program has started.
    """
    servers, _ = _servers(visitor)
    if not servers:
        raise Refusal(f"no program of this user has a node in the embedded mesh {visitor.mesh.name!r}")
    return servers
