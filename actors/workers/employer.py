"""Worker nodes: more processors for actors that compute.

Each worker is an OS process with a node of its own, started by exec and not by fork. It connects to the node
that it works for, its employer, and starts processes on the employer's request. To the employer a worker is a
child of a supervisor: a dead worker is replaced under the same name, with a new incarnation, and refs to its
processes behave as after the loss of any node.

A worker may be busy for any length of time. The kernel reports whether it lives, so its silence means
nothing. The exception is the kill of a process on it: a worker that does not answer then is blocked by the
code that it runs, and is killed as a whole, because nothing else ends such code.

No worker outlives its employer. The employer holds the other end of every worker's standard input. When that
end closes, for any reason, a thread in the worker stops the node, and ends the process if the node does not
stop. On Linux the kernel continues a worker that is stopped (SIGSTOP) at that moment.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from enfilade.actors.messages.blocks import block
from enfilade.actors.messages.errors import NotConnected, StartError
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.hooks import call
from enfilade.actors.messages.reasons import Custom, Exit, Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.peers.events import NodeDown, NodeUp
from enfilade.actors.processes.links import Exited
from enfilade.actors.supervision.backoff import Backoff
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.remote_entry import Absent, RemoteEntry
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.actors.workers.family import STOP_SECONDS, WORD, FamilyPolicy
from enfilade.actors.workers.importable import entry_of
from enfilade.transport.policy import Policy

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["Workers"]


START_SECONDS: Final = 30.0
"""Time limit for a worker to connect."""

ANSWER_SECONDS: Final = 2.0
"""Time limit for a worker to answer after a process on it has been killed."""

POLL_SECONDS: Final = 0.02
"""Polling interval for process exit on systems without pidfds."""

ENDLESS: Final = 2**62
"""Restart intensity of the workers: a worker that dies is always replaced, after a growing pause."""

PAUSES: Final = Backoff(first=0.1, maximum=10.0)

BOOT: Final = (
    "import gc, json, sys; spec = json.loads(sys.stdin.buffer.raw.readline()); sys.path[:] = spec['path']; "
    "gc.disable(); from enfilade.actors.worker_main import work; gc.enable(); work(spec)"
)
"""The program of a worker: it must be able to import this file before it can do anything else.

What it imports does not become garbage, which therefore is not looked for meanwhile.
"""


class Workers:
    """The worker nodes of a node: its `workers`, when it was opened with any."""

    def __init__(self, node: Node, count: int) -> None:
        self._node = node
        self._expected = {f"{node.name}-worker-{number}" for number in range(1, count + 1)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._directory = ""
        self._secret: bytes | None = None
        self._turn = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The node names of the workers that are connected."""
        peers = self._node.peers
        return tuple(name for name in map(self._full, sorted(self._expected)) if name in peers)

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the workers that have been started, by their node names."""
        return {self._full(name): process.pid for name, process in self._processes.items()}

    def _full(self, name: str) -> str:
        return f"{name}@{self._node.zone}"

    async def spawn(self, target: Any, /, *args: Any, **kwargs: Any) -> Ref[Any]:
        """See `services.Workers.spawn`."""
        entry = entry_of(target)
        names = self.names
        if not names:
            raise NotConnected(
                self._node.full_name, "no worker is up at the moment; dead workers are being replaced"
            )
        self._turn += 1
        return await self._node.spawn_on(names[self._turn % len(names)], entry, *args, **kwargs)

    def entry(self, target: Any, *, absent: Absent = "wait") -> RemoteEntry:
        """See `services.Workers.entry`."""
        self._turn += 1
        names = [self._full(name) for name in sorted(self._expected)]
        first = self._turn % len(names)
        return RemoteEntry(entry_of(target), *names[first:], *names[:first], absent=absent)

    @block
    def housed(
        self, listen: str | None, policy: Policy | None, *, is_in_mesh: bool = False
    ) -> Iterator[tuple[str, Policy]]:
        """Have a directory for doors for the length of a block.

        Args:
            listen: where the node is to be found, or None for a place in that directory.
            policy: who else may connect to the node; by default nobody, or its mesh.
            is_in_mesh: whether it is in a mesh.

        Returns:
            Where the node is to be found, and a policy that admits its workers, too.
        """
        with tempfile.TemporaryDirectory(prefix="enfilade-", ignore_cleanup_errors=True) as self._directory:
            if policy is None:
                policy = Policy.same_mesh() if is_in_mesh else Policy(rules=[])
            self._secret = policy.secret
            yield (
                listen or os.path.join(self._directory, "employer.door"),
                FamilyPolicy(rules=policy.rules, secret=policy.secret, family=lambda: self.pids.values()),
            )

    async def start(self) -> None:
        """Start the workers, and wait until all are connected. A checkpoint.

        Raises:
            StartError: not all of them connected in time.
        """
        node = self._node
        node.distribution.listen_for_kills(self._killing)
        async with node.mailbox(label="start of the workers") as me:
            node.distribution.monitor_nodes(me.ref)
            children = [
                Child(self._employ, name, id=name, label=name, shutdown=4 * STOP_SECONDS, backoff=PAUSES)
                for name in sorted(self._expected)
            ]
            await node.spawn(Supervisor, children, intensity=ENDLESS, label="workers", arena="node")
            with trio.move_on_after(START_SECONDS):
                while len(self.names) < len(self._expected):
                    await me.receive(NodeUp)
                return
        raise StartError(Custom(f"{len(self.names)} of {len(self._expected)} workers connected in time"))

    async def _employ(self, me: Process, name: str) -> None:
        """Run one worker process for as long as this process lives."""
        me.trap_exits = True
        me.node.distribution.monitor_nodes(me.ref)
        process = self._processes[name] = self._exec(name)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_tell_end, process, me.ref)
                reason = await self._end_of_employment(me, name)
                hooks = me.node.hooks
                if hooks.worker_lost and type(reason) is Custom:  # otherwise it was told to end
                    call(hooks.worker_lost, name, reason)
                nursery.cancel_scope.cancel()
            raise Exit(reason)
        finally:
            del self._processes[name]
            with trio.CancelScope(shield=True):
                await _stop(process)

    async def _end_of_employment(self, me: Process, name: str) -> Reason:
        """Wait until a worker has ended, or is no longer wanted; return the reason."""
        with trio.move_on_after(START_SECONDS) as limit:
            while True:
                match await me.receive((NodeUp, NodeDown, Exited, _Ended)):
                    case NodeUp(up) if up == self._full(name):
                        limit.deadline = math.inf
                    case NodeDown(down, text) if down == self._full(name):
                        return Custom(f"connection to worker {name} lost: {text}")
                    case _Ended(status):
                        return Custom(f"worker {name} ended with status {status}")
                    case Exited(_, reason):
                        return reason
        return Custom(f"worker {name} did not connect within {START_SECONDS:g} s")

    def _exec(self, name: str) -> subprocess.Popen[bytes]:
        node = self._node
        spec = {
            "name": name,
            "zone": node.zone,
            "employer": node.distribution.address,
            "directory": self._directory,
            "secret": None if self._secret is None else self._secret.hex(),
            "path": sys.path,
        }
        # In a session of its own: a SIGINT of the terminal is for the employer, which passes the word on.
        process = subprocess.Popen(
            [sys.executable, "-c", BOOT], stdin=subprocess.PIPE, start_new_session=True
        )
        assert process.stdin is not None, "a pipe was asked for"
        with contextlib.suppress(BrokenPipeError):  # then its end will be noticed
            process.stdin.write(json.dumps(spec).encode() + b"\n")
            process.stdin.flush()
        return process

    def _killing(self, peer: str) -> None:
        """Expect an answer of the worker `peer`, on which a process was killed."""
        name = peer.partition("@")[0]
        process = self._processes.get(name)
        if process is not None and peer == self._full(name):
            self._node.distribution.start_soon(self._expect_answer, peer, process)

    async def _expect_answer(self, peer: str, process: subprocess.Popen[bytes]) -> None:
        with trio.move_on_after(ANSWER_SECONDS), contextlib.suppress(NotConnected):
            await self._node.whereis_on(peer, "")
            return
        if process.poll() is None:
            text = "worker %s does not answer after the kill of a process on it; killing it"
            log(logging.WARNING, text, peer)
            process.kill()


@attrs.frozen
class _Ended:
    """The OS process of a worker has ended."""

    status: int


async def _tell_end(process: subprocess.Popen[bytes], watcher: Ref[Any]) -> None:
    await _end_of(process)
    watcher.send(_Ended(process.wait()))


async def _end_of(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has ended, without reaping it."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not on every system
        while process.poll() is None:  # noqa: ASYNC110 (there is nothing to wait for)
            await trio.sleep(POLL_SECONDS)
        return
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)


async def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a worker by the ladder: a word and the end of input, SIGTERM, SIGKILL. Reap it."""
    assert process.stdin is not None, "a pipe was asked for"
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(WORD)
        process.stdin.close()
    for step in (process.terminate, process.kill):
        with trio.move_on_after(STOP_SECONDS):
            await _end_of(process)
        if process.poll() is None:
            step()
    await _end_of(process)
    process.wait()
