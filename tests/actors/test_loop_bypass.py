"""Tasks that are resumed beside trio's loop, and what becomes of that with another trio."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.lowlevel import Abort, Task, current_task

from enfilade.actors import Actor, open_node
from enfilade.actors.core import choice
from enfilade.actors.messages import loop_bypass
from enfilade.actors.messages.loop_bypass import IS_AVAILABLE, pause, step, trap_for

ROOT = Path(__file__).parents[2]

WITHOUT = [
    "tests/actors/test_async_without_the_loop.py",
    "tests/actors/test_cancellation.py",
    "tests/actors/test_deadlock.py",
    "tests/actors/test_dispatch.py",
    "tests/actors/test_draining.py",
    "tests/actors/test_receive.py",
    "tests/actors/test_request_collections.py",
    "tests/actors/test_resumption.py",
    "tests/actors/test_wake_ups.py",
    "tests/actors/steps/test_finalizers_that_send.py",
    "tests/actors/steps/test_recursion.py",
    "tests/conformance/actors/test_calls.py",
    "tests/conformance/actors/test_mailboxes.py",
]
"""What is about waiting and waking."""

FEW = [
    f"tests/actors/test_{name}.py" for name in ("async_without_the_loop", "request_collections", "wake_ups")
]
"""Those of them that go through every way to wait."""

COMPILED: Any = sys.modules.get("enfilade.actors.core.compiled")
"""The core in C, if it is in use."""

STEPS = {"python": step, **({"compiled": COMPILED.step} if choice.IS_AVAILABLE else {})}


@pytest.fixture(params=STEPS)
def either_step(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the steps of this test in Python, then in C."""
    monkeypatch.setattr(Waiting, "step", staticmethod(STEPS[request.param]))


def needs_bypass(test: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a test that takes steps: it runs with both twins, unless the loop is not bypassed here."""
    skipped = pytest.mark.skipif(not IS_AVAILABLE, reason="the loop is not bypassed here")
    return skipped(pytest.mark.usefixtures("either_step")(test))


class Waiting:
    """A place where one task waits at a time, as receivers do."""

    step = staticmethod(step)

    def __init__(self) -> None:
        self.task: Task | None = None
        self.trap = trap_for(self.abort)

    def abort(self, _: object) -> Abort:
        self.task = None
        return Abort.SUCCEEDED

    async def wait(self) -> None:
        self.task = current_task()
        await pause(self.trap)

    def resume(self) -> None:
        task, self.task = self.task, None
        assert task is not None
        self.step(task)


async def until_it_waits(place: Waiting) -> None:
    while place.task is None:
        await trio.lowlevel.checkpoint()


# The trial.


def is_switched_off() -> bool:
    return os.environ.get("ENFILADE_LOOP_BYPASS") == "off"


def test_this_trio_is_known() -> None:
    """The trial succeeds with the trio that is installed, so that the bypass is used unless switched off."""
    assert loop_bypass.works(loop_bypass._step)
    assert IS_AVAILABLE is not is_switched_off()
    assert not (IS_AVAILABLE and choice.IS_AVAILABLE) or loop_bypass.works(COMPILED.step)


@pytest.mark.skipif(not IS_AVAILABLE or not choice.IS_AVAILABLE, reason="there is no step in C here")
def test_a_trio_that_keeps_fields_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a field of a task is not found, or the trial in C fails, the twin steps."""
    try:
        for name, value in {"CLASSES": {}, "works": lambda _step: False}.items():
            with monkeypatch.context() as patch:
                patch.setattr(loop_bypass, name, value)
                COMPILED.unbind_trio()
                choice._bind_trio(COMPILED)
            with pytest.raises(RuntimeError, match="bind_trio"):
                COMPILED.step(None)
            trio.run(_talk)
    finally:
        choice._bind_trio(COMPILED)
    with pytest.raises(TypeError, match="expected a task"):
        COMPILED.step(None)


async def _talk() -> None:
    async with open_node("n") as node, node.mailbox() as me:
        for _ in range(2):
            ref = await node.spawn(Echo)
            assert await ref.call(Echo.echo, 1) == 1
            ref.send(me.ref)
            assert await me.receive() is me.ref


class Echo(Actor):
    async def on_message(self, sender: Any) -> None:
        sender.send(sender)

    async def echo(self, value: int) -> int:
        return value


class Elsewhere:
    """What a trio might have instead of the variable that holds the present task."""

    task: Any = None


def unlike(name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(loop_bypass, name, value)


OTHER_TRIOS = {
    "the present task is elsewhere": unlike("RUN_CONTEXT", Elsewhere()),
    "the present task is nowhere": unlike("RUN_CONTEXT", None),
    "waits are something else": unlike("_WAIT", int),
    "checkpoints are something else": unlike("_CHECKPOINT", object()),
}


@pytest.mark.parametrize("other", OTHER_TRIOS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_another_trio(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    """The trial fails where trio is different, and says so instead of raising."""
    monkeypatch.setattr(loop_bypass, "TRIAL_SECONDS", 0.2)
    OTHER_TRIOS[other](monkeypatch)
    assert not loop_bypass.works(loop_bypass._step)
    gc.collect()  # what is left of the loop that has failed warns now


def test_import_within_a_run() -> None:
    """The trial has a loop of its own, so that the runtime may be imported by a task."""
    program = "import trio\nasync def main():\n import enfilade.actors.messages.loop_bypass as l\n"
    program += " print(l.IS_AVAILABLE)\n"
    shown = subprocess.run(
        [sys.executable, "-c", program + "trio.run(main)"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert shown.stdout.strip() == str(IS_AVAILABLE)


# The suite without it.


@pytest.mark.skipif(is_switched_off(), reason="this is that run")
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "files", [pytest.param(FEW, id="few"), pytest.param(WITHOUT, id="all", marks=pytest.mark.soak)]
)
def test_the_suite_without(files: list[str]) -> None:
    """Tasks that are rescheduled instead behave in the same way, and so does the core in Python."""
    environment = {**os.environ, "ENFILADE_LOOP_BYPASS": "off", "ENFILADE_CORE": "python"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not real and not soak",
    ]
    run = subprocess.run(
        [*command, *files],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-5000:]


# One step.


@needs_bypass
async def test_the_present_task() -> None:
    """The task that is resumed is the present one, with its context, and then the former is again."""
    place, seen, mine = Waiting(), [], current_task()

    async def other() -> None:
        await place.wait()
        seen.append(current_task())
        await place.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await until_it_waits(place)
        task = place.task
        place.resume()
        assert seen == [task]
        assert current_task() is mine
        assert place.task is task
        place.resume()


@needs_bypass
async def test_a_context_that_is_entered() -> None:
    """A task that shares its context with one below it on the stack is rescheduled."""
    place, seen = Waiting(), []

    async def other() -> None:
        current_task().context = mine.context
        await trio.lowlevel.checkpoint()
        await place.wait()
        seen.append(current_task())

    mine = current_task()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await until_it_waits(place)
        task = place.task
        place.resume()
        assert seen == []
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [task]


@needs_bypass
async def test_what_a_task_raises() -> None:
    """An error is the affair of the task's nursery; its traceback begins in the task."""
    place = Waiting()

    async def other() -> None:
        await place.wait()
        raise LookupError("out of the task")

    with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await until_it_waits(place)
            place.resume()
    error = raised.value.exceptions[0]
    assert isinstance(error, LookupError)
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_frame.f_code is other.__code__


@needs_bypass
async def test_what_is_not_a_wait() -> None:
    """A task that yields what trio does not know is thrown the same error as by the loop."""
    place, raised = Waiting(), []

    class Foreign:
        def __await__(self) -> Any:
            yield "foreign"

    async def other() -> None:
        await place.wait()
        try:
            await Foreign()
        except TypeError as error:
            raised.append(str(error))
        await trio.lowlevel.checkpoint()
        raised.append("goes on")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await until_it_waits(place)
        place.resume()
        assert raised == []
    assert "foreign" in raised[0]
    assert raised[1] == "goes on"


@needs_bypass
async def test_a_detached_coroutine() -> None:
    """A task whose coroutine goes elsewhere is over."""
    place = Waiting()
    detached: list[Any] = []

    async def other() -> None:
        await place.wait()
        detached.append(current_task().coro)
        from outcome import Value

        await trio.lowlevel.permanently_detach_coroutine_object(Value(None))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await until_it_waits(place)
        place.resume()
        assert not nursery.child_tasks
    detached[0].close()


class Steps(trio.abc.Instrument):
    """Notes the steps of all tasks."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, str]] = []

    def before_task_step(self, task: Task) -> None:
        self.steps.append(("before", task.name))

    def after_task_step(self, task: Task) -> None:
        self.steps.append(("after", task.name))


@needs_bypass
async def test_instruments() -> None:
    """They see each step, one after the other, as if the one around had been interrupted."""
    place, steps = Waiting(), Steps()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(place.wait, name="other")
        await until_it_waits(place)
        me = current_task().name
        trio.lowlevel.add_instrument(steps)
        place.resume()
        trio.lowlevel.remove_instrument(steps)
    assert steps.steps == [("after", me), ("before", "other"), ("after", "other"), ("before", me)]


@needs_bypass
async def test_checkpoints_are_counted() -> None:
    """A wait that was ended in this way counts as the checkpoint that it is."""
    place = Waiting()

    async def other() -> None:
        with trio.testing.assert_checkpoints():
            await place.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await until_it_waits(place)
        place.resume()


@needs_bypass
async def test_nothing_is_kept() -> None:
    """An error that has ended a task is freed with it, without the garbage collector."""
    place = Waiting()
    freed: list[str] = []

    class Noted(Exception):
        def __del__(self) -> None:
            freed.append("error")

    async def other() -> None:
        await place.wait()
        try:
            raise Noted
        except Noted:
            pass
        await place.wait()

    gc.collect()
    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await until_it_waits(place)
            place.resume()
            assert freed == ["error"]
            place.resume()
    finally:
        gc.enable()


def test_main_task_and_interrupt() -> None:
    """A Ctrl-C that waits for the main task is delivered when a step of that ends in a wait."""
    if not IS_AVAILABLE:
        pytest.skip("the loop is not bypassed here")
    place, seen = Waiting(), []

    async def other(main: Task) -> None:
        await until_it_waits(place)
        main._runner.ki_pending = True
        place.resume()
        seen.append("main has run")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other, current_task())
            await place.wait()
            seen.append("resumed")
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as raised:
        trio.run(main)
    assert raised.group_contains(KeyboardInterrupt)
    assert seen == ["resumed", "main has run"]


@pytest.mark.parametrize("order", ["reply first", "end first"])
async def test_the_run_queue_after_its_dispatcher(order: str) -> None:
    """A reply that is given when the dispatcher is over still reaches the task that waits for it."""

    class Clerk(Actor):
        def ask(self) -> Any:
            replies.append(self.process.defer())
            return replies[0]

    replies: list[Any] = []
    got: list[Any] = []
    async with open_node("n") as node, trio.open_nursery() as nursery:
        clerk = await node.spawn(Clerk)

        async def ask() -> None:
            got.append(await clerk.call(Clerk.ask))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        if order == "reply first":
            replies[0].reply("answer")
            node.dispatcher.clear()
        else:
            node.dispatcher.clear()
            replies[0].reply("answer")
        await trio.testing.wait_all_tasks_blocked()
        assert got == ["answer"]
