"""A value of the wrong kind is refused where it is given, by name, and nothing has changed then.

Later it would end the process, or the timer, or the caller of somebody else, far from the mistake.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
import trio

from enfilade.actors import (
    NORMAL,
    Actor,
    Backoff,
    Down,
    Node,
    Process,
    ProcessDied,
    RequestCollection,
    TaskSupervisor,
    async_nolink,
    multi_call,
    multi_cast,
    system,
)

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Echo(Actor):
    """Answers."""

    def pass_on(self, to: Any) -> Any:
        deferred = self.process.defer()
        deferred.forward(to, Echo.echo, 1)
        return deferred

    def echo(self, value: Any) -> Any:
        return value


USES: dict[str, Callable[[Node, Process, Any], Any]] = {
    "demonitor": lambda node, me, wrong: me.demonitor(wrong),
    "unalias": lambda node, me, wrong: me.unalias(wrong),
    "monitor": lambda node, me, wrong: me.monitor(wrong),
    "link": lambda node, me, wrong: me.link(wrong),
    "exit": lambda node, me, wrong: me.exit(wrong, NORMAL),
    "exit of the node": lambda node, me, wrong: node.exit(wrong, NORMAL),
    "request": lambda node, me, wrong: me.request(wrong, Echo.echo, 1),
    "continuation": lambda node, me, wrong: me.continue_with(wrong),
    "then": lambda node, me, wrong: me.request(me.ref, Echo.echo, 1).then(wrong),
    "observer": lambda node, me, wrong: me.request(me.ref, Echo.echo, 1).observe(wrong),
    "collection": lambda node, me, wrong: RequestCollection[int]().add(wrong, 1),
    "multi_call": lambda node, me, wrong: multi_call([me.ref, wrong], Echo.echo, 1),
    "multi_cast": lambda node, me, wrong: multi_cast([me.ref, wrong], Echo.echo, 1),
    "timer": lambda node, me, wrong: node.send_after(1, wrong, "m"),
    "member": lambda node, me, wrong: node.scope().join("g", wrong),
    "watcher of a group": lambda node, me, wrong: node.scope().monitor(wrong, "g"),
    "watcher of a scope": lambda node, me, wrong: node.scope().monitor_scope(wrong),
    "monitor of a group": lambda node, me, wrong: node.scope().demonitor(wrong),
    "dead letters": lambda node, me, wrong: node.dead_letters.subscribe(wrong),
    "child events": lambda node, me, wrong: node.child_events.subscribe(wrong),
    "child events of one": lambda node, me, wrong: node.child_events.subscribe(me.ref, wrong),
    "name": lambda node, me, wrong: node.unregister(wrong),
    "holder": lambda node, me, wrong: node.register("name", wrong),
    "mailbox": lambda node, me, wrong: node.mailbox(wrong).__aenter__(),
    "mailbox of a child": lambda node, me, wrong: node.spawn(Echo, mailbox=wrong),
    "task": lambda node, me, wrong: _task(node, wrong),
    "suspended": lambda node, me, wrong: system.suspend(wrong),
}


async def _task(node: Node, wrong: Any) -> None:
    await async_nolink(await node.spawn(TaskSupervisor), wrong)


async def _used(given: Any) -> None:
    if inspect.isawaitable(given):
        await given


@pytest.mark.parametrize("use", USES)
async def test_a_value_of_the_wrong_kind_is_refused_where_it_is_given(
    autojump_clock: trio.abc.Clock, node: Node, use: str
) -> None:
    async with node.mailbox() as me:
        with pytest.raises(TypeError, match=r"(expected|must be|only|reach) .*, got 7"):
            await _used(USES[use](node, me, 7))
        await trio.sleep(10)  # what was set by mistake would have been found by now
        assert me.ended is None


@pytest.mark.parametrize("capacity", [0, -1, 1.5, "one", True])
async def test_the_capacity_of_a_stash_is_a_number_of_messages(node: Node, capacity: Any) -> None:
    async with node.mailbox() as me:
        with pytest.raises(ValueError, match=r"capacity of a stash must be an int of at least 1"):
            me.stash("message", capacity)
        assert me.unstash() == 0


async def test_an_arena_is_one_of_two(node: Node) -> None:
    with pytest.raises(ValueError, match=r'arena must be "supervisor" or "node", got \'tree\''):
        await node.spawn(Echo, arena="tree")  # type: ignore[call-overload]
    assert node.statistics().processes == 0


@pytest.mark.parametrize("field", ["first", "factor", "maximum", "jitter", "reset"])
def test_a_backoff_is_made_of_numbers(field: str) -> None:
    with pytest.raises(ValueError, match=rf"{field}.* is 'soon'; it must be a number"):
        Backoff(**{field: "soon"})  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [7, Mock()], ids=["int", "mock"])
async def test_a_call_is_forwarded_to_a_ref(node: Node, wrong: Any) -> None:
    """What takes any message, as a mock does, would leave the caller waiting."""
    with pytest.raises(ProcessDied) as died:
        await (await node.spawn(Echo)).call(Echo.pass_on, wrong)
    assert isinstance(died.value.__cause__, TypeError)
    assert str(died.value.__cause__).startswith("expected a Ref, got")


async def test_what_makes_no_body_cannot_be_spawned(node: Node) -> None:
    """A mock has every attribute, a `body` too; its turns would never end."""
    with pytest.raises(TypeError, match=r"cannot spawn <Mock.*it made the body <Mock"):
        await node.spawn(Mock())
    async with node.mailbox() as me:
        ref = me.spawn_soon(Mock(), monitor=True)
        assert (await me.receive(Down)).ref == ref
    assert node.statistics().processes == 0
