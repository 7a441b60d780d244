"""What is done to one monitor or alias of several leaves the others alone."""

from __future__ import annotations

import pytest

from enfilade.actors import NORMAL, Actor, Down, NoProcess, ReceiveTimeout, open_node


class Quiet(Actor):
    def ping(self) -> str:
        return "pong"


class QuietWithTask(Quiet):
    async def idle(self) -> None:
        """Makes it an actor that has a task."""


@pytest.mark.parametrize("actor", [Quiet, QuietWithTask])
@pytest.mark.parametrize("flushed", [0, 1, 2])
async def test_a_flush_takes_its_own_down_only(
    autojump_clock: object, actor: type[Quiet], flushed: int
) -> None:
    """K4: of several queued `Down`, `demonitor` with `flush` removes the one of its monitor."""
    async with open_node("n") as node, node.mailbox() as me:
        one, other = await node.spawn(actor), await node.spawn(actor)
        monitors = [me.monitor(one), me.monitor(one), me.monitor(other)]
        await one.stop()
        await other.stop()
        assert not me.demonitor(monitors[flushed], flush=True)
        left = [(await me.receive(Down, timeout=1)).monitor for _ in range(2)]
        assert set(left) == {*monitors} - {monitors[flushed]}
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=0)


async def test_an_order_to_stop_by_an_alias(autojump_clock: object) -> None:
    """S8, A1: the process that the alias stands for has ended when `stop` returns."""

    class Giver(Quiet):
        def give(self) -> object:
            return self.process.alias()

    async with open_node("n") as node:
        ref = await node.spawn(Giver)
        alias = await ref.call(Giver.give)
        await alias.stop(NORMAL)  # type: ignore[attr-defined]
        with pytest.raises(NoProcess):
            await ref.call(Giver.ping)
