"""Worker nodes: more processors for actors that compute.

Each worker is an OS process with a node of its own, started by exec and not by fork. It connects to the node
that it works for, its employer, and starts there what that one asks for. To the employer a worker is a child
of a supervisor: one that dies is replaced under the same name, with a new incarnation, and what others hold
of its processes behaves as it does when any node is lost.

A worker may be busy for as long as it likes. That it lives is the kernel's word and not its own, so its
silence means nothing. Only who kills a process there wants it to be gone: a worker that then does not answer
is blocked by whatever it runs, and is killed as a whole, which is the one way to end such code.

No worker outlives its employer. The employer holds the other end of every worker's standard input; when that
ends, for whatever reason, a thread in the worker orders it to stop, and ends it if it does not. One that is
stopped (SIGSTOP) at that moment is continued by the kernel, where that is Linux.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import logging
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors.backoff import Backoff
from actors.distant import NodeDown, NodeUp, NotConnected
from actors.entry import Absent, RemoteEntry
from actors.errors import StartError
from actors.links import Exited
from actors.node import open_node
from actors.reasons import Custom, Exit, Reason
from actors.ref import Ref
from actors.spec import Child
from actors.supervisor import Supervisor
from transport.policy import Identity, Limits, Policy, Rights

if TYPE_CHECKING:
    from actors.node import Node
    from actors.process import Process

__all__ = ["Workers", "work"]

logger = logging.getLogger("enfilade.actors")

START_SECONDS: Final = 30.0
"""How long a worker may take to connect."""

STOP_SECONDS: Final = 2.0
"""How long each step of the ladder (end of input, SIGTERM, SIGKILL) may take."""

ANSWER_SECONDS: Final = 2.0
"""How long a worker may take to answer once a process on it has been killed."""

WORD: Final = b"."
"""What an employer says to have a worker stop; one that ends without has died."""

POLL_SECONDS: Final = 0.02
"""How often it is looked whether a process has ended, where that cannot be waited for."""

WATCH_SECONDS: Final = 1.0
"""How often a worker looks whether it still has the parent that it was born to."""

PR_SET_PDEATHSIG: Final = 1
"""Names the signal that a process gets when its parent dies; see prctl(2)."""

ENDLESS: Final = 2**62
"""As many restarts as there may be: a worker is replaced whenever it dies, after a pause that grows."""

PAUSES: Final = Backoff(first=0.1, maximum=10.0)

BOOT: Final = (
    "import json, sys; spec = json.loads(sys.stdin.buffer.raw.readline()); sys.path[:] = spec['path']; "
    "from actors.workers import work; work(spec)"
)
"""The program of a worker: it must be able to import this file before it can do anything else."""

FAMILY: Final = Rights(exports="*", entries="*", groups="*", limits=Limits(silence=math.inf))
"""What an employer and its workers may do with one another: everything, and be silent while they compute."""


@attrs.frozen(kw_only=True)
class FamilyPolicy(Policy):
    """The processes of one program, which the kernel vouches for, have all rights; the rules are for others.

    Attributes:
        family: the process ids that belong to it at this moment.
    """

    family: Callable[[], Collection[int]]

    def admit(self, peer: Identity) -> Rights:
        """See `Policy.admit`."""
        return FAMILY if peer.credentials.pid in self.family() else super().admit(peer)


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
            transport.PayloadError: an argument cannot travel.
        """
        entry = entry_of(target)
        names = self.names
        if not names:
            raise NotConnected(
                self._node.full_name, "no worker is up at this moment; those that died are being replaced"
            )
        self._turn += 1
        return await self._node.spawn_on(names[self._turn % len(names)], entry, *args, **kwargs)

    def entry(self, target: Any, *, absent: Absent = "wait") -> RemoteEntry:
        """A target for a supervisor's child that is to live on a worker: on the first that is up. Not a
        checkpoint.

        Args:
            target: as of `spawn`.
            absent: what it means that no worker is up, as of `RemoteEntry`.

        Raises:
            ValueError: `target` has no name that a worker could import it by.
        """
        self._turn += 1
        names = [self._full(name) for name in sorted(self._expected)]
        first = self._turn % len(names)
        return RemoteEntry(entry_of(target), *names[first:], *names[:first], absent=absent)

    @contextlib.contextmanager
    def housed(self, listen: str | None, policy: Policy | None) -> Iterator[tuple[str, Policy]]:
        """Have a directory for doors for the length of a block.

        Args:
            listen: where the node is to be found, or None for a place in that directory.
            policy: who else may connect to the node; by default nobody.

        Returns:
            Where the node is to be found, and a policy that admits its workers, too.
        """
        with tempfile.TemporaryDirectory(prefix="enfilade-", ignore_cleanup_errors=True) as self._directory:
            policy = Policy(rules=[]) if policy is None else policy
            self._secret = policy.secret
            yield (
                listen or os.path.join(self._directory, "employer.door"),
                FamilyPolicy(rules=policy.rules, secret=policy.secret, family=lambda: self.pids.values()),
            )

    async def start(self) -> None:
        """Start the workers, and wait until all are connected. A checkpoint.

        Raises:
            StartError: they were not in time.
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
        raise StartError(Custom(f"{len(self.names)} of {len(self._expected)} workers were up in time"))

    async def _employ(self, me: Process, name: str) -> None:
        """Have one worker for as long as this process lives."""
        me.trap_exits = True
        me.node.distribution.monitor_nodes(me.ref)
        process = self._processes[name] = self._exec(name)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_tell_end, process, me.ref)
                reason = await self._end_of_employment(me, name)
                nursery.cancel_scope.cancel()
            raise Exit(reason)
        finally:
            del self._processes[name]
            with trio.CancelScope(shield=True):
                await _stop(process)

    async def _end_of_employment(self, me: Process, name: str) -> Reason:
        """Wait until a worker is no more, or no longer wanted: why."""
        with trio.move_on_after(START_SECONDS) as limit:
            while True:
                match await me.receive((NodeUp, NodeDown, Exited, _Ended)):
                    case NodeUp(up) if up == self._full(name):
                        limit.deadline = math.inf
                    case NodeDown(down, text) if down == self._full(name):
                        return Custom(f"worker {name} is lost: {text}")
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
        """A process on the node `peer` was killed: if that is a worker, see whether it notices."""
        name = peer.partition("@")[0]
        process = self._processes.get(name)
        if process is not None and peer == self._full(name):
            self._node.distribution.start_soon(self._expect_answer, peer, process)

    async def _expect_answer(self, peer: str, process: subprocess.Popen[bytes]) -> None:
        with trio.move_on_after(ANSWER_SECONDS), contextlib.suppress(NotConnected):
            await self._node.whereis_on(peer, "")
            return
        if process.poll() is None:
            logger.warning("worker %s does not answer while a process on it is to die; it is killed", peer)
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
    """The ladder: a word and the end of input, SIGTERM, SIGKILL; and no zombie is left."""
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


def entry_of(target: Any) -> str:
    """The name that a worker imports `target` by.

    Raises:
        ValueError: it has none.
    """
    if isinstance(target, str):
        entry = target
    else:
        entry = f"{getattr(target, '__module__', None)}:{getattr(target, '__qualname__', None)}"
    try:
        found = load(entry)
    except (ImportError, AttributeError, ValueError):
        found = None
    if entry.startswith("__main__:") or found is None or (found is not target and found != target != entry):
        raise ValueError(
            f"a worker cannot import {target!r}: it must be an actor class or a function at the top level of "
            "a module, and not of the program's main file"
        )
    return entry


def load(entry: str) -> Any:
    """What the entry "module:name" names.

    Raises:
        ImportError, AttributeError, ValueError: nothing.
    """
    module, _, name = entry.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


class Importable(Mapping[str, Any]):
    """The entries of a worker: whatever its employer names, and only that may name any."""

    def __getitem__(self, entry: str) -> Any:
        try:
            return load(entry)
        except (ImportError, AttributeError, ValueError) as error:
            raise KeyError(entry) from error

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def work(spec: Mapping[str, Any]) -> None:
    """Be a worker, as standard input has described it: what a worker's process runs."""
    employer = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGCONT)
    end = _End(employer, spec["directory"])
    threading.Thread(target=end.wait_for_it, daemon=True).start()
    try:
        trio.run(_work, spec, employer)
    except KeyboardInterrupt:
        pass
    finally:
        end.tidy_up()


async def _work(spec: Mapping[str, Any], employer: int) -> None:
    name = spec["name"]
    secret = None if spec["secret"] is None else bytes.fromhex(spec["secret"])
    same_user = Policy.same_user()  # siblings, to which refs were handed
    policy = FamilyPolicy(rules=same_user.rules, secret=secret, family=lambda: (employer,))
    async with open_node(
        name,
        zone=spec["zone"],
        listen=os.path.join(spec["directory"], f"{name}.door"),
        policy=policy,
        entries=Importable(),
    ) as node:
        await node.connect(spec["employer"])
        await trio.sleep_forever()


@attrs.define
class _End:
    """How a worker learns that it is to end, and what it leaves behind."""

    employer: int
    directory: str
    is_orphaned: bool = False

    def wait_for_it(self) -> None:
        """When the employer has gone, or says so: stop in order, and if that takes long, at once."""
        while not select.select([sys.stdin], [], [], WATCH_SECONDS)[0] and os.getppid() == self.employer:
            pass
        self.is_orphaned = os.getppid() != self.employer or os.read(sys.stdin.fileno(), 1) != WORD
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(STOP_SECONDS)
        self.tidy_up()
        os._exit(1)

    def tidy_up(self) -> None:
        """Remove the directory of the doors if the one whose it was has died."""
        if self.is_orphaned:
            shutil.rmtree(self.directory, ignore_errors=True)
