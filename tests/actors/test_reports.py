"""What is logged, how often, and by whom."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    Actor,
    Child,
    Crashed,
    Custom,
    Down,
    NodeConfig,
    NotConnected,
    ProcessDied,
    StartError,
    Supervisor,
    open_node,
)
from enfilade.actors.messages.tracebacks import formatted
from enfilade.actors.observing.telemetry import use


class Fragile(Actor):
    """Breaks when it is touched."""

    def touch(self) -> None:
        raise ValueError("broken")


async def crash(node: object, times: int) -> None:
    for _ in range(times):
        ref = await node.spawn(Fragile)  # type: ignore[attr-defined]
        with pytest.raises(ProcessDied):
            await ref.call(Fragile.touch)
    await wait_all_tasks_blocked()


async def test_exits_are_logged_so_many_a_second(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """S11: over the limit they are counted, and the count is logged when the second is over."""
    async with open_node("test", config=NodeConfig(reports_per_second=3)) as node:
        await crash(node, 10)
        assert len(caplog.records) == 3
        assert all(record.exc_info for record in caplog.records)
        await trio.sleep(2)
        await crash(node, 1)
        assert [record.getMessage() for record in caplog.records[3:4]] == ["7 more exits were not logged"]
        assert len(caplog.records) == 5
    assert {record.name for record in caplog.records} == {"enfilade.actors"}


async def test_end_by_a_signal_is_a_warning(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """S11: one that was ended from outside has no traceback to show."""
    async with open_node("test") as node:
        for reason in (KILL, Custom("why")):
            (await node.spawn(Fragile)).exit(reason)
        await wait_all_tasks_blocked()
        assert [(record.levelno, record.exc_info) for record in caplog.records] == [
            (logging.WARNING, None)
        ] * 2
        assert "why" in caplog.text


async def test_a_supervisor_that_gives_up_says_how_many_restarts_it_allows(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node("test") as node:
        children = [Child(Fragile, id="web", name="web")]
        await node.spawn(Supervisor, children, intensity=1, period=5.0)
        for _ in range(2):
            with pytest.raises(ProcessDied):
                await node.named("web").call(Fragile.touch)
            await wait_all_tasks_blocked()
    told = caplog.records[-1].getMessage()
    assert told.endswith(
        "reached_max_restart_intensity: child 'web': restarts exceed intensity=1 within period=5.0 s"
    )


async def test_a_start_that_fails_is_told_and_not_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """S3, S11: the starter gets the error, whoever else did not ask is not bothered with it."""

    class Broken(Actor):
        def __init__(self) -> None:
            raise ValueError("broken")

    class AsyncBroken(Broken):
        async def also(self) -> None:
            """So it has a task."""

    async with open_node("test") as node:
        for target in (Broken, AsyncBroken):
            with pytest.raises(StartError) as refused:
                await node.spawn(target)
            assert isinstance(refused.value.__cause__, ValueError)
        with pytest.raises(TypeError):
            await node.spawn("nothing")  # type: ignore[call-overload]
        await wait_all_tasks_blocked()
        assert not caplog.records
        node.spawn_soon(Broken)
        await wait_all_tasks_blocked()
        assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"strategy": "one_for_al"}, "strategy' is 'one_for_al'; it must be one of one_for_one"),
        ({"max_restarts": 3}, "unexpected keyword argument 'max_restarts'"),
    ],
    ids=["strategy", "keyword"],
)
async def test_what_the_runtime_refuses_itself_has_no_second_traceback(
    options: dict[str, Any], says: str
) -> None:
    """S3: the cause of a failed start is shown where it lies in somebody's code."""
    async with open_node("test") as node:
        with pytest.raises(StartError, match=says) as refused:
            await node.spawn(Supervisor, [Fragile], **options)
        assert refused.value.__cause__ is None
        assert isinstance(refused.value.reason, Crashed)

        class Team(Supervisor):
            def __init__(self) -> None:
                super().__init__([Fragile], **options)

        with pytest.raises(StartError, match=says) as refused:
            await node.spawn(Team)
        assert refused.value.__cause__ is refused.value.reason.error  # type: ignore[attr-defined]


async def test_shutdown_is_silent(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """M10, S11: what a planned shutdown ends is not reported."""
    async with open_node("test") as node:
        for _ in range(3):
            await node.spawn(Fragile)
    assert not caplog.records


async def test_dead_letters_are_logged_so_many_a_second(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """M9: at level INFO, few of them."""
    caplog.set_level(logging.INFO, "enfilade.actors")
    async with open_node("test", config=NodeConfig(reports_per_second=2)) as node:
        ref = await node.spawn(Fragile)
        await ref.stop()
        for number in range(10):
            ref.send(number)
        await wait_all_tasks_blocked()
        assert len(caplog.records) == 2
        assert node.dead_letters.count == 10


@pytest.mark.parametrize(
    "settings",
    [{"call_timeout": 0}, {"grace": -1}, {"kill_grace": 0}, {"slow_handler": -1}, {"reports_per_second": -1}],
)
def test_bad_settings(settings: dict[str, float]) -> None:
    """S1: a setting out of its range is named."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        NodeConfig(**settings)  # type: ignore[arg-type]


SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Broken(Actor):
    def note(self, number: int) -> None:
        raise ValueError(f"cannot note {number}")

    def on_message(self, message: Any) -> None:
        self.note(message)


class BrokenAsync(Broken):
    async def note(self, number: int) -> None:
        raise ValueError(f"cannot note {number}")

    async def on_message(self, message: Any) -> None:
        await self.note(message)


class Wrapping(Broken):
    def note(self, number: int) -> None:
        try:
            int("five")
        except ValueError as error:
            raise LookupError("wrapped") from error


@pytest.mark.parametrize("is_traced", [False, True], ids=["plain", "traced"])
@pytest.mark.parametrize("deed", ["call", "request", "cast", "message"])
@pytest.mark.parametrize("kind", [Broken, BrokenAsync, Wrapping])
async def test_a_report_says_what_was_asked_and_begins_in_the_program(
    caplog: pytest.LogCaptureFixture, kind: Any, deed: str, is_traced: bool
) -> None:
    """Neither frames of the runtime, nor what carries the context of a trace, are for a program's author."""
    async with open_node("test") as node, node.mailbox() as me:
        broken = await node.spawn(kind)
        me.monitor(broken)
        with use(SAMPLED) if is_traced else nullcontext():
            if deed == "call":
                with pytest.raises(ProcessDied):
                    await broken.call(kind.note, 5)
            elif deed == "request":
                with pytest.raises(ProcessDied):
                    await me.request(broken, kind.note, 5).wait()
            elif deed == "cast":
                broken.cast(kind.note, 5)
            else:
                broken.send(5)
        reason = (await me.receive(Down, timeout=1)).reason
    assert isinstance(reason, Crashed)
    (record,) = caplog.records
    text = record.exc_text or ""
    asked = "message 5" if deed == "message" else f"{deed.replace('request', 'call')} note(5)"
    assert f"was handling a {asked}" in text
    assert "line" in text
    files = [line for line in text.splitlines() if line.startswith("  File ")]
    assert files
    assert all(__file__ in line for line in files)


async def test_what_only_the_runtime_ran_is_shown_whole() -> None:
    async with open_node("test") as node:
        with pytest.raises(NotConnected) as caught:
            node.remote("anybody", "nowhere")
    error = caught.value
    assert error.__traceback__ is not None
    assert ", in remote" in formatted(error.with_traceback(error.__traceback__.tb_next))
