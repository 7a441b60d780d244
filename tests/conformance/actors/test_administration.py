"""Group B: what a supervisor can be asked, and how it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    Actor,
    BadArguments,
    CallTimeout,
    InvalidKey,
    NoProcess,
    PartitionSupervisor,
    Ref,
    Started,
)
from enfilade.actors.supervision.backoff import Backoff
from enfilade.actors.supervision.child_spec import BadCombination, Child, InvalidChild, InvalidFlag
from enfilade.actors.supervision.children import ChildCounts
from enfilade.actors.supervision.dynamic import DynamicSupervisor
from enfilade.actors.supervision.refusals import (
    AlreadyPresent,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    NoChildIds,
    NoTemplate,
    StartFailed,
)
from enfilade.actors.supervision.supervisor import Supervisor
from tests.conformance.actors.family import BOOM, Family, clean_node, supervise

TIERS = ("sync", "async")


@pytest.mark.parametrize("tier", TIERS)
async def test_act_b_life_of_a_child(tier: str, autojump_clock: MockClock) -> None:
    """SUP-51, SUP-52: start, terminate, restart, delete; each refused where the child is not in the right
    state.
    """
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [])
        a = await supervisor.call(Supervisor.start_child, family.child("a", tier=tier))
        assert a == family.refs["a1"]
        with pytest.raises(ChildRunning) as running:
            await supervisor.call(Supervisor.start_child, family.child("a", tier=tier))
        assert running.value.ref == a
        for request in (Supervisor.restart_child, Supervisor.delete_child):
            with pytest.raises(ChildRunning):
                await supervisor.call(request, "a")
        await supervisor.call(Supervisor.terminate_child, "a")
        assert await family.shown(supervisor) == {"a": None}
        await supervisor.call(Supervisor.terminate_child, "a")
        assert await supervisor.call(Supervisor.restart_child, "a") == family.refs["a2"]
        await supervisor.call(Supervisor.terminate_child, "a")
        await supervisor.call(Supervisor.delete_child, "a")
        assert await family.shown(supervisor) == {}
        for request in (Supervisor.terminate_child, Supervisor.restart_child, Supervisor.delete_child):
            with pytest.raises(ChildNotFound):
                await supervisor.call(request, "a")
        with pytest.raises(ChildNotFound):
            await supervisor.call(Supervisor.get_childspec, "a")


async def test_act_b2_id_of_a_stopped_child(autojump_clock: MockClock) -> None:
    """SUP-51: already present."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a")])
        await supervisor.call(Supervisor.terminate_child, "a")
        with pytest.raises(AlreadyPresent) as refused:
            await supervisor.call(Supervisor.start_child, family.child("a"))
        assert refused.value.id == "a"


@pytest.mark.parametrize("tier", TIERS)
async def test_act_b_failed_start_child(tier: str, autojump_clock: MockClock) -> None:
    """SUP-51: the specification is discarded; so the id is free."""
    family = Family()
    family.outcomes["a"] = [BOOM]
    async with clean_node() as node:
        supervisor = await supervise(node, [])
        with pytest.raises(StartFailed) as failed:
            await supervisor.call(Supervisor.start_child, family.child("a", tier=tier))
        assert (failed.value.id, failed.value.reason) == ("a", BOOM)
        assert await family.shown(supervisor) == {}
        assert (
            await supervisor.call(Supervisor.start_child, family.child("a", tier=tier)) == family.refs["a2"]
        )


async def test_act_b_bad_start_child(autojump_clock: MockClock) -> None:
    """A bad specification is refused, and the supervisor goes on."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [])
        with pytest.raises(InvalidChild):
            await supervisor.call(Supervisor.start_child, 5)
        significant = family.child("a", restart="transient", significant=True)
        with pytest.raises(BadCombination):
            await supervisor.call(Supervisor.start_child, significant)
        assert await family.shown(supervisor) == {}


@pytest.mark.parametrize("tier", TIERS)
async def test_act_b7_information_of_a_start(tier: str, autojump_clock: MockClock) -> None:
    """SUP-6: what a start has to tell is passed through by start_child, restart_child and the template's."""

    class Telling(Actor):
        def __init__(self, *told: str) -> None:
            self.told = told

        def on_start(self) -> Any:
            return self.told or None

    class AsyncTelling(Telling):
        async def on_start(self) -> Any:
            await trio.lowlevel.checkpoint()
            return self.told or None

    actor = Telling if tier == "sync" else AsyncTelling
    async with clean_node() as node:
        supervisor = await supervise(node, [Child(actor, "early", id="early")])
        started = await supervisor.call(Supervisor.start_child, Child(actor, "x", 1, id="a"))
        (_, info) = await supervisor.call(Supervisor.children)
        assert started == Started(info.ref, ("x", 1))
        await supervisor.call(Supervisor.terminate_child, "a")
        again = await supervisor.call(Supervisor.restart_child, "a")
        assert isinstance(again, Started)
        assert again.info == ("x", 1)
        assert again.ref != started.ref
        assert isinstance(await supervisor.call(Supervisor.start_child, Child(actor, id="b")), Ref)
        pool = await node.spawn(DynamicSupervisor, Child(actor, "x"))
        grown = await pool.call(DynamicSupervisor.start_from_template, "y")
        assert isinstance(grown, Started)
        assert grown.info == ("x", "y")
        assert isinstance(await node.spawn(actor, "z"), Ref)


async def test_act_b_patience(autojump_clock: MockClock) -> None:
    """SUP-50: administration has no time limit, but for one that is asked for, and can be cancelled."""

    class Slow(Actor):
        async def on_start(self) -> None:
            await trio.sleep(1000)

    async with clean_node(call_timeout=1.0) as node:
        supervisor = await supervise(node, [])
        node.register("tree", supervisor)
        assert isinstance(await supervisor.call(Supervisor.start_child, Child(Slow, id=1)), Ref)
        named: Ref[Supervisor] = node.named("tree")
        assert isinstance(await named.call(Supervisor.start_child, Child(Slow, id=2)), Ref)
        with pytest.raises(CallTimeout):
            await supervisor.within(10).call(Supervisor.start_child, Child(Slow, id=3))
        with trio.move_on_after(10) as scope:
            await supervisor.call(Supervisor.count_children)
        assert scope.cancelled_caught
        await supervisor.call(Supervisor.terminate_child, 3)
        assert (await supervisor.call(Supervisor.count_children)).active == 2


class Faulty:
    """Its specification cannot be had."""

    @classmethod
    def child_spec(cls) -> Child:
        raise OSError("no configuration")


async def test_act_b_bad_arguments(autojump_clock: MockClock) -> None:
    """SUP-57: what is wrong with a request is told to whoever makes it, and the supervisor goes on."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a")])
        unknown: Any = ["unhashable"]
        for request in (
            Supervisor.terminate_child,
            Supervisor.restart_child,
            Supervisor.delete_child,
            Supervisor.get_childspec,
        ):
            with pytest.raises(ChildNotFound, match="unhashable"):
                await supervisor.call(request, unknown)
        with pytest.raises(InvalidChild, match="no configuration") as invalid:
            await supervisor.call(Supervisor.start_child, Faulty)
        assert (invalid.value.field, invalid.value.value) == ("child_spec", Faulty)
        anything: Any = Supervisor.start_child
        for args in ((), (1, 2)):
            with pytest.raises(BadArguments, match="start_child"):
                await supervisor.call(anything, *args)
            supervisor.cast(anything, *args)
        with pytest.raises(InvalidFlag, match="'intensity' is -1"):
            await supervisor.call(Supervisor.change, [], intensity=-1)
        with pytest.raises(InvalidChild, match="'children' is 5"):
            await supervisor.call(Supervisor.change, 5)  # type: ignore[arg-type]
        assert await family.shown(supervisor) == {"a": "a1"}
        pool = await node.spawn(DynamicSupervisor, family.child("w"))
        with pytest.raises(ChildNotFound):
            await pool.call(Supervisor.get_childspec, unknown)
        with pytest.raises(NoChildIds):
            await pool.call(DynamicSupervisor.terminate_child, unknown)
        with pytest.raises(NoProcess):
            await pool.call(DynamicSupervisor.terminate_child, node.named("nobody"))
        shards = await node.spawn(PartitionSupervisor, family.child("p"), partitions=2)
        with pytest.raises(InvalidKey, match="unhashable"):
            await shards.call(PartitionSupervisor.partition, unknown)
        assert (await shards.call(Supervisor.count_children)).active == 2


async def test_act_b_terminate_by_name(autojump_clock: MockClock) -> None:
    """SUP-72: a ref to a name stands for its holder."""
    family = Family()
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor)
        await pool.call(DynamicSupervisor.start_child, family.child("a", name="a"))
        await pool.call(DynamicSupervisor.terminate_child, node.named("a"))
        assert (await pool.call(Supervisor.count_children)).active == 0


async def test_act_b8_no_supervisor(autojump_clock: MockClock) -> None:
    async with clean_node() as node:
        nobody: Any = node.named("supervisor")
        for request in (Supervisor.children, Supervisor.count_children, Supervisor.which_children):
            with pytest.raises(NoProcess):
                await nobody.call(request)
        supervisor = await supervise(node, [])
        await supervisor.stop()
        with pytest.raises(NoProcess):
            await supervisor.call(Supervisor.terminate_child, "a")


async def test_act_b9_counts(autojump_clock: MockClock) -> None:
    """SUP-54: by type, running or not."""
    family = Family()
    async with clean_node() as node:
        children = [family.child("a"), family.child("b"), Child(Supervisor, id="s")]
        supervisor = await supervise(node, children)
        assert await supervisor.call(Supervisor.count_children) == ChildCounts(3, 3, 1, 2)
        await supervisor.call(Supervisor.terminate_child, "s")
        assert await supervisor.call(Supervisor.count_children) == ChildCounts(3, 2, 1, 2)


async def test_act_b10_a_thousand_children(autojump_clock: MockClock) -> None:
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, [])
        for number in range(1000):
            await supervisor.call(Supervisor.start_child, family.child(str(number)))
        children = await supervisor.call(Supervisor.which_children)
        counts = await supervisor.call(Supervisor.count_children)
        assert counts == ChildCounts(1000, 1000, 0, 1000)
        assert counts.active == len([child for child in children if child.ref is not None])


async def test_act_b11_dynamic_children_have_no_ids(autojump_clock: MockClock) -> None:
    """SUP-71: requests by id are refused."""
    family = Family()
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor, family.child("w"))
        await pool.call(DynamicSupervisor.start_from_template)
        for request in (Supervisor.delete_child, Supervisor.restart_child, Supervisor.terminate_child):
            with pytest.raises(NoChildIds):
                await pool.call(request, "w")
        assert (await pool.call(Supervisor.count_children)).active == 1


async def test_act_b12_terminating_strangers(autojump_clock: MockClock) -> None:
    """SUP-72: a live process that is no child is refused; one that has ended is gone already."""
    family = Family()
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor, family.child("w"))
        child = await pool.call(DynamicSupervisor.start_from_template)
        stranger = await node.spawn(Actor)
        with pytest.raises(ChildNotFound):
            await pool.call(DynamicSupervisor.terminate_child, stranger)
        await stranger.stop()
        await pool.call(DynamicSupervisor.terminate_child, stranger)
        await pool.call(DynamicSupervisor.terminate_child, child)
        await pool.call(DynamicSupervisor.terminate_child, child)
        assert (await pool.call(Supervisor.count_children)).active == 0
        supervisor = await supervise(node, [family.child("a")])
        with pytest.raises(ChildNotFound):
            await supervisor.call(Supervisor.terminate_child, family.refs["a1"])


async def test_act_b13_specification(autojump_clock: MockClock) -> None:
    """By id or by ref, with all defaults filled in."""
    family = Family()
    async with clean_node() as node:
        spec = family.child("a", restart="transient")
        supervisor = await supervise(node, [spec])
        assert await supervisor.call(Supervisor.get_childspec, "a") == spec
        assert await supervisor.call(Supervisor.get_childspec, family.refs["a1"]) == spec
        pool = await node.spawn(DynamicSupervisor, spec)
        child = await pool.call(DynamicSupervisor.start_from_template, 1)
        assert await pool.call(Supervisor.get_childspec, child) == spec
        with pytest.raises(ChildNotFound):
            await pool.call(Supervisor.get_childspec, family.refs["a1"])


async def test_act_b14_order(autojump_clock: MockClock) -> None:
    """SUP-53: newest first for which_children, start order for children; a restarted child stays in its
    place.
    """
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("abc"))
        await family.crash("b1")
        newest_first = await supervisor.call(Supervisor.which_children)
        assert [(info.id, family.name(info.ref)) for info in newest_first] == [
            ("c", "c1"),
            ("b", "b2"),
            ("a", "a1"),
        ]
        assert list(await family.shown(supervisor)) == ["a", "b", "c"]


async def test_act_b_requests_wait_for_a_start_in_progress(autojump_clock: MockClock) -> None:
    """SUP-50: OTP's order: a slow start holds every other request up."""
    family = Family()
    order = []

    class Slow(Actor):
        async def on_start(self) -> None:
            await trio.sleep(1)
            order.append("started")

    async with clean_node() as node:
        supervisor = await supervise(node, [family.child("a")])

        async def count() -> None:
            await supervisor.call(Supervisor.count_children)
            order.append("counted")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.call, Supervisor.start_child, Child(Slow))
            await wait_all_tasks_blocked()
            nursery.start_soon(count)
        assert order == ["started", "counted"]


async def test_act_b_template_is_needed(autojump_clock: MockClock) -> None:
    async with clean_node() as node:
        pool = await node.spawn(DynamicSupervisor)
        with pytest.raises(NoTemplate):
            await pool.call(DynamicSupervisor.start_from_template)


async def test_act_b_caller_gets_child_while_restarting(autojump_clock: MockClock) -> None:
    """Restarting children refuse restart_child and delete_child, and accept terminate_child."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(
            node, [family.child("a", backoff=Backoff(first=60, maximum=60, jitter=0))]
        )
        await family.crash("a1")
        assert await family.shown(supervisor) == {"a": "restarting"}
        for request in (Supervisor.restart_child, Supervisor.delete_child):
            with pytest.raises(ChildRestarting):
                await supervisor.call(request, "a")
        await supervisor.call(Supervisor.terminate_child, "a")
        await trio.sleep(100)
        assert await family.shown(supervisor) == {"a": None}
