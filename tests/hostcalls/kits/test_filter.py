"""One guest in every kit: the rate-limiting filter, supervised, and asked from Python."""

from __future__ import annotations

import logging
import runpy
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from enfilade.actors import Child, Down, Node, ProcessDied, Supervisor, Trapped, UpgradeFailed, open_node
from enfilade.actors.guests import Guest
from enfilade.actors.guests.upgrade import upgrade_guest
from tests.actors.counting_guests import exporter
from tests.hostcalls.kits.builds import EXAMPLES

pytestmark = pytest.mark.real

CAPABILITIES = ["ActorMessage", "TimeRead", "ChannelLifecycle", "ChannelWriter"]


async def ask(node: Node, key: bytes) -> bytes:
    return await node.named("filter").call(Guest.request, key)


async def restarted(node: Node, before: object) -> None:
    """Wait until the supervisor has started the filter again."""
    with trio.fail_after(60):
        while node.whereis("filter") in (None, before):
            await trio.lowlevel.checkpoint()


async def test_filter(module: Path, mock_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """So many at once, so many a second, each key for itself; what is held back is logged. A key that is too
    long ends the filter, and the next one knows nothing of what was before.
    """
    caplog.set_level(logging.DEBUG, "enfilade.guest")
    guest = Guest(module, capabilities=CAPABILITIES, arguments=[10, 3], label="filter")
    async with open_node("test") as node, node.mailbox() as me:
        await node.spawn(Supervisor, [Child(guest, id="filter", name="filter")])
        assert [await ask(node, b"alice") for _ in range(5)] == [b"pass"] * 3 + [b"wait 100"] * 2
        assert await ask(node, b"") == b"pass"
        mock_clock.jump(0.06)
        assert await ask(node, b"alice") == b"wait 40"
        mock_clock.jump(0.04)
        assert await ask(node, b"alice") == b"pass"
        assert [await ask(node, b"another key of thirty-two bytes.") for _ in range(4)][3] == b"wait 100"
        first = node.whereis("filter")
        me.monitor(first)
        with pytest.raises(ProcessDied):
            await ask(node, b"a key of more than thirty-two bytes")
        assert isinstance((await me.receive(Down)).reason, Trapped)
        await restarted(node, first)
        assert [await ask(node, b"alice") for _ in range(4)] == [b"pass"] * 3 + [b"wait 100"]
    said = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    assert said.count(("enfilade.guest.filter", "INFO", "ready")) == 2
    assert said.count(("enfilade.guest.filter", "DEBUG", "held back")) == 5


async def test_faulty_arguments(module: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A filter that lets nobody pass says so and traps."""
    async with open_node("test") as node, node.mailbox() as me:
        for arguments in ([0, 1], [1001, 1], [10, 0]):
            caplog.clear()
            me.monitor(await node.spawn(Guest(module, capabilities=CAPABILITIES, arguments=arguments)))
            assert isinstance((await me.receive(Down, timeout=60)).reason, Trapped)
            assert "expected 1 to 1000 a second and a burst of at least 1" in caplog.text


async def test_many_keys(module: Path, mock_clock: MockClock) -> None:
    """The table holds 64 keys; with more, the bucket that empties first is forgotten."""
    guest = Guest(module, capabilities=CAPABILITIES, arguments=[10, 1])
    async with open_node("test") as node:
        await node.spawn(guest, name="filter")
        for key in range(64):
            mock_clock.jump(0.0001)
            assert await ask(node, b"%d" % key) == b"pass"
        assert (await ask(node, b"0")).startswith(b"wait")
        assert await ask(node, b"one more") == b"pass"
        assert await ask(node, b"0") == b"pass"


async def test_unknown_state(module: Path, mock_clock: MockClock) -> None:
    """A filter that is given a state it does not know, or one longer than its buffer, does not begin anew
    without it: the guest goes on as it was.
    """
    for state in (b"7", bytes(40_000)):
        old = Guest(exporter(state), capabilities=CAPABILITIES, label="old")
        async with open_node("test") as node:
            ref = await node.spawn(old)
            new = Guest(module, capabilities=CAPABILITIES, arguments=[10, 3])
            with pytest.raises(UpgradeFailed, match="ended before it asked for a message"):
                await upgrade_guest(ref, new)
            assert await ref.call(Guest.request, b"") == b"old"


async def test_upgrade(module: Path, mock_clock: MockClock) -> None:
    """The filter hands its table over: to itself, and to the filter of another kit and back."""
    other = runpy.run_path(str(EXAMPLES / "wat" / "filter.py"))["module"]()
    guest = Guest(module, capabilities=CAPABILITIES, arguments=[10, 3])
    async with open_node("test") as node:
        ref = await node.spawn(guest, name="filter")
        assert [await ask(node, b"alice") for _ in range(4)] == [b"pass"] * 3 + [b"wait 100"]
        assert await ask(node, b"bob") == b"pass"
        for following in (module, other, module):
            await upgrade_guest(ref, following)
            assert await ask(node, b"alice") == b"wait 100"
        assert [await ask(node, b"bob") for _ in range(3)] == [b"pass"] * 2 + [b"wait 100"]
        assert await ask(node, b"carol") == b"pass"
