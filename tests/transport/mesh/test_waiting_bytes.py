"""Messages that wait for the registry are bounded by their bytes: those for shards, and those for names."""

import re
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from enfilade.actors import Actor, CallError, DeadLetter, Kind, Node, Process, Ref, open_node
from enfilade.actors.peers.mesh.activations import MOST_WAITING
from enfilade.actors.peers.waiting import WAITING_LIMIT
from enfilade.transport import Policy
from enfilade.transport.mesh import Mesh
from tests.transport.mesh.members import PATIENCE, until
from tests.transport.mesh.servers import needs_server

pytestmark = [pytest.mark.real, needs_server]

PIECE = bytes(8 * 1024 * 1024)
FIT = WAITING_LIMIT // len(PIECE)
"""Messages of that size that may wait: the last of them goes beyond the limit, and the next finds that."""

BYTES = r"\d+ bytes wait already, more than 67108864, "

MESH = Mesh(servers="embedded", lease=1.5)


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's runtime directory, for this test alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


class Account(Actor):
    def __init__(self, key: str) -> None:
        self.count = 0

    def on_message(self, message: Any) -> None:
        self.count += 1

    def give(self) -> int:
        return self.count

    def fail(self) -> None:
        raise RuntimeError("on purpose")


async def _letters(node: Node) -> list[Any]:
    """What becomes a dead letter from now on."""
    seen: list[Any] = []

    async def watch(me: Process) -> None:
        node.dead_letters.subscribe(me.ref)
        while True:
            seen.append(await me.receive(DeadLetter))

    await node.spawn(watch)
    await trio.testing.wait_all_tasks_blocked()
    return seen


def _lost(letters: list[Any]) -> list[str]:
    return [each.message if isinstance(each.message, str) else "piece" for each in letters]


async def test_shards_without_a_node_share_their_bytes(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("a", mesh=MESH) as node:
        with trio.fail_after(PATIENCE):
            letters = await _letters(node)
            accounts: list[Ref[Account]] = [node.mesh.keyed(kind, "key") for kind in ("One", "Other")]
            for number in range(FIT):
                accounts[number % 2].send(PIECE)
            for text in ("late", "later"):  # nothing comes behind what found no room
                accounts[0].send(text)
            await until(lambda: _lost(letters) == ["late", "later"])
            assert node.mesh.status().refusals == 2
            (line,) = [each.message for each in caplog.records if "are lost" in each.message]
            assert re.fullmatch(
                rf"messages for keys of One are lost: {BYTES}for the shard of .* a node", line
            )
            # When those have been waited for in vain, there is room again.
            await until(lambda: len(letters) == FIT + 2)
            accounts[0].send(PIECE)
            accounts[0].send("behind it")
            await trio.testing.wait_all_tasks_blocked()
            assert len(letters) == FIT + 2


async def test_an_actor_that_rests_is_waited_for_in_bytes() -> None:
    policy = Policy.same_mesh(kinds="*")
    async with open_node("a", mesh=MESH, policy=policy, kinds={"Account": Kind(Account, shards=1)}) as node:
        with trio.fail_after(PATIENCE):
            account: Ref[Account] = node.mesh.keyed("Account", "key").within(PATIENCE)
            for _ in range(8):  # so many that the next one is started after a pause of seconds
                with pytest.raises(CallError):
                    await account.call(Account.fail)
            for _ in range(FIT):
                account.send(PIECE)
            with pytest.raises(CallError, match="is not running, and " + BYTES + "for it"):
                await account.call(Account.give)
            await until(lambda: [each.activations for each in node.mesh.status().kinds.values()] == [1])
            assert await account.call(Account.give) == FIT


async def test_names_share_the_bytes_of_what_waits_for_the_registry(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("a", mesh=MESH) as node:
        with trio.fail_after(PATIENCE):
            letters = await _letters(node)
            for _ in range(FIT):
                node.mesh.named("nobody").send(PIECE)
            node.mesh.named("nobody").send("late")
            assert [each for each in caplog.messages if "who holds global names" in each]
            await until(lambda: len(letters) == FIT + 1)
            assert _lost(letters)[0] == "late"
            node.mesh.named("nobody").send("after")
            await until(lambda: _lost(letters)[-1] == "after")
            assert len([each for each in caplog.messages if "who holds global names" in each]) == 1


async def test_so_many_messages_wait_for_a_shard() -> None:
    async with open_node("a", mesh=MESH) as node:
        with trio.fail_after(PATIENCE):
            letters = await _letters(node)
            account: Ref[Account] = node.mesh.keyed("One", "key")
            for number in range(MOST_WAITING):
                account.send(number)
            account.send("late")
            await until(lambda: bool(letters))
            assert _lost(letters) == ["late"]
