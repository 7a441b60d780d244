"""Code of a program that runs in the middle of the core: finalizers, comparisons, and another interpreter."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import pytest
import trio

from enfilade.actors import KILL, Actor, Monitor, Process, Reason, Ref, open_node
from enfilade.actors.processes.body import Body
from tests.actors.test_core import core, needs_compiled, settled

__all__ = ["core"]

ALLOCATIONS = range(1, 40)  # the collector runs at one of the next so many, wherever that is


class Garbage:
    """Does something when the collector frees it."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.itself, self.act = self, act

    def __del__(self) -> None:
        self.act()


@contextmanager
def collected_at(allocation: int, act: Callable[[], object]) -> Iterator[None]:
    """Have the collector run `act` at one of the allocations in the block."""
    before = gc.get_threshold()
    gc.collect()
    gc.disable()
    Garbage(act)
    gc.set_threshold(allocation)
    gc.enable()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.collect()


MONITORS = 20


class Watching(Actor):
    def __init__(self) -> None:
        self.monitors: list[Monitor] = []
        self.downs = 0

    def on_down(self, _down: Any) -> None:
        self.downs += 1

    def watch(self, ref: Ref[Any]) -> None:
        self.downs, self.monitors = 0, [self.process.monitor(ref) for _ in range(MONITORS)]

    def forget(self) -> int:
        return sum(self.process.demonitor(monitor) for monitor in self.monitors)

    def told(self) -> int:
        return self.downs


class Ending(Actor):
    """Ends as it is told, linked to some."""

    def __init__(self, *others: Ref[Any]) -> None:
        for other in others:
            self.process.link(other)

    def stop(self, reason: Reason) -> None:
        self.process.stop(reason)


async def test_monitors_that_a_finalizer_takes_down_while_they_fire(core: str) -> None:
    taken: list[int] = []
    async with open_node("n") as node:
        watching = await node.spawn(Watching)
        actor = node.processes[watching.serial].actor
        for allocation in ALLOCATIONS:
            ending = await node.spawn(Ending)
            await watching.call(Watching.watch, ending)
            with collected_at(allocation, lambda: taken.append(actor.forget())):
                ending.exit(KILL)
                await settled()
            assert taken[-1] + await watching.call(Watching.told) == MONITORS
    if core == "python" or sys.version_info < (3, 12):  # since then nothing is collected within C
        assert any(0 < number < MONITORS for number in taken)  # it came in the middle


async def test_a_timer_that_a_finalizer_sets_while_another_is_made(core: str) -> None:
    async with open_node("n") as node, node.mailbox() as me:
        first = [
            me.send_after(600, me.ref, "first") for _ in range(300)
        ]  # numbers that are not kept by Python
        for allocation in ALLOCATIONS:
            inner: list[Any] = []
            with collected_at(
                allocation, lambda made=inner: made.append(me.send_after(600, me.ref, "inner"))
            ):  # type: ignore[misc]
                outer = [me.send_after(600, me.ref, "outer") for _ in range(3)]
            numbers = [timer.number for timer in (*first, *inner, *outer)]
            assert len(set(numbers)) == len(numbers)
            assert all(timer.cancel() for timer in (*inner, *outer))


@attrs.frozen(eq=False)
class Incomparable(Reason):
    """A reason of a program's own that cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise LookupError("on purpose")

    __hash__ = None  # type: ignore[assignment]


async def linked_to_one_that_ends(node: Any, me: Process) -> tuple[Ref[Ending], dict[Any, Ref[Any]]]:
    ending = await node.spawn(Ending)
    others = [await node.spawn(Ending, ending) for _ in range(3)]
    return ending, {me.monitor(ref): ref for ref in (ending, *others)}


async def test_reason_that_cannot_be_compared(core: str) -> None:
    async with open_node("n") as node, node.mailbox() as me:
        ending, watched = await linked_to_one_that_ends(node, me)
        ending.cast(Ending.stop, Incomparable())
        with trio.fail_after(5):
            downs = [await me.receive() for _ in watched]
    assert {watched[down.monitor] for down in downs} == set(watched.values())
    assert {type(down.reason) for down in downs} == {Incomparable}


async def test_one_that_cannot_be_told_of_an_end_keeps_no_other_from_it(
    core: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node("n") as node, node.mailbox() as me:
        ending, watched = await linked_to_one_that_ends(node, me)
        second = node.processes[list(watched.values())[2].serial]

        def linked_ended(body: Body, ref: Ref[Any], reason: Reason) -> None:
            if body is second.body:
                raise LookupError("on purpose")

        monkeypatch.setattr(Body, "linked_ended", linked_ended)
        me.exit(ending, KILL)
        with trio.fail_after(5):
            downs = {
                watched[down.monitor]: str(down.reason) for down in [await me.receive() for _ in watched]
            }
    assert list(downs.values()).count("killed") == 3
    assert "StepFailed" in downs[second.ref]


@needs_compiled
def test_a_second_interpreter_is_refused() -> None:
    interpreters: Any = pytest.importorskip(
        "_xxsubinterpreters", reason="it has another name in later versions"
    )
    compiled = sys.modules["enfilade.actors.core.compiled"]
    code = f"""
import importlib.machinery, importlib.util
name = "enfilade.actors.core.compiled"
loader = importlib.machinery.ExtensionFileLoader(name, {compiled.__file__!r})
spec = importlib.util.spec_from_loader(name, loader)
try:
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    module.bind({{}}, {{}})
except ImportError as error:
    assert "interpreter" in str(error), error  # later versions do not load it there at all
else:
    raise AssertionError("it was bound twice")
"""
    second = interpreters.create()
    try:
        interpreters.run_string(second, code)
    finally:
        interpreters.destroy(second)
    assert sys.modules["enfilade.actors.core.compiled"] is compiled
