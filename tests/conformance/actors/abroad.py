"""One fixture, several back ends: what a case spawns lives on another node than the case itself.

`Abroad` answers as a `Node` does, as far as the cases of processes, links, monitors, calls, names and
mailboxes use one. The case is at home; whatever it spawns, it spawns on the far node, and what it holds of it
is a ref across the node link. So a case that was written for one node runs a second time with its two parties
in different zones, word for word.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import pytest
import trio

from enfilade.actors import Node, NodeConfig, NodeStatistics, Process, Ref, open_node
from enfilade.actors.peers.remote_refs import HeldRef
from enfilade.actors.testing import VirtualClock
from enfilade.transport import Policy, Settings
from enfilade.transport.memory_carrier import LOSSLESS, LOSSY, MemoryNetwork
from enfilade.transport.mesh import Mesh
from enfilade.transport.mesh import directory as mesh_directory
from enfilade.transport.resuming_link import TICK
from tests.conformance.actors.conftest import COUNTERS
from tests.transport.mesh.servers import mesh_server, needs_server

__all__ = [
    "BACK_ENDS",
    "MESH",
    "NEVER",
    "Abroad",
    "Traveller",
    "autojump_clock",
    "back_end",
    "carrier_of",
    "mesh_server",
    "node",
    "open_abroad",
    "passed",
    "quiet_mesh",
    "settled",
    "under_way",
    "virtual_clock",
]

MESH = pytest.param("mesh", marks=[pytest.mark.real, needs_server])

BACK_ENDS = ("memory", "narrow", "resuming", "doors", MESH)
"""What carries the node link: the model, that with settings at their least, the model of a carrier that may
lose batches, the kernel, or a real server (mesh-20)."""

NEVER = 1e9
"""Seconds after which a mesh of these tests says something by itself, or misses what others say."""

TICKS = 20
"""Ticks of a node link in which its end has been told."""

_meshes = itertools.count()

_open: list[list[Node]] = []
"""The nodes of each pair that is open."""

PATIENCE = Settings(period=1e9, handshake=math.inf, goodbye=math.inf)
"""A case may let as much time pass as it likes: that must not be what ends a node link."""

NARROW = attrs.evolve(PATIENCE, window=4096, batch=1, handles=1, high_water=1)
"""Each frame leaves by itself, and few are under way."""

HALTING = NodeConfig(turn=1, slice=1)
"""After each message it is another's turn, and the loop's."""


def passed(value: Any, giver: Node, taker: Node) -> Any:
    """What `taker` has when `giver` has sent it `value`."""
    to_taker: Any = giver.distribution._current[taker.full_name]
    from_giver: Any = taker.distribution._current[giver.full_name]
    return from_giver._codec.decode(*to_taker._codec.encode(value))


class Abroad:
    """Two nodes that look like one.

    Attributes:
        home: where the case is.
        far: where everything that it spawns is.
    """

    def __init__(self, home: Node, far: Node) -> None:
        self.home = home
        self.far = far
        self._spawned: dict[int, Ref[Any]] = {}

    @property
    def processes(self) -> dict[int, Process]:
        """The processes of the far node."""
        return self.far.processes

    @property
    def _here(self) -> Node:
        """The node whose code asks."""
        return self.home if self.far.current is None else self.far

    @property
    def _there(self) -> Node:
        return self.far if self._here is self.home else self.home

    def _seen(self, ref: Ref[Any] | None) -> Ref[Any] | None:
        """A ref of the far node as whoever asks sees it."""
        return ref if ref is None or self._here is self.far else passed(ref, self.far, self.home)

    async def spawn(self, target: Any, /, *args: Any, **options: Any) -> Any:
        """Start a process on the far node."""
        if self._here is self.home:
            args = tuple(passed(arg, self.home, self.far) if isinstance(arg, Ref) else arg for arg in args)
            if "heir_of" in options:
                options["heir_of"] = self._spawned[options["heir_of"].serial]
        ref = await self.far.spawn(target, *args, **options)
        self._spawned[ref.serial] = ref
        return self._seen(ref)

    @asynccontextmanager
    async def mailbox(self, *args: Any, **options: Any) -> AsyncIterator[Any]:
        """Be a process at home."""
        async with self.home.mailbox(*args, **options) as me:
            yield Traveller(me, self)

    def register(self, name: str, ref: Ref[Any]) -> None:
        """Give a name to a process on whichever node it is."""
        if isinstance(ref, HeldRef):
            self.far.register(name, self._spawned[ref.serial])
        else:
            self.home.register(name, ref)

    def unregister(self, name: str) -> None:
        """Take a name back."""
        (self.home if self.home.whereis(name) is not None else self.far).unregister(name)

    def whereis(self, name: str) -> Ref[Any] | None:
        """Who holds a name, on whichever node."""
        return self.home.whereis(name) or self._seen(self.far.whereis(name))

    def named(self, name: str) -> Ref[Any]:
        """A ref to whoever holds the name."""
        here, there = self._here, self._there
        if here.whereis(name) is not None:
            return here.named(name)
        return here.remote(name, there.full_name)

    def send(self, name: str, message: Any) -> None:
        """Send to whoever holds the name."""
        self.named(name).send(message)

    def mark_restarting(self, ref: Ref[Any], name: str | None = None, *, restarting: bool = True) -> None:
        """What a supervisor on the far node says."""
        self.far.mark_restarting(self._spawned[ref.serial], name, restarting=restarting)

    def statistics(self) -> NodeStatistics:
        """What both hold together."""
        one, other = self.home.statistics(), self.far.statistics()
        return NodeStatistics(
            **{
                name: getattr(one, name) + getattr(other, name)
                for name in NodeStatistics.__slots__
                if name[0] != "_"
            }
        )


class Traveller:
    """A process at home that spawns abroad."""

    def __init__(self, process: Process, abroad: Abroad) -> None:
        vars(self).update(_process=process, _abroad=abroad)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._process, name, value)

    async def spawn(
        self, target: Any, /, *args: Any, link: bool = False, monitor: bool = False, **options: Any
    ) -> Any:
        """Start a process on the far node, and link or monitor it."""
        ref = await self._abroad.spawn(target, *args, **options)
        if link:
            self._process.link(ref)
        if monitor:
            self._process.monitor(ref)
        return ref

    def monitor(self, target: Ref[Any] | str, **options: Any) -> Any:
        """Monitor a process on whichever node."""
        return self._process.monitor(
            self._abroad.named(target) if isinstance(target, str) else target, **options
        )


def under_way(nodes: Sequence[Node]) -> str:
    """What is on its way between nodes: handshakes, batches, what waits to leave, and the news that a node
    link is over.
    """
    meetings: dict[str, Any] = {node.full_name: node.distribution.rendezvous for node in nodes}
    found = [f"a handshake of {name}" for name, meeting in meetings.items() if meeting.handshakes]
    for node in nodes:
        name, meeting = node.full_name, meetings[node.full_name]
        connection = next((mesh for way in meeting.ways if (mesh := connection_of(way.carrier))), None)
        if connection is not None and (is_asking(connection) or connection.unsent):
            found.append(f"what {name} and the server of the mesh say to each other")
        for peer in meeting.peers.values():
            other = meetings[peer.name].peers.get(name)
            if other is None and connection is None:
                found.append(f"the end of a node link, to {name}")
            elif other is None:
                continue  # it takes time: what was said last is waited for
            elif peer.batches_out != other.batches_in:
                found.append(f"batches of {name}: {peer.batches_out} sent, {other.batches_in} taken in")
            elif peer.is_held_up:
                found.append(f"the answer to batch {peer.batches_out}, to {name}")
            elif connection is not None and peer.queued:
                found.append(f"{peer.queued} bytes for {name} that have yet to leave")
        if connection is not None:
            remotes: Sequence[Any] = node.distribution.remotes()  # type: ignore[attr-defined]
            copied = sum(remote.copying for remote in remotes)
            if copied:
                found.append(f"a payload of {copied} bytes that {name} copies")
    return ", ".join(found)


def is_asking(connection: Any) -> bool:
    """Tell whether the answer to a question, or a sign of life of the server, is waited for."""
    session = connection._session
    return bool(connection._answers) or (session is not None and bool(session.pings))


def connection_of(carrier: Any) -> Any:
    """The connection to the servers of a mesh that a carrier has; None if it is another one."""
    return getattr(carrier, "connection", None)


def virtual_clock() -> VirtualClock:
    """The clock of the run, which a case asks for as `autojump_clock`."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, VirtualClock), "a case between two nodes takes autojump_clock"
    return clock


def is_half_over(nodes: Sequence[Node]) -> bool:
    """Tell whether one of two nodes has yet to learn that their node link is over."""
    return len({bool(node.peers) for node in nodes}) > 1


async def settled() -> None:
    """Wait until nothing is under way, on either node or between them; no time passes, but for the end of a
    node link over the mesh.
    """
    await virtual_clock().settle()
    for _ in range(TICKS):
        if any(map(is_half_over, _open)):
            await trio.sleep(TICK)
            await virtual_clock().settle()


def quiet_mesh(server: str) -> Mesh:
    """A mesh of its own, whose nodes say nothing by themselves and miss nobody."""
    return Mesh(
        servers=server, name=f"abroad {next(_meshes)}", beat=NEVER, dead_after=4 * NEVER, registry=False
    )


@asynccontextmanager
async def open_abroad(back_end: str, directory: Path, **options: Any) -> AsyncIterator[Abroad]:
    """Two connected nodes in two zones, for the length of a block.

    Args:
        back_end: what `carrier_of` one of `BACK_ENDS` returns.
        directory: where doors are attached.
        options: for both nodes.
    """
    network = MemoryNetwork(LOSSY if back_end == "resuming" else LOSSLESS)
    is_mesh = back_end.startswith("nats://")
    same = Policy.same_mesh if is_mesh else Policy.same_user
    policy = same(exports="*", ends="*", entries="*", groups="*")
    options["settings"] = NARROW if back_end == "narrow" else PATIENCE
    if back_end == "narrow":
        options.setdefault("config", HALTING)
    async with AsyncExitStack() as stack:
        nodes: list[Node] = []
        opening = "the opening of a node" if is_mesh else ""
        stack.enter_context(virtual_clock().watching(lambda: opening or under_way(nodes)))
        stack.enter_context(mock.patch.object(mesh_directory, "SHORTEST", NEVER))
        mesh = quiet_mesh(back_end) if is_mesh else None
        for name, zone in (("home", "left"), ("far", "right")):
            way: dict[str, Any] = {"mesh": mesh} if is_mesh else {"listen": str(directory / f"{name}.door")}
            if back_end != "doors" and not is_mesh:
                way["carrier"] = network.carrier(name)
            nodes.append(
                await stack.enter_async_context(open_node(name, zone=zone, policy=policy, **way, **options))
            )
        home, far = nodes
        opening = ""
        await home.connect("far@right" if is_mesh else str(directory / "far.door"))
        await settled()
        _open.append(nodes)
        stack.callback(_open.remove, nodes)
        yield Abroad(home, far)


def carrier_of(request: pytest.FixtureRequest) -> str:
    """Return the back end that a fixture is asked for: the address of the server, if it is the mesh."""
    back_end: str = request.param
    return request.getfixturevalue("mesh_server") if back_end == "mesh" else back_end


@pytest.fixture(params=BACK_ENDS)
def back_end(request: pytest.FixtureRequest) -> str:
    """What carries the node link."""
    return carrier_of(request)


@pytest.fixture
def autojump_clock() -> VirtualClock:
    """Virtual time that stands still while something is on its way through a door."""
    return VirtualClock()


@pytest.fixture
async def node(back_end: str, tmp_path: Path) -> AsyncIterator[Abroad]:
    """Two nodes that look like one; after the test, nothing may be left of either."""
    async with open_abroad(back_end, tmp_path) as abroad:
        yield abroad
    left = {
        key: value
        for key, value in attrs.asdict(abroad.statistics()).items()
        if key not in COUNTERS and value
    }
    assert not left
