"""One program for nodes of any two releases: one serves, the other does deeds with it.

    python versions.py serve NAME DOOR|-
    python versions.py drive NAME PEER DOOR|- [DEED...]

Without a door both are in the embedded mesh of this user. It needs nothing but the release that runs it.
"""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import attrs
import trio

from enfilade.actors import (
    KILL,
    Actor,
    AlreadyStarted,
    Child,
    Down,
    Exited,
    Global,
    Kind,
    Node,
    NotPublic,
    ProcessDied,
    Ref,
    Refused,
    RemoteEntry,
    Supervisor,
    open_node,
)
from enfilade.actors.observing.protocol import views
from enfilade.actors.observing.telemetry import use
from enfilade.actors.observing.watches.client import Client
from enfilade.actors.observing.watches.control import Control
from enfilade.transport import Limits, Policy, register
from enfilade.transport.policy import Rights, Rule

ZONE = "east"
PATIENCE = 180.0


@attrs.frozen
class Coin:
    """A record of the program."""

    worth: int
    side: str = "head"


register(Coin, name="versions.Coin")

ROOMY = Limits(payload=256 * 1024 * 1024, pending_bytes=512 * 1024 * 1024, decoding=600.0)
EVERYTHING = Rights(
    exports="*",
    ends="*",
    entries="*",
    groups="*",
    kinds="*",
    observe=True,
    inspect=True,
    trace=True,
    control=True,
    trace_context=True,
    limits=ROOMY,
)
POLICY = Policy(rules=[Rule(over="any", rights=EVERYTHING)])


class Ledger(Actor):
    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.told: list[str] = []

    def on_message(self, message: Any) -> None:
        self.seen.append(message)

    def give(self, value: Any) -> Any:
        return value

    def clear(self) -> None:
        self.seen = []

    def summary(self) -> tuple[int, bool]:
        return len(self.seen), self.seen == list(range(len(self.seen)))

    def fail(self, text: str) -> None:
        raise ValueError(text)

    def digest(self, data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    def call_back(self, ref: Ref[Any], value: Any) -> None:
        ref.send(("back", value))

    def watch(self, ref: Ref[Any]) -> None:
        self.process.monitor(ref)

    def link(self, ref: Ref[Any]) -> None:
        self.process.trap_exits = True
        self.process.link(ref)

    def on_down(self, down: Down) -> None:
        self.told.append("down")

    def on_exit(self, exited: Exited) -> None:
        self.told.append("exit")

    def what_was_told(self) -> list[str]:
        return self.told


class Asking(Actor):
    async def give(self, value: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return value

    async def ask(self, ref: Ref[Any], value: Any) -> Any:
        return await ref.call(Ledger.give, value)


class Account(Actor):
    def __init__(self, key: str) -> None:
        self.sum = 0

    def add(self, number: int) -> int:
        self.sum += number
        return self.sum


async def opened(stack: AsyncExitStack, name: str, door: str) -> Node:
    """Open a node; one with no door is in the mesh."""
    where: dict[str, Any] = {"mesh": "embedded", "kinds": {"Account": Kind(Account, shards=16, idle=60.0)}}
    if door != "-":
        where = {"listen": door}
    node = await stack.enter_async_context(
        open_node(name, zone=ZONE, policy=POLICY, entries={"Ledger": Ledger}, **where)
    )
    await node.spawn(Ledger, name="ledger")
    await node.spawn(Asking, name="asking")
    if door == "-":
        await node.spawn(Ledger, name=Global(f"bank {name}"))
    return node


async def serve(name: str, door: str) -> None:
    """Serve until the standard input ends."""
    async with AsyncExitStack() as stack:
        await opened(stack, name, door)
        print("open", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


Deed = Callable[[Node, str], Awaitable[None]]
DEEDS: dict[str, Deed] = {}


def deed(function: Deed) -> Deed:
    """List a deed."""
    DEEDS[function.__name__] = function
    return function


def far(node: Node, peer: str, name: str = "ledger") -> Ref[Any]:
    """A process of the peer."""
    return node.remote(name, peer).within(60)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what happens by itself."""
    with trio.fail_after(60):
        while not await condition():  # noqa: ASYNC110 - it is asked of another node
            await trio.sleep(0.05)


@deed
async def calls(node: Node, peer: str) -> None:
    """Values of all kinds, errors, and methods that there are not."""
    plain = [None, True, 1, -(2**70), 1.5, "ä\n", b"x" * 10, [1, [2]], {"a": 1, 2: (3,)}, {1, 2}]
    for value in (*plain, Coin(3), (Coin(1), "x")):
        assert await far(node, peer).call(Ledger.give, value) == value
    own = await node.spawn(Ledger)
    assert await far(node, peer).call(Ledger.give, own) == own
    assert await far(node, peer, "asking").call(Asking.give, 7) == 7
    broken = await node.spawn_on(peer, "Ledger")
    try:
        await broken.call(Ledger.fail, "no coins")
    except ProcessDied as error:
        words = str(error)
    assert "no coins" in words
    try:
        await far(node, peer).call("nothing")
    except NotPublic:
        return
    raise AssertionError("there is no such method")


@deed
async def many(node: Node, peer: str) -> None:
    """Numbers in their order, and calls side by side."""
    ledger = far(node, peer)
    await ledger.call(Ledger.clear)
    for number in range(20_000):
        ledger.send(number)
        if number % 500 == 499:
            await trio.lowlevel.checkpoint()

    async def all_there() -> bool:
        count, _ = await ledger.call(Ledger.summary)
        return bool(count == 20_000)

    await until(all_there)
    assert await ledger.call(Ledger.summary) == (20_000, True)
    found: list[int] = []

    async def call(number: int) -> None:
        found.append(await ledger.call(Ledger.give, number))

    async with trio.open_nursery() as nursery:
        for number in range(500):
            nursery.start_soon(call, number)
    assert sorted(found) == list(range(500))


@deed
async def large(node: Node, peer: str) -> None:
    """Payloads on both sides of each border, in both directions."""
    ledger = node.remote("ledger", peer).within(PATIENCE)
    border = 64 * 1024
    for size in (1_000, border - 1, border, border + 1, 160 * 1024, 1 << 20, 5_000_000, 40 << 20):
        data = (os.urandom(1024) * (size // 1024 + 1))[:size]
        assert await ledger.call(Ledger.digest, data) == hashlib.sha256(data).hexdigest()
        assert await ledger.call(Ledger.give, data) == data
    for value in ([b"y" * 100_000] * 40 + ["z" * 300_000], list(range(300_000))):
        assert await ledger.call(Ledger.give, value) == value


@deed
async def callbacks(node: Node, peer: str) -> None:
    """Refs that are sent, and used there."""
    async with node.mailbox() as me:
        far(node, peer).cast(Ledger.call_back, me.ref, Coin(5))
        with trio.fail_after(60):
            assert await me.receive() == ("back", Coin(5))
    own = await node.spawn(Ledger)
    assert await far(node, peer, "asking").call(Asking.ask, own, 9) == 9


@deed
async def signals(node: Node, peer: str) -> None:
    """Starts, exits, monitors and links, from both ends."""
    async with node.mailbox() as me:
        watched = await node.spawn_on(peer, "Ledger")
        me.monitor(watched)
        watched.exit(KILL)
        linked = await node.spawn_on(peer, "Ledger")
        me.trap_exits = True
        me.link(linked)
        linked.exit(KILL)
        with trio.fail_after(60):
            await me.receive(Down)
            await me.receive(Exited)
        watching = await node.spawn_on(peer, "Ledger")
        own = await node.spawn(Ledger)
        await watching.call(Ledger.watch, own)
        await watching.call(Ledger.link, own)
        own.exit(KILL)

        async def both() -> bool:
            return sorted(await watching.call(Ledger.what_was_told)) == ["down", "exit"]

        await until(both)
        await watching.stop()
    assert await node.whereis_on(peer, "ledger") is not None
    assert await node.whereis_on(peer, "nobody") is None
    try:
        await node.spawn_on(peer, "Nothing")
    except Refused:
        return
    raise AssertionError("there is no such entry")


@deed
async def supervised(node: Node, peer: str) -> None:
    """A child that lives there is started again there."""
    supervisor = await node.spawn(Supervisor, [Child(RemoteEntry("Ledger", peer), id="far")], intensity=5)

    async def child(but: Any = None) -> Ref[Any] | None:
        (info,) = await supervisor.call(Supervisor.which_children)
        return info.ref if isinstance(info.ref, Ref) and info.ref != but else None

    async def is_there() -> bool:
        return await child() is not None

    await until(is_there)
    old = await child()
    assert old is not None
    old.exit(KILL)

    async def is_back() -> bool:
        return await child(old) is not None

    await until(is_back)
    new = await child(old)
    assert new is not None
    assert await new.call(Ledger.give, 1) == 1
    await supervisor.stop()


TABLES = ("processes", "names", "links", "timers", "groups", "pools", "guests", "peers", "dead_letters")

LOOKS: tuple[tuple[str, Any], ...] = (
    ("observe", views.NodeView()),
    ("observe", views.TableView(sort="queued", count=20)),
    ("observe", views.TableView(match="ledger", sort="rate", descending=True)),
    ("observe", views.TreeView()),
    ("observe", views.ProcessView("ledger")),
    ("observe", views.MetricsView()),
    *(("observe", views.TableView(of=of)) for of in TABLES),
    ("inspect", views.StateView("ledger")),
    ("inspect", views.LogView()),
    ("inspect", views.DumpView()),
    ("trace", views.TraceView(("ledger",), seconds=1.0)),
)


@deed
async def observing(node: Node, peer: str) -> None:
    """Every view, its first update and the second; a replica; an order."""
    for right, view in LOOKS:
        async with Client(node, peer, right).watch(view, 0.1) as states:
            with trio.fail_after(60):
                await anext(states)
                await anext(states)
    rows: list[dict[str, Any]] = []
    async with Client(node, peer).watch(views.ReplicaView()) as states:
        async for state in states:
            rows += state.fields.get("rows", [])
            if state.fields["piece"] == "end":
                break
    assert {"ledger", "asking"} <= {row["name"] for row in rows}
    ledger = await node.whereis_on(peer, "asking")
    assert ledger is not None
    for order in (Control.suspend, Control.resume):
        await node.remote("enfilade.control", peer).call(order, ledger.serial)


@deed
async def traced(node: Node, peer: str) -> None:
    """A context goes along."""
    with use("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1"):
        assert await far(node, peer).call(Ledger.give, 1) == 1


@deed
async def names(node: Node, peer: str) -> None:
    """Global names, of the mesh."""
    name = f"bank {peer.partition('@')[0]}"

    async def is_known() -> bool:
        return await node.mesh.whereis(name) is not None

    await until(is_known)
    assert await node.mesh.named(name).within(60).call(Ledger.give, 4) == 4
    try:
        await node.spawn(Ledger, name=Global(name))
    except AlreadyStarted:
        assert peer in {each.name for each in node.mesh.nodes()}
        return
    raise AssertionError("the name is held twice")


@deed
async def keyed(node: Node, peer: str) -> None:
    """Keyed actors, of the mesh: one of each key, whoever runs it."""
    for total in (1, 2):
        for key in range(40):
            account = node.mesh.keyed("Account", f"{node.name} {key}").within(60)
            assert await account.call(Account.add, 1) == total


MESH_ONLY = {"names", "keyed"}


async def drive(name: str, peer: str, door: str, *wanted: str) -> None:
    """Do the deeds, and say of each whether it was done."""
    chosen = wanted or [each for each in DEEDS if door == "-" or each not in MESH_ONLY]
    async with AsyncExitStack() as stack:
        node = await opened(stack, name, door if door == "-" else f"{door}.{name}")
        await node.connect(peer if door == "-" else door)
        for each in chosen:
            try:
                with trio.fail_after(PATIENCE):
                    await DEEDS[each](node, peer)
                print(f"done {each}", flush=True)
            except Exception as error:
                traceback.print_exc()
                print(f"failed {each}: {type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    trio.run({"serve": serve, "drive": drive}[sys.argv[1]], *sys.argv[2:])
