"""Children that write down what happens to them, for tests of supervisors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import trio
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import Actor, Custom, Exit, Ignore, Node, NodeConfig, Reason, Ref, open_node
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.children import ChildInfo
from enfilade.actors.supervision.supervisor import Supervisor

BOOM = Custom("boom")

Behaviour = Literal["good", "plain", "odd", "stubborn", "slow"]


class Family:
    """What children have done, and what their next starts are to come to.

    `outcomes[id]` holds what comes next: "ok" (also when it is empty), "ignore", "hang", or a reason to fail
    with.
    """

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.outcomes: dict[str, list[Any]] = defaultdict(list)
        self.incarnations: dict[str, int] = defaultdict(int)
        self.refs: dict[str, Ref[Any]] = {}
        self.ends: dict[str, Reason] = {}

    def child(
        self,
        id: str,  # noqa: A002 (the field's name)
        behaviour: Behaviour = "good",
        *,
        tier: str = "sync",
        **options: Any,
    ) -> Child:
        member = Member if tier == "sync" else AsyncMember
        return Child(member, self, id, behaviour, id=id, **options)

    def children(self, ids: str, **options: Any) -> list[Child]:
        return [self.child(letter, **options) for letter in ids]

    def take(self) -> list[str]:
        """The journal since the last time."""
        taken, self.journal = self.journal, []
        return taken

    def name(self, ref: object) -> object:
        """`a2` for the second incarnation of child a."""
        return next((name for name, known in self.refs.items() if known == ref), ref)

    async def crash(self, name: str, reason: Reason = BOOM) -> None:
        """Have a child end by itself, and wait until things are quiet again."""
        self.refs[name].cast(Member.end, reason)
        await wait_all_tasks_blocked()

    async def shown(self, supervisor: Ref[Any]) -> dict[object, object]:
        """The children of a supervisor, by id, in start order."""
        infos: tuple[ChildInfo[Any], ...] = await supervisor.call(Supervisor.children)
        return {info.id: self.name(info.ref) for info in infos}


class Member(Actor):
    """A child that writes down its starts and stops.

    "plain" does not trap exits; "odd" answers a request to stop with a reason of its own; "stubborn" never
    stops; "slow" takes a second to stop. The last two need a task.
    """

    def __init__(self, family: Family, id: str, behaviour: Behaviour = "good", *extra: Any) -> None:  # noqa: A002
        self.family = family
        self.behaviour = behaviour
        self.extra = extra
        family.incarnations[id] += 1
        self.name = f"{id}{family.incarnations[id]}"
        self.by_itself = False
        self.process.trap_exits = behaviour != "plain"
        outcomes = family.outcomes[id]
        self.outcome = outcomes.pop(0) if outcomes else "ok"
        if self.outcome == "ignore":
            family.journal.append(f"ignore {self.name}")
            raise Ignore
        if isinstance(self.outcome, Reason):
            family.journal.append(f"fail {self.name}")
            raise Exit(self.outcome)
        family.refs[self.name] = self.process.ref
        if self.outcome == "ok":
            family.journal.append(f"start {self.name}")

    def end(self, reason: Reason) -> None:
        self.by_itself = True
        raise Exit(reason)

    def arguments(self) -> tuple[Any, ...]:
        return self.extra

    def unlink_from(self, ref: Ref[Any]) -> None:
        self.process.unlink(ref)

    def on_stop(self, reason: Reason) -> Any:
        self.family.ends[self.name] = reason
        if not self.by_itself:
            self.family.journal.append(f"stop {self.name} {reason}")
            if self.behaviour == "odd":
                raise Exit(Custom("odd"))


class AsyncMember(Member):
    """The same with a task of its own."""

    async def on_start(self) -> None:
        if self.outcome == "hang":
            self.family.journal.append(f"hang {self.name}")
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()

    async def on_stop(self, reason: Reason) -> None:
        super().on_stop(reason)
        if self.behaviour == "stubborn":
            await trio.sleep_forever()
        if self.behaviour == "slow":
            await trio.sleep(1)


@asynccontextmanager
async def clean_node(**config: Any) -> AsyncIterator[Node]:
    """A node that holds nothing any more when it has closed."""
    async with open_node("test", config=NodeConfig(**config)) as node:
        yield node
    left = node.statistics()
    assert (left.processes, left.names, left.links, left.monitors, left.timers, left.starting) == (0,) * 6


async def ended(node: Node, ref: Ref[Any]) -> Reason:
    """The reason that `ref` ended with, once it has."""
    async with node.mailbox() as me:
        me.monitor(ref)
        return (await me.receive()).reason  # type: ignore[no-any-return]


async def supervise(node: Node, children: list[Child], **flags: Any) -> Ref[Supervisor]:
    """A supervisor, by default with much patience."""
    flags = {"intensity": 10, "period": 3600.0, **flags}
    supervisor: Ref[Supervisor] = await node.spawn(Supervisor, children, **flags)
    return supervisor
