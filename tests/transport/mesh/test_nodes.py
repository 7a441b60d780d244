"""Nodes in a mesh, at real servers: found by name, and linked through servers that come and go."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from enfilade.actors import Down, Node, NoProcess, NotConnected, Process, ProcessDied, Ref, open_node
from enfilade.actors.messages.reasons import NO_CONNECTION
from enfilade.transport import CarrierError, FileDescriptor, PayloadError, RemoteError
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.mesh import Mesh, MeshError, NodeChanged, NodeJoined, NodeLeft
from tests.transport.mesh.members import PATIENCE, ROOMY, Account, Program, nodes, server, start, until
from tests.transport.mesh.servers import NatsServer, needs_server, running

__all__ = ["server", "start"]


pytestmark = [pytest.mark.real, needs_server]


async def test_mesh_7_nodes_are_found_by_name(server: NatsServer) -> None:
    async with nodes(server.url, "a@east", "b@west") as (a, b):
        with trio.fail_after(PATIENCE):
            assert await a.connect("b@west") == "b@west"
            assert await a.connect("mesh:b@west") == "b@west"
            account: Ref[Account] = a.remote("account", "b@west")
            assert await account.within(PATIENCE).call(Account.give, 7) == 7
        await until(lambda: b.peers == ("a@east",))
        assert a.peers == ("b@west",)


async def test_mesh_8_who_is_not_there_is_missed_at_once(server: NatsServer) -> None:
    async with nodes(server.url, "a@east") as (a,):
        with trio.fail_after(PATIENCE), pytest.raises(CarrierError, match="no node ghost@x is in the mesh"):
            await a.connect("ghost@x")
        with pytest.raises(CarrierError, match="expected the name of a node"):
            await a.connect("mesh:x")
        with pytest.raises(CarrierError, match=r"the door at .* cannot be called"):
            await a.connect("door:ghost@x")


async def test_mesh_9_nodes_are_connected_on_demand(server: NatsServer) -> None:
    async with nodes(server.url, "a@east", "b@west", "c@north") as (a, b, c):
        with trio.fail_after(PATIENCE):
            assert await a.whereis_on("b@west", "account") is not None
            ref = await b.spawn_on("c@north", "Account")
            # A ref of a node that is not connected is enough to reach it.
            echo: Ref[Account] = a.remote("account", "b@west")
            given = await echo.within(PATIENCE).call(Account.give, ref)
            c.distribution.disconnect("b@west")
            assert a.peers == ("b@west",)
            account: Ref[Account] = await b.whereis_on("a@east", "account")
            account.send(given)
            assert await given.within(PATIENCE).call(Account.give, 5) == 5
            with pytest.raises(NotConnected, match="no node ghost@x is in the mesh"):
                await a.spawn_on("ghost@x", "Account")


async def test_mesh_9_a_name_on_a_node_is_enough_to_reach_it(server: NatsServer) -> None:
    """Also right after the start, when the node has heard of nobody; each signal meets its node first."""
    async with nodes(server.url, "a@east", "b@west") as (a, b):
        with trio.fail_after(PATIENCE):
            ref: Ref[Account] = a.remote("account", "b@west")
            ref.send("first")
            assert await ref.within(PATIENCE).call(Account.history) == ["first"]
            await ref.send_wait("second")
            assert await ref.within(PATIENCE).call(Account.history) == ["first", "second"]
            assert (a.peers, ref.incarnation) == (("b@west",), b.incarnation)
            assert ref == a.remote("account", "b@west")
            assert await ref.within(PATIENCE).call(Account.give, ref) == ref
            # The node link may be lost as often as it likes.
            a.distribution.disconnect("b@west")
            await ref.within(PATIENCE).send_wait("third")
            assert await ref.within(PATIENCE).call(Account.history) == ["first", "second", "third"]
            await _nobody(a)


async def _nobody(a: Node) -> None:
    """What is for a node that nobody knows comes to nothing in the way of its kind."""
    ghost: Ref[Account] = a.remote("account", "ghost@x")
    with pytest.raises(NotConnected, match="no node ghost@x is in the mesh"):
        await ghost.within(PATIENCE).call(Account.give, 1)
    known: Ref[Account] = a.remote("account", "b@west")
    with pytest.raises(PayloadError, match="this node has not met node ghost@x"):
        await known.within(PATIENCE).call(Account.give, ghost)
    seen: list[Any] = []

    async def watch(me: Process) -> None:
        a.dead_letters.subscribe(me.ref)
        me.monitor(ghost)
        ghost.send("lost")
        await ghost.send_wait("lost, too")
        while len(seen) < 3:
            seen.append(await me.receive())

    await a.spawn(watch)
    await until(lambda: len(seen) == 3)
    assert [each.reason for each in seen if isinstance(each, Down)] == [NO_CONNECTION]
    assert sorted(each.message for each in seen if not isinstance(each, Down)) == ["lost", "lost, too"]
    for name in ("a@east", "b", "a@b@c", "x/y@z"):
        with pytest.raises(NotConnected, match="is not connected"):
            a.remote("account", name)


async def test_what_is_watched_is_told_to_refs(server: NatsServer) -> None:
    async with nodes(server.url, "a@east") as (a,):
        for monitor in (a.mesh.monitor, a.distribution.monitor_nodes):
            with pytest.raises(TypeError, match="expected a Ref"):
                monitor("account")


async def test_mesh_14_nodes_of_different_meshes_do_not_meet(server: NatsServer) -> None:
    other = Mesh(servers=server.url, name="other one")
    async with nodes(server.url, "a@east") as (a,), nodes(other, "b@west", "a@east") as (_, twin):
        with trio.fail_after(PATIENCE):
            with pytest.raises(CarrierError, match="no node b@west is in the mesh"):
                await a.connect("b@west")
            await until(lambda: len(twin.mesh.nodes()) == 2)
            assert [node.name for node in a.mesh.nodes()] == ["a@east"]
            assert await twin.connect("b@west") == "b@west"


@pytest.mark.parametrize("name", ["a.b", "a*", "a>", "the bank", "köln", "a=2A", "x" * 58])
async def test_mesh_15_names_mean_nothing_to_servers(server: NatsServer, name: str) -> None:
    async with nodes(server.url, f"{name}@east", "b@west") as (a, b):
        with trio.fail_after(PATIENCE):
            assert await b.connect(a.full_name) == a.full_name
            account: Ref[Account] = b.remote("account", a.full_name)
            assert await account.within(PATIENCE).call(Account.give, name) == name


async def test_a_name_has_63_characters_at_most(server: NatsServer) -> None:
    with pytest.raises(ValueError, match="must have at most 63 characters"):
        async with nodes(server.url, f"{'x' * 59}@east"):
            pytest.fail("it was let in")


async def test_mesh_17_a_name_is_taken_once(server: NatsServer) -> None:
    async with nodes(server.url, "a@east", "b@west") as (_, b):
        where = rf"process {os.getpid()} on host {re.escape(os.uname().nodename)}, since \d{{4}}-\d\d-\d\d "
        with pytest.raises(MeshError, match=f"a@east runs already in mesh 'default': {where}"):
            async with nodes(server.url, "a@east"):
                pytest.fail("it was let in")
        with trio.fail_after(PATIENCE):
            assert await b.connect("a@east") == "a@east"
    async with nodes(server.url, "a@east") as (a,):
        assert a.peers == (), "the name is free again"


async def test_what_is_no_name_is_refused_where_it_is_given(server: NatsServer) -> None:
    """With a TypeError; a node that names itself is told so."""
    async with nodes(server.url, "a@east") as (a,):
        verbs: list[Callable[[Any], Any]] = [
            a.connect,
            a.distribution.keep_connected,
            lambda given: a.remote(given, "b@west"),
            lambda given: a.remote("account", given),
            lambda given: a.whereis_on(given, "account"),
            lambda given: a.whereis_on("b@west", given),
            lambda given: a.spawn_on(given, "Account"),
            lambda given: a.spawn_on("b@west", given),
            a.mesh.monitor,
            a.mesh.demonitor,
        ]
        for verb in verbs:
            for given in (None, 7, b"b@west"):
                with pytest.raises(TypeError, match=r"must be a string, got|expected a Ref"):
                    await verb(given)
        for address in ("a@east", "mesh:a@east"):
            with pytest.raises(CarrierError, match="a@east is this node itself"):
                await a.connect(address)
        with pytest.raises(NotConnected, match="a@east is this node itself"):
            await a.whereis_on("a@east", "account")
        with pytest.raises(NotConnected, match="is not connected: it is this node itself: use `whereis`"):
            a.remote("account", "a@east")
    async with open_node("plain") as plain:
        with pytest.raises(NotConnected, match="node plain@local is in no mesh: open it with `mesh=`"):
            plain.mesh.nodes()


async def test_who_opens_a_node_can_give_up() -> None:
    """A server that takes the connection and says nothing holds nobody."""

    async def say_nothing(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, say_nothing, [listener])
        port = listener.socket.getsockname()[1]
        with trio.fail_after(PATIENCE), trio.move_on_after(0.05) as given_up:
            async with open_node("a", mesh=f"nats://127.0.0.1:{port}"):
                pytest.fail("it was opened")
        assert given_up.cancelled_caught
        assert trio.current_time() - given_up.deadline < 1.5, "a server has 2 s to say something"
        nursery.cancel_scope.cancel()


async def test_mesh_28_errors_are_those_of_doors(server: NatsServer) -> None:
    async with nodes(server.url, "a@east", "b@west") as (a, _):
        with trio.fail_after(PATIENCE):
            account: Ref[Account] = await a.whereis_on("b@west", "account")
            with pytest.raises(ProcessDied, match="odd") as caught:
                await account.within(PATIENCE).call(Account.fail, "odd")
            cause = caught.value.__cause__
            assert isinstance(cause, ValueError)
            assert isinstance(cause.__cause__, RemoteError)
            assert "raised on b@west" in str(cause.__cause__)


async def test_mesh_29_what_cannot_travel_is_refused_where_it_is_sent(server: NatsServer) -> None:
    async with nodes(server.url, "a@east", "b@west") as (a, _):
        with trio.fail_after(PATIENCE):
            account: Ref[Account] = await a.whereis_on("b@west", "account")
            with tempfile.TemporaryFile() as file:
                before = len(os.listdir("/proc/self/fd"))
                for value in (FileDescriptor(file.fileno()), [bytes(10**6), FileDescriptor(file.fileno())]):
                    refused = "a file descriptor cannot travel to b@west, which is reached over the mesh"
                    with pytest.raises(PayloadError, match=refused):
                        await account.within(PATIENCE).call(Account.give, value)
                    with pytest.raises(PayloadError, match=refused):
                        account.send(value)
                await until(lambda: len(os.listdir("/proc/self/fd")) == before)
                os.fstat(file.fileno())
            assert await account.within(PATIENCE).call(Account.give, bytes(60_000)) == bytes(60_000)


def long_values(size: int) -> list[Any]:
    """Values that are about so long, in three forms."""
    return [os.urandom(size), list(range(size // 5)), [os.urandom(size // 40)] * 40]


@pytest.mark.parametrize(
    "size",
    [
        64 * 1024 - 1,
        64 * 1024,
        64 * 1024 + 1,
        1024 * 1024,
        pytest.param(64 * 1024 * 1024, marks=pytest.mark.soak),
    ],
)
async def test_mesh_30_long_payloads_travel(server: NatsServer, size: int) -> None:
    """And no message to the server is long."""
    sent: list[int] = []
    async with nodes(server.url, "a@east", "b@west", limits=ROOMY) as (a, b):
        for node in (a, b):
            connection = node.mesh._membership.carrier.connection
            write = connection._write
            connection._write = lambda session, data, write=write: (
                sent.append(len(data)),
                write(session, data),
            )
        with trio.fail_after(4 * PATIENCE):
            account: Ref[Account] = await a.whereis_on("b@west", "account")
            for value in long_values(size):
                assert await account.within(4 * PATIENCE).call(Account.give, value) == value
    assert max(sent) <= 256 * 1024


@pytest.mark.soak
async def test_mesh_31_the_longest_payload(server: NatsServer) -> None:
    async with nodes(server.url, "a@east", "b@west", limits=ROOMY) as (a, _):
        with trio.fail_after(10 * PATIENCE):
            account: Ref[Account] = await a.whereis_on("b@west", "account")
            longest = 256 * 1024 * 1024 - 16  # what describes it takes the rest
            assert len(await account.within(5 * PATIENCE).call(Account.give, bytes(longest))) == longest
            with pytest.raises(PayloadError, match="a payload may have 268435456 bytes"):
                await account.within(PATIENCE).call(Account.give, bytes(256 * 1024 * 1024 + 1))
            assert await account.within(PATIENCE).call(Account.give, 1) == 1


@pytest.mark.parametrize("size", [8 * 1024 * 1024, pytest.param(64 * 1024 * 1024, marks=pytest.mark.soak)])
async def test_mesh_32_a_long_message_holds_up_nobody_else(server: NatsServer, size: int) -> None:
    """What the same two nodes say after it waits its turn; others are answered meanwhile, and nobody dies."""
    async with nodes(server.url, "a@east", "b@west", "c@north", limits=ROOMY) as (a, _, _):
        with trio.fail_after(4 * PATIENCE):
            far: Ref[Account] = await a.whereis_on("b@west", "account")
            other: Ref[Account] = await a.whereis_on("c@north", "account")
            (peer,) = [each for each in a.distribution.rendezvous.peers.values() if each.name == "b@west"]
            far.send(bytes(size))
            await until(lambda: peer.bulk > 0)
            assert await other.within(PATIENCE).call(Account.give, 1) == 1
            assert peer.bulk > 0, "c has answered while it is under way"
            # A call to another process of the same node passes it, or waits; it succeeds either way.
            second = await a.spawn_on("b@west", "Account")
            assert await second.within(PATIENCE).call(Account.give, 2) == 2
            assert await far.within(PATIENCE).call(Account.summary) == (1, False)
            assert not peer.ended.is_set()


async def flood(account: Ref[Account], numbers: range) -> None:
    """Send numbers, with a call after each hundred."""
    for number in numbers:
        account.send(number)
        if number % 100 == 99:
            assert await account.within(PATIENCE).call(Account.give, number) == number


@pytest.mark.parametrize("victims", ["sender's", "receiver's", "both"])
async def test_mesh_39_a_server_that_is_killed_is_missed_by_nobody(tmp_path: Path, victims: str) -> None:
    """Nothing is lost, doubled or out of order; nobody is told that a node is down."""
    async with running(tmp_path, 3) as servers:
        urls = [server.url for server in servers]
        async with (
            nodes(Mesh(servers=(urls[0], urls[2])), "a@east") as (a,),
            nodes(Mesh(servers=(urls[1], urls[2])), "b@west") as (b,),
        ):
            with trio.fail_after(4 * PATIENCE):
                # Until their servers have found each other, neither node exists for the other one.
                await until(lambda: len(a.mesh.nodes()) == len(b.mesh.nodes()) == 2)
                account: Ref[Account] = await a.whereis_on("b@west", "account")
                (peer,) = a.distribution.rendezvous.peers.values()
                await flood(account, range(500))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(flood, account, range(500, 20_000))
                    await until(lambda: bool(peer.queued or peer._link.under_way))
                    for server in {"sender's": servers[:1], "receiver's": servers[1:2]}.get(
                        victims, servers[:2]
                    ):
                        server.kill()
                assert b.whereis("account") is not None
                assert await account.within(PATIENCE).call(Account.summary) == (20_000, True)
                assert not peer.ended.is_set()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGSTOP], ids=["end", "lame duck", "stop"]
)
async def test_mesh_47_a_server_that_is_asked_to_go_is_missed_by_nobody(
    tmp_path: Path, number: signal.Signals
) -> None:
    """It ends in order, it turns its clients away one after another, or it falls silent without a word."""
    async with running(tmp_path, 2) as servers:
        mesh = Mesh(servers=[server.url for server in servers], dead_after=8.0)
        async with nodes(mesh, "a@east", "b@west") as (a, _):
            with trio.fail_after(4 * PATIENCE):
                account: Ref[Account] = await a.whereis_on("b@west", "account")
                (peer,) = a.distribution.rendezvous.peers.values()
                connection = a.mesh._membership.carrier.connection
                servers[0].signal(number)
                sent = 0
                while connection.server != servers[1].server or sent < 2000:
                    await flood(account, range(sent, sent + 100))
                    sent += 100
                    await trio.sleep(0.05 if sent >= 2000 else 0)  # it turns clients away after ten seconds
                assert await account.within(PATIENCE).call(Account.summary) == (sent, True)
                assert not peer.ended.is_set()


async def test_mesh_40_a_server_that_comes_back_is_waited_for(server: NatsServer) -> None:
    async with nodes(server.url, "a@east", "b@west") as (a, _):
        with trio.fail_after(2 * PATIENCE):
            account: Ref[Account] = await a.whereis_on("b@west", "account")
            (peer,) = a.distribution.rendezvous.peers.values()
            server.kill()
            for number in range(1000):  # mesh_45: no send raises, whatever becomes of the connection
                account.send(number)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(account.within(PATIENCE).call, Account.give, 1)
                await trio.sleep(0.2)
                await server.start()
            assert await account.within(PATIENCE).call(Account.history) == list(range(1000))
            assert not peer.ended.is_set()


async def watch(me: Process, target: Ref[Any], reasons: list[Any]) -> None:
    """Monitor a process, and keep what is told of its end."""
    me.monitor(target)
    while True:
        reasons.append((await me.receive(Down)).reason)


async def test_mesh_41_who_has_lost_the_mesh_is_told_once(server: NatsServer) -> None:
    mesh = Mesh(servers=server.url, dead_after=1.0, beat=0.2)
    async with nodes(mesh, "a@east", "b@west") as (a, b):
        with trio.fail_after(2 * PATIENCE):
            account: Ref[Account] = await a.whereis_on("b@west", "account")
            (peer,) = a.distribution.rendezvous.peers.values()
            reasons: list[Any] = []
            await a.spawn(watch, account, reasons)
            assert await account.within(PATIENCE).call(Account.give, 1) == 1
            server.kill()
            with pytest.raises(NotConnected):
                await account.within(PATIENCE).call(Account.give, 1)
            await until(lambda: len(reasons) == 1 and not b.peers)
            assert reasons == [NO_CONNECTION]
            assert "this node has lost the mesh: no server answers" in peer.reason
            await server.start()
            await until(lambda: all(node.mesh._membership.carrier.is_up for node in (a, b)))
            assert await a.connect("b@west") == "b@west"
            again: Ref[Account] = a.remote("account", "b@west")
            assert await again.within(PATIENCE).call(Account.give, 2) == 2
            assert reasons == [NO_CONNECTION]


async def gather(me: Process, events: list[Any]) -> None:
    """Keep what a directory tells."""
    while True:
        events.append(await me.receive((NodeJoined, NodeLeft, NodeChanged)))


async def test_the_directory_tells_who_comes_and_goes(
    server: NatsServer, start: Callable[..., Program]
) -> None:
    """Whoever is stopped says goodbye; whoever is killed is missed by those who were connected to it."""
    async with nodes(Mesh(servers=server.url, dead_after=1.0, beat=0.2), "a@east") as (a,):
        events: list[Any] = []
        watcher = await a.spawn(gather, events)
        a.mesh.monitor(watcher)
        async with nodes(server.url, "b@west") as (b,):
            await until(lambda: len(events) == 1 and len(b.mesh.nodes()) == 2)
            first = b.mesh.nodes()[1]
            assert (first.name, first.incarnation, first.process) == ("b@west", b.incarnation, os.getpid())
        await until(lambda: len(events) == 2)
        assert events[0] == NodeJoined(first)
        assert (events[1].node.incarnation, events[1].reason) == (b.incarnation, "the node stops")
        program = start(server.url, "b@west")
        await program.ready()
        await until(lambda: len(events) == 3)
        with trio.fail_after(PATIENCE):
            await a.connect("b@west")
        program.kill()
        await until(lambda: len(events) == 4)
        assert events[3].reason == "silent for 1.0 s"
        assert [node.name for node in a.mesh.nodes()] == ["a@east"]
        a.mesh.demonitor(watcher)
        async with nodes(server.url, "c@north"):
            await until(lambda: len(a.mesh.nodes()) == 2)
        assert len(events) == 4


async def test_a_node_without_a_mesh_is_in_none(tmp_path: Path) -> None:
    async with open_node("a", listen=tmp_path / "a.door") as node:
        with pytest.raises(NotConnected, match="a@local is in no mesh: open it with `mesh=`"):
            node.mesh.nodes()


@pytest.mark.parametrize(
    ("token", "payload"),
    [
        ("evil=40x", b""),
        ("evil=40x", msgspec.msgpack.encode([1])),
        ("evil=40x", msgspec.msgpack.encode([1, None, "host", 1, ["x"] * 1000])),
        ("evil=40x", msgspec.msgpack.encode([1, None, "ho\nst", 1, []])),
        ("evil=40x", msgspec.msgpack.encode([1, None, "host" * 1000, 1, []])),
        ("evil=40x", b"\x91" * 60_000),
        ("evil=4", msgspec.msgpack.encode([1, None, "host", 1, []])),
        ("e" * 64, msgspec.msgpack.encode([1, None, "host", 1, []])),
    ],
    ids=range(8),
)
async def test_nonsense_in_announcements_is_passed_over(
    server: NatsServer, token: str, payload: bytes
) -> None:
    async with nodes(server.url, "a@east", "b@west") as (a, b):
        announcer = a.mesh._membership.carrier.announcer
        hostile = b.mesh._membership.carrier.connection
        hostile.publish(f"enf.default.d.{token}", payload)
        await until(lambda: announcer.ignored == 1)
        await until(lambda: [node.name for node in a.mesh.nodes()] == ["a@east", "b@west"])


async def test_mesh_61_an_orderly_stop_is_told_as_such(server: NatsServer) -> None:
    async with nodes(server.url, "a@east") as (a,):
        reasons: list[Any] = []
        async with nodes(server.url, "b@west") as (b,):
            with trio.fail_after(PATIENCE):
                account: Ref[Account] = await a.whereis_on("b@west", "account")
                (peer,) = a.distribution.rendezvous.peers.values()
                await a.spawn(watch, account, reasons)
                assert await account.within(PATIENCE).call(Account.give, 1) == 1
                await until(lambda: b.distribution._current["a@east"].pending()["watched"] == 1)
        await until(lambda: peer.ended.is_set() and len(reasons) == 1)
        assert reasons != [NO_CONNECTION]
        assert peer.reason == "the peer said goodbye: the node stops"


async def test_mesh_50_the_death_of_a_node_is_told_once(
    server: NatsServer, start: Callable[..., Program]
) -> None:
    """By its silence: every watcher hears of it, and calls end; a new start of it is another node."""
    program = start(server.url, "b@west")
    await program.ready()
    async with nodes(server.url, "a@east", "c@north") as watchers:
        reasons: list[Any] = []
        refs: list[Ref[Account]] = []
        with trio.fail_after(3 * PATIENCE):
            for node in watchers:
                refs.append(await node.whereis_on("b@west", "account"))
                await node.spawn(watch, refs[-1], reasons)
                assert await refs[-1].within(PATIENCE).call(Account.give, 1) == 1
            program.kill()
            for ref in refs:
                with pytest.raises(NotConnected):
                    await ref.within(PATIENCE).call(Account.give, 1)
            await until(lambda: len(reasons) == 2)
            assert reasons == [NO_CONNECTION] * 2
            await start(server.url, "b@west").ready()
            # mesh_23: a ref to a process of an earlier start reaches nobody.
            assert await watchers[0].connect("b@west") == "b@west"
            with pytest.raises(NoProcess):
                await refs[0].within(PATIENCE).call(Account.give, 1)


async def test_mesh_54_a_loop_that_stands_still_is_dead_and_learns_it(
    server: NatsServer, start: Callable[..., Program]
) -> None:
    program = start(server.url, "b@west")
    await program.ready()
    async with nodes(Mesh(servers=server.url, dead_after=2.0, beat=0.4), "a@east") as (a,):
        with trio.fail_after(3 * PATIENCE):
            account: Ref[Account] = await a.whereis_on("b@west", "account")
            (peer,) = a.distribution.rendezvous.peers.values()
            program.kill(signal.SIGSTOP)
            await peer.ended.wait()
            assert peer.reason == "b@west is dead: silent for 2.0 s"
            program.kill(signal.SIGCONT)
            # It takes a new node link, because it has learnt that the old one is over.
            while True:
                try:
                    await a.connect("b@west")
                except Exception:
                    await trio.sleep(0.1)
                else:
                    break
            assert await account.within(PATIENCE).call(Account.give, 3) == 3


async def test_mesh_6_a_server_elsewhere_needs_more_than_an_address() -> None:
    with pytest.raises(MeshError, match=r"one\.example:4222 is on another machine, and without certificates"):
        async with nodes("nats://one.example", "a@east"):
            pytest.fail("anybody could speak there")


async def test_an_identity_is_for_a_mesh(tmp_path: Path) -> None:
    """`identity=` is short for the field of `Mesh`."""
    missing = str(tmp_path / "bank.mesh")
    with pytest.raises(MeshError, match=r"bank\.mesh"):
        async with open_node("bank", zone="east", mesh="tls://one.example", identity=missing):
            raise AssertionError("there is no such identity")
    with pytest.raises(ValueError, match="give mesh=, too"):
        async with open_node("bank", zone="east", identity=missing):
            raise AssertionError("there is no mesh")
    mesh = Mesh(servers="tls://one.example", identity="other.mesh")
    with pytest.raises(ValueError, match="a node has one identity"):
        async with open_node("bank", zone="east", mesh=mesh, identity=missing):
            raise AssertionError("there are two")


async def test_a_mesh_is_a_mesh_and_brings_its_carrier() -> None:
    with pytest.raises(ValueError, match="give either carrier or mesh"):
        async with open_node("a", mesh="embedded", carrier=MemoryNetwork().carrier("a")):
            pytest.fail("both were taken")
    with pytest.raises(TypeError, match=r"mesh must be enfilade\.transport\.mesh\.Mesh, or a string, got 5"):
        async with open_node("a", mesh=5):  # type: ignore[arg-type]
            pytest.fail("it was taken")


def test_mesh_1_a_node_without_a_mesh_does_without_its_modules(tmp_path: Path) -> None:
    """It imports none of them, starts no process and opens no socket of the network."""
    program = """
import socket, subprocess, sys, trio
from enfilade.actors import Actor, open_node
def refuse(*args, **options):
    raise AssertionError(args)
subprocess.Popen.__init__ = refuse
socket.socket.connect = socket.socket.bind = refuse
class Echo(Actor):
    def give(self, value):
        return value
async def main(path):
    async with open_node("a", listen=path) as node:
        echo = await node.spawn(Echo)
        assert await echo.call(Echo.give, 1) == 1
trio.run(main, sys.argv[1])
assert not [name for name in sys.modules if "transport.mesh" in name], sys.modules
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "door")], check=True, timeout=PATIENCE)
