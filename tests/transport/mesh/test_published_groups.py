"""Process groups that are published to a mesh, at a real server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio

from enfilade.actors import Joined, Left, Node, Ref, open_node
from enfilade.transport import PayloadError, Policy, Rights, Rule
from enfilade.transport.mesh import Mesh, published
from enfilade.transport.mesh.published import PAGE_BYTES, _pages
from tests.transport.mesh.members import PATIENCE, Account, server, until
from tests.transport.mesh.servers import NatsServer, needs_server

__all__ = ["server"]

pytestmark = [pytest.mark.real, needs_server]

SHARED = Policy.same_mesh(exports="*", groups="news*")


@asynccontextmanager
async def opened(url: str, name: str, policy: Policy = SHARED, groups: str = "news*") -> AsyncIterator[Node]:
    short, _, zone = name.partition("@")
    async with open_node(short, zone=zone, mesh=Mesh(servers=url, groups=groups), policy=policy) as node:
        yield node


class Witness:
    """Keeps what a node tells of a scope."""

    def __init__(self, me: Any, node: Node) -> None:
        self.me = me
        self.node = node
        self.events: list[tuple[type, str]] = []
        node.scope("news").monitor_scope(me.ref)

    async def take(self) -> list[tuple[type, str]]:
        """What came, in order: the kind and the home of each member."""
        taken = []
        with trio.move_on_after(0.05):
            while True:
                event = await self.me.receive((Joined, Left))
                taken += [(type(event), ref.node_name) for ref in event.refs]
        return taken


def homes(node: Node, group: Any = "sport") -> list[str]:
    return sorted(ref.node_name for ref in node.scope("news").members(group))


async def test_mesh_101_members_are_the_same_everywhere(server: NatsServer) -> None:
    """MESH-50: nobody is connected; each is told of each once; a member can be called by the ref."""
    with trio.fail_after(PATIENCE):
        async with (
            opened(server.url, "a@east") as a,
            opened(server.url, "c@north") as c,
            c.mailbox() as me,
        ):
            witness = Witness(me, c)
            async with opened(server.url, "b@west") as b:
                ref = await a.spawn(Account)
                a.scope("news").join("sport", ref)
                b.scope("news").join("sport", await b.spawn(Account))
                await until(lambda: all(homes(each) == ["a@east", "b@west"] for each in (a, b, c)))
                assert (a.peers, b.peers, c.peers) == ((), (), ()), "no node link is needed"
                (far,) = (each for each in c.scope("news").members("sport") if each.node_name == "a@east")
                assert await far.within(PATIENCE).call(Account.give, 7) == 7
                a.scope("news").join("sport", ref)
                a.scope("news").leave("sport", ref)
                await ref.stop()
                await until(lambda: all(homes(each) == ["b@west"] for each in (a, b, c)))
                # A group that is no text; and a late comer, who is told of what there is.
                b.scope("news").join(("page", 1), await b.spawn(Account))
                async with opened(server.url, "d@south") as d:
                    await until(lambda: homes(d) == ["b@west"] == homes(d, ("page", 1)))
                await until(lambda: homes(c, ("page", 1)) == ["b@west"])
            await until(lambda: homes(a) == homes(c) == homes(c, ("page", 1)) == [])
            events = await witness.take()
            assert [kind for kind, home in events if home == "a@east"] == [Joined, Joined, Left, Left]
            assert [kind for kind, home in events if home == "b@west"] == [Joined, Joined, Left, Left]


async def test_mesh_101_those_of_a_lost_node_leave_once_and_come_back(server: NatsServer) -> None:
    """MESH-51: what a node says reaches nobody for a while; afterwards all agree again."""
    with trio.fail_after(PATIENCE):
        async with opened(server.url, "a@east") as a, opened(server.url, "b@west") as b, b.mailbox() as me:
            witness = Witness(me, b)
            a.scope("news").join("sport", await a.spawn(Account))
            await until(lambda: homes(b) == ["a@east"])
            carrier = a.mesh._membership.carrier
            beats = carrier.heartbeats._connection
            # What a says reaches nobody, as when a route between two servers is cut.
            publish = beats.publish
            beats.publish = lambda *args, **kwargs: True
            await until(lambda: homes(b) == [])
            beats.publish = publish
            began = trio.current_time()
            await until(lambda: homes(b) == ["a@east"])
            print(f"again after {trio.current_time() - began:.2f} s")
            assert await witness.take() == [(Joined, "a@east"), (Left, "a@east"), (Joined, "a@east")]


async def test_mesh_101_a_change_that_was_missed_is_found(server: NatsServer) -> None:
    """By the version in the next heart-beats, though no change follows."""
    async with opened(server.url, "a@east") as a, opened(server.url, "b@west") as b:
        with trio.fail_after(PATIENCE):
            a.scope("news").join("sport", await a.spawn(Account))
            await until(lambda: homes(b) == ["a@east"])
            b.mesh._membership.carrier.announcer.versions_heard = lambda *_: None
            tables = a.mesh.groups._published
            connection, tables._connection = tables._connection, Deaf()
            a.scope("news").join("weather", await a.spawn(Account))
            tables._connection = connection
            await until(lambda: homes(b, "weather") == ["a@east"])


class Deaf:
    """A connection through which nothing gets."""

    def publish(self, *_: Any) -> bool:
        return True


async def test_mesh_102_what_is_not_published_or_not_shared(server: NatsServer) -> None:
    """MESH-52: another scope is told over node links, as ever; where it is not shared nothing is seen."""
    shared = Rule(over="mesh", nodes="b@*", rights=Rights(groups="news*"))
    closed = Policy(rules=[shared, Rule(over="mesh", nodes="a@*", rights=Rights(groups="plain"))])
    async with (
        opened(server.url, "a@east", Policy.same_mesh(groups="*")) as a,
        opened(server.url, "b@west", Policy.same_mesh(groups="*")) as b,
        opened(server.url, "c@north", closed) as c,
    ):
        with trio.fail_after(PATIENCE):
            for node in (a, b):
                ref: Ref[Account] = await node.spawn(Account)
                node.scope("news").join("sport", ref)
                node.scope("plain").join("sport", ref)
            await until(lambda: homes(c) == ["b@west"])
            await until(lambda: homes(a) == ["a@east", "b@west"])
            assert len(a.scope("plain").members("sport")) == 1
            await a.connect("b@west")
            await until(lambda: len(a.scope("plain").members("sport")) == 2)
            assert homes(c) == ["b@west"], "a is not shared with c"


async def test_a_message_to_a_group_reaches_its_members(server: NatsServer) -> None:
    """MESH-53: once for each join, in one message; a ref in it can be used; nobody needs a node link."""
    everything, closed = Policy.same_mesh(exports="*", groups="*"), Policy.same_mesh(groups="other")
    async with (
        opened(server.url, "a@east", everything) as a,
        opened(server.url, "b@west", everything) as b,
        opened(server.url, "c@north", closed) as c,
        a.mailbox() as me,
    ):
        with trio.fail_after(PATIENCE):
            members = []
            for node in (a, b, c):
                ref: Ref[Account] = await node.spawn(Account)
                node.scope("news").join("sport", ref)
                members.append(ref)
            await until(lambda: homes(a) == ["a@east", "b@west", "c@north"])
            b.scope("news").join("sport", members[1])
            connection = a.mesh._membership.carrier.connection
            before = connection.messages_out
            a.scope("news").publish("sport", {"from": me.ref, "score": (1, 0)})
            a.scope("news").publish("weather", "nobody is in it")
            assert connection.messages_out - before <= 3, "one each, and a heart-beat perhaps"
            assert await members[0].call(Account.history) == [{"from": me.ref, "score": (1, 0)}]
            while len(await members[1].call(Account.history)) < 2:  # noqa: ASYNC110 - a server is between
                await trio.sleep(0.01)
            assert a.peers == ()
            for said in await members[1].call(Account.history):
                said["from"].send(said["score"])
                assert await me.receive() == (1, 0)
            assert await members[2].call(Account.history) == [], "its policy does not share the scope"
            for message in (object(), "x" * PAGE_BYTES, bytes(200_000)):
                with pytest.raises(PayloadError):
                    a.scope("news").publish("sport", message)
            assert len(await members[0].call(Account.history)) == 1, "nobody gets what cannot travel"
            # Where no mesh publishes the scope, each member is sent it.
            for node, ref in zip((a, b), members, strict=False):
                node.scope("plain").join("sport", ref)
            await until(lambda: len(a.scope("plain").members("sport")) == 2)
            a.scope("plain").publish("sport", "everywhere")
            assert (await members[0].call(Account.history))[1:] == ["everywhere"]
            while (await members[1].call(Account.history))[2:] != ["everywhere"]:  # noqa: ASYNC110
                await trio.sleep(0.01)


def test_long_tables_are_cut_into_pages() -> None:
    """No page is long, and together they are the table."""
    table = {b"big": [(number, bytes(16)) for number in range(9000)], b"small": [(1, bytes(16))], b"none": []}
    pages = list(_pages(table))
    assert len(pages) > 4
    assert all(len(msgspec.msgpack.encode(page)) < 1.3 * PAGE_BYTES for page in pages)
    whole: dict[bytes, list[tuple[int, bytes]]] = {}
    for key, rows in (entry for page in pages for entry in page):
        whole.setdefault(key, []).extend(rows)
    assert whole == table


async def test_a_long_table_is_asked_for_page_by_page(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is cut into pages once, however many are asked for."""
    cut: list[int] = []

    def counted(table: Any) -> Any:
        cut.append(sum(map(len, table.values())))
        return _pages(table)

    monkeypatch.setattr(published, "_pages", counted)
    async with opened(server.url, "a@east") as a, opened(server.url, "b@west") as b:
        refs = [await a.spawn(Account) for _ in range(50)]
        a.scope("news").join("sport", *(refs * 100))
        await until(lambda: len(homes(b)) == 5000)
        assert cut == [5000]
