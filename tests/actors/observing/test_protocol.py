"""The observation protocol between two nodes: updates, windows, limits, rights."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    Actor,
    Child,
    DynamicSupervisor,
    Node,
    NoProcess,
    Process,
    Refused,
    Supervisor,
    open_node,
    system,
)
from enfilade.actors.observing.protocol.views import (
    EventView,
    NodeView,
    ProcessView,
    ReplicaView,
    TableView,
    TreeView,
    Update,
)
from enfilade.actors.observing.watches.client import Client, States
from enfilade.actors.observing.watches.desk import Desk
from enfilade.actors.observing.watches.watch import Watch
from enfilade.transport.policy import CONTROL, INSPECT, OBSERVE, TRACE, Rights
from tests.actors.observing.pair import observed


class Till(Actor):
    def __init__(self) -> None:
        self.pin = "sesame"

    def pay(self, pin: str) -> None:
        raise ValueError(f"pin {pin}")

    def wait(self) -> None:
        """Do nothing."""


def client(eye: Node, **options: Any) -> Client:
    return Client(eye, "bank@local", **options)


async def next_of(states: States) -> Any:
    with trio.fail_after(300):
        return await anext(states)


async def tills(bank: Node, count: int) -> list[Any]:
    return [await bank.spawn(Till, name=f"till {number}") for number in range(count)]


MINE = "actor = Till"


async def test_obs_12_the_second_update_of_an_idle_node_is_empty(autojump_clock: MockClock) -> None:
    async with observed() as (bank, eye):
        await tills(bank, 10)
        view = TableView(sort="queued", count=5, match=MINE)
        async with client(eye).watch(view) as states:
            first = await next_of(states)
            second = await next_of(states)
    assert (first.update.number, first.update.full) == (1, True)
    assert first.fields["matched"] == 10
    assert first.fields["total"] > 10
    assert len(first.rows) == len(first.fields["order"]) == 5
    assert (second.update.number, second.update.full) == (2, False)
    assert second.update.data == {"rows": [], "left": []}
    assert second.rows == first.rows


async def test_obs_13_a_row_that_changes_is_sent_with_its_changed_fields(autojump_clock: MockClock) -> None:
    async with observed() as (bank, eye):
        refs = await tills(bank, 10)
        await system.suspend(refs[7])
        async with client(eye).watch(TableView(sort="queued", count=5, match=MINE)) as states:
            await next_of(states)
            for _ in range(100):
                refs[7].cast(Till.wait)
            state = await next_of(states)
        await system.resume(refs[7])
    serial = refs[7].serial
    assert state.fields["order"][0] == serial
    assert state.rows[0]["queued"] == 100
    (changed,) = [row for row in state.update.data["rows"] if row["serial"] == serial]
    assert changed["queued"] == 100
    others = [row for row in state.update.data["rows"] if row["serial"] != serial]
    assert not others


async def test_obs_14_nothing_is_sent_until_the_last_update_is_acknowledged(
    autojump_clock: MockClock,
) -> None:
    async with observed() as (bank, eye), eye.mailbox() as me:
        refs = await tills(bank, 3)
        await system.suspend(refs[0])
        desk = eye.remote(OBSERVE, "bank@local")
        watch: Any = await desk.call(Desk.watch, me.ref, TableView(match=MINE))
        first = await me.receive(Update)
        for _ in range(1_000):
            refs[0].cast(Till.wait)
        await trio.sleep(5)
        assert not me.queue
        watch.cast(Watch.ack, first.number)
        second = await me.receive(Update)
        await system.resume(refs[0])
    assert second.number == 2
    assert [(row["serial"], row["queued"]) for row in second.data["rows"]] == [(refs[0].serial, 1_000)]
    assert second.every >= 5


async def test_an_observer_that_never_acknowledges_loses_its_watch(autojump_clock: MockClock) -> None:
    async with observed() as (_bank, eye), eye.mailbox() as me:
        desk = eye.remote(OBSERVE, "bank@local")
        watch: Any = await desk.call(Desk.watch, me.ref, NodeView())
        me.monitor(watch)
        await me.receive(Update)
        began = trio.current_time()
        await me.receive(lambda message: not isinstance(message, Update))
        assert 60 <= trio.current_time() - began < 63


async def test_obs_16_a_change_of_the_view_does_not_wait(autojump_clock: MockClock) -> None:
    async with observed() as (bank, eye):
        await tills(bank, 10)
        async with client(eye).watch(TableView(count=5, match=MINE), interval=60) as states:
            first = await next_of(states)
            began = trio.current_time()
            await states.change(TableView(sort="name", descending=False, count=3, match=MINE))
            second = await next_of(states)
            assert trio.current_time() - began < 1
    assert (second.update.number, second.update.full) == (first.update.number + 1, True)
    assert [row["name"] for row in second.rows] == ["till 0", "till 1", "till 2"]


async def test_obs_19_a_name_is_followed_to_the_next_incarnation(autojump_clock: MockClock) -> None:
    async with observed() as (bank, eye):
        await bank.spawn(Supervisor, [Child(Till, id="a", name="till")], intensity=9)
        old = bank.whereis("till")
        async with client(eye, right="inspect").watch(ProcessView("till")) as states:
            assert (await next_of(states)).fields["serial"] == old.serial  # type: ignore[union-attr]
            bank.named("till").cast(Till.pay, "1")
            found = [await next_of(states) for _ in range(3)]
        new = bank.whereis("till")
    assert [state.fields["serial"] for state in found] == [old.serial, new.serial, new.serial]  # type: ignore[union-attr]
    assert found[0].fields["ended"]["type"] == "Crashed"
    assert "pin 1" in found[0].fields["ended"]["text"]
    assert [state.fields["ended"] is None for state in found] == [False, True, True]
    assert [state.update.number for state in found] == [2, 3, 4]


async def test_obs_20_the_end_of_a_process_is_a_state(autojump_clock: MockClock) -> None:
    async with observed() as (bank, eye):
        till, other = await tills(bank, 2)
        async with (
            client(eye).watch(ProcessView(till.serial)) as states,
            client(eye).watch(TableView(match=MINE, grave=5.0)) as table,
        ):
            await next_of(states)
            await next_of(table)
            till.cast(Till.pay, "1")
            ended = await next_of(states)
            assert ended.update.data["ended"] == {"type": "Crashed", "is_normal": False, "hidden": True}
            assert (await next_of(states)).update.data == {}
            rows = {row["serial"]: row for row in (await next_of(table)).rows}
            assert rows[till.serial]["state"] == "ended"
            assert rows[other.serial]["state"] == "idle"
            for _ in range(6):
                last = await next_of(table)
            assert [row["serial"] for row in last.rows] == [other.serial]


async def test_obs_21_a_tree_is_opened_branch_by_branch(autojump_clock: MockClock) -> None:
    leaves = [Child(Till, id=f"leaf {number}") for number in range(100)]
    inner = Child(Supervisor, leaves, id="inner")
    async with observed() as (bank, eye):
        bank.root = top = await bank.spawn(Supervisor, [inner, Child(Till, id="till")], name="top")
        async with client(eye).watch(TreeView()) as states:
            (branch,) = (await next_of(states)).fields["branches"]
            assert (branch["process"], branch["children"], branch["open"]) == (top.serial, 2, False)
            assert branch["below"]["processes"] == 102
            await states.change(TreeView(open=(top.serial,)))
            branches = (await next_of(states)).fields["branches"]
            assert [(b["id"], b["depth"]) for b in branches] == [("top", 0), ("inner", 1), ("till", 1)]
            assert branches[1]["below"] == {"processes": 100, "restarts": 0, "queued": 0}
            await states.change(TreeView(open=(top.serial, branches[1]["process"]), count=50))
            state = await next_of(states)
            assert len(state.fields["branches"]) == 50
            assert state.fields["is_cut"]


async def test_of_a_tree_only_what_has_changed_is_sent(autojump_clock: MockClock) -> None:
    """A branch that has changed comes whole, the order only when it is another one, else nothing."""
    children = [Child(Till, id=f"till {number}", name=f"till {number}") for number in range(20)]
    async with observed() as (bank, eye):
        bank.root = top = await bank.spawn(Supervisor, children, name="top", intensity=50)
        view = TreeView(open=(top.serial,))
        async with client(eye).watch(view) as states:

            async def shown() -> Any:
                state = await next_of(states)
                async with client(eye).watch(view) as others:
                    assert state.fields == (await next_of(others)).fields
                return state.update.data

            assert len((await shown())["branches"]) == 21
            assert await shown() == {}
            await system.suspend(bank.whereis("till 7"))
            bank.named("till 7").cast(Till.wait)
            data = await shown()
            assert [(branch["id"], branch["queued"]) for branch in data["branches"]] == [("till 7", 1)]
            assert "order" not in data
            bank.named("till 3").cast(Till.pay, "1")
            data = await shown()
            assert [branch["id"] for branch in data["branches"]] == ["top", "till 3"]
            assert len(data["order"]) == 21
            await top.call(Supervisor.terminate_child, "till 5")
            await top.call(Supervisor.terminate_child, "till 6")
            data = await shown()
            gone = [(branch["id"], branch["process"]) for branch in data["branches"] if branch["id"] != "top"]
            assert gone == [("till 5", None), ("till 6", None)]
            await top.call(Supervisor.delete_child, "till 5")
            data = await shown()
            assert len(data["order"]) == 20


async def test_events_are_kept_for_those_who_come_late(autojump_clock: MockClock) -> None:
    async with observed() as (bank, eye):
        await bank.spawn(Supervisor, [Child(Till, id="a", name="till")], intensity=9)
        bank.named("till").cast(Till.pay, "1")
        await wait_all_tasks_blocked()
        view = EventView(("child.*", "process.crashed"))
        async with client(eye).watch(view) as states:
            kinds = [
                event["kind"] for event in (await next_of(states)).events if event.get("child_id") == "a"
            ]
            assert kinds == ["child.started", "process.crashed", "child.terminated", "child.restarted"]
            bank.named("till").cast(Till.pay, "1")
            later = (await next_of(states)).events
            assert [event["kind"] for event in later] == kinds[1:]
            last = later[-1]["number"]
        bank.named("till").cast(Till.pay, "1")
        await wait_all_tasks_blocked()
        async with client(eye).watch(EventView(view.kinds, since=last)) as states:
            again = (await next_of(states)).events
        assert [event["kind"] for event in again] == kinds[1:]
        numbers = [event["number"] for event in again]
        assert numbers == sorted(numbers)
        assert numbers[0] > last


async def test_obs_23_events_go_on_after_a_reconnect(autojump_clock: MockClock) -> None:
    """From the number that was seen last; what is no longer kept is counted as missed."""
    kinds = ("child.*",)
    async with observed() as (bank, eye):
        parent = await bank.spawn(DynamicSupervisor)

        async def start(count: int) -> None:
            for _ in range(count):
                await parent.call(DynamicSupervisor.start_child, Child(Till))

        async def seen(since: int) -> tuple[list[int], int]:
            async with client(eye).watch(EventView(kinds, since=since)) as states:
                numbers: list[int] = []
                missed = 0
                while True:
                    state = await next_of(states)
                    missed += state.update.missed
                    if not state.events:
                        return numbers, missed
                    numbers += [event["number"] for event in state.events]

        await start(3)
        last = (await seen(0))[0][-1]
        eye.distribution.disconnect("bank@local")
        await start(5)
        await eye.connect("/bank")
        numbers, missed = await seen(last)
        assert (len(numbers), missed) == (5, 0)
        assert numbers == sorted(numbers)
        assert numbers[0] > last
        await wait_all_tasks_blocked()  # the end of the watch is an event, too
        before = bank.observation.number
        await start(1_100)
        numbers, missed = await seen(before)
        assert len(numbers) == 1_024
        assert missed == numbers[0] - before - 1 == 1_100 - 1_024


async def test_obs_27_a_slow_link_gets_a_replica_piece_by_piece(autojump_clock: MockClock) -> None:
    """Pieces that need a second each on their way: one is under way at a time, and others are answered."""
    async with observed() as (bank, eye), eye.mailbox() as me:
        refs = [bank.spawn_soon(Till) for _ in range(2_000)]
        await wait_all_tasks_blocked()
        watch: Any = await eye.remote(OBSERVE, "bank@local").call(Desk.watch, me.ref, ReplicaView())
        rows: dict[int, Any] = {}
        pieces = []
        while "end" not in pieces:
            update = await me.receive(Update)
            await trio.sleep(1)  # what 64 KiB/s make of a piece
            assert not me.queue
            began = trio.current_time()
            assert await bank.named(OBSERVE).call(Desk.hello)
            assert trio.current_time() - began < 0.5
            pieces.append(update.data["piece"])
            rows.update({row["serial"]: row for row in update.data.get("rows", ())})
            assert len(update.data.get("rows", ())) <= 512
            watch.cast(Watch.ack, update.number)
        assert len(pieces) >= 5
        assert rows.keys() >= {ref.serial for ref in refs}


async def test_a_watch_ends_with_its_observer(autojump_clock: MockClock) -> None:
    async with observed() as (bank, eye):
        before = bank.statistics()
        async with client(eye).watch(NodeView()) as states:
            assert (await next_of(states)).fields["observation"]["observers"] == 1
            assert bank.hooks.process_ended

        async def observer(me: Process) -> None:
            await eye.remote(OBSERVE, "bank@local").call(Desk.watch, me.ref, TableView())
            await me.receive()

        await eye.spawn(observer)
        await trio.sleep(3)
        after = bank.statistics()
        assert (after.processes, after.monitors, after.timers) == (
            before.processes,
            before.monitors,
            before.timers,
        )
        assert not bank.hooks.process_ended


@pytest.mark.parametrize(
    ("view", "options", "says"),
    [
        (NodeView(), {"interval": 0.01}, "interval must be 0.1 to 60"),
        (NodeView(), {"budget": 0.9}, "at most 0.5"),
        (TableView(count=501), {}, "count must be 1 to 500"),
        (TableView(match="*" * 10_000), {}, "at most 1000 characters"),
        (TableView(match="queued > many"), {}, "compared with a number"),
        (TableView(of="nothing"), {}, "of must be one of"),
        (TableView(sort="nothing"), {}, "columns and sort"),
        (TreeView(open=tuple(range(10**4))), {}, "open must be at most 1000"),
        (EventView(("nothing.*",)), {}, "no event is of the kind"),
        ("everything", {}, "expected a view"),
    ],
    ids=repr,
)
async def test_obs_25_what_is_beyond_the_limits_is_refused(
    view: Any, options: dict[str, float], says: str, autojump_clock: MockClock
) -> None:
    async with observed() as (_bank, eye), client(eye).watch(NodeView()) as states:
        await next_of(states)
        with pytest.raises(Refused, match=says):
            async with client(eye).watch(view, **options):
                pass
        if not options:
            with pytest.raises(Refused, match=says):
                await states.change(view)
        await next_of(states)


async def test_obs_25_a_peer_may_have_64_watches(autojump_clock: MockClock) -> None:
    async with observed() as (_bank, eye), eye.mailbox() as me:
        desk = eye.remote(OBSERVE, "bank@local")
        watches: list[Any] = [await desk.call(Desk.watch, me.ref, NodeView()) for _ in range(64)]
        with pytest.raises(Refused, match="64 watches"):
            await desk.call(Desk.watch, me.ref, NodeView())
        watches[0].cast(Watch.close)
        await trio.sleep(1)
        await desk.call(Desk.watch, me.ref, NodeView())


async def test_obs_2_observing_opens_no_other_name() -> None:
    async with observed(Rights(observe=True)) as (_bank, eye):
        assert (await client(eye).hello()).rights == ["observe"]
        assert await client(eye).rights() == ["observe"]
        for name in (INSPECT, TRACE, CONTROL):
            with pytest.raises((Refused, NoProcess)):
                await eye.remote(name, "bank@local").call(Desk.hello)


async def test_obs_4_no_pattern_opens_a_reserved_name() -> None:
    async with observed(Rights(exports=["*", "enfilade.*"])) as (_bank, eye):
        assert await client(eye).rights() == []
        for name in (OBSERVE, INSPECT, TRACE, CONTROL):
            with pytest.raises((Refused, NoProcess)):
                await eye.remote(name, "bank@local").call(Desk.hello)


async def test_obs_5_data_is_hidden_from_those_who_may_only_observe(autojump_clock: MockClock) -> None:
    async with observed(Rights(observe=True)) as (bank, eye):
        await bank.spawn(Supervisor, [Child(Till, id="a", name="till")], intensity=9)
        bank.named("till").cast(Till.pay, "sesame")
        await wait_all_tasks_blocked()
        till = bank.whereis("till")
        assert till is not None
        await system.suspend(till)
        till.cast(Till.pay, "sesame")
        till.send({"pin": "sesame"})
        seen = []
        for view in (NodeView(), TableView(), TreeView(), ProcessView("till"), EventView()):
            async with client(eye).watch(view) as states:
                seen.append(repr((await next_of(states)).update))
        assert "sesame" not in "".join(seen)
        assert "'hidden': True" in seen[3]
        assert "'hidden': True" in seen[4]
        assert "'kind': 'cast', 'method': 'pay'" in seen[3]
        assert "ValueError" in seen[4]


async def test_those_who_may_inspect_see_texts(autojump_clock: MockClock) -> None:
    async with observed(Rights(inspect=True)) as (bank, eye):
        till = await bank.spawn(Till)
        till.cast(Till.pay, "sesame")
        await wait_all_tasks_blocked()
        async with client(eye, right="inspect").watch(EventView(("process.crashed",))) as states:
            (event,) = (await next_of(states)).events
    assert event["exception"]["text"] == "pin sesame"


@pytest.mark.parametrize(
    ("rights", "has_desks"),
    [
        (Rights(observe=True), True),
        (Rights(inspect=True), True),
        (Rights(control=True), True),
        (Rights(exports="*"), False),
    ],
)
async def test_the_desks_are_there_where_somebody_may_ask(rights: Rights, has_desks: bool) -> None:
    async with observed(rights) as (bank, _eye):
        await wait_all_tasks_blocked()
        assert (bank.whereis(OBSERVE) is not None) == has_desks


async def test_a_large_node_is_walked_in_small_steps() -> None:
    """The window is right, and the loop is given back in between."""
    async with observed() as (bank, eye):
        for number in range(3_000):
            await bank.spawn(Till, label=f"{number:04}")
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with (
            client(eye).watch(
                TableView(sort="label", descending=False, first=2_990, count=20, match=MINE), budget=0.5
            ) as states,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(turn)
            state = await next_of(states)
            nursery.cancel_scope.cancel()
        assert [row["label"] for row in state.rows] == [f"{number:04}" for number in range(2_990, 3_000)]
        assert turns > 3


async def test_a_program_watches_its_own_node(autojump_clock: MockClock) -> None:
    """`node.watch`, without a door: everything may be seen, and nothing is left when the block ends."""
    async with open_node("bank") as node:
        till = await node.spawn(Till, name="till")
        before = set(node.processes)
        async with node.watch(TableView(match=MINE), interval=0.5) as states:
            first = await next_of(states)
            assert [row["name"] for row in first.rows] == ["till"]
            await system.suspend(till)
            later = await next_of(states)
            assert not later.update.full
            assert later.rows[0]["state"] == "suspended"
            await system.resume(till)
        async with node.watch(ProcessView("till")) as states:
            assert "hidden" not in (await next_of(states)).fields
        with pytest.raises(Refused, match="interval"):
            async with node.watch(NodeView(), interval=0.01):
                """It is not entered."""
        await wait_all_tasks_blocked()
        assert set(node.processes) == before
        assert node.observation.watch_count == 0
