"""A scenario in which deferred replies are dropped, so that the garbage collector has to answer calls.

`Deferred.__del__` runs wherever the collector happens to run: at any allocation of the runtime's own code,
and in any thread. Whoever waits for a reply that was dropped is to be told so, with `SenderDropped`, and
nobody else may notice.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Final

import trio
from trio.testing import MockClock

from enfilade.actors import (
    NORMAL,
    Actor,
    Custom,
    Deferred,
    Down,
    Node,
    Process,
    ReceiveTimeout,
    Ref,
    Request,
    RequestCollection,
    open_node,
)
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork

__all__ = ["EXPECTED", "collect_in_thread", "eager", "lazy", "play"]


class Sync(Actor):
    """Drops replies in a way that only the collector sees."""

    def __init__(self) -> None:
        self.outcome = ""

    def ask(self) -> Any:
        deferred: Any = self.process.defer()
        cycle = [deferred]
        cycle.append(cycle)
        return deferred

    def echo(self, value: int) -> int:
        return value

    def pass_on(self, ref: Ref[Any]) -> Any:
        """Ask another one, and answer with what becomes of that."""
        deferred: Deferred[Any] = self.process.defer()
        self.process.request(ref, Sync.ask).then(self._passed, deferred)
        return deferred

    def _passed(self, request: Request[Any], deferred: Deferred[Any]) -> None:
        deferred.reply(type(request.error).__name__)

    def alarm(self) -> None:
        self.process.timers.start("key", 0.1, "alarm")

    def on_message(self, message: Any) -> None:
        self.outcome += str(message)

    def seen(self) -> str:
        return self.outcome


class Async(Sync):
    """The same with a task."""

    async def nothing(self) -> None:
        """Makes the class an async one."""


async def ended(me: Process) -> None:
    """Ends at its first message."""
    await me.receive()


async def outcome(name: str, outcomes: dict[str, str], fn: Callable[..., Any], *args: Any) -> None:
    """Note how `await fn(*args)` ends."""
    try:
        outcomes[name] = str(await fn(*args))
    except Exception as error:
        outcomes[name] = type(error).__name__


async def use(node: Node, me: Process, ref: Ref[Any], kind: str, outcomes: dict[str, str]) -> None:
    """Do what programs do most, while replies are dropped."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, f"{kind} dropped", outcomes, ref.call, Sync.ask)
        request = me.request(ref, Sync.ask)
        requests: RequestCollection[int] = RequestCollection()
        requests.add(me.request(ref, Sync.ask), 1)
        nursery.start_soon(outcome, f"{kind} request", outcomes, request.receive)
        nursery.start_soon(collected, f"{kind} collection", outcomes, requests)
        await outcome(f"{kind} echo", outcomes, ref.call, Sync.echo, 1)
        ref.cast(Sync.alarm)
        ref.send("message")
        other = await node.spawn(ended)
        me.monitor(other)
        me.link(other)
        me.unlink(other)
        me.send_after(0.1, other, "end")
        assert (await me.receive(Down)).reason == NORMAL
        await outcome(f"{kind} timeout", outcomes, me.receive, str, 0.1)
        await outcome(f"{kind} seen", outcomes, ref.call, Sync.seen)
        if ref.node_name == node.full_name:
            helper = await node.spawn(Sync)
            nursery.start_soon(outcome, f"{kind} then", outcomes, helper.call, Sync.pass_on, ref)
        await trio.sleep(0.1)
        gc.collect()
    me.exit(ref, Custom("end"))


async def collected(name: str, outcomes: dict[str, str], requests: RequestCollection[int]) -> None:
    """Note the outcome of the one request of a collection."""
    try:
        _, request = await requests.wait(4)
        outcomes[name] = type(request.error).__name__
    except trio.TooSlowError:
        outcomes[name] = "not told"


def _expected(kind: str) -> dict[str, str]:
    dropped = dict.fromkeys((f"{kind} dropped", f"{kind} request", f"{kind} collection"), "SenderDropped")
    then = {} if kind == "far" else {f"{kind} then": "SenderDropped"}
    return (
        dropped
        | then
        | {f"{kind} echo": "1", f"{kind} timeout": ReceiveTimeout.__name__, f"{kind} seen": "messagealarm"}
    )


EXPECTED: Final = {kind: _expected(kind) for kind in ("sync", "async", "far")}


async def scenario(kind: str, outcomes: dict[str, str]) -> None:
    """Use one actor: on the caller's node, of either tier, or on another."""
    async with AsyncExitStack() as stack:
        if kind == "far":
            network, policy = MemoryNetwork(), Policy.same_user(exports="*")
            near, home = [
                await stack.enter_async_context(
                    open_node(name, carrier=network.carrier(name), policy=policy, listen=f"/{name}")
                )
                for name in ("near", "home")
            ]
            await near.connect("/home")
        else:
            near = home = await stack.enter_async_context(open_node("near"))
        ref = await home.spawn(Async if kind == "async" else Sync, name="callee")
        async with near.mailbox() as me:
            if kind == "far":
                found = await near.whereis_on("home@local", "callee")
                assert found is not None
                ref = found
            await use(near, me, ref, kind, outcomes)


def play(kind: str) -> dict[str, str]:
    """The outcomes of the scenario, in virtual time."""
    outcomes: dict[str, str] = {}

    async def main() -> None:
        with trio.move_on_after(60):
            await scenario(kind, outcomes)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return outcomes


@contextmanager
def lazy() -> Iterator[None]:
    """The collector runs when it is called, and looks only at what is made from now on, also later."""
    gc.collect()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def eager() -> Iterator[None]:
    """The collector runs at every allocation of an object that it tracks, and never looks at older ones."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(1, 1, 1)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def collect_in_thread() -> None:
    """Collect in another thread, which may do so at any time, too."""
    thread = threading.Thread(target=gc.collect)
    thread.start()
    thread.join()
