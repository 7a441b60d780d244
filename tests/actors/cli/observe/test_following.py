"""`enfilade observe --follow`: the nodes that observed ones are connected to are observed, too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import Node, open_node
from enfilade.actors.cli.observe.command import follower_of
from enfilade.actors.cli.observe.following import MOST, Following
from enfilade.actors.cli.observe.observed import Observed
from enfilade.actors.cli.observe.sight import Sight
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.policy import Policy, Rights, Rule
from tests.actors.cli.observe.shop import until


def observed(door: str, connect: Any = None) -> Observed:
    return Observed(door, connect, trio.current_time)


def sight(name: str, door: str, links: list[dict[str, Any]], *, is_up: bool = True) -> Sight:
    """A node as it is seen, without one."""
    seen = Sight(observed(door))
    seen.observed.name, seen.observed.is_up = name, is_up
    seen.fields = {"links": links}
    return seen


def link(name: Any, address: Any, state: str = "up") -> dict[str, Any]:
    return {"name": name, "address": address, "state": state}


async def test_a_node_is_followed_once_by_name_and_door() -> None:
    following = Following(lambda door, number: observed(str(door)))
    east = sight("east@one", "/east.door", [link("west@one", "/west.door"), link("hub@one", "/hub.door")])
    hub = sight("hub@one", "/hub.door", [link("west@one", "/west.door"), link("east@one", "/east.door")])
    (found,) = following.found([east, hub])
    assert found.title == "/west.door"
    assert following.found([east, hub]) == []


@pytest.mark.parametrize(
    "row",
    [
        link("operator-5@one", None),
        link("west@one", ""),
        link("west@one", "/west.door", "connecting"),
        link(None, "/west.door"),
        link("west@one", 5),
        link("another name@one", "/east.door"),
        {},
    ],
)
async def test_who_is_not_connected_at_a_door_of_its_own_is_not_followed(row: dict[str, Any]) -> None:
    following = Following(lambda door, number: observed(str(door)))
    assert following.found([sight("east@one", "/east.door", [row])]) == []


async def test_nobody_is_followed_until_all_given_nodes_have_been_heard_of() -> None:
    following = Following(lambda door, number: observed(str(door)))
    east = sight("east@one", "/east.door", [link("west@one", "/doors/../west.door")])
    west = sight("./west.door", "./west.door", [], is_up=False)
    assert following.found([east, west]) == []
    west.observed.attempts = 1
    assert len(following.found([east, west])) == 1


async def test_no_node_can_have_an_observer_follow_without_end() -> None:
    following = Following(lambda door, number: observed(str(door)))
    many = [link(f"{number}@one", f"/{number}.door") for number in range(1_000)]
    assert len(following.found([sight("east@one", "/east.door", many)])) == MOST


async def test_without_the_option_nobody_is_followed() -> None:
    east = sight("east@one", "/east.door", [link("west@one", "/west.door")])
    assert follower_of(False).found([east]) == []
    (found,) = follower_of(True, ("observe",)).found([east])
    assert found.allowed == {"observe"}


async def test_a_chain_of_nodes_is_followed_and_each_is_asked_by_its_own_policy(
    autojump_clock: MockClock,
) -> None:
    network = MemoryNetwork()
    rights = {"one": Rights(observe=True), "two": Rights(observe=True, inspect=True), "three": Rights()}

    def connect_to(door: Path | str) -> Any:
        @asynccontextmanager
        async def connect() -> AsyncIterator[tuple[Node, str]]:
            nobody = Policy(rules=[Rule()])
            name = f"operator-{str(door).strip('/')}"
            async with open_node(name, policy=nobody, carrier=network.carrier(name)) as eye:
                yield eye, await eye.connect(str(door))

        return connect

    async with AsyncExitStack() as stack:
        nodes = []
        for name, given in rights.items():
            policy = Policy(rules=[Rule(rights=given)])
            opened = open_node(name, listen=f"/{name}", policy=policy, carrier=network.carrier(name))
            nodes.append(await stack.enter_async_context(opened))
        await nodes[0].connect("/two")
        await nodes[1].connect("/three")
        following = Following(lambda door, number: observed(str(door), connect_to(door)))
        sights = [Sight(observed("/one", connect_to("/one")))]
        nursery = await stack.enter_async_context(trio.open_nursery())

        def look(sight: Sight) -> None:
            sight.begin()
            nursery.start_soon(sight.observed.run)

        async def follow() -> None:
            while True:
                for each in following.found(sights):
                    sights.append(Sight(each))
                    look(sights[-1])
                await trio.sleep(1)

        look(sights[0])
        nursery.start_soon(follow)
        await until(lambda: len(sights) == 3 and bool(sights[2].observed.trouble))
        assert [each.observed.name for each in sights] == ["one@local", "two@local", "three@local"]
        assert sights[1].observed.rights == {"observe", "inspect"}
        assert "does not let us observe it" in sights[2].observed.trouble
        nursery.cancel_scope.cancel()
