"""What others see of an actor's state. Clause S14 of docs/semantics.md."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import Actor, Crashed, Node, ProcessDied, Resume, Supervisor, system

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Safe(Actor):
    def __init__(self, formats: bool = True) -> None:
        self.secret = "xyzzy"
        self.formats = formats

    def fail(self) -> None:
        raise ValueError("as asked")

    def format_status(self) -> Any:
        if not self.formats:
            raise LookupError("no format")
        return {"secret": len(self.secret)}


class AsyncSafe(Safe):
    async def nothing(self) -> None:
        pass


class Open(Actor):
    def __init__(self) -> None:
        self.value = 1

    def fail(self) -> None:
        raise ValueError("as asked")


@pytest.mark.parametrize("kind", [Safe, AsyncSafe])
async def test_status_is_formatted(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture, kind: Any
) -> None:
    """S14: the status and the log of a crash show what `format_status` returns."""
    ref = await node.spawn(kind)
    assert (await system.get_status(ref)).state == {"secret": 5}
    with pytest.raises(ProcessDied) as raised:
        await ref.call(kind.fail)
    await wait_all_tasks_blocked()
    assert isinstance(raised.value.reason, Crashed)
    assert isinstance(raised.value.reason.error, ValueError)
    assert "{'secret': 5}" in caplog.text
    assert "xyzzy" not in caplog.text


@pytest.mark.parametrize("kind", [Safe, AsyncSafe])
async def test_format_that_fails(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture, kind: Any
) -> None:
    """S14: a `format_status` that raises hides nothing."""
    ref = await node.spawn(kind, False)
    assert (await system.get_status(ref)).state == "format_status raised LookupError('no format')"
    with pytest.raises(ProcessDied) as raised:
        await ref.call(kind.fail)
    await wait_all_tasks_blocked()
    assert isinstance(raised.value.reason, Crashed)
    assert isinstance(raised.value.reason.error, ValueError)
    assert "LookupError('no format')" in caplog.text


async def test_status_as_it_is(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """S14: without it the status shows the attributes, and the log nothing."""
    ref = await node.spawn(Open)
    assert (await system.get_status(ref)).state == {"value": 1}
    with caplog.at_level(logging.INFO), pytest.raises(ProcessDied):
        await ref.call(Open.fail)
    await wait_all_tasks_blocked()
    assert "status of" not in caplog.text


@pytest.mark.parametrize("kind", [Safe, AsyncSafe])
async def test_crash_is_logged_with_its_circumstances(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture, kind: Any
) -> None:
    """S11: the log of a crash names the message at hand, and how many waited."""
    ref = await node.spawn(kind)
    await system.suspend(ref)
    ref.cast(kind.fail)
    for number in range(3):
        ref.send(number)
    await system.resume(ref)
    await wait_all_tasks_blocked()
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.exc_info is not None
    notes = record.exc_info[1].__notes__  # type: ignore[union-attr]
    assert notes[:2] == [f"{ref} was handling a cast fail()", "3 messages were waiting"]


class Calling(Actor):
    def fail(self, value: Any, *, by_name: int) -> None:
        raise ValueError("on purpose")

    def fail_deferred(self, value: Any) -> Any:
        self.kept = self.process.defer()
        raise ValueError("on purpose")


class AsyncCalling(Calling):
    async def nothing(self) -> None: ...


class Top(Supervisor):
    """A supervisor with methods of its own."""

    fail = Calling.fail


@pytest.mark.parametrize("kind", [Calling, AsyncCalling, Top])
@pytest.mark.parametrize("way", ["call", "request", "cast"])
async def test_crash_is_logged_with_the_call_at_hand(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture, kind: Any, way: str
) -> None:
    """S11, C7: also with one that its caller has run; and so it is of a supervisor."""
    ref = await node.spawn(kind)
    async with node.mailbox() as me:
        if way == "call":
            with pytest.raises(ProcessDied):
                await ref.call(kind.fail, [1], by_name=2)
        elif way == "request":
            with pytest.raises(ProcessDied):
                await me.request(ref, kind.fail, [1], by_name=2).receive()
        else:
            ref.cast(kind.fail, [1], by_name=2)
        await wait_all_tasks_blocked()
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.exc_info is not None
    notes = record.exc_info[1].__notes__  # type: ignore[union-attr]
    what = "cast" if way == "cast" else "call"
    assert notes[0] == f"{ref} was handling a {what} fail([1], by_name=2)"


async def test_crash_is_logged_with_a_call_that_was_deferred(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """S11: the handler has failed all the same."""
    ref = await node.spawn(Calling)
    with pytest.raises(ProcessDied):
        await ref.call(Calling.fail_deferred, 1)
    await wait_all_tasks_blocked()
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.exc_info is not None
    assert record.exc_info[1].__notes__[0] == f"{ref} was handling a call fail_deferred(1)"  # type: ignore[union-attr]


async def test_failure_that_is_resumed_is_logged_with_its_call(
    autojump_clock: MockClock, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """S15, C7: the method, and not only that something has failed."""
    ref = await node.spawn(Calling, on_failure=Resume(ValueError))
    with pytest.raises(ValueError, match="on purpose"):
        await ref.call(Calling.fail, 7, by_name=8)
    await wait_all_tasks_blocked()
    assert "goes on after a failure in a call fail(7, by_name=8)" in caplog.text
