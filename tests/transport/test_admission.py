"""Who is not let in: names that mean something in a log, names of others, and one node too many."""

import pytest
from trio.testing import wait_all_tasks_blocked

from enfilade.transport.carrier import Credentials
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.policy import NotAdmitted, Policy, Rule
from enfilade.transport.rendezvous import Settings
from enfilade.transport.wire import Ready, Refused, Welcome
from tests.transport.stranger import Stranger
from tests.transport.test_rendezvous import Start, network, start

__all__ = ["network", "start"]


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a\nb", "\x1b[31mred", "a/b", "a:b", "x" * 129, "\u202ename", "\ud7ff"],
    ids=ascii,
)
@pytest.mark.parametrize("field", ["name", "zone"])
async def test_names_are_of_few_characters(
    start: Start, network: MemoryNetwork, autojump_clock: object, name: str, field: str
) -> None:
    """A name of a node or a zone stands in logs: it holds nothing that means something there."""
    b = await start("b")
    stranger = Stranger(network.carrier("stranger"))
    answer = await stranger.say_hello("/b", **{field: name})
    assert isinstance(answer, Refused)
    assert "names must have 1 to 128 letters" in answer.text
    assert all(text.isprintable() and len(text) < 1000 for text in b.host.refused)
    good = await Stranger(network.carrier("good")).say_hello("/b", **{field: "Zoe_1.x-y@k\u00f6ln"})
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
    assert "in use by a node of another user" in answer.text
    await honest.say(Ready())
    await wait_all_tasks_blocked()
    assert [peer.identity.incarnation for peer in b.host.up] == [honest.incarnation]


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
