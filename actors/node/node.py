"""The node: one runtime in one OS process.

The tree is shielded. All tasks of a node live in a nursery inside a system task, which no cancel scope of
the surrounding program reaches: a timeout around `open_node`, a failing nursery or SIGINT end the block,
and leaving the block, the one boundary, ends the tree: in order, youngest first, each process by its own
shutdown; what is left after the grace is killed. No exception of a process leaves its wrapper, so a system
task is a safe place; and a task that cannot be ended, which trio has no way to abandon, holds up the run it
is in but not the node.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

import enfilade.actors.core.choice  # noqa: F401 (it chooses the functions that every message goes through)
from enfilade.actors.messages import signals
from enfilade.actors.messages.blocks import async_block
from enfilade.actors.messages.errors import NameTaken, NodeStopped, NotConnected, ProcessDied, RuntimeFault
from enfilade.actors.messages.global_name import Global
from enfilade.actors.messages.guarded import is_logged, log
from enfilade.actors.messages.hooks import Hooks, call
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.reasons import KILL, Reason, checked
from enfilade.actors.messages.ref import NameRef, NodeRef, Ref, checked_ref
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.node.child_events import ChildEvents
from enfilade.actors.node.config import NodeConfig
from enfilade.actors.node.contexts import Contexts
from enfilade.actors.node.dead_letters import DeadLetters
from enfilade.actors.node.frozen import freeze
from enfilade.actors.node.groups import Groups, GroupScope
from enfilade.actors.node.names import Names
from enfilade.actors.node.observed_node import ObservedNode
from enfilade.actors.node.reports import Reports
from enfilade.actors.node.services import Observation, Peers, Workers
from enfilade.actors.node.sharing import CheckedRef, CheckedRequest, Sharing
from enfilade.actors.node.statistics import NodeStatistics, statistics_of
from enfilade.actors.processes import end, start
from enfilade.actors.processes.current import CURRENT
from enfilade.actors.processes.dispatcher import Dispatcher
from enfilade.actors.processes.left_generators import all_left
from enfilade.actors.processes.local_ref import LocalRef, process_of, the_process_of
from enfilade.actors.processes.mailbox import UNBOUNDED, Mailbox, bury_left, checked_mailbox, is_kept, keep
from enfilade.actors.processes.process import Process
from enfilade.actors.processes.process_tasks import ProcessTasks
from enfilade.actors.processes.resumption import Resume
from enfilade.actors.processes.spawn import Spawn, SpawnSoon
from enfilade.actors.processes.steps import is_from_outside, own_fault, step_failed
from enfilade.actors.processes.task_bodies import EphemeralBody
from enfilade.actors.processes.timers import Timer, Timers
from enfilade.actors.processes.trace_layers import NodeTraces

__all__ = ["Node"]


async def _contained(run: Callable[[], Awaitable[None]], process: Process) -> None:
    try:
        await run()
    except BaseException as error:
        if not is_from_outside(error):
            step_failed(process, "task", error)


class Node(ObservedNode):
    """A running node. Made by `open_node`.

    Attributes:
        name: its name within its zone.
        zone: the zone that it lives in.
        full_name: `name@zone`.
        incarnation: which start of the name this is: 64 random bits.
        config: its settings.
        runtime: its clocks, random numbers, tasks and threads.
        hooks: the functions that are called where something rare happens on it.
        ref: stands for the node itself: the sender of exit signals at shutdown.
        root: the root supervisor, which is shut down first; None.
        dead_letters: the messages that reached no process.
        child_events: what supervisors do with their children.
        groups: the process groups.
        sharing: what processes have passed to one another, in debug mode; None.
        timers: the node's timers.
        traces: the traces that pass through it.
        dispatcher: what runs the processes that have no task.
        stopping: whether the shutdown has begun: only processes may spawn now, to end well.
        stopped: whether the time for an ordered end is over: nothing is spawned any more.
    """

    def __init__(self, name: str, zone: str, config: NodeConfig) -> None:
        self.name = name
        self.zone = zone
        self.full_name = f"{name}@{zone}"
        self.incarnation = int.from_bytes(config.runtime.entropy(8), "big")
        self.config = config
        self.runtime = config.runtime
        self.token = trio.lowlevel.current_trio_token()
        self.contexts = Contexts()
        self.dispatcher = Dispatcher(self.contexts.base, config.runtime.monotonic, config.turn, config.slice)
        self.process_tasks = ProcessTasks(self)
        self.hooks = Hooks()
        self.reports = Reports(config, self.hooks, self.full_name, zone)
        self.dead_letters = DeadLetters(self.reports)
        self.timers = Timers(self.dead_letters)
        self.traces = NodeTraces(self.timers)
        self.sharing = Sharing() if config.debug else None
        self.ref_type: type[LocalRef[Any]] = CheckedRef if config.debug else LocalRef
        self.request_type: type[Request[Any]] = CheckedRequest if config.debug else Request
        self.child_events = ChildEvents(self.dead_letters)
        self.registry = Names()
        self.groups = Groups(self.hooks)
        self.ref: Ref[Any] = NodeRef(self)
        self.root: Ref[Any] | None = None
        self.processes: dict[int, Process] = {}
        self.starting: dict[Process, Request[Any]] = {}
        self.restarting_names: dict[str, Ref[Any]] = {}
        self.stopping = False
        self.stopped = False
        self.dropped = 0
        self.unkillable = 0
        self.nursery: trio.Nursery
        self.body_scope: trio.CancelScope | None = None
        self.hurry: Callable[[], None] = lambda: None
        self.fatal: BaseException | None = None
        self.end_waiters: dict[Process, trio.Event] = {}
        self._number = 0
        self._distribution: Peers | None = None
        self._workers: Workers | None = None
        self._observation: Observation | None = None

    def __repr__(self) -> str:
        return f"<Node {self.full_name}>"

    def new_number(self) -> int:
        """A number that this node has not given out before: serials, monitors, aliases, unlinks."""
        self._number = number = self._number + 1
        return number

    @property
    def current(self) -> Process | None:
        """The process that is running now; None in code that belongs to none."""
        running = self.dispatcher.running  # not `process` of it: each call asks this
        if running is not None and isinstance(running, Process):
            return running
        process = CURRENT.get()
        return process if process is not None and process.node is self else None

    @property
    def asker(self) -> Ref[Any]:
        """The ref of the process that is running now, or this node's own in code that belongs to none."""
        current = self.current
        return self.ref if current is None else current.ref

    if TYPE_CHECKING:
        spawn: Spawn
    else:

        async def spawn(
            self,
            target: Any,
            /,
            *args: Any,
            name: str | Global | None = None,
            link: bool = False,
            monitor: bool = False,
            mailbox: Mailbox = UNBOUNDED,
            label: str | None = None,
            timeout: float | None = None,
            arena: start.Arena = "supervisor",
            heir_of: Ref[Any] | None = None,
            on_failure: Resume | None = None,
            spawner: Process | None = None,
            kwargs: Mapping[str, Any] | None = None,
            **named: Any,
        ) -> Ref[Any]:
            """Start a process, and wait until it has started.

            A checkpoint when the start has to wait, and every so often when not; cancelled, the new process
            is killed. An actor's `__init__` and `on_start` have run when this returns; a function process has
            not begun.

            Args:
                target: an `Actor` class, an async function `fn(me, *args)`, or anything `Spawnable`.
                args: its arguments; other keyword arguments than those below are passed too.
                kwargs: keyword arguments for it whose names are those of options, or that are in a mapping
                    anyway, as in `Child`.
                name: register it under this name; a `Global` one is held in the mesh before it begins.
                link: link it to the process that spawns it, with no moment in between.
                monitor: let the spawning process monitor it: `Down` names the ref.
                mailbox: the bound of its mailbox.
                label: a text for people.
                timeout: seconds that its start may take; None: any number.
                arena: "supervisor": it ends, at the latest, with the nearest supervisor of the spawning
                    process; "node": with the node.
                heir_of: an ended process, whose kept mailbox it takes over (`Mailbox.inherit`).
                on_failure: after which errors of its handlers it goes on, as in `Child`; for actors that are
                    no supervisors.
                spawner: the parent, if it is another than the running process.

            Returns:
                Its ref.

            Raises:
                AlreadyStarted: the name is taken.
                Ignore: its initialisation says there is nothing to start; or as `Global.taken` says.
                NoQuorum: the registry of the mesh does not say that it holds a `Global` name.
                StartTimeout: the start took too long; the process was killed.
                StartError: its initialisation failed, with the reason.
                NodeStopped: the node is stopping.
                TypeError: `target` cannot be spawned, `mailbox` is not a `Mailbox`, `timeout` is not a
                    number, an argument is given twice, `on_failure` is for another target than an actor, or
                    `link` or `monitor` were asked for outside of a process.
                ValueError: `name` is empty, or `timeout` is negative.
            """
            if on_failure is not None:
                start.check_resumable(target)
            given = named if kwargs is None else start.joined(named, kwargs)
            process = start.create(
                self,
                spawner or self.current,
                name=name,
                link=link,
                monitor=monitor,
                mailbox=mailbox,
                label=label,
                arena=arena,
                heir_of=heir_of,
                on_failure=on_failure,
            )
            await start.start(process, target, args, given, timeout)
            return process.ref

    if TYPE_CHECKING:
        spawn_soon: SpawnSoon
    else:

        def spawn_soon(
            self,
            target: Any,
            /,
            *args: Any,
            spawner: Process | None = None,
            kwargs: Mapping[str, Any] | None = None,
            **named: Any,
        ) -> Ref[Any]:
            """Start a process without waiting for its start. Not a checkpoint.

            A start that fails is told over its link and to its monitors, and logged. Arguments, options and
            errors that concern them as of `spawn`; there is no `timeout`, because no caller waits.
            """
            process, given = start.prepare(self, spawner or self.current, target, kwargs, named)
            start.start_soon(process, target, args, given)
            return process.ref

    def new_process(
        self, parent: Process | None, mailbox: Mailbox, arena: start.Arena = "supervisor", serial: int = 0
    ) -> Process:
        """Make a record for a new process in the table, `mailbox` and `arena` as of `spawn`; a `serial` of 0
        stands for the next number.

        Raises:
            NodeStopped: the node is stopping, and `parent` is None, or has stopped.
        """
        if self.stopped or (self.stopping and parent is None):
            raise NodeStopped(self.full_name)
        if not serial:
            serial = self._number = self._number + 1  # `new_number`
        process = Process(self, serial, parent, mailbox)
        process.born = self.timers.now()
        if arena == "node":
            process.owner = None
        owner = process.owner
        if owner is not None:
            extras = owner.extras_or_none
            if owner.ended is not None or extras is None or extras.arena is None:
                process.owner = None
            else:
                extras.arena[process] = None
        self.processes[process.serial] = process
        return process

    def start_task(self, run: Callable[[], Awaitable[None]], name: str, process: Process) -> None:
        """Start `run()` as the task `name` of this node, in its context, as a step of `process`."""
        self.contexts.new().run(self._start_task, name, _contained, run, process)

    def start_service(self, run: Callable[[], Awaitable[None]], name: str) -> None:
        """Start `run()` as the task `name`, which the whole node depends on: if it fails, the node ends."""
        self.contexts.new().run(self._start_task, name, self._serve, run, name)

    def _start_task(self, name: str, run: Callable[..., Awaitable[None]], *args: Any) -> None:
        self.nursery.start_soon(run, *args, name=name)

    async def _serve(self, run: Callable[[], Awaitable[None]], name: str) -> None:
        try:
            await run()
        except BaseException as error:
            if not is_from_outside(error):
                self.fail(name, error)

    def fail(self, part: str, error: BaseException) -> None:
        """Leave the block at once, and raise `RuntimeFault` at its end: `part` has failed with `error`."""
        fault = RuntimeFault(f"node {self.full_name} has ended, because a part of the runtime failed: {part}")
        fault.__cause__ = error
        log(logging.CRITICAL, "%s", fault, error=error)
        self.stop_for(fault)
        self.hurry()

    @async_block
    async def mailbox(
        self, mailbox: Mailbox = UNBOUNDED, *, label: str | None = None
    ) -> AsyncIterator[Process]:
        """Be a process for the length of a block: link, monitor, receive from plain trio code.

        An exit signal that the process does not trap cancels the block, which then raises `ProcessDied`. The
        process ends with the block. To enter it is not a checkpoint; to leave it waits for the processes that
        end with it.

        Args:
            mailbox: the bound of its mailbox.
            label: a text for people.

        Raises:
            TypeError: `mailbox` is not a `Mailbox`.
            NodeStopped: the node is stopping, or has stopped.
        """
        process = self.new_process(self.current, checked_mailbox(mailbox))
        process.label = label
        process.body = body = EphemeralBody(process)
        if self.hooks.process_started:
            call(self.hooks.process_started, process)
        body.task = trio.lowlevel.current_task()
        body.scope = scope = trio.CancelScope()
        token = CURRENT.set(process)
        raised: BaseException | None = None
        try:
            with scope:
                try:
                    with all_left():
                        yield process
                except BaseException as error:
                    raised = error
                    raise
        finally:
            with suppress(ValueError):  # a block that was left open ends in another task, or never
                CURRENT.reset(token)
            reason = body.result(raised)
            with trio.CancelScope(shield=True):
                await end.empty_arena(process, reason)
            reason = process.exit_signal or reason
            end.finish(process, reason, own_fault(process, reason))
            raised = None  # its traceback holds this frame, and the process with it
        if scope.cancelled_caught:
            raise ProcessDied(process.ref, body.result(None))

    def whereis(self, name: str) -> Ref[Any] | None:
        """Return the process called `name`; None if there is none. Not a checkpoint."""
        return self.registry.whereis(name)

    def register(self, name: str, ref: Ref[Any]) -> None:
        """Give `ref`, a process of this node, the name `name`. Not a checkpoint.

        Source: `erlang:register/2`.

        Raises:
            NameTaken: another process has the name, a supervisor is restarting its last holder, or the
                process has a name already.
            NoProcess: the process has ended.
            ValueError: not a name.
            TypeError: a process of another node.
        """
        self.claim(name, the_process_of(ref, "only processes of this node can be registered"))

    def claim(self, name: str, process: Process) -> None:
        """Register `name` for `process`, unless a supervisor is restarting the child that had it. Not a
        checkpoint.

        Raises:
            NameTaken, ValueError, TypeError: as of `register`.
        """
        predecessor = self.restarting_names.get(name) if isinstance(name, str) else None
        child = process_of(predecessor)
        if predecessor is not None and child is not None and child.parent != self.ref:
            raise NameTaken(
                name,
                predecessor,
                f"the name {safe_repr(name)} is kept for {predecessor}, which is being restarted",
            )
        self.registry.register(name, process)
        self.restarting_names.pop(name, None)
        if self.hooks.name_registered:
            call(self.hooks.name_registered, process, name)

    def unregister(self, name: str) -> None:
        """Take `name` back. Not a checkpoint. Source: `erlang:unregister/1`.

        Raises:
            NoProcess: the name is not registered.
            TypeError: it is not a string.
        """
        process = self.registry.unregister(name)
        if self.hooks.name_released:
            call(self.hooks.name_released, process, name)

    def named(self, name: str | Global) -> NameRef[Any]:
        """Return a ref to the holder of `name` at the moment of use. Not a checkpoint.

        Raises:
            TypeError: neither a text nor a `Global`.
        """
        if isinstance(name, str):
            return NameRef(self, name)
        if not isinstance(name, Global):
            raise TypeError(f"a name must be a string or a Global, got {safe_repr(name)}")
        ref: NameRef[Any] = self.mesh.named(name.name)
        return ref

    def send(self, name: str, message: Any) -> None:
        """Send `message` to the process called `name`. Not a checkpoint.

        Raises:
            NoProcess: the name is not registered.
            Restarting: the name is not registered, because its holder is being restarted.
            MailboxFull: as of `Ref.send`.
        """
        self.named(name).send(message)

    def mark_restarting(self, ref: Ref[Any], name: str | None = None, *, restarting: bool = True) -> None:
        """Note that a supervisor is `restarting` the process `ref` under `name`, or no longer is.

        Until then calls to the name, and calls to `ref` itself, raise `Restarting`, not `NoProcess`, nobody
        else can register the name, and a mailbox that is to be inherited takes messages. Not a checkpoint.
        """
        process = ref._process if type(ref) is LocalRef else process_of(ref)
        if process is not None:
            process.restarting = restarting
            if process.mailbox.inherit:  # otherwise it has left nothing
                keep(process) if restarting else bury_left(process)
        if name is not None:
            if restarting:
                self.restarting_names[name] = ref
            else:
                self.free_name(name, ref)

    def free_name(self, name: str, ref: Ref[Any]) -> None:
        """Let others register `name`, if it is kept for `ref`. Not a checkpoint."""
        if self.restarting_names.get(name) == ref:
            del self.restarting_names[name]

    def keeps_mailbox(self, ref: Ref[Any]) -> bool:
        """Return true if `ref`, which is being restarted, takes messages for its next incarnation. Not a
        checkpoint.
        """
        process = process_of(ref)
        return process is not None and process.ended is not None and is_kept(process)

    # Timers and groups.

    def send_after(self, seconds: float, destination: Ref[Any], message: Any) -> Timer:
        """Send `message` to `destination` in `seconds`; a name is looked up only then. Not a checkpoint.

        What cannot be sent by then becomes a dead letter.
        """
        return self.timers.send_after(seconds, destination, message)

    def exit_after(self, seconds: float, destination: Ref[Any], reason: Reason) -> Timer:
        """Send an exit signal from the node to `destination` in `seconds`; a name is looked up only then.

        Not a checkpoint. Arguments and errors as of `Process.exit_after`.
        """
        signal = signals.Exit(self.ref, checked(reason), linked=False)
        return self.timers.deliver_after(seconds, destination, signal)

    def kill_after(self, seconds: float, destination: Ref[Any]) -> Timer:
        """Kill `destination` in `seconds`, as `exit_after` with `KILL`, which cannot be trapped. Not a
        checkpoint.
        """
        return self.exit_after(seconds, destination, KILL)

    def scope(self, name: str = "default") -> GroupScope:
        """Return the process groups of the scope `name`. Not a checkpoint."""
        return self.groups.scope(name)

    def exit(self, ref: Ref[Any], reason: Reason) -> None:
        """Send an exit signal from the running process, or else from the node. Not a checkpoint.

        Raises:
            TypeError: `ref` is not a ref, or `reason` is not a `Reason`.
        """
        checked_ref(ref).exit(reason)

    @property
    def distribution(self) -> Peers:
        """This node's part in a net of nodes.

        Raises:
            NotConnected: the node was opened without.
        """
        if self._distribution is None:
            name = self.full_name
            raise NotConnected(name, f"node {name} has no peers: open it with `listen`, `policy` or `mesh`")
        return self._distribution

    @property
    def workers(self) -> Workers:
        """This node's workers.

        Raises:
            NotConnected: the node was opened without.
        """
        if self._workers is None:
            name = self.full_name
            raise NotConnected(name, f"node {name} has no workers: open it with `workers=`")
        return self._workers

    def equip(
        self,
        *,
        peers: Peers | None = None,
        workers: Workers | None = None,
        observation: Observation | None = None,
    ) -> None:
        """Give the node its `peers`, its `workers`, or its `observation`: what `open_node` calls."""
        self._distribution = peers or self._distribution
        self._workers = workers or self._workers
        self._observation = observation or self._observation

    @property
    def peers(self) -> tuple[str, ...]:
        """The names of the nodes that are connected."""
        return () if self._distribution is None else self._distribution.peers

    @property
    def mesh(self) -> Any:
        """The mesh that this node is in. See `Peers.mesh`."""
        if self._distribution is None:
            raise NotConnected(self.full_name, f"node {self.full_name} is in no mesh: open it with `mesh=`")
        return self.distribution.mesh

    async def connect(self, address: str) -> str:
        """Connect to the node at `address`, and return its name. A checkpoint. See `Peers.connect`."""
        return await self.distribution.connect(address)

    def remote(self, name: str, peer: str) -> Ref[Any]:
        """Return a ref to the holder of `name` on the node `peer`. Not a checkpoint. See `Peers.remote`."""
        return self.distribution.remote(name, peer)

    async def whereis_on(self, peer: str, name: str) -> Ref[Any] | None:
        """The process that holds `name` on the node `peer` now. A checkpoint. See `Peers.whereis_on`."""
        return await self.distribution.whereis_on(peer, name)

    async def spawn_on(self, peer: str, entry: str, /, *args: Any, **kwargs: Any) -> Ref[Any]:
        """Start a process on the node `peer` from its export `entry`. A checkpoint. See `Peers.spawn_on`."""
        return await self.distribution.spawn_on(peer, entry, *args, **kwargs)

    def finish(self, process: Process, reason: Reason, error: BaseException | None = None) -> None:
        """End `process` with `reason`, and with the `error` it raised, if any: the last call of a body."""
        end.finish(process, reason, error)

    def ended(self, process: Process, reason: Reason, error: BaseException | None, quietly: bool) -> None:
        """Conclude the end of `process` with `reason` and `error`; `quietly`: without logging it."""
        if error is not None and is_a(error, SystemExit, KeyboardInterrupt):
            self.stop_for(error)
        if not (reason.is_normal or self.stopping or quietly) and is_logged(logging.ERROR):
            self.reports.abnormal_exit(process, reason, error)
        if self.end_waiters:
            waiter = self.end_waiters.pop(process, None)
            if waiter is not None:
                waiter.set()
        if self.root is not None and self.root == process.ref:
            self.root = None

    def stop_for(self, error: BaseException) -> None:
        """Leave the block, in order, and raise `error` at its end."""
        if self.fatal is None:
            self.fatal = error
        if self.body_scope is not None:
            self.body_scope.cancel()

    def statistics(self) -> NodeStatistics:
        """Count what the node holds at this moment, over all processes. Not a checkpoint."""
        return statistics_of(self)

    def freeze(self) -> int:
        """Have the garbage collector pass over all objects of now, till the node closes; return their number.

        Not a checkpoint. What is frozen is still freed once nothing refers to it, as processes are that end;
        but not objects that refer to each other in a circle.
        """
        return freeze(self)

    # Events.
