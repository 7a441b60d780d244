"""Samples of who holds the loop: what is made of them, and the thread in C that takes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import KILL, Actor, Node, Process, Ref, open_node
from enfilade.actors.observing.protocol.views import NodeView, TableView
from enfilade.actors.observing.sampling.sampler import Samples, new_sampler, words
from enfilade.actors.processes.local_ref import process_of

needs_words = pytest.mark.skipif(words is None, reason="the sampler is not compiled here")


class Till(Actor):
    def pay(self) -> None:
        """Do nothing."""


class Burner(Actor):
    """Is always busy: `hold` runs for each message, and each message brings the next."""

    def __init__(self, hold: Callable[[], object], pause: float = 0.0) -> None:
        self.hold = hold
        self.pause = pause
        self.held = 0.0

    def on_message(self, message: Any) -> None:
        began = time.perf_counter()
        self.hold()
        self.held += time.perf_counter() - began
        if self.pause:
            self.process.send_after(self.pause, self.process.ref, message)
        else:
            self.process.ref.send(message)


def compute(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


class Scripted:
    """A sampler whose samples the test chooses."""

    def __init__(self) -> None:
        self.next = Samples(0, {}, {})
        self.is_over = False

    def take(self) -> Samples:
        taken, self.next = self.next, Samples(0, {}, {})
        return taken

    def end(self) -> None:
        self.is_over = True


def record(ref: Ref[Any]) -> Process:
    process = process_of(ref)
    assert process is not None
    return process


async def test_obs_33_a_process_is_busy_for_its_share_of_the_samples(autojump_clock: MockClock) -> None:
    """Those of an address that may have had two owners are nobody's, and so is the rest."""

    async def fn(me: Process) -> None:
        await me.receive()

    sampler = Scripted()
    async with open_node("bank") as node:
        node.observation.counts.new_sampler = lambda node: sampler
        long, short, gone = [await node.spawn(Till) for _ in range(3)]
        task = await node.spawn(fn)
        view = TableView(columns=("busy", "seconds"), sort="busy", match="actor = Till", grave=0)
        async with node.watch(view) as states, node.counting() as counts:
            assert {row["busy"] for row in (await anext(states)).rows} == {0.0}
            for ref in (long, short, gone):
                ref.cast(Till.pay)
            await wait_all_tasks_blocked()
            by_address = {id(record(ref)): n for ref, n in ((long, 60), (short, 20), (gone, 10))}
            sampler.next = Samples(100, by_address, {record(task): 5})
            gone.exit(KILL)
            state = await anext(states)
            assert [(row["serial"], row["busy"], row["seconds"]) for row in state.rows] == [
                (long.serial, 0.6, 0.6),
                (short.serial, 0.2, 0.2),
            ]
            assert counts.reader("busy")(record(task)) == 0.05
            later = await anext(states)
            assert [(row["busy"], row["seconds"]) for row in later.rows] == [(0.0, 0.6), (0.0, 0.2)]
        assert sampler.is_over


async def test_nobody_is_busy_under_virtual_time(autojump_clock: MockClock) -> None:
    """There the sampler does not run, and the node says so."""
    async with open_node("bank") as node:
        await node.spawn(Till)
        async with node.watch(NodeView()) as numbers, node.watch(TableView(sort="busy")) as states:
            assert not (await anext(numbers)).fields["observation"]["sampling"]
            assert {row["busy"] for row in (await anext(states)).rows} == {None}


async def test_more_active_processes_than_are_gone_through_at_once(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node, node.counting() as counts:
        refs = [await node.spawn(Till) for _ in range(1_500)]
        for ref in refs:
            ref.cast(Till.pay)
        await trio.sleep(1.5)
        assert {counts.handled(ref) for ref in refs} == {1}
        assert {counts.reader("rate")(record(ref)) for ref in refs} == {1.0}
        assert counts.total == 1_500


class Holder:
    __slots__ = ("other", "running")

    def __init__(self) -> None:
        self.running: Any = None
        self.other: Any = None


@needs_words
def test_the_thread_sees_what_is_in_the_word_also_while_the_interpreter_sleeps() -> None:
    """Half of obs-34: a handler in `time.sleep` is seen, though it has let go of the interpreter."""
    holder = Holder()
    holder.running = object()
    functions = words.begin(holder, holder.running)
    seen: list[int] = []
    while len(seen) < 3:
        time.sleep(0.001)
        seen += functions["take"]()[0]
    assert set(seen) == {id(holder.running)}
    holder.running = None
    functions["take"]()
    nobody: list[int] = []
    while not nobody:
        nobody += functions["take"]()[0]
    assert set(nobody) == {0}
    functions["end"]()
    functions["end"]()
    functions["take"]()
    time.sleep(0.05)  # in which it would have found something several times
    assert functions["take"]() == ([], {})


@needs_words
def test_samples_of_a_step_are_the_task_s_until_a_process_runs_in_it() -> None:
    holder, task, inner, outer = Holder(), object(), object(), object()
    holder.running = value = object()
    functions = words.begin(holder, value)
    holder.running = None
    before, after, take = functions["before_task_step"], functions["after_task_step"], functions["take"]

    def step(
        running: Any, *, until: Callable[[list[int], dict[Any, int]], bool]
    ) -> tuple[set[int], set[Any]]:
        """Be in steps of a task, with `running` in the word, until the samples are there."""
        take()
        found: list[int] = []
        tasks: dict[Any, int] = {}
        while not until(found, tasks):
            before(task)
            holder.running = running
            compute(0.02)
            holder.running = None
            after(task)
            more = take()
            found += more[0]
            tasks.update(more[1])
        return set(found) - {0}, set(tasks)

    assert step(None, until=lambda _, tasks: task in tasks) == (set(), {task})
    handed = object()
    found, _ = step(handed, until=lambda found, _: id(handed) in found)
    assert found == {id(handed)}
    holder.running = outer  # another task is stepped within the turn of a process
    stepped: dict[Any, int] = {}
    take()
    while not stepped:
        before(inner)
        compute(0.02)
        after(inner)
        before(task)
        after(task)
        stepped = take()[1]
    assert set(stepped) == {inner}
    functions["end"]()


@needs_words
def test_a_slot_that_is_not_found_once_is_not_sampled() -> None:
    holder = Holder()
    holder.running = holder.other = object()
    with pytest.raises(LookupError, match="one slot"):
        words.begin(holder, holder.running)
    with pytest.raises(LookupError, match="one slot"):
        words.begin(holder, object())


@needs_words
async def test_a_node_has_its_sampler_while_it_counts() -> None:
    """In real time; it leaves neither its thread nor its instrument."""
    async with open_node("bank") as node:
        running = node.dispatcher.running
        sampler = new_sampler(node)
        assert sampler is not None
        assert node.dispatcher.running is running
        sampler.end()
        async with node.counting() as counts:
            assert counts.is_sampled
        assert not counts.is_sampled


def held(ref: Ref[Any]) -> float:
    """Seconds that the handlers of a burner have taken, by the clock on the wall."""
    seconds: float = record(ref).body.actor.held
    return seconds


async def shares(node: Node, *refs: Ref[Any], seconds: float) -> list[tuple[float, float]]:
    """The share of the samples that each process has, over some seconds; and that of the time, which on a
    machine with much to do is another one than that of the work.
    """
    sampler = new_sampler(node)
    assert sampler is not None
    began = time.perf_counter()
    for ref in refs:
        ref.send("go")
    await trio.sleep(seconds)
    samples, elapsed = sampler.take(), time.perf_counter() - began
    sampler.end()
    found = [samples.by_address.get(id(record(ref)), 0) / samples.count for ref in refs]
    return [(share, held(ref) / elapsed) for share, ref in zip(found, refs, strict=True)]


@pytest.mark.soak
@pytest.mark.real
@needs_words
async def test_obs_33_handlers_of_three_milliseconds_and_of_one() -> None:
    async with open_node("bank") as node:
        refs = [await node.spawn(Burner, lambda s=s: compute(s)) for s in (0.003, 0.001)]
        found = await shares(node, *refs, seconds=10)
    assert all(abs(share - true) < 0.06 for share, true in found), found
    assert 0.8 < sum(share for share, _ in found) <= 1.0
    assert found[0][1] > 2 * found[1][1], "the one has three times as much to do"


@pytest.mark.soak
@pytest.mark.real
@needs_words
async def test_obs_34_sleeping_in_a_handler_counts_and_waiting_for_messages_does_not() -> None:
    async with open_node("bank") as node:
        computing = await node.spawn(Burner, lambda: compute(0.002))
        sleeping = await node.spawn(Burner, lambda: time.sleep(0.002))
        both = await shares(node, computing, sleeping, seconds=10)
        computing.exit(KILL)
        sleeping.exit(KILL)
        resting = await node.spawn(Burner, lambda: compute(0.002), 0.002)
        (alone,) = await shares(node, resting, seconds=10)
    assert all(abs(share - true) < 0.06 for share, true in (*both, alone)), (both, alone)
    assert all(true > 0.2 for _, true in both)
    assert alone[1] < 0.9, "it waits for a timer in between"
