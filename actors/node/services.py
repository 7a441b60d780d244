"""Services that a node can be given: other nodes, and more processors.

The node itself knows neither how signals travel nor how OS processes are started. It is given who does.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from enfilade.actors.messages.ref import Ref

__all__ = ["Observation", "Peers", "Workers"]


class Peers(Protocol):
    """A node's part in a net of nodes: `peers.distribution.Distribution`."""

    @property
    def address(self) -> str:
        """The address of this node for other nodes; empty when it has none."""

    @property
    def entries(self) -> Mapping[str, Any]:
        """The entries that peers may spawn, by name, as far as the policy allows."""

    @property
    def rendezvous(self) -> Any:
        """The source of node links: `enfilade.transport.rendezvous.Rendezvous`."""

    @property
    def mesh(self) -> Any:
        """The mesh that the node is in: `enfilade.actors.peers.mesh.view.MeshView`.

        Raises:
            NotConnected: it is in none.
        """

    @property
    def peers(self) -> tuple[str, ...]:
        """The names of the nodes that are connected."""

    def standings(self) -> list[Any]:
        """The standing of each node link, and of those that are to be kept up and are not; records of the
        kind `peers.standing.Standing`. Not a checkpoint.
        """

    def rights_of(self, peer: str) -> Any:
        """Return the rights that the policy gives `peer`, a `Rights`. Not a checkpoint.

        Raises:
            NotConnected: the peer is not connected.
        """

    def ask_whereis(self, peer: str, name: str, then: Callable[[Any], None]) -> None:
        """Ask who holds `name` on a peer; `then` is called with the ref, None, or what went wrong. Not a
        checkpoint.

        Raises:
            NotConnected: the peer is not connected.
        """

    async def connect(self, address: str) -> str:
        """Connect to the node at `address`; no effect when connected. A checkpoint; cancelled, it gives up.

        Returns:
            The node's name.

        Raises:
            TypeError: an argument is no text.
            enfilade.transport.CarrierError: no other node is there.
            enfilade.transport.NotAdmitted: one of the two nodes' policies does not allow it.
            enfilade.transport.HandshakeFailed: the other side is not a node, or is too slow.
        """

    def keep_connected(self, address: str) -> None:
        """Connect to the node at `address`, and again whenever the node link ends. Not a checkpoint.

        Why an attempt fails is logged as a warning when the reason is another than that of the one before.
        """

    def disconnect(self, name: str) -> None:
        """End the node link to the node `name` at once. Not a checkpoint."""

    def remote(self, name: str, peer: str) -> Ref[Any]:
        """Return a ref to the holder of `name` on the node `peer` at the moment of use. Not a checkpoint.

        In a mesh the node need not be connected: the first use connects it. If it cannot be reached, a call
        raises `NotConnected`, a message is a dead letter, and `Down` comes with `NO_CONNECTION`.

        Raises:
            TypeError: an argument is no text.
            NotConnected: the peer is not connected, and this node is in no mesh.
        """

    async def whereis_on(self, peer: str, name: str) -> Ref[Any] | None:
        """Return the process that holds `name` on the node `peer` now, if it is exported.

        A checkpoint; cancelled, the answer is dropped.

        Raises:
            TypeError: an argument is no text.
            NotConnected: the peer is not connected, or was lost meanwhile.
        """

    async def spawn_on(self, peer: str, entry: str, /, *args: Any, **kwargs: Any) -> Ref[Any]:
        """Start a process on another node, from what that node exports under the name `entry`.

        A checkpoint. Cancelled, the process, if it has started, is killed.

        Raises:
            TypeError: `peer` or `entry` is no text.
            NotConnected: the peer is not connected, or was lost meanwhile.
            Refused: the peer exports no such entry to this node.
            StartError: the start failed, as of `Node.spawn`.
            enfilade.transport.PayloadError: an argument cannot travel.
        """

    def start_on(
        self,
        peer: str,
        entry: str,
        parent: Ref[Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        then: Callable[[Any], None],
    ) -> Callable[[], None]:
        """Start a process on another node as a child of `parent`, linked to it from birth. Not a checkpoint.

        A node of the mesh is connected first, if that is needed.

        Args:
            then: called with its ref, the exception that `spawn_on` would raise, or `NO_CONNECTION`.

        Returns:
            What to call to give it up: then `then` is not called any more, and the process is killed.

        Raises:
            NotConnected, enfilade.transport.PayloadError: as `spawn_on`.
        """

    def monitor_nodes(self, ref: Ref[Any]) -> None:
        """Have `NodeUp` and `NodeDown` sent to `ref`, until it ends. Not a checkpoint."""

    def sites(self) -> Sequence[Any]:
        """The nodes on which processes can be started: those that are connected, and those of the mesh;
        records of the kind `peers.site.Site`. Not a checkpoint.
        """

    def monitor_sites(self, ref: Ref[Any]) -> None:
        """As `monitor_nodes`; `SiteFound` of nodes of the mesh, too. Not a checkpoint."""

    def demonitor_nodes(self, ref: Ref[Any]) -> None:
        """Stop sending `NodeUp` and `NodeDown` to `ref`. Not a checkpoint."""

    def listen_for_kills(self, listener: Callable[[str], None]) -> None:
        """Have `listener` told the name of each node on which this one kills a process."""

    def start_soon(self, run: Callable[..., Any], *args: Any) -> None:
        """Run `run(*args)` as a task until the node stops. Not a checkpoint."""


class Observation(Protocol):
    """The events of a node, and those who are told: `observing.observation.Observation`."""

    @property
    def timeline(self) -> tuple[Any, ...]:
        """The last events of supervisors and of node links, oldest first."""

    @property
    def crashes(self) -> tuple[Any, ...]:
        """The last crash reports, oldest first."""

    @property
    def counts(self) -> Any:
        """The counts of messages: `observing.measurements.counting.Counts`."""

    @property
    def watching(self) -> Any:
        """The things that all watches of the node share: `observing.watches.shared.Watching`."""

    @property
    def log_lines(self) -> Any:
        """The last lines of the log: `observing.events.log_lines.LogLines`."""

    @property
    def dead_letters(self) -> Any:
        """The kinds of dead letters: `observing.tables.dead_letter_kinds.DeadLetterKinds`."""

    @property
    def started(self) -> float:
        """When the node was opened, on the clock of its trio run."""

    @property
    def started_at(self) -> float:
        """When the node was opened, as Unix time."""

    def counting(self) -> AbstractAsyncContextManager[Any]:
        """Count the messages that actors handle, for the length of a block.

        Returns:
            The counts: `counts.handled(ref)` and `counts.total`.
        """

    def watch(
        self, view: Any, interval: float = 1.0, budget: float = 0.05
    ) -> AbstractAsyncContextManager[Any]:
        """Watch a view of the node from within its program, for the length of a block.

        Args:
            view: what to show, such as `observing.protocol.views.TableView`; everything may be seen.
            interval: seconds between two updates: 0.1 to 60.
            budget: the share of its time that the node may spend on it: at most 0.5.

        Returns:
            The states of the view: an iteration, each step of which is a checkpoint.

        Raises:
            Refused: something goes beyond the limits of the observation protocol.
        """

    def watches_changed(self, count: int) -> None:
        """Note that there are `count` watches now. Not a checkpoint."""

    @property
    def crash_count(self) -> int:
        """The number of processes that have crashed so far, whether or not a report was made."""

    def events(
        self, *kinds: str, buffer: int = 1000, match: Callable[[Any], bool] | None = None
    ) -> AbstractAsyncContextManager[Any]:
        """Iterate over what happens from now on, for the length of a block.

        Args:
            kinds: kinds of event, such as "child.restarted", or "child.*" for all of a family; without any,
                all kinds.
            buffer: how many events may wait; then the oldest are dropped, and a `Missed` says how many.
            match: a test of events; it is run in the step that caused one, and must be quick. What it raises
                ends the iteration.

        Raises:
            TypeError: the match is no function, or an async one.
            ValueError: there is no such kind, or the buffer holds nothing.
        """

    def send_events(self, ref: Ref[Any], *kinds: str) -> None:
        """Have the events of these kinds sent to a process of this node, until it ends. Not a checkpoint.

        Raises:
            ValueError: there is no such kind.
            TypeError: `ref` is no process of this node.
            NoProcess: it has ended.
        """

    def attach(
        self,
        id: Hashable,  # noqa: A002 (the field's name)
        kinds: str | tuple[str, ...],
        handler: Callable[[Any, Any], object],
        config: Any = None,
    ) -> None:
        """Have `handler(event, config)` run in the step that causes an event of one of `kinds`, until
        `detach(id)`. Not a checkpoint.

        It must be quick and must not wait. One that raises is detached, and "handler.detached" tells of it.
        Events that it causes itself are not shown to it.

        Raises:
            HandlerExists: a handler with that id is attached.
            ValueError: there is no such kind.
        """

    def acted(self, operator: str, action: str, on: Ref[Any] | None) -> None:
        """Note, and log, that `operator` has done `action` on a process, or, with None, on the whole node.

        Not a checkpoint. `on` is the process.
        """

    def detach(self, id: Hashable) -> bool:  # noqa: A002 (the field's name)
        """Detach the handler `id`; return true if it was attached. Not a checkpoint."""


class Workers(Protocol):
    """The worker nodes of a node: `workers.employer.Workers`."""

    @property
    def names(self) -> tuple[str, ...]:
        """The node names of the workers that are connected."""

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the workers that have been started, by their node names."""

    async def spawn(self, target: Any, /, *args: Any, **kwargs: Any) -> Ref[Any]:
        """Start a process on the next worker in turn. A checkpoint; cancelled, it is killed.

        Args:
            target: an actor class or an async function at the top level of a module, or its name as
                "module:name". A worker imports it by that name, so it cannot be one of the program's main
                file.
            args: its arguments, which must be able to travel; so do the keyword arguments.

        Raises:
            ValueError: `target` has no such name.
            NotConnected: no worker is up, or it died meanwhile.
            StartError: the start failed.
            enfilade.transport.PayloadError: an argument cannot travel.
        """

    def entry(self, target: Any, *, absent: Any = "wait") -> Any:
        """A target for a supervisor's child that is to live on a worker: on the first that is up. Not a
        checkpoint.

        Args:
            target: as of `spawn`.
            absent: what it means that no worker is up, as of `RemoteEntry`.

        Returns:
            A `RemoteEntry`.

        Raises:
            ValueError: `target` has no name that a worker could import it by.
        """
