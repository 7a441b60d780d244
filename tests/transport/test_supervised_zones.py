"""A supervisor whose child lives in another zone: real processes, through doors."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from enfilade.actors import Child, Node, Ref, RemoteEntry, Supervisor
from tests.transport.subjects import Account
from tests.transport.test_two_zones import Zone, node, start

__all__ = ["node", "start"]

pytestmark = pytest.mark.zones


async def until(fn: Callable[[], Awaitable[Any]]) -> Any:
    """What `fn` answers as soon as that is something; processes of the operating system take their time."""
    while not (answer := await fn()):  # noqa: ASYNC110 (nothing in this process tells)
        await trio.sleep(0.05)
    return answer


async def test_zone_is_killed_and_comes_back(node: Node, start: Callable[..., Zone]) -> None:
    """SUP-92, SUP-93: the child moves to the other zone; when that dies too, it waits for one."""
    east, west = start("east"), start("west")
    for zone in (east, west):
        await zone.ready()
        await node.connect(zone.path)
        node.distribution.keep_connected(zone.path)
    account = Child(RemoteEntry("Account", east.name, west.name), 100, id="account")
    supervisor: Ref[Supervisor] = await node.spawn(Supervisor, [account], intensity=5)

    async def child(zone: Zone) -> Any:
        """The child, once it runs in that zone."""
        (info,) = await supervisor.call(Supervisor.children)
        return info.ref if isinstance(info.ref, Ref) and info.ref.node_name == zone.name else None

    async def is_waiting() -> bool:
        (info,) = await supervisor.call(Supervisor.children)
        return info.ref == "restarting"

    first = await until(lambda: child(east))
    assert await first.call(Account.add, 1) == 101
    east.end()
    second = await until(lambda: child(west))
    assert await second.call(Account.add, 1) == 101
    west.end()
    await until(is_waiting)
    again = start("east")
    await again.ready()
    third = await until(lambda: child(again))
    assert third != first
    assert await third.call(Account.add, 2) == 102
    await supervisor.call(Supervisor.terminate_child, "account")
