"""Who is not let in: names that mean something in a log, names of others, and one node too many."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from enfilade.transport import name_owners
from enfilade.transport.carrier import Credentials
from enfilade.transport.conversation import HandshakeFailed, read_hello, say
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.name_owners import NameOwners
from enfilade.transport.policy import Identity, NotAdmitted, Policy, Rights, Rule
from enfilade.transport.settings import Settings
from enfilade.transport.way import Way
from enfilade.transport.wire import Ready, Refused, Welcome
from tests.transport.model import Start
from tests.transport.stranger import Stranger


@pytest.mark.parametrize(
    "name",
    ["", " ", " a", "a\nb", "\x1b[31mred", "a/b", "a:b", "x" * 129, "\u202ename", "\ud7ff"],
    ids=ascii,
)
@pytest.mark.parametrize("field", ["name", "zone"])
async def test_names_hold_nothing_that_means_something(
    start: Start, network: MemoryNetwork, autojump_clock: object, name: str, field: str
) -> None:
    """A name of a node or a zone stands in logs: it holds nothing that means something there."""
    b = await start("b")
    stranger = Stranger(network.carrier("stranger"))
    answer = await stranger.say_hello("/b", **{field: name})
    assert isinstance(answer, Refused)
    assert "names must have 1 to 128 characters" in answer.text
    assert all(text.isprintable() and len(text) < 1000 for text in b.host.refused)
    good = await Stranger(network.carrier("good")).say_hello(
        "/b", **{field: "Zoe_1.x-y*>@k\u00f6ln am Rhein"}
    )
    assert isinstance(good, Welcome)


async def test_another_user_cannot_take_the_place_of_a_caller(
    start: Start, network: MemoryNetwork, autojump_clock: object
) -> None:
    """A handshake that is going on belongs to the user who began it."""
    b = await start("b", policy=Policy(rules=[Rule()]))
    honest = Stranger(network.carrier("honest"), "a")
    assert isinstance(await honest.say_hello("/b"), Welcome)
    thief = Stranger(network.carrier("thief", Credentials(pid=1, uid=4242, gid=4242)), "a")
    answer = await thief.say_hello("/b", incarnation=7)
    assert isinstance(answer, Refused)
    assert "belongs to another user, who came first" in answer.text
    await honest.say(Ready())
    await wait_all_tasks_blocked()
    assert [peer.identity.incarnation for peer in b.host.up] == [honest.incarnation]


async def test_nobody_passes_for_a_peer_that_is_connected(
    start: Start, network: MemoryNetwork, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """A node that answers "we are connected already" in another's name would be taken for that one."""
    a, b = await start("a"), await start("b")
    await a.rendezvous.connect("/b")
    liar = network.carrier("liar", Credentials(pid=1, uid=4242, gid=4242))
    meeting = liar.inlet(capacity=1 << 16, largest=1 << 16)
    await meeting.attach("/liar")

    async def lie() -> None:
        (arrival,) = await meeting.receive()
        _, handle = read_hello(Way(liar, Settings(), has_secret=False), arrival)
        await say(liar.outlet(handle), Refused("b", True, "the two nodes are connected already"))

    nursery.start_soon(lie)
    with pytest.raises(HandshakeFailed, match="says that it is another"):
        await a.rendezvous.connect("/liar")
    assert (await a.rendezvous.connect("/b")).name == "b"
    assert [peer.name for peer in b.host.up] == ["a"]


def user(uid: int) -> Credentials:
    return Credentials(pid=uid, uid=uid, gid=uid)


async def test_a_squatter_finds_the_name_taken_when_its_owner_has_left(
    start: Start, network: MemoryNetwork, autojump_clock: object
) -> None:
    """Without `uids` a name belongs to the user who first connected under it, for as long as we live."""
    b = await start("b", policy=Policy(rules=[Rule()]))
    for uid, incarnation, is_admitted in ((1000, 1, True), (2000, 2, False), (1000, 3, True)):
        stranger = Stranger(network.carrier(f"{uid}-{incarnation}", user(uid)), "shop@west", incarnation)
        answer = await stranger.say_hello("/b")
        assert isinstance(answer, Welcome) == is_admitted
        if is_admitted:
            await stranger.say(Ready())
            await wait_all_tasks_blocked()
            stranger.close()
            await wait_all_tasks_blocked()
            assert not b.rendezvous.peers
        else:
            assert isinstance(answer, Refused)
            assert "belongs to another user, who came first" in answer.text


@pytest.mark.parametrize("rule", [Rule(nodes="shop@*", uids={1000}), Rule(nodes="shop@*", gids={1000})])
@pytest.mark.parametrize("is_up", [False, True], ids=["in its handshake", "connected"])
async def test_who_is_named_by_a_rule_takes_its_name_from_a_squatter(
    start: Start, network: MemoryNetwork, autojump_clock: object, rule: Rule, is_up: bool
) -> None:
    """Rules that name users come before the order in which users came; the squatter has it no more."""
    b = await start("b", policy=Policy(rules=[rule, Rule()]))
    squatter = Stranger(network.carrier("squatter", user(2000)), "shop@west", 1)
    assert isinstance(await squatter.say_hello("/b"), Welcome)
    if is_up:
        await squatter.say(Ready())
        await wait_all_tasks_blocked()
    shop = Stranger(network.carrier("shop", user(1000)), "shop@west", 1)
    await shop.connect("/b")
    await wait_all_tasks_blocked()
    assert b.rendezvous.peers["shop@west"].identity.credentials.uid == 1000
    assert [reason for _, reason in b.host.down] == ["the name belongs to another user, who connects"] * is_up
    shop.close()
    await wait_all_tasks_blocked()
    again = await Stranger(network.carrier("again", user(2000)), "shop@west", 2).say_hello("/b")
    assert isinstance(again, Refused)
    assert "belongs to another user, to whom a rule gives it" in again.text


async def test_users_that_rules_name_share_a_name_in_turns(
    start: Start, network: MemoryNetwork, autojump_clock: object
) -> None:
    """A rule that names two users lets either have the name, and neither while the other has it."""
    b = await start("b", policy=Policy(rules=[Rule(uids={1000, 1001})]))
    first = Stranger(network.carrier("first", user(1000)), "shop@west", 1)
    await first.connect("/b")
    await wait_all_tasks_blocked()
    second = Stranger(network.carrier("second", user(1001)), "shop@west", 2)
    answer = await second.say_hello("/b")
    assert isinstance(answer, Refused)
    assert "in use by a node of another user" in answer.text
    first.close()
    await wait_all_tasks_blocked()
    await Stranger(network.carrier("third", user(1001)), "shop@west", 3).connect("/b")
    await wait_all_tasks_blocked()
    assert b.rendezvous.peers["shop@west"].identity.credentials.uid == 1001


def claimant(name: str, uid: int, zone: str | None = None) -> Identity:
    return Identity(name, "z", 1, Credentials(pid=uid, uid=uid, gid=uid, zone=zone))


def test_who_claims_many_names_loses_its_own_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is bounded, and nobody can make us forget the names of others."""
    monkeypatch.setattr(name_owners, "MOST_OF_A_USER", 4)
    monkeypatch.setattr(name_owners, "MOST", 6)
    owners = NameOwners(Policy(rules=[Rule()]))
    owners.claim(claimant("shop", 1))
    for number in range(100):
        owners.claim(claimant(f"n{number}", 2))
    with pytest.raises(NotAdmitted, match="belongs to another user"):
        owners.check(claimant("shop", 2))
    owners.check(claimant("n0", 3))  # forgotten
    with pytest.raises(NotAdmitted, match="belongs to another user"):
        owners.check(claimant("n99", 3))
    owners.claim(claimant("cafe", 4))
    with pytest.raises(NotAdmitted, match="the owners of 6 names, which is the limit"):
        owners.claim(claimant("bank", 5))
    owners.claim(claimant("n100", 2))  # in the place of one of its own


def test_the_same_number_is_another_user_in_another_zone() -> None:
    """Where the kernel vouches for zones, root of one zone is not root of the other."""
    owners = NameOwners(Policy(rules=[Rule()]))
    owners.claim(claimant("shop", 0, "east"))
    with pytest.raises(NotAdmitted, match="belongs to another user"):
        owners.check(claimant("shop", 0, "west"))


async def test_a_node_has_so_many_peers(start: Start, autojump_clock: object) -> None:
    """Node links are bounded; who has one may come again with another incarnation."""
    b = await start("b", settings=Settings(peers=2))
    for name in ("a", "c"):
        await (await start(name)).rendezvous.connect("/b")
    with pytest.raises(NotAdmitted, match="has 2 peers, which is the limit"):
        await (await start("d")).rendezvous.connect("/b")
    again = await start("a", listens=False, incarnation=2)
    await again.rendezvous.connect("/b")
    await wait_all_tasks_blocked()
    assert sorted(b.rendezvous.peers) == ["a", "c"]


def certified(node: str) -> Credentials:
    return Credentials(pid=0, uid=-1, gid=-1, zone="east", node=node, mesh="default")


@pytest.mark.parametrize("over", ["doors", "mesh", "any"])
async def test_mesh_115_a_rule_says_over_which_way_a_peer_may_come(
    start: Start, network: MemoryNetwork, autojump_clock: object, over: str
) -> None:
    """A policy that was written for doors admits nobody from the network."""
    rule = Rule(nodes="*") if over == "doors" else Rule(nodes="*", over=over)  # type: ignore[arg-type]
    await start("b", policy=Policy(rules=[rule]))
    far = await Stranger(network.carrier("far", certified("far@east")), "far@east").say_hello("/b")
    near = await Stranger(network.carrier("near", user(1000)), "near@east").say_hello("/b")
    assert isinstance(far, Refused if over == "doors" else Welcome)
    assert isinstance(near, Refused if over == "mesh" else Welcome)
    if isinstance(far, Refused):
        assert "does not admit node 'far@east' of zone 'east' over mesh 'default'" in far.text


async def test_mesh_117_a_node_has_the_name_of_its_certificate(
    start: Start, network: MemoryNetwork, autojump_clock: object
) -> None:
    b = await start("b", policy=Policy.same_mesh())
    stranger = Stranger(network.carrier("far", certified("shop@west")), "bank@east")
    answer = await stranger.say_hello("/b")
    assert isinstance(answer, Refused)
    assert answer.text == "the certificate is for shop@west, the caller says 'bank@east'"
    assert "node shop@west of mesh default, was turned away" in b.host.refused[0]


def test_a_certificate_takes_a_name_from_who_came_first() -> None:
    """It gives the name, as a rule with `uids` does; and the node keeps it when it has left."""
    owners = NameOwners(Policy(rules=[Rule(over="any")]))
    owners.claim(claimant("shop@west", 1000))
    owners.claim(Identity("shop@west", "west", 1, certified("shop@west")))
    with pytest.raises(NotAdmitted, match="belongs to another user"):
        owners.check(claimant("shop@west", 1000))


@pytest.mark.parametrize("numbers", [{"uids": {-1, 0}}, {"gids": {-1, 0}}], ids=["uids", "gids"])
def test_users_and_groups_mean_nothing_on_other_machines(numbers: dict[str, set[int]]) -> None:
    rule = Rule(over="any", **numbers)  # type: ignore[arg-type]
    assert not rule.fits(Identity("far@east", "east", 1, certified("far@east")))
    assert rule.fits(Identity("near@east", "east", 1, Credentials(pid=1, uid=0, gid=0)))
    shared = Credentials(pid=0, uid=0, gid=0, mesh="default")  # a mesh of one user on one machine
    assert rule.fits(Identity("near@east", "east", 1, shared))


def test_mesh_118_the_same_mesh_sees_what_is_exported_and_nothing_else() -> None:
    rights = Policy.same_mesh(exports="rates").admit(Identity("far@east", "east", 1, certified("far@east")))
    assert rights == Rights(exports="rates")
    assert rights.sees("rates")
    assert not any((rights.sees("vault"), rights.may_spawn("Account"), rights.shares("any")))
    with pytest.raises(NotAdmitted):
        Policy.same_mesh(exports="rates").admit(claimant("near", 1000))


def test_a_rule_knows_three_ways() -> None:
    with pytest.raises(ValueError, match="over must be one of 'doors', 'mesh', 'any', got 'sea'"):
        Rule(over="sea")  # type: ignore[arg-type]
