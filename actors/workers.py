"""Worker nodes: more processors for actors that compute.

Each worker is an OS process with a node of its own, started by exec and not by fork, that connects back to
its parent and starts whatever the parent asks for, by name, from a list that was given when it was opened.
A worker that dies is replaced; its actors' monitors and links fire as those on any lost node do.

No worker outlives its parent. The parent holds the other end of every worker's standard input; when that
ends, for whatever reason, a thread in the worker orders it to stop, and ends it if it does not.

Run as a program, this module is such a worker.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors.distant import NodeDown, NodeUp, NotConnected
from actors.node import open_node
from actors.ref import Ref
from transport.policy import Policy

if TYPE_CHECKING:
    from actors.node import Node
    from actors.process import Process

__all__ = ["Workers", "open_workers"]

logger = logging.getLogger("enfilade.actors")

START_SECONDS: Final = 30.0
"""How long a worker may take to connect."""

STOP_SECONDS: Final = 2.0
"""How long each step of the ladder (end of input, SIGTERM, SIGKILL) may take."""

POLL_SECONDS: Final = 0.02
"""How often it is looked whether a worker has ended."""

RESTART_SECONDS: Final = 0.5
"""The pause before a worker that died is replaced."""


@attrs.define(eq=False)
class _Worker:
    name: str
    process: subprocess.Popen[bytes]
    up: trio.Event = attrs.field(factory=trio.Event)
    down: trio.Event = attrs.field(factory=trio.Event)


class Workers:
    """A set of worker nodes. Made by `open_workers`."""

    def __init__(self, node: Node, entries: Mapping[str, str]) -> None:
        self._node = node
        self._entries = dict(entries)
        self._workers: dict[str, _Worker] = {}
        self._numbers = itertools.count(1)
        self._turn = itertools.count()
        self.scope = trio.CancelScope()

    @property
    def names(self) -> tuple[str, ...]:
        """The node names of the workers that are connected."""
        return tuple(
            name for name, worker in self._workers.items() if worker.up.is_set() and not worker.down.is_set()
        )

    async def spawn(self, entry: str, /, *args: Any, **kwargs: Any) -> Ref[Any]:
        """Start an actor on the next worker in turn. A checkpoint.

        Args:
            entry: a name from the entries that the workers were opened with.
            args: its arguments, which must be able to travel.

        Raises:
            NotConnected: no worker is up, or it died meanwhile.
            Refused: there is no such entry.
            StartError: the start failed.
        """
        names = self.names
        if not names:
            raise NotConnected("no worker is up at this moment")
        return await self._node.spawn_on(names[next(self._turn) % len(names)], entry, *args, **kwargs)

    async def run(self, count: int, ready: trio.Event, over: trio.Event) -> None:
        """Keep `count` workers running until cancelled; `ready` when all have connected once."""
        try:
            with self.scope:
                async with self._node.mailbox(label="workers") as me, trio.open_nursery() as nursery:
                    self._node.distribution.monitor_nodes(me.ref)
                    once = [trio.Event() for _ in range(count)]
                    for event in once:
                        nursery.start_soon(self._keep, event)
                    nursery.start_soon(self._listen, me)
                    for event in once:
                        await event.wait()
                    ready.set()
        finally:
            over.set()

    async def _listen(self, me: Process) -> None:
        while True:
            event = await me.receive((NodeUp, NodeDown))
            worker = self._workers.get(event.name)
            if worker is not None:
                (worker.up if isinstance(event, NodeUp) else worker.down).set()

    async def _keep(self, once: trio.Event) -> None:
        """Keep one worker running; replace it when it dies."""
        while True:
            worker = self._start()
            try:
                with trio.move_on_after(START_SECONDS):
                    await worker.up.wait()
                if worker.up.is_set():
                    once.set()
                    await worker.down.wait()
                logger.warning("worker %s is gone; another takes its place", worker.name)
            finally:
                del self._workers[worker.name]
                with trio.CancelScope(shield=True):
                    await _stop(worker.process)
            await trio.sleep(RESTART_SECONDS)

    def _start(self) -> _Worker:
        node = self._node
        name = f"{node.name}-worker-{next(self._numbers)}"
        process = subprocess.Popen([sys.executable, "-m", "actors.workers"], stdin=subprocess.PIPE)
        spec = {
            "name": name,
            "zone": node.zone,
            "parent": node.distribution.address,
            "entries": self._entries,
            "path": sys.path,
        }
        assert process.stdin is not None, "a pipe was asked for"
        process.stdin.write(json.dumps(spec).encode() + b"\n")
        process.stdin.flush()
        worker = self._workers[f"{name}@{node.zone}"] = _Worker(f"{name}@{node.zone}", process)
        return worker


async def _stop(process: subprocess.Popen[bytes]) -> None:
    """The ladder: end of input, SIGTERM, SIGKILL; and no zombie is left."""
    assert process.stdin is not None, "a pipe was asked for"
    process.stdin.close()
    for step in (process.terminate, process.kill):
        if await _has_ended(process):
            return
        step()
    await _has_ended(process)


async def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    for _ in range(int(STOP_SECONDS / POLL_SECONDS)):
        if process.poll() is not None:
            return True
        await trio.sleep(POLL_SECONDS)
    return process.poll() is not None


@asynccontextmanager
async def open_workers(node: Node, count: int, entries: Mapping[str, str]) -> AsyncIterator[Workers]:
    """Run worker nodes for the length of a block; it begins when all are connected.

    Args:
        node: the parent, opened with `listen`; its policy must admit its own user.
        count: how many.
        entries: what may be started there: a name for each "module:class" or "module:function".

    Raises:
        ValueError: `count` is not positive, an entry is not of that form, or the node cannot be called.
        trio.TooSlowError: a worker did not connect in time.
    """
    if count < 1:
        raise ValueError(f"there must be at least one worker, not {count}")
    for target in entries.values():
        if target.count(":") != 1:
            raise ValueError(f'an entry is "module:name", not {target!r}')
    if not node.distribution.address:
        raise ValueError("workers connect to their parent: open the node with `listen`")
    workers = Workers(node, entries)
    ready, over = trio.Event(), trio.Event()
    node.nursery.start_soon(workers.run, count, ready, over)
    try:
        with trio.fail_after(START_SECONDS):
            await ready.wait()
        yield workers
    finally:
        workers.scope.cancel()
        with trio.CancelScope(shield=True):
            await over.wait()


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _end_with_parent() -> None:
    """The parent has gone, or wants the worker to: stop in order, and if that takes too long, at once."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(STOP_SECONDS)
    os._exit(1)


async def _work(spec: Mapping[str, Any]) -> None:
    entries = {name: _load(target) for name, target in spec["entries"].items()}
    policy = Policy.same_user(exports="*", entries="*")
    async with open_node(spec["name"], zone=spec["zone"], policy=policy, entries=entries) as node:
        await node.connect(spec["parent"])
        await trio.sleep_forever()


def main() -> None:
    """Be a worker, as standard input describes it."""
    spec = json.loads(sys.stdin.buffer.readline())
    sys.path[:] = spec["path"]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        trio.run(_work, spec)


if __name__ == "__main__":
    main()
