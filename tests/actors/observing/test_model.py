"""The client's picture against the truth: spawns, ends, names, queues, changes of the view, in any order."""

from __future__ import annotations

from typing import Any

import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import KILL, Actor, Node, Ref, open_node, system
from enfilade.actors.observing.protocol.views import TableView
from enfilade.actors.observing.watches.client import Client
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.policy import Policy, Rights, Rule


class Till(Actor):
    def wait(self) -> None:
        """Do nothing."""


views = st.builds(
    TableView,
    sort=st.sampled_from([None, "queued", "name", "label", "serial"]),
    descending=st.booleans(),
    match=st.sampled_from(["actor = Till", "actor = Till and queued > 1", "actor = Till and name = n*"]),
    first=st.integers(0, 4),
    count=st.integers(1, 6),
    grave=st.just(0.0),
)

numbers = st.integers(0, 7)
operations = st.one_of(
    st.tuples(st.just("spawn"), numbers),
    st.tuples(st.just("kill"), numbers),
    st.tuples(st.just("register"), numbers),
    st.tuples(st.just("unregister"), numbers),
    st.tuples(st.just("suspend"), numbers),
    st.tuples(st.just("resume"), numbers),
    st.tuples(st.just("cast"), numbers),
    st.tuples(st.just("change"), views),
    st.tuples(st.just("look"), st.just(0)),
)


class Truth:
    """A plain dict of what the node holds."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.alive: dict[int, dict[str, Any]] = {}
        self.refs: dict[int, Ref[Till]] = {}

    def chosen(self, number: int) -> int | None:
        serials = list(self.alive)
        return serials[number % len(serials)] if serials else None

    async def do(self, operation: str, number: int) -> None:
        if operation == "spawn":
            ref = await self.node.spawn(Till, label=f"l{number}")
            self.refs[ref.serial] = ref
            fields = {"serial": ref.serial, "name": None, "label": f"l{number}", "queued": 0, "state": "idle"}
            self.alive[ref.serial] = fields
            return
        serial = self.chosen(number)
        if serial is None:
            return
        row, ref = self.alive[serial], self.refs[serial]
        if operation == "kill":
            ref.exit(KILL)
            del self.alive[serial]
        elif operation == "register" and row["name"] is None:
            row["name"] = f"n{serial}"
            self.node.register(row["name"], ref)
        elif operation == "unregister" and row["name"] is not None:
            self.node.unregister(row["name"])
            row["name"] = None
        elif operation == "suspend":
            await system.suspend(ref)
            row["state"] = "suspended"
        elif operation == "resume":
            await system.resume(ref)
            row["state"], row["queued"] = "idle", 0
        elif operation == "cast":
            ref.cast(Till.wait)
            row["queued"] += row["state"] == "suspended"
        await wait_all_tasks_blocked()

    def window(self, view: TableView) -> tuple[int, list[dict[str, Any]]]:
        rows = [row for row in self.alive.values() if self.matches(view, row)]
        column = view.sort or "serial"
        rows.sort(key=lambda row: row["serial"])
        known = [row for row in rows if row[column] is not None]
        is_backwards = view.sort is not None and view.descending
        known.sort(key=lambda row: row[column], reverse=is_backwards)
        known = known if not is_backwards else stable(known, column)
        ordered = known + [row for row in rows if row[column] is None]
        return len(rows), ordered[view.first : view.first + view.count]

    def matches(self, view: TableView, row: dict[str, Any]) -> bool:
        if view.match.endswith("queued > 1"):
            return bool(row["queued"] > 1)
        return not view.match.endswith("name = n*") or row["name"] is not None


def stable(rows: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """Among equals the oldest process comes first, in both directions."""
    return sorted(sorted(rows, key=lambda row: row["serial"]), key=lambda row: row[column], reverse=True)


async def run(view: TableView, population: int, script: list[tuple[str, Any]]) -> None:
    network = MemoryNetwork()
    policy = Policy(rules=[Rule(rights=Rights(observe=True))])
    async with (
        open_node("bank", listen="/bank", policy=policy, carrier=network.carrier("bank")) as bank,
        open_node("eye", policy=Policy(rules=[Rule()]), carrier=network.carrier("eye")) as eye,
    ):
        await eye.connect("/bank")
        truth = Truth(bank)
        for label in range(population):
            await truth.do("spawn", label)
        async with Client(eye, "bank@local").watch(view) as states:
            number = 0
            for operation, argument in [*script, ("look", 0)]:
                if operation == "change":
                    view = argument
                    await states.change(view)
                elif operation != "look":
                    await truth.do(operation, argument)
                    continue
                looked = trio.current_time()
                state = await anext(states)
                while operation == "look" and state.update.at <= looked:
                    state = await anext(states)  # it was made before, and has waited
                assert state.update.number > number
                number = state.update.number
                matched, rows = truth.window(view)
                shown = [{name: row[name] for name in rows[0]} for row in state.rows] if rows else state.rows
                assert (state.fields["matched"], shown) == (matched, rows)


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(views, st.integers(3, 8), st.lists(operations, min_size=8, max_size=40))
def test_the_client_has_what_the_node_has(
    view: TableView, population: int, script: list[tuple[str, Any]]
) -> None:
    """After each update the client's window is the node's, rows and order."""
    trio.run(run, view, population, script, clock=MockClock(autojump_threshold=0))
