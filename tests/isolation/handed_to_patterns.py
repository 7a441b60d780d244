"""Values that supervisors, pools, event managers, machines and tasks deal with."""

from __future__ import annotations

from typing import Any

import trio

from enfilade.actors import (
    Child,
    DynamicSupervisor,
    EventManager,
    Pool,
    Supervisor,
    TaskSupervisor,
    Worker,
    async_nolink,
    async_stream,
    system,
)
from tests.isolation.cast import Handler, machine, manager
from tests.isolation.place import handed
from tests.isolation.stage import Stage
from tests.isolation.victims import Sync


@handed("supervisor dynamic_supervisor")
async def child_specification(stage: Stage) -> None:
    kind: Any = Supervisor if stage.tier == "supervisor" else DynamicSupervisor
    ref = await stage.cast(await stage.home.spawn(kind), kind.count_children)
    await stage.attempt(ref.call, kind.start_child, stage.make())
    await stage.attempt(ref.call, kind.terminate_child, stage.make())


@handed("supervisor")
async def child_id(stage: Stage) -> None:
    ref = await stage.cast(await stage.home.spawn(Supervisor), Supervisor.count_children)
    value = stage.make()
    await stage.attempt(lambda: ref.call(Supervisor.start_child, Child(Sync, id=value)))
    await stage.attempt(ref.call, Supervisor.children)
    for child_info in await stage.attempt(ref.call, Supervisor.children) or ():
        await stage.attempt(child_info.ref.call, Sync.crash)
    await stage.attempt(ref.call, Supervisor.get_childspec, value)
    await stage.attempt(ref.call, Supervisor.terminate_child, value)
    await stage.attempt(ref.call, Supervisor.delete_child, value)


@handed("supervisor dynamic_supervisor")
async def argument_of_child(stage: Stage) -> None:
    kind: Any = Supervisor if stage.tier == "supervisor" else DynamicSupervisor
    ref = await stage.cast(await stage.home.spawn(kind), kind.count_children)
    await stage.attempt(lambda: ref.call(kind.start_child, Child(Sync, stage.make(), id="c")))
    for child_info in await stage.attempt(ref.call, kind.children) or ():
        await stage.attempt(child_info.ref.call, Sync.crash)
    await stage.attempt(system.get_state, ref)
    await stage.attempt(system.get_status, ref)


@handed("restart shutdown type significant name mailbox backoff start_timeout unknown")
async def option_of_child(stage: Stage) -> None:
    ref = await stage.cast(await stage.home.spawn(Supervisor), Supervisor.count_children)
    await stage.attempt(
        lambda: ref.call(Supervisor.start_child, Child(Sync, id="c", **{stage.tier: stage.make()}))
    )


@handed("children strategy intensity period auto_shutdown")
async def option_of_supervisor(stage: Stage) -> None:
    await stage.attempt(lambda: stage.me.spawn(Supervisor, **{stage.tier: stage.make()}))


@handed("any key sticky", far=True)
async def job(stage: Stage) -> None:
    class Armed(Worker):
        def work(self, work: Any) -> Any:
            raise ValueError("as asked")

    ref = await stage.cast(
        await stage.home.spawn(Pool, Armed, size=1, routing=stage.tier, queue_limit=1), Pool.statistics
    )
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(stage.attempt, ref.call, Pool.submit, stage.make())
    await stage.attempt(ref.call, Pool.submit, "job", stage.make())


@handed("pool", far=True)
async def result_of_job(stage: Stage) -> None:
    class Armed(Worker):
        def work(self, work: Any) -> Any:
            return stage.make()

    ref = await stage.cast(await stage.home.spawn(Pool, Armed, size=1), Pool.statistics)
    await stage.attempt(ref.call, Pool.submit, "job")


@handed("event_manager", far=True)
async def event(stage: Stage) -> None:
    ref = await manager(stage)
    if not stage.far:
        await ref.call(EventManager.add_handler, "key", Handler, "on_event", stage.make)
    await stage.attempt(ref.send, stage.make())
    await stage.attempt(ref.call, EventManager.notify, stage.make())


@handed("event_manager", far=True)
async def handler_key(stage: Stage) -> None:
    ref, value = await manager(stage), stage.make()
    if not stage.far:
        await stage.attempt(ref.call, EventManager.add_handler, value, Handler, "on_event", ValueError)
        await stage.attempt(ref.call, EventManager.add_handler, value, Handler, "on_call", ValueError)
        await stage.attempt(ref.call, EventManager.swap_handler, value, stage.make(), Handler, "", "", "")
    await stage.attempt(ref.call, EventManager.call_handler, value, "request")
    await stage.attempt(ref.call, EventManager.delete_handler, stage.make())
    await stage.attempt(ref.call, EventManager.which_handlers)
    await stage.attempt(ref.call, EventManager.notify, "event")


@handed("answer left")
async def result_of_handler(stage: Stage) -> None:
    ref = await manager(stage)
    await ref.call(EventManager.add_handler, "key", Handler, stage.tier, stage.make)
    await stage.attempt(ref.call, EventManager.call_handler, "key", "request")
    await stage.attempt(ref.call, EventManager.delete_handler, "key")


@handed("event_manager")
async def handler_itself(stage: Stage) -> None:
    ref = await manager(stage)
    await stage.attempt(ref.call, EventManager.add_handler, "key", stage.make())
    await stage.attempt(ref.call, EventManager.add_handler, "key", lambda: stage.make())
    await stage.attempt(
        lambda: ref.call(EventManager.add_handler, "other", Handler, "", "", supervised=stage.make())
    )
    await stage.attempt(ref.call, EventManager.notify, "event")


@handed("turn put_off")
async def machine_event(stage: Stage) -> None:
    kind: Any = machine(stage, "")
    ref = await stage.cast(await stage.home.spawn(kind), kind.ping)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.attempt, ref.within(1e6).call, getattr(kind, stage.tier), stage.make())
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    await stage.attempt(ref.call, kind.turn, stage.make())
    await stage.attempt(ref.call, kind.move)


async def give(stage: Stage, *_: Any) -> Any:
    return stage.make()


@handed("task")
async def result_of_task(stage: Stage) -> None:
    ref = await stage.cast(await stage.home.spawn(TaskSupervisor), TaskSupervisor.count_children)
    found = await stage.attempt(lambda: async_nolink(ref, give, stage, stage.make()))
    if found is None:
        stage.problems.append("the task has not started")
    else:
        await stage.attempt(found.wait, 5)


@handed("task")
async def item(stage: Stage) -> None:
    ref = await stage.cast(await stage.home.spawn(TaskSupervisor), TaskSupervisor.count_children)

    async def crash(_: Any) -> None:
        raise ValueError("as asked")

    async def consume() -> None:
        async with async_stream(ref, crash, [stage.make(), stage.make()], ordered=False) as outcomes:
            async for _ in outcomes:
                pass

    await stage.attempt(consume)
