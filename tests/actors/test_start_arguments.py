"""Arguments of what starts processes: `spawn`, `spawn_soon` and `Child` take them alike. S1, S15."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from trio.testing import MockClock

from enfilade.actors import (
    Actor,
    Child,
    InvalidChild,
    Node,
    Process,
    ProcessDied,
    Ref,
    Resume,
    StartFailed,
    Supervisor,
)
from enfilade.actors.processes import start
from enfilade.actors.processes.targets import check_arguments
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


async def _two(me: Process, first: Any, /, second: int = 1, *, third: int) -> None:
    await me.receive()


class _Walker:
    async def walk(self, me: Process, where: str) -> None:
        await me.receive()

    async def __call__(self, me: Process, where: str) -> None:
        await me.receive()


@WAYS
@pytest.mark.parametrize(
    ("target", "args", "kwargs", "words"),
    [
        (_two, (1, 2, 3), {"third": 3}, "positional arguments"),
        (_two, (1,), {"third": 3, "fourth": 4}, "fourth"),
        (_two, (), {"first": 1, "third": 3}, "first"),
        (_two, (1, 2), {"second": 2, "third": 3}, "second"),
        (partial(_two, 1, third=3), (2, 3), {}, "positional arguments"),
        (_Walker().walk, ("here", "there"), {}, "positional arguments"),
        (_Walker(), ("here", "there"), {}, "positional arguments"),
        (_function, (), {"me": 1}, "'me'"),
    ],
)
async def test_what_a_function_does_not_take(
    autojump_clock: MockClock, node: Node, way: Way, target: Any, args: Any, kwargs: Any, words: str
) -> None:
    """S1: too many, unknown ones, one that is given twice: refused at the call, with its words."""
    with pytest.raises(TypeError, match=f"cannot spawn .*{words}.*its first argument is its own Process"):
        await way(node, target, *args, kwargs=kwargs)
    assert len(node.processes) == (1 if way is _child else 0)  # the supervisor


@pytest.mark.parametrize("way", [_spawn, _spawn_soon, _by_process, _soon_by_process])
@pytest.mark.parametrize("target", [_two, partial(_two, 1), _Walker().walk, _Walker()])
async def test_what_a_function_lacks(autojump_clock: MockClock, node: Node, way: Way, target: Any) -> None:
    """S1: a `Child` without may be a template, which is given its arguments later."""
    with pytest.raises(TypeError, match=r"cannot spawn .*missing 1 required"):
        await way(node, target, *([1] if target is _two else []))
    assert not node.processes
    Child(target, id="template")


@WAYS
@pytest.mark.parametrize("target", [3, None, int, print, lambda me: None, _function.__code__])
async def test_what_is_no_target(autojump_clock: MockClock, node: Node, way: Way, target: Any) -> None:
    """S1: nothing is started as it, not even for a moment."""
    with pytest.raises((TypeError, InvalidChild, StartFailed), match=r"cannot spawn|field 'target'"):
        await way(node, target)
    assert len(node.processes) == (1 if way is _child else 0)  # the supervisor


def test_a_wrapper_runs_when_the_process_starts() -> None:
    """S1: nothing of the program runs to find out what a function takes."""
    ran = []

    def wrapped(me: Process) -> Any:
        ran.append(me)

    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(wrapped)
    Child(wrapped)
    assert not ran


def test_templates_add_arguments() -> None:
    """S1: those that a template has count, too."""
    Child(_two, 1)
    with pytest.raises(TypeError, match="cannot spawn"):
        Child(_two, 1, 2, 3)


async def _positional(me: Process, first: Any, second: Any = None, /) -> None:
    """Takes one or two."""


async def _any_number(me: Process, first: Any, *rest: Any) -> None:
    """Takes one or more."""


async def _named(me: Process, first: Any = None, *, name: Any) -> None:
    """Needs a name."""


async def _named_by_default(me: Process, *, name: Any = None, **more: Any) -> None:
    """Needs none."""


async def _nothing() -> None:
    """Does not even take its process."""


async def _anything(*args: Any, **kwargs: Any) -> None:
    """Takes all there is."""


@pytest.mark.parametrize("given", range(5))
@pytest.mark.parametrize(
    "fn",
    [_positional, _any_number, _named, _named_by_default, _nothing, _anything],
    ids=lambda fn: fn.__name__,
)
def test_arguments_are_told_from_the_code_as_by_a_call(fn: Any, given: int) -> None:
    """What is looked up in place of a call is what the call would have said, in its words."""
    args = tuple(range(given))
    try:
        fn(None, *args).close()
        said = None
    except TypeError as error:
        said = str(error)
    if said is None:
        check_arguments(fn, args, {})
    else:
        with pytest.raises(TypeError, match=re.escape(said)):
            check_arguments(fn, args, {})
