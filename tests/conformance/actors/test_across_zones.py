"""Groups J to P a second time: the cases of one node, word for word, with their parties in different zones.

Each runs on the memory carrier, in virtual time, and through doors. What cannot, or would say nothing, is
listed with the reason.
"""

import itertools
import random
from types import ModuleType
from typing import Any

import pytest
import trio

from enfilade.actors import (
    KILL,
    KILLED,
    NO_PROCESS,
    SHUTDOWN,
    CallTimeout,
    DeadLetter,
    Down,
    Exited,
    IdleTimeout,
    Joined,
    Left,
    Mailbox,
    MailboxFull,
    NodeDown,
    NodeUp,
    NoProcess,
    Process,
    ReceiveTimeout,
)
from enfilade.actors.testing import VirtualClock
from tests.conformance.actors import (
    test_calls,
    test_links,
    test_mailboxes,
    test_monitors,
    test_names,
    test_servers,
)
from tests.conformance.actors.abroad import (
    BACK_ENDS,
    Abroad,
    autojump_clock,
    carrier_of,
    mesh_server,
    node,
    passed,
    settled,
)
from tests.conformance.actors.subjects import BOOM, TIERS, Sync, idle, obedient, trapper

__all__ = ["autojump_clock", "mesh_server", "node"]

HERE_ONLY = {
    "they look into the record of a process, which only its own node has; the rules come again below": (
        "test_act_j4_raised_kill_is_trappable",
        "test_link_carried_kill_ends_with_kill",
        "test_act_j13_links_agree",
        "test_long_chain_of_links_dies",
        "test_monitor_is_one_way",
        "test_act_k9_tables_are_empty_in_the_end",
        "test_act_p4_parked_receiver_is_woken_once",
        "test_act_p13_drop_policies",
        "test_fail_policy",
        "test_crash_policy",
        "test_call_that_finds_no_room_in_time",
        "test_calls_to_a_full_mailbox",
        "test_refusals_that_nobody_hears_are_counted",
        "test_request_to_a_full_mailbox_of_one_that_restarts",
        "test_send_wait",
        "test_control_lane_is_never_bounded",
        "test_act_p16_ask_of_a_stopping_parent",
    ),
    "each node has its own names and dead letters; the rules come again below": (
        "test_unalias",
        "test_act_o1_bad_registrations",
        "test_names_come_and_go",
        "test_send_to_a_name",
        "test_act_o4_duplicate_name_leaves_no_actor",
        "test_monitor_by_name_follows_the_process",
        "test_act_p10_message_to_the_dead",
        "test_what_lay_in_the_mailbox_is_dead_letters",
        "test_act_m13_cast_to_the_dead",
        "test_only_a_ref_monitors_groups",
    ),
    "they ask for an answer without waiting, which no other node can give; the rules come again below": (
        "test_act_k3_dead_target",
        "test_act_j7_link_to_a_dead_process",
    ),
    "what a peer asks for that is no method is refused, and harms nobody": (
        "test_act_m10_unknown_method_crashes",
    ),
    "they link in the moment of the spawn, which a process does on its own node": (
        "test_act_m1_start_outcomes",
        "test_act_m15_failure_after_the_start",
        "test_parent_and_callers",
    ),
    "a process sets timers on its own node": (
        "test_act_o11_timer_to_a_name",
        "test_act_o12_equal_deadlines_in_set_order",
        "test_bad_timers",
        "test_keyed_timer_of_a_function",
        "test_timer_fires_once",
        "test_timers_die_with_their_owner",
        "test_timers_fire_in_order_of_deadline",
    ),
    "they compare exceptions, or hand over classes, which do not travel": (
        "test_crash_runs_on_stop",
        "test_spawn_soon_reports_a_failing_start",
    ),
    "messages must lie in the mailbox when their receiver dies, which only its own node can arrange": (
        "test_act_p17_mailbox_is_inherited",
    ),
    "system messages reach the processes of their own node": (
        "test_act_m11_idle_timeout_of_a_busy_process",
        "test_deferred_call_fails_with_its_server",
        "test_bound_of_a_suspended_process",
    ),
    "the case talks to itself": (
        "test_act_p1_receive_without_filter",
        "test_act_p2_filter_leaves_the_others",
        "test_act_p3_several_filters_in_queue_order",
        "test_save_pointer",
        "test_act_p6_cancelled_receiver_loses_nothing",
        "test_put_and_cancel_at_once",
        "test_one_reader_at_a_time",
        "test_never_wait_for_oneself",
        "test_bound_counts_skipped_messages",
        "test_monitoring_oneself",
        "test_link_to_self_is_nothing",
    ),
    "only processes of a node join its groups: what other nodes see of them is act-O9": (
        "test_group_membership_counts",
        "test_leaving_a_group_is_told_once",
        "test_group_monitor",
        "test_act_o7_scope_monitor_removed",
        "test_act_o8_scopes_are_separate",
        "test_remote_members_are_replaced",
    ),
}


@pytest.fixture(params=BACK_ENDS)
def back_end(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What carries the node link."""

    async def wait(*_: Any) -> None:
        await settled()

    for module in MODULES:
        if hasattr(module, "wait_all_tasks_blocked"):
            monkeypatch.setattr(module, "wait_all_tasks_blocked", wait)
    return carrier_of(request)


MODULES = (test_links, test_monitors, test_calls, test_names, test_mailboxes, test_servers)


def _cases(module: ModuleType) -> dict[str, Any]:
    kept_here = {name for names in HERE_ONLY.values() for name in names}
    return {
        name: case
        for name, case in vars(module).items()
        if name.startswith("test_") and name not in kept_here and "node" in case.__code__.co_varnames
    }


for _module in MODULES:
    globals().update(_cases(_module))


# The rules of the cases that cannot run as they are.


def process_of(ref: Any) -> Process:
    """The record behind a ref of the node at hand."""
    process: Process = ref._process
    return process


@pytest.mark.parametrize("trapping", [True, False])
async def test_act_j4_kill_over_a_link(autojump_clock: VirtualClock, node: Abroad, trapping: bool) -> None:
    """L3: a process that ends with the reason kill sends kill over its links: trapped, or died of as kill."""
    async with node.mailbox() as me:
        victim = await node.spawn(obedient)
        peer = await node.home.spawn(trapper if trapping else idle, *([me.ref] if trapping else []))
        if trapping:
            assert await me.receive(timeout=1) == "ready"
        me.monitor(peer)
        process_of(peer).link(victim)
        await settled()
        victim.send(KILL)
        told = await me.receive(timeout=1)
        if trapping:
            assert told == Exited(victim, KILL)
            assert process_of(peer).ended is None
        else:
            assert told.reason == KILL


@pytest.mark.parametrize("trapping", [True, False])
async def test_act_j7_link_to_a_dead_far_process(
    autojump_clock: VirtualClock, node: Abroad, trapping: bool
) -> None:
    """L2: a link to a dead process is answered with no process, which one that does not trap dies of."""
    dead = await node.spawn(Sync)
    await dead.stop()
    async with node.mailbox() as me:
        peer = await node.home.spawn(trapper if trapping else idle, *([me.ref] if trapping else []))
        if trapping:
            assert await me.receive(timeout=1) == "ready"
        me.monitor(peer)
        process_of(peer).link(dead)
        told = await me.receive(timeout=1)
        assert told == Exited(dead, NO_PROCESS) if trapping else told.reason == NO_PROCESS


@pytest.mark.parametrize("seed", range(5))
async def test_act_j13_far_links_agree(autojump_clock: VirtualClock, node: Abroad, seed: int) -> None:
    """After links and unlinks that crossed on their way, both sides hold the same, and so do both nodes."""
    generator = random.Random(seed)
    near, far = await node.home.spawn(idle), await node.far.spawn(idle)
    seen_near, seen_far = passed(near, node.home, node.far), passed(far, node.far, node.home)
    sides = [(process_of(near), seen_far), (process_of(far), seen_near)]
    for _ in range(300):
        process, other = sides[generator.randrange(2)]
        generator.choice([process.link, process.unlink])(other)
        if not generator.randrange(4):
            await trio.lowlevel.checkpoint()
    await settled()
    held = [dict(process.links or {}) for process, _ in sides]
    assert (held[0] == {seen_far: 0}) == (held[1] == {seen_near: 0})
    assert all(not links or list(links.values()) == [0] for links in held)
    async with node.mailbox() as me:
        me.monitor(near)
        me.exit(seen_far, BOOM)
        if held[0]:
            assert (await me.receive(match=Down, timeout=1)).reason == BOOM
        else:
            with pytest.raises(ReceiveTimeout):
                await me.receive(timeout=1)
    near.exit(KILL)


async def test_mesh_20_chain_of_links_between_two_nodes(autojump_clock: VirtualClock, node: Abroad) -> None:
    """L7: an exit that goes to and fro over many links reaches the last process."""
    chain = [await side.spawn(Sync) for _ in range(100) for side in (node.home, node.far)]
    for left, right in itertools.pairwise(chain):
        there = node.far if process_of(left).node is node.home else node.home
        process_of(left).link(passed(right, there, process_of(left).node))
    await settled()
    async with node.mailbox() as me:
        me.monitor(passed(chain[-1], node.far, node.home))
        chain[0].exit(BOOM)
        assert (await me.receive(match=Down, timeout=10)).reason == BOOM
    assert not node.home.processes
    assert not node.far.processes


async def test_link_to_a_name_far_away(autojump_clock: VirtualClock, node: Abroad) -> None:
    """L1: links are between processes; a name on another node has to be looked up first."""
    await node.spawn(idle, name="it")
    async with node.mailbox() as me:
        with pytest.raises(TypeError, match="whereis_on"):
            me.link(node.named("it"))
        assert not me.links


async def test_exit_and_stop_by_name(autojump_clock: VirtualClock, node: Abroad) -> None:
    """L3, S8: whoever holds an exported name can be ended by it, as at home."""
    async with node.mailbox() as me:
        for end, reason in (
            (lambda: node.named("it").exit(KILL), KILLED),
            (lambda: me.exit(node.named("it"), BOOM), BOOM),
        ):
            me.monitor(await node.spawn(idle, name="it"))
            end()
            assert (await me.receive(match=Down, timeout=1)).reason == reason
        me.monitor(await node.spawn(Sync, name="it"))
        await node.named("it").stop(SHUTDOWN)
        assert (await me.receive(match=Down, timeout=1)).reason == SHUTDOWN


@pytest.mark.parametrize("target", ["dead", "nobody"])
async def test_act_k3_dead_far_target(autojump_clock: VirtualClock, node: Abroad, target: str) -> None:
    """K2: monitoring what does not exist is answered, and the monitor is over."""
    async with node.mailbox() as me:
        ref = node.named("nobody")
        if target == "dead":
            ref = await node.spawn(Sync)
            await ref.stop()
        monitor = me.monitor(ref)
        down = await me.receive(match=Down, timeout=1)
        assert (down.monitor, down.reason) == (monitor, NO_PROCESS)
        assert not monitor.active


async def test_monitor_by_a_far_name_follows_the_process(autojump_clock: VirtualClock, node: Abroad) -> None:
    """K3: a monitor by name watches who held the name when it was set up."""
    async with node.mailbox() as me:
        first = await node.spawn(obedient, name="it")
        monitor = me.monitor("it")
        await node.home.whereis_on(node.far.full_name, "it")
        node.unregister("it")
        await node.spawn(idle, name="it")
        first.send(BOOM)
        down = await me.receive(match=Down, timeout=1)
        assert (down.monitor, down.ref, down.reason) == (monitor, node.named("it"), BOOM)
        assert node.far.whereis("it") is not None


async def test_act_k9_tables_of_two_nodes_are_empty_in_the_end(
    autojump_clock: VirtualClock, node: Abroad
) -> None:
    """Monitors across nodes that were made and removed leave nothing behind, on either node or between."""
    refs = [await node.spawn(Sync) for _ in range(50)]
    async with node.mailbox() as me:
        monitors = [me.monitor(ref) for ref in refs for _ in range(20)]
        await settled()
        assert node.home.statistics().monitors == node.far.statistics().watchers == 1000
        for monitor in monitors[::2]:
            me.demonitor(monitor)
        for ref in refs:
            await ref.stop()
        for _ in monitors[1::2]:
            await me.receive(match=Down, timeout=1)
    await settled()
    for one, other in ((node.home, node.far), (node.far, node.home)):
        statistics = one.statistics()
        assert (statistics.monitors, statistics.watchers) == (0, 0)
        ledger = one.distribution._current[other.full_name]._open  # type: ignore[attr-defined]
        assert not ledger.monitors
        assert not ledger.watched


@pytest.mark.parametrize("tier", TIERS)
async def test_act_p10_message_to_the_far_dead(autojump_clock: VirtualClock, node: Abroad, tier: Any) -> None:
    """A call gets a typed error; a message becomes a dead letter of the node where its receiver was."""
    ref = await node.spawn(tier)
    ref.exit(BOOM)
    await settled()
    with pytest.raises(NoProcess):
        await ref.call(tier.echo, 1)
    async with node.far.mailbox() as there:
        node.far.dead_letters.subscribe(there.ref)
        ref.send("hello")
        ref.cast(tier.note, 1)
        letters = [await there.receive(match=DeadLetter, timeout=1) for _ in range(2)]
    assert (letters[0].message, letters[0].ref, letters[0].reason) == ("hello", ref, BOOM)
    assert letters[1].message.method == "note"


@pytest.mark.parametrize(
    ("overflow", "kept", "letters"),
    [
        ("drop_newest", [0, 1, 2], 0),
        ("drop_oldest", [3, 4, 5], 0),
        ("dead_letter", [0, 1, 2], 3),
        ("fail", [0, 1, 2], 3),
        ("block", [0, 1, 2], 3),
    ],
)
async def test_act_p13_full_far_mailbox(
    autojump_clock: VirtualClock, node: Abroad, overflow: Any, kept: list[int], letters: int
) -> None:
    """M7, M8, D7: what is refused comes back to the sender's node; a caller learns of it."""
    go = trio.Event()

    async def busy(me: Process) -> None:
        await go.wait()
        for expected in kept:
            assert await me.receive(timeout=0) == expected
        await trio.sleep_forever()

    ref = await node.spawn(busy, mailbox=Mailbox(3, overflow))
    for number in range(6):
        ref.send(number)
    await settled()
    refused = overflow in ("fail", "block")
    assert (node.home if refused else node.far).dead_letters.count == letters
    assert (node.far if refused else node.home).dead_letters.count == 0
    if overflow != "drop_oldest":
        with pytest.raises(CallTimeout if overflow == "block" else MailboxFull):
            await ref.call(Sync.echo, 1)
    go.set()
    await settled()
    assert len(node.far.processes) == 1


async def test_names_are_each_nodes_own(autojump_clock: VirtualClock, node: Abroad) -> None:
    """N1: the same name on two nodes is two names; a process of another node cannot be registered here."""
    here, there = await node.home.spawn(Sync, name="it"), await node.spawn(Sync, name="it")
    assert node.home.whereis("it") == here
    assert await node.home.whereis_on(node.far.full_name, "it") == there
    with pytest.raises(TypeError, match="only processes of this node"):
        node.home.register("that", there)
    await there.stop()
    assert await node.home.whereis_on(node.far.full_name, "it") is None


async def test_what_the_runtime_tells_can_be_passed_on(autojump_clock: VirtualClock, node: Abroad) -> None:
    """What a process is told, it may tell a process of another node."""
    ref = await node.spawn(idle)
    async with node.mailbox() as me:
        echo = await node.spawn(echoing)
        for event in (
            Exited(ref, BOOM),
            IdleTimeout(1.5),
            Joined("default", "g", (ref,)),
            Left("default", "g", (ref,)),
            NodeUp("a@b"),
            NodeDown("a@b", "gone"),
        ):
            echo.send((me.ref, event))
            assert await me.receive(timeout=1) == event


async def echoing(me: Process) -> None:
    """Sends back what comes."""
    while True:
        sender, message = await me.receive()
        sender.send(message)
