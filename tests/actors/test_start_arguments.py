"""Arguments of what starts processes: `spawn`, `spawn_soon` and `Child` take them alike. S1, S15."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from trio.testing import MockClock

from enfilade.actors import Actor, Child, Node, Process, ProcessDied, Ref, Resume, Supervisor
from enfilade.actors.processes import start
from enfilade.actors.supervision.child_spec import BadCombination

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Desk(Actor):
    """Remembers what it was made with."""

    def __init__(self, first: Any = None, second: Any = None, *, name: Any = None, third: Any = None) -> None:
        self.given = (first, second, name, third)

    def what(self) -> Any:
        return self.given

    def fail(self) -> None:
        raise LookupError


class AsyncDesk(Desk):
    async def nothing(self) -> None:
        """Makes it an actor with a task."""


async def _spawn(node: Node, target: Any, *args: Any, **named: Any) -> Ref[Any]:
    return await node.spawn(target, *args, **named)


async def _spawn_soon(node: Node, target: Any, *args: Any, **named: Any) -> Ref[Any]:
    return node.spawn_soon(target, *args, **named)


async def _by_process(node: Node, target: Any, *args: Any, **named: Any) -> Ref[Any]:
    async with node.mailbox() as me:
        return await me.spawn(target, *args, **named)


async def _soon_by_process(node: Node, target: Any, *args: Any, **named: Any) -> Ref[Any]:
    async with node.mailbox() as me:
        return me.spawn_soon(target, *args, **named)


async def _child(node: Node, target: Any, *args: Any, **named: Any) -> Ref[Any]:
    supervisor: Ref[Any] = await node.spawn(Supervisor, [])
    ref: Ref[Any] = await supervisor.call(
        Supervisor.start_child, Child(target, *args, id="it", restart="temporary", **named)
    )
    return ref


Way = Callable[..., Awaitable[Ref[Any]]]
WAYS = pytest.mark.parametrize("way", [_spawn, _spawn_soon, _by_process, _soon_by_process, _child])
TIERS = pytest.mark.parametrize("tier", [Desk, AsyncDesk])


@WAYS
@TIERS
async def test_arguments(autojump_clock: MockClock, node: Node, way: Way, tier: type[Desk]) -> None:
    """S1: by position, by name, and, where an option has the same name, in `kwargs`."""
    for args, named, given in [
        ((1, 2), {}, (1, 2, None, None)),
        ((1,), {"second": 2}, (1, 2, None, None)),
        ((1,), {"second": 2, "third": 3}, (1, 2, None, 3)),
        ((), {"kwargs": {"first": 1, "name": "own"}, "third": 3}, (1, None, "own", 3)),
        ((1,), {"kwargs": {"name": "own"}, "name": "registered"}, (1, None, "own", None)),
        ((), {"kwargs": {}}, (None, None, None, None)),
    ]:
        ref = await way(node, tier, *args, **named)
        assert await ref.call(Desk.what) == given
        assert node.whereis("registered") == (ref if named.get("name") else None)
        await ref.stop()


@WAYS
async def test_what_is_no_argument(autojump_clock: MockClock, node: Node, way: Way) -> None:
    """S1: is refused where it stands, and leaves nothing behind."""
    cases: list[tuple[dict[str, Any], str]] = [
        ({"first": 1, "kwargs": {"first": 2}}, "must be given once"),
        ({"kwargs": 5}, "kwargs"),
        ({"kwargs": {5: 6}}, "kwargs"),
        ({"mailbox": 5}, "ailbox"),
        ({"on_failure": 5}, "on_failure"),
    ]
    for named, words in cases:
        with pytest.raises((TypeError, ValueError), match=words):
            await way(node, Desk, **named)
    assert len(node.processes) == (len(cases) if way is _child else 0)  # the supervisors


def test_a_misspelt_option_of_a_child() -> None:
    """S1: neither the specification nor the target has it."""
    with pytest.raises(TypeError, match="'restrat'"):
        Child(Desk, 1, id="it", restrat="temporary")  # type: ignore[call-overload]


@WAYS
@TIERS
async def test_on_failure(autojump_clock: MockClock, node: Node, way: Way, tier: type[Desk]) -> None:
    """S15: a decision for one process, whoever starts it."""
    ref = await way(node, tier, 1, on_failure=Resume(LookupError, limit=1))
    with pytest.raises(LookupError):
        await ref.call(Desk.fail)
    assert await ref.call(Desk.what) == (1, None, None, None)
    with pytest.raises(ProcessDied):
        await ref.call(Desk.fail)


async def _function(me: Process) -> None:
    await me.receive()


@WAYS
@pytest.mark.parametrize("target", [_function, Supervisor])
async def test_what_cannot_go_on(autojump_clock: MockClock, node: Node, way: Way, target: Any) -> None:
    """S15: functions and supervisors have no handlers after which they could."""
    with pytest.raises((TypeError, BadCombination), match="handlers of"):
        await way(node, target, on_failure=Resume())


def test_one_list_of_options() -> None:
    """`spawn` names its options for its reader; they are those that a process is made with."""
    named = [
        each.name
        for each in inspect.signature(Node.spawn).parameters.values()
        if each.kind is each.KEYWORD_ONLY
    ]
    assert set(named) == {*start.OPTIONS, "spawner", "timeout", "kwargs"}
