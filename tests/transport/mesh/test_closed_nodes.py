"""What a node of a mesh, and what its refs lead to, say when the node has stopped: nothing waits for ever."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import Global, Kind, NoProcess, NoQuorum, NotConnected, Ref, open_node
from enfilade.actors.messages.request import Request
from enfilade.transport import CarrierError
from enfilade.transport.mesh import Mesh
from tests.transport.mesh.members import PATIENCE, Account
from tests.transport.mesh.servers import needs_server

pytestmark = [pytest.mark.real, needs_server]

MESH = Mesh(servers="embedded")


class Keyed(Account):
    """One for each key."""

    def __init__(self, key: str) -> None:
        super().__init__()


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's runtime directory, for this test alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


async def test_whoever_asks_a_node_that_has_stopped_is_answered() -> None:
    """And what is sent is a dead letter: sending raises nothing."""
    with trio.fail_after(PATIENCE):
        async with open_node("a", zone="east", mesh=MESH, kinds={"Keyed": Kind(Keyed)}) as node:
            far, key = node.remote("account", "b@west"), node.mesh.keyed("Keyed", "key")
            name = node.named(Global("bank"))
            home = await node.spawn(Account)
            assert await key.call(Keyed.give, 1) == 1
        asked: list[tuple[type[Exception], Callable[[], Awaitable[Any]]]] = [
            (NotConnected, lambda: far.call(Account.give, 1)),
            (NoQuorum, lambda: key.call(Account.give, 1)),
            (NoQuorum, lambda: key.send_wait(1)),
            (NoQuorum, lambda: name.call(Account.give, 1)),
            (NoQuorum, lambda: name.send_wait(1)),
            (NoQuorum, lambda: node.mesh.whereis("bank")),
            (NoProcess, lambda: node.mesh.register("bank", home)),
            (NotConnected, lambda: node.whereis_on("b@west", "account")),
            (NotConnected, lambda: node.spawn_on("b@west", "Account")),
            (CarrierError, lambda: node.connect("b@west")),
        ]
        for error, ask in asked:
            with pytest.raises(error):
                await ask()
        assert await node.mesh.drain(1)
        letters = node.statistics().dead_letters
        for ref in (far, key, name):
            ref.send(1)
            ref.cast(Account.give, 1)
        assert node.statistics().dead_letters == letters + 6


async def test_who_asks_a_name_when_the_node_stops_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request waits for the registry, and the node stops meanwhile."""
    with trio.fail_after(PATIENCE):
        async with open_node("a", zone="east", mesh=MESH) as node:
            asking = trio.Event()

            async def never(name: str) -> None:
                asking.set()
                await trio.sleep_forever()

            monkeypatch.setattr(node.mesh.names, "whereis", never)
            bank: Ref[Any] = node.named(Global("bank"))
            request: Request[Any] = Request(node, bank, "history", (), {}, None)
            bank.deliver(request)
            bank.send(1)
            await asking.wait()
            letters = node.statistics().dead_letters
        with pytest.raises(NoQuorum, match="this node has stopped meanwhile"):
            request.result()
        assert node.statistics().dead_letters == letters + 1
