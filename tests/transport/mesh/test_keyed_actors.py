"""Keyed and single actors, at real servers: one for each key, on the node that holds its shard."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from enfilade.actors import (
    NO_PROCESS,
    SHUTDOWN,
    Actor,
    CallError,
    Down,
    Kind,
    Node,
    NoProcess,
    NoQuorum,
    Process,
    ProcessDied,
    Ref,
    open_node,
)
from enfilade.actors.cli.mesh import kinds_of
from enfilade.transport import Policy
from enfilade.transport.mesh import Mesh
from enfilade.transport.mesh.shards import weight
from tests.transport.mesh.members import PATIENCE, Program, start, until
from tests.transport.mesh.servers import needs_server

__all__ = ["start"]

pytestmark = [pytest.mark.real, needs_server]

SHORT = Mesh(servers="embedded", lease=1.5)
"""Leases so short that a test can wait for the end of one."""

LONG = Mesh(servers="embedded", lease=60.0)

POLICY = Policy.same_mesh(exports="*", ends="*", kinds="*")

STARTED: list[tuple[str, str]] = []
ENDED: list[tuple[str, str]] = []
"""Nodes and keys of the actors that have started, and of those that have ended in order."""


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's runtime directory, for this test alone."""
    STARTED.clear()
    ENDED.clear()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "enfilade" / "mesh" / "default"


class Account(Actor):
    def __init__(self, key: str) -> None:
        self.key = key
        self.seen: list[Any] = []
        STARTED.append((self.process.node.full_name, key))

    def on_message(self, message: Any) -> None:
        self.seen.append(message)

    async def on_stop(self, reason: Any) -> None:
        ENDED.append((self.process.node.full_name, self.key))
        await trio.sleep(0.05)

    async def where(self) -> str:
        return self.process.node.full_name

    async def history(self) -> list[Any]:
        return self.seen

    async def fence(self) -> tuple[int, int]:
        fence = self.process.fence
        return fence.epoch, fence.revision

    async def fail(self) -> None:
        raise ValueError("for the test")

    async def missing(self) -> None:
        raise NoProcess("another")


class Clock(Actor):
    def __init__(self) -> None:
        STARTED.append((self.process.node.full_name, ""))

    async def where(self) -> str:
        return self.process.node.full_name


def kinds(**options: Any) -> dict[str, Kind]:
    return {"Account": Kind(Account, **{"shards": 32, **options})}


@asynccontextmanager
async def running(run: dict[str, Kind], *names: str, mesh: Mesh = LONG) -> AsyncIterator[list[Node]]:
    """Open nodes of a mesh that run kinds, for the length of a block."""
    with trio.fail_after(PATIENCE):
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(opened(run, each, mesh)) for each in names]


@asynccontextmanager
async def opened(run: dict[str, Kind], name: str, mesh: Mesh = LONG) -> AsyncIterator[Node]:
    short, _, zone = name.partition("@")
    async with open_node(short, zone=zone, mesh=mesh, policy=POLICY, kinds=run) as node:
        yield node


def shards(node: Node, kind: str = "Account") -> int:
    return int(node.mesh.kinds.counts()[kind]["shards"])


async def spread(*nodes: Node) -> None:
    """Wait until each node has its share of the shards."""
    await until(lambda: sum(map(shards, nodes)) == 32 and all(map(shards, nodes)))


def patient(node: Node, key: str) -> Ref[Account]:
    return node.mesh.keyed("Account", key).within(PATIENCE)  # type: ignore[no-any-return]


async def test_mesh_87_each_key_has_one_actor() -> None:
    """MESH-30, MESH-31, MESH-39: on the node that holds its shard, from wherever it is called."""
    async with running(kinds(), "a@east", "b@west", "c@north") as three:
        await spread(*three)
        places: dict[str, set[str]] = {str(key): set() for key in range(200)}
        for node in three:
            for key, found in places.items():
                found.add(await patient(node, key).call(Account.where))
        assert all(len(found) == 1 for found in places.values())
        assert sorted(STARTED) == sorted((*found, key) for key, found in places.items())
        assert {node for found in places.values() for node in found} == {"a@east", "b@west", "c@north"}
        assert sum(node.mesh.kinds.counts()["Account"]["activations"] for node in three) == 200
        for number in range(100):
            for node in three:
                node.mesh.keyed("Account", "0").send((node.name, number))
        for node in three:
            history = await patient(node, "0").call(Account.history)
            assert [number for name, number in history if name == node.name] == list(range(100))


async def test_mesh_88_two_first_calls_start_one_actor() -> None:
    """MESH-30: both callers are answered by it."""
    async with running(kinds(), "a@east", "b@west") as (a, b):
        await spread(a, b)
        replies: dict[str, list[str]] = {str(key): [] for key in range(50)}

        async def ask(node: Node, key: str) -> None:
            replies[key].append(await patient(node, key).call(Account.where))

        async with trio.open_nursery() as nursery:
            for key in replies:
                nursery.start_soon(ask, a, key)
                nursery.start_soon(ask, b, key)
        assert all(len(found) == 2 and len(set(found)) == 1 for found in replies.values())
        assert sorted(STARTED) == sorted((found[0], key) for key, found in replies.items())


async def test_mesh_89_an_idle_actor_ends_and_loses_nothing() -> None:
    """MESH-33: a message that comes while it stops starts the next."""
    async with running(kinds(idle=0.2), "a@east") as (a,):
        ref = patient(a, "alice")
        first = await ref.call(Account.where)
        assert first == "a@east"
        await until(lambda: ENDED == [("a@east", "alice")])
        ref.send("while it stops")
        assert await ref.call(Account.history) == ["while it stops"]
        assert STARTED == [("a@east", "alice")] * 2


async def test_mesh_90_after_a_crash_the_next_call_starts_another() -> None:
    """MESH-34: its fence is not smaller; and it waits after too many."""
    async with running(kinds(), "a@east", "b@west") as (a, b):
        await spread(a, b)
        fence = await patient(a, "alice").call(Account.fence)
        for node in (a, b):
            with pytest.raises((ProcessDied, ValueError)):
                await patient(node, "alice").call(Account.fail)
            assert await patient(node, "alice").call(Account.fence) >= fence
        before = len(STARTED)
        with pytest.raises((ProcessDied, NoProcess)):
            await patient(b, "alice").call(Account.missing)
        assert len(STARTED) == before, "an error of the actor's own is not taken for its absence"


PROGRAM = """
import sys, trio
from enfilade.transport.mesh import Mesh
from tests.transport.mesh.test_keyed_actors import kinds, opened, shards

async def main(lease, name):
    async with opened(kinds(), name, Mesh(servers="embedded", lease=float(lease))) as node:
        with trio.fail_after(60):
            while not shards(node):
                await trio.sleep(0.01)
        print(node.incarnation, 0, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)

trio.run(main, *sys.argv[1:])
"""


async def test_mesh_91_the_keys_of_a_killed_node_answer_elsewhere(start: Callable[..., Program]) -> None:
    """MESH-32: soon, because its host has a witness; other keys are undisturbed."""
    async with running(kinds(), "a@east", "b@west") as (a, b):
        program = start("60", "c@north", None, PROGRAM)
        await program.ready()
        await until(lambda: shards(a) + shards(b) < 32)
        places = {str(key): await patient(a, str(key)).call(Account.where) for key in range(60)}
        lost = [key for key, node in places.items() if node == "c@north"]
        assert lost
        program.kill()
        for key in lost:
            while True:
                try:
                    place = await a.mesh.keyed("Account", key).call(Account.where)
                except CallError:
                    await trio.sleep(0.05)
                else:
                    break
            assert place in ("a@east", "b@west")
        for key in places.keys() - lost:
            assert await patient(b, key).call(Account.where) == places[key]
        assert len(STARTED) == len(set(STARTED)), "no key has had two actors on these nodes"


async def test_mesh_92_a_node_that_comes_gets_its_share() -> None:
    """MESH-32: actors end in order before they start there, and no message is lost."""
    async with running(kinds(), "a@east") as (a,):
        await until(lambda: shards(a) == 32)
        for key in range(40):
            await patient(a, str(key)).call(Account.where)
        async with opened(kinds(), "b@west") as b:
            await until(lambda: shards(b) > 0)
            for key in range(40):
                ref = patient(a, str(key))
                ref.send(key)
                assert key in await ref.call(Account.history)
            await spread(a, b)
            moved = [key for node, key in STARTED if node == "b@west"]
            assert 0.2 < shards(b) / 32 < 0.8
            assert set(moved) <= {key for _, key in ENDED}
            assert kinds_of(a.mesh.nodes()) == {"Account": {"shards": 32, "nodes": ["a@east", "b@west"]}}
            assert await b.mesh.drain(PATIENCE)
            assert shards(b) == 0
            await until(lambda: any(node.is_draining for node in a.mesh.nodes()))
            assert kinds_of(a.mesh.nodes()) == {"Account": {"shards": 32, "nodes": ["a@east"]}}
        assert await patient(a, "0").call(Account.where) == "a@east", "what b had has come back"


async def test_mesh_93_without_the_registry_a_node_runs_no_keyed_actor(start: Callable[..., Program]) -> None:
    """MESH-32: from 0.9 leases on; `NoQuorum` tells callers."""
    async with running(kinds(), "a@east", mesh=SHORT) as (a,):
        ref = await patient(a, "alice").call(Account.where)
        assert ref == "a@east"
        fence = await patient(a, "alice").call(Account.fence)
        registry = a.mesh.names._claims._registry
        asked = registry._ask

        async def nobody(*_: object) -> Any:
            from enfilade.transport.mesh.registry import NoAnswer

            await trio.sleep(0.1)
            raise NoAnswer("for the test")

        registry._ask = nobody
        await until(lambda: not a.mesh.kinds.counts()["Account"]["activations"])
        with pytest.raises(NoQuorum):
            await a.mesh.keyed("Account", "alice").within(0.5).call(Account.where)
        registry._ask = asked
        assert await patient(a, "alice").call(Account.fence) > fence


async def test_who_has_lost_the_mesh_watches_on_who_runs_its_kinds() -> None:
    """So it hears soon of the death of one that it has no node link with."""
    mesh = Mesh(servers="embedded", lease=60.0, beat=0.1, dead_after=0.5)
    async with running(kinds(), "a@east", "b@west", mesh=mesh) as (a, b):
        carriers = [node.mesh._membership.carrier for node in (a, b)]
        await until(lambda: carriers[0]._presence.watched == {"b@west": b.incarnation})
        carriers[0].connection_lost(carriers[0].connection.server, "for the test")
        await until(lambda: carriers[0]._presence.is_lost)
        assert len(a.mesh.nodes()) == 2, "what it knew of others it knows on"
        carriers[0].connection_resumed(carriers[0].connection.server, 0.5)
        carriers[1].connection.publish = lambda *_, **__: True  # b is heard no more
        await until(lambda: [node.name for node in a.mesh.nodes()] == ["a@east"])
        del carriers[1].connection.publish


async def test_mesh_95_nobody_runs_the_kind() -> None:
    """MESH-35: a call fails within its limit, and a message is a dead letter."""
    async with running({}, "a@east", mesh=SHORT) as (a,):
        letters: list[Any] = []

        async def watch(me: Process) -> None:
            a.dead_letters.subscribe(me.ref)
            while True:
                letters.append(await me.receive())

        await a.spawn(watch)
        await trio.testing.wait_all_tasks_blocked()
        ref = a.mesh.keyed("Ghost", "alice")
        ref.send("hello")
        with pytest.raises(NoProcess, match="no node runs kind 'Ghost'"):
            await ref.within(0.3).call(Account.where)
        await until(lambda: any(letter.message == "hello" for letter in letters))


async def test_mesh_96_a_single_actor_runs_without_being_asked() -> None:
    """MESH-36: on one node; when that leaves, on another."""
    single = {"Clock": Kind(Clock, single=True)}
    async with running(single, "a@east") as (a,):
        await until(lambda: STARTED == [("a@east", "")])
        async with opened(single, "b@west") as b:
            owner = max(a, b, key=lambda node: weight(node.full_name, "Clock", 0))
            await until(lambda: shards(owner, "Clock") == 1)
            places = {await node.mesh.single("Clock").within(PATIENCE).call(Clock.where) for node in (a, b)}
            assert places == {owner.full_name}
        await until(lambda: shards(a, "Clock") == 1)
        assert await a.mesh.single("Clock").within(PATIENCE).call(Clock.where) == "a@east"


async def test_a_kind_has_keys_or_one_actor() -> None:
    """MESH-36: under a key of a single kind, another actor would run."""
    both = {"Clock": Kind(Clock, single=True), **kinds()}
    async with running(both, "a@east") as (a,), opened({}, "t@west") as till:
        for node in (a, till):
            with pytest.raises(NoProcess, match=r"has one actor, and no keys: use single\('Clock'\)"):
                await node.mesh.keyed("Clock", "x").within(PATIENCE).call(Clock.where)
            with pytest.raises(NoProcess, match=r"has an actor for each key: use keyed\('Account', key\)"):
                await node.mesh.single("Account").within(PATIENCE).call(Account.where)
            assert await node.mesh.single("Clock").within(PATIENCE).call(Clock.where) == "a@east"
            assert await patient(node, "x").call(Account.where) == "a@east"
        assert STARTED == [("a@east", ""), ("a@east", "x")]


async def test_a_node_that_counts_shards_otherwise_uses_those_of_the_mesh(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It does not run the kind, and nobody is misled by what it says."""
    async with running(kinds(), "a@east") as (a,):
        await until(lambda: shards(a) == 32)
        async with opened(kinds(shards=64), "b@east") as b, opened({}, "t@west") as till:
            for key in "abcdefgh":
                assert await patient(b, key).call(Account.where) == "a@east"
                assert await patient(till, key).call(Account.where) == "a@east"
            await until(lambda: "this node says 64 shards, and the mesh has 32" in caplog.text)
            (said,) = (node for node in till.mesh.nodes() if node.name == "b@east")
            assert said.kinds == ()


async def _function(me: Process, key: str) -> None:
    await me.receive()


@pytest.mark.parametrize(
    ("actor", "fields", "fault"),
    [
        (lambda key: key, {}, "it is not async"),
        (3, {}, "expected an Actor class"),
        (str, {}, "expected a subclass of Actor"),
        (Clock, {}, "with its key as the only argument; Clock: too many positional"),
        (Account, {"single": True}, "without an argument; Account: missing a required argument: 'key'"),
        (_function, {"single": True}, "without an argument; _function: missing a required argument"),
        (Account, {"single": 1}, "single must be True or False"),
        (Account, {"rebalance": None}, "rebalance must be True or False"),
        (Account, {"mailbox": 3}, "mailbox must be a Mailbox"),
        (Account, {"idle": "soon"}, "idle must be a number"),
        (Account, {"shards": "16"}, "shards must be an integer"),
        (Account, {"shards": True}, "shards must be an integer"),
    ],
)
def test_a_kind_is_checked_where_it_is_made(actor: Any, fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(TypeError, match=fault):
        Kind(actor, **fields)
    Kind(_function)


async def test_mesh_98_a_ref_to_a_key() -> None:
    """MESH-37: it is compared by kind and key, travels, and can be monitored, but not linked."""
    async with running(kinds(), "a@east", "b@west") as (a, b):
        ref = a.mesh.keyed("Account", "alice")
        assert ref == b.mesh.keyed("Account", "alice") != a.mesh.keyed("Account", "bob")
        assert len({ref, a.mesh.keyed("Account", "alice"), ref.within(1)}) == 1
        await patient(a, "alice").call(Account.where)
        received: list[Any] = []

        async def use(me: Process) -> None:
            sent = await me.receive()
            received.append(await sent.within(PATIENCE).call(Account.where))
            received.append(sent)
            with pytest.raises(TypeError, match="monitor it instead"):
                me.link(sent)
            me.monitor(sent)
            sent.cast(Account.fail)
            down = await me.receive(Down)
            received.append(down.reason)
            me.monitor(sent)
            again = await me.receive(Down)
            received.append(again.reason)

        await b.spawn(use, name="user")
        await a.connect("b@west")
        a.remote("user", "b@west").send(ref)
        await until(lambda: len(received) == 4)
        assert received[0] in ("a@east", "b@west")
        assert received[1] == ref
        assert received[2] != NO_PROCESS == received[3]


async def test_an_actor_is_watched_and_ended_wherever_it_is() -> None:
    """MESH-37, MESH-38: also when the node that asks remembers another one for its shard."""
    async with running(kinds(), "a@east", "b@west", "c@north") as (a, b, c):
        keys = {await patient(a, str(key)).call(Account.where): str(key) for key in range(40)}
        await spread(a, b, c)
        ref = a.mesh.keyed("Account", keys["b@west"])
        place = a.mesh.kinds._place(ref)
        c_ref = a.distribution.remote_node("c@north", c.incarnation, "c@north")
        reasons: list[Any] = []

        async def watch(me: Process) -> None:
            a.mesh.kinds._owners[place] = c_ref
            monitor = me.monitor(ref)
            await patient(a, ref.key).call(Account.where)
            assert monitor.active
            a.mesh.kinds._owners[place] = c_ref
            me.exit(ref, SHUTDOWN)
            reasons.append((await me.receive(Down)).reason)

        await a.spawn(watch)
        await until(lambda: reasons == [SHUTDOWN])
        await patient(a, ref.key).call(Account.where)
        a.mesh.kinds._owners[place] = c_ref
        await ref.stop()
        with pytest.raises(NoProcess):
            await ref.stop()
