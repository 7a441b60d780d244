"""Children with global names, at real servers: each holds its name before it begins, and while it runs."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import (
    Child,
    Global,
    LeaseLost,
    ProcessDied,
    Ref,
    StartError,
    Supervisor,
)
from tests.transport.mesh.members import PATIENCE, Account, until
from tests.transport.mesh.servers import needs_server
from tests.transport.mesh.test_global_names import holders, runtime, server_of

__all__ = ["runtime"]

pytestmark = [pytest.mark.real, needs_server]


async def child_of(supervisor: Ref[Any]) -> Any:
    """The ref of the only child; "restarting", or None."""
    (info,) = await supervisor.within(PATIENCE).call(Supervisor.which_children)
    return info.ref


async def running_child(supervisor: Ref[Any]) -> Ref[Any]:
    while not isinstance(found := await child_of(supervisor), Ref):  # noqa: ASYNC110 - it starts by itself
        await trio.sleep(0.01)
    return found


async def test_mesh_85_a_child_waits_for_its_name_and_that_costs_no_restart() -> None:
    """MESH-10: with an intensity of 0 any restart would be one too many."""
    async with holders("a@east", "b@west") as (a, b):
        name = Global("bank", taken="wait")
        first = await a.spawn(Supervisor, [Child(Account, name=name, restart="temporary")])
        holder = await running_child(first)
        second = await b.spawn(Supervisor, [Child(Account, name=name)], intensity=0)
        assert await child_of(second) == "restarting"
        await holder.stop()
        assert await running_child(second) == await a.mesh.whereis("bank")


@pytest.mark.parametrize("taken", ["fail", "ignore"])
async def test_a_child_finds_its_name_taken(taken: Any) -> None:
    """MESH-2: as any start."""
    async with holders("a@east", "b@west") as (a, b):
        await a.spawn(Account, name=Global("bank"))
        children = [Child(Account, name=Global("bank", taken=taken))]
        if taken == "fail":
            with pytest.raises(StartError, match="bank"):
                await b.spawn(Supervisor, children)
        else:
            assert await child_of(await b.spawn(Supervisor, children)) is None


async def test_a_name_goes_with_its_child() -> None:
    """MESH-3: each incarnation claims it anew; a supervisor that stops leaves it free."""
    async with holders("a@east", "b@west") as (a, b):
        supervisor = await a.spawn(Supervisor, [Child(Account, name=Global("bank"))])
        first = await running_child(supervisor)
        fence = a.processes[first.serial].fence
        assert await b.mesh.whereis("bank") == first
        first.cast(Account.fail, "odd")
        await until(lambda: len(a.processes) > 0 and a.mesh.names.known("bank") not in (None, first))
        second = await running_child(supervisor)
        assert second != first
        assert a.processes[second.serial].fence > fence
        await supervisor.stop()
        while await b.mesh.whereis("bank") is not None:  # noqa: ASYNC110 - the registry tells nobody
            await trio.sleep(0.01)


async def test_mesh_70_a_child_does_not_run_without_its_name(runtime: Path) -> None:
    """MESH-11: it gets no further turn, and ends with `LeaseLost`; later it is started again."""
    async with holders("a@east") as (a,):
        supervisor = await a.spawn(Supervisor, [Child(Account, name=Global("bank", taken="wait"))])
        first = await running_child(supervisor)
        async with a.mailbox() as me:
            me.monitor(first)
            server = server_of(runtime)
            os.kill(server, signal.SIGSTOP)
            try:
                down = await me.receive()
                assert down.reason == LeaseLost("bank")
                assert await child_of(supervisor) == "restarting"
            finally:
                os.kill(server, signal.SIGCONT)
        assert await running_child(supervisor) != first


async def test_a_guard_is_asked_before_each_turn() -> None:
    """MESH-11: also when nobody has told the process, as after its machine was suspended."""
    async with holders("a@east") as (a,):
        supervisor = await a.spawn(Supervisor, [Child(Account, name=Global("bank"))], intensity=3)
        child = await running_child(supervisor)
        claims = a.mesh.names._claims
        claims.lost = lambda keys: None
        claims._owner.good_until = 0.0
        with pytest.raises(ProcessDied) as died:
            await child.within(PATIENCE).call(Account.give, "too late")
        assert died.value.reason == LeaseLost("bank")
