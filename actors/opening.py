"""The opening of a node: alone, with peers, with workers of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import trio

import enfilade.actors.observing.choice  # noqa: F401 (it chooses the functions that note every restart)
from enfilade.actors.messages.blocks import async_block
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.node import shutdown
from enfilade.actors.node.config import NodeConfig
from enfilade.actors.node.node import Node
from enfilade.actors.node.runtime import REAL
from enfilade.actors.node.watchdog import watching
from enfilade.actors.observing.observation import Observation
from enfilade.node_names import check_node_names

if TYPE_CHECKING:
    from enfilade.actors.peers.mesh.kind import Kind
    from enfilade.transport.carrier import Carrier
    from enfilade.transport.mesh import Mesh
    from enfilade.transport.policy import Policy
    from enfilade.transport.settings import Settings

__all__ = ["open_node"]


@async_block
async def open_node(
    name: str,
    *,
    zone: str = "local",
    config: NodeConfig | None = None,
    listen: str | os.PathLike[str] | None = None,
    workers: int = 0,
    policy: Policy | None = None,
    entries: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
    carrier: Carrier | None = None,
    observe: bool = True,
    mesh: str | Mesh | None = None,
    kinds: Mapping[str, Kind] | None = None,
    identity: str | os.PathLike[str] | None = None,
) -> AsyncIterator[Node]:
    """Run a node for the length of a block.

    Leaving the block, for whatever reason, shuts every process down: the root first, then what was spawned
    last; a checkpoint that cancellation does not hasten. A first SIGINT leaves the block; a second kills what
    has not ended; a third raises `KeyboardInterrupt` wherever the program is. SIGTERM and SIGHUP, which the
    program has no handler for, do the same with `SystemExit`, of status 143 and 129.

    With `ENFILADE_OBSERVE=1` in the environment, a node that would listen nowhere listens for observers of
    the same user, and announces itself: see `observing.discovery.visibility`.

    Args:
        name: the node's name, unique in its zone.
        zone: the zone's name.
        config: the node's settings.
        listen: the path of the rendezvous door at which other nodes find it.
        workers: how many worker nodes to start and keep: processes of the operating system for actors that
            compute. The block begins when all are connected; see `Node.workers`.
        policy, entries, settings, carrier, mesh, kinds, identity: as of `peering.distributed`; with `listen`
            or any of them the node can have peers.
        observe: whether nodes that the policy gives the right may observe, inspect, trace or control this
            one, if it listens.

    Raises:
        ValueError: the name or the zone is empty, longer than 127 characters together, cannot be printed, or
            has `@`, `:`, `/`, or a blank at an end; `workers` is negative.
        TypeError: an argument has the wrong type.
        RuntimeError: the caller does not run in a trio loop.
        StartError: the workers did not start in time.
        OSError: the node is to be visible to observers, and the user's runtime directory cannot be used.
        enfilade.transport.mesh.MeshError: the mesh cannot be set up, or has a node of this name.
        KeyboardInterrupt, SystemExit: after the shutdown, when a signal, or an actor's own, ended the node.
    """
    for part in (name, zone):
        if not isinstance(part, str):
            raise TypeError(f"names of nodes and zones must be strings, got {safe_repr(part)}")
    check_node_names(name, zone)
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {safe_repr(workers)}")
    if not isinstance(config, NodeConfig | None):
        raise TypeError(f"config must be a NodeConfig, got {safe_repr(config)}")
    if not trio.lowlevel.in_trio_task():
        raise RuntimeError("open_node must run in a trio loop: start with trio.run(main)")
    if isinstance(listen, os.PathLike):
        listen = os.fspath(listen)
    config = config or NodeConfig()
    is_silent = listen is None and carrier is None and mesh is None
    is_visible = (
        is_silent and observe and os.environ.get("ENFILADE_OBSERVE") == "1" and config.runtime is REAL
    )
    if is_visible:
        from enfilade.actors.observing.discovery.visibility import (
            door_for_observers,
            policy_for_observers,
            visible,
        )

        listen, policy = door_for_observers(f"{name}@{zone}"), policy_for_observers(policy)
    of_peers = (listen, policy, entries, settings, carrier, mesh, kinds, identity)
    has_peers = any(given is not None for given in of_peers)
    node = Node(name, zone, config)
    observation = Observation(node)
    node.equip(observation=observation)
    is_alone = not has_peers and not workers
    async with shutdown.running(node, is_watched=is_alone) as stopper:
        if is_alone:
            observation.opened()
            yield node
            return
        # A node without peers does without transport.
        from enfilade.actors.peers.peering import distributed
        from enfilade.actors.workers.employer import Workers

        # Nested blocks: an `ExitStack` would ask the program's own error for its traceback.
        employer: Workers | None = None
        home: AbstractContextManager[tuple[str | None, Policy | None]] = nullcontext((listen, policy))
        if workers:
            employer = Workers(node, workers)
            node.equip(workers=employer)
            home = employer.housed(listen, policy, is_in_mesh=mesh is not None)
        with home as (listen, policy):
            peering = distributed(
                node,
                listen=listen,
                policy=policy,
                entries=entries,
                settings=settings,
                carrier=carrier,
                mesh=mesh,
                kinds=kinds,
                identity=identity,
            )
            async with peering as peers:
                node.equip(peers=peers)
                if observe and (listen or mesh) and policy is not None and policy.lets_observe:
                    from enfilade.actors.observing.watches.desk import open_desks

                    open_desks(node)
                shown = visible(node, listen) if is_visible and listen is not None else nullcontext()
                with shown, watching(node):  # from here on: the doors have been opened by no handler
                    try:
                        if employer is not None:
                            await employer.start()
                        observation.opened()
                        yield node
                    finally:
                        # Processes end while the node links are up, so that other nodes learn how.
                        try:
                            if mesh is not None:
                                await node.mesh.hand_over()
                        finally:
                            await stopper.stop()
