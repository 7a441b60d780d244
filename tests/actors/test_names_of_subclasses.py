"""A subclass of the runtime's own actors may name its helpers as it likes."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import (
    Actor,
    DynamicSupervisor,
    EventHandler,
    EventManager,
    Machine,
    Node,
    PartitionSupervisor,
    Pool,
    Supervisor,
    TaskSupervisor,
    Worker,
)
from enfilade.actors.patterns.machine import when

pytest_plugins = ["enfilade.actors.testing.plugin"]

PREFIXES: dict[type, str] = {
    Actor: "",
    Worker: "",
    EventHandler: "",
    Machine: "_machine_",
    EventManager: "_manager_",
    Pool: "_pool_",
    Supervisor: "_supervisor_",
    DynamicSupervisor: "_supervisor_",
    PartitionSupervisor: "_supervisor_",
    TaskSupervisor: "_supervisor_",
}


def private(names: Any) -> set[str]:
    """Those that begin with one underscore, but for what `abc` adds."""
    return {name for name in names if name[0] == "_" and name[1] != "_" and not name.startswith("_abc_")}


@pytest.mark.parametrize("kind", PREFIXES)
def test_names_of_the_class(kind: type) -> None:
    """What is the class's own has a prefix that no helper of a subclass has by chance."""
    names = {*vars(kind), *vars(kind).get("__annotations__", {}), *vars(kind).get("__slots__", ())}
    others = {name for name in private(names) if not PREFIXES[kind] or not name.startswith(PREFIXES[kind])}
    assert not others


class Echo(Worker):
    def work(self, job: Any) -> Any:
        return job


async def test_names_of_objects(node: Node) -> None:
    """So have the attributes that objects have at run time."""
    for kind, options in ((Pool, {"worker": Echo, "size": 1}), (EventManager, {}), (Gate, {})):
        ref = await node.spawn(kind, kwargs=options)
        await wait_all_tasks_blocked()
        names = private(vars(node.processes[ref.serial].actor))
        prefix = next(prefix for base, prefix in PREFIXES.items() if prefix and issubclass(kind, base))
        assert all(name.startswith(prefix) for name in names)


class Gate(Machine):
    """Its helpers have names that come to mind."""

    initial = "closed"

    def enter(self, visitor: str) -> str:
        return visitor

    def open(self) -> None:
        self.become("open")

    @when("closed", enter)
    def _keep(self, visitor: str) -> str:
        self.postpone()

    def _retry(self, *args: Any) -> None:
        raise AssertionError

    _run = _check = _settle = _moment = _state = _due = _retry


async def test_a_machine(node: Node) -> None:
    """A clause may be called `_keep`."""
    gate = await node.spawn(Gate)
    async with node.mailbox() as me:
        request = me.request(gate, Gate.enter, "visitor")
        await wait_all_tasks_blocked()
        await gate.call(Gate.open)
        assert await request.receive() == "visitor"
