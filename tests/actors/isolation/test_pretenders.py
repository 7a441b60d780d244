"""Objects that pretend to be the runtime's own, and errors of its classes that somebody else has made. U2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from enfilade.actors import (
    Actor,
    Crashed,
    Down,
    Node,
    NoProcess,
    NotPublic,
    Pool,
    Process,
    ProcessDied,
    Ref,
    StartError,
    StepFailed,
    UnknownMethod,
    Worker,
    open_node,
    system,
)
from enfilade.actors.messages.crash import reason_in
from enfilade.actors.peers.faults import error_in_words
from enfilade.transport.remote_trace import places
from tests.actors.steps.bystanders import unharmed


class Pretends:
    """Says that it is a ref."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return Ref


SUBSCRIPTIONS: dict[str, Callable[[Node, Any], object]] = {
    "dead letters": lambda node, value: node.dead_letters.subscribe(value),
    "child events": lambda node, value: node.child_events.subscribe(value),
    "child events of": lambda node, value: node.child_events.subscribe(node.ref, value),
    "groups": lambda node, value: node.scope().monitor_scope(value),
    "a group": lambda node, value: node.scope().monitor(value, "group"),
    "timers": lambda node, value: node.send_after(1, value, "message"),
    "exits": lambda node, value: node.exit_after(1, value, Crashed(ValueError())),
}


@pytest.mark.parametrize("subscribe", SUBSCRIPTIONS.values(), ids=SUBSCRIPTIONS)
async def test_what_pretends_to_be_a_ref_is_refused(subscribe: Callable[[Node, Any], object]) -> None:
    """Those who would notify it later are others than who has handed it over."""
    async with open_node("test") as node:
        with pytest.raises(TypeError, match="expected a Ref"):
            subscribe(node, Pretends())
        assert node.ref != Pretends()


async def idle(me: Process) -> None:
    await me.receive()


class Sync(Actor):
    def ping(self) -> str:
        return "pong"


@pytest.mark.parametrize("kind", [idle, Sync])
async def test_a_fault_that_lacks_its_ref(autojump_clock: object, kind: Any) -> None:
    """Whoever may end a process may do so with any reason, and ends that process alone."""
    async with unharmed() as (node, me):
        ref = await node.spawn(kind)
        me.monitor(ref)
        ref.exit(Crashed(StepFailed.__new__(StepFailed)))
        assert isinstance((await me.receive(Down, timeout=1)).reason, Crashed)


@pytest.mark.parametrize("kind", [StartError, ProcessDied, NoProcess, StepFailed, UnknownMethod])
def test_an_error_without_attributes(kind: type[Exception]) -> None:
    """It can be shown, and has a reason."""
    error = kind.__new__(kind)
    assert isinstance(str(error) + repr(error), str)
    assert reason_in(error) == Crashed(error) or kind is ProcessDied
    assert type(error_in_words(error, "n@z")) is kind


async def test_a_worker_that_pretends_to_have_died(autojump_clock: object) -> None:
    """It may refuse a job with the error of its end, and does the next."""

    class Pretender(Worker):
        def work(self, job: Any) -> Any:
            errors = {
                "died": ProcessDied(self.process.ref, Crashed(ValueError())),
                "nobody": NoProcess("nobody"),
            }
            return self.process.refuse(errors[job]) if job in errors else job

    async with open_node("test") as node:
        pool = await node.spawn(Pool, Pretender, size=1)
        for job, error in (("died", ProcessDied), ("nobody", NoProcess)):
            with pytest.raises(error):
                await pool.within(5).call(Pool.submit, job)
            assert await pool.within(5).call(Pool.submit, "another") == "another"


async def test_an_observer_without_methods(autojump_clock: object) -> None:
    """It is removed, as one that raises; the message that it was to be shown is handled."""
    async with open_node("test") as node:
        ref: Ref[Any] = await node.spawn(Sync)
        nothing: Any = object()
        await system.install(ref, nothing)
        assert await ref.within(5).call(Sync.ping) == "pong"
        assert not await system.uninstall(ref, nothing)


async def test_a_method_whose_name_is_of_a_class_of_its_own() -> None:
    """The caller is refused: the name might be another for the callee."""

    class Name(str):
        __slots__ = ()

    def method(self: Any) -> None: ...

    method.__name__ = Name("ping")
    async with open_node("test") as node:
        ref: Ref[Any] = await node.spawn(Sync)
        with pytest.raises(NotPublic):
            await ref.call(method)


def test_the_file_of_an_error_has_a_strange_name() -> None:
    """What another node is told of it is valid Unicode, and one line."""
    scope: dict[str, Any] = {}
    exec(compile("def fail():\n    raise ValueError\n", "/there/\udcff\n\x1b[31m'\"", "exec"), scope)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the error itself does not matter)
        scope["fail"]()
    told = places(caught.tb).splitlines()[-1]
    assert told.encode().startswith(b'  File "\\udcff\\n\\x1b[31m')
    assert told.endswith("line 2, in fail")
