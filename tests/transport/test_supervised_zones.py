"""A supervisor whose child lives in another zone: real processes, through doors."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from actors import Child, Node, Ref, RemoteEntry, Supervisor
from tests.transport.subjects import Account
from tests.transport.test_two_zones import Zone, node, start

__all__ = ["node", "start"]

pytestmark = pytest.mark.zones


async def child_of(supervisor: Ref[Supervisor]) -> Any:
    """The child, once it runs."""
    while True:
        (info,) = await supervisor.call(Supervisor.children)
        if isinstance(info.ref, Ref):
            return info.ref
        await trio.sleep(0.05)


async def test_zone_is_killed_and_comes_back(node: Node, start: Callable[..., Zone]) -> None:
    """SUP-92, SUP-93: the child moves to the other zone; when that dies too, it waits for one to come back."""
    east, west = start("east"), start("west")
    for zone in (east, west):
        await zone.ready()
        node.distribution.keep_connected(zone.path)
        while zone.name not in node.peers:
            await trio.sleep(0.05)
    account = Child(RemoteEntry("Account", east.name, west.name), 100, id="account")
    supervisor: Ref[Supervisor] = await node.spawn(Supervisor, [account], intensity=5)

    first = await child_of(supervisor)
    assert first.node_name == east.name
    assert await first.call(Account.add, 1) == 101
    east.end()
    second = await moved(supervisor, first)
    assert second.node_name == west.name
    assert await second.call(Account.add, 1) == 101
    west.end()
    while (await supervisor.call(Supervisor.count_children)).active:
        await trio.sleep(0.05)
    again = start("east")
    await again.ready()
    third = await child_of(supervisor)
    assert third.node_name == again.name
    assert third != first
    assert await third.call(Account.add, 2) == 102
    await supervisor.call(Supervisor.terminate_child, "account")


async def moved(supervisor: Ref[Supervisor], before: Any) -> Any:
    """The child's next incarnation."""
    while (ref := await child_of(supervisor)) == before:
        await trio.sleep(0.05)
    return ref
