"""Errors raised below supervisors, pools, event managers, machines and tasks."""

from __future__ import annotations

from typing import Any

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
)
from tests.isolation.cast import Handler, machine, manager
from tests.isolation.place import raised
from tests.isolation.stage import Stage
from tests.isolation.victims import Sync, Victim


@raised("supervisor")
async def child(stage: Stage) -> None:
    class Armed(Victim):
        def fire(self) -> None:
            raise stage.make()

    ref = await stage.cast(await stage.home.spawn(Supervisor, [Child(Armed, id="c")]), Supervisor.children)
    (info,) = await ref.call(Supervisor.children)
    await stage.attempt(info.ref.call, Armed.fire)


@raised("supervisor")
async def child_start(stage: Stage) -> None:
    class Armed(Sync):
        where = "init"
        make = staticmethod(stage.make)

    ref = await stage.cast(await stage.home.spawn(Supervisor, []), Supervisor.children)
    await stage.attempt(ref.call, Supervisor.start_child, Child(Armed, id="c"))


@raised("supervisor")
async def child_first_start(stage: Stage) -> None:
    class Armed(Sync):
        where = "on_start"
        make = staticmethod(stage.make)

    await stage.attempt(stage.me.spawn, Supervisor, [Sync, Child(Armed, id="c")], monitor=True)


@raised("supervisor")
async def child_restart(stage: Stage) -> None:
    class Armed(Sync):
        starts = 0
        make = staticmethod(stage.make)

        def on_start(self) -> None:
            Armed.starts += 1
            if Armed.starts == 2:
                raise stage.make()

    ref = await stage.cast(
        await stage.home.spawn(Supervisor, [Child(Armed, id="c")], intensity=5), Supervisor.children
    )
    (info,) = await ref.call(Supervisor.children)
    await stage.attempt(info.ref.call, Sync.crash)


@raised("supervisor")
async def child_stop(stage: Stage) -> None:
    class Armed(Sync):
        where = "on_stop"
        make = staticmethod(stage.make)

        def on_start(self) -> None:
            self.process.trap_exits = True

    ref = await stage.cast(await stage.home.spawn(Supervisor, [Child(Armed, id="c")]), Supervisor.children)
    await stage.attempt(ref.call, Supervisor.terminate_child, "c")


@raised("supervisor")
async def supervisor_init(stage: Stage) -> None:
    class Armed(Supervisor):
        def __init__(self) -> None:
            raise stage.make()

    await stage.attempt(stage.me.spawn, Armed, monitor=True)


@raised("dynamic_supervisor")
async def template(stage: Stage) -> None:
    class Armed(Sync):
        where = "init"
        make = staticmethod(stage.make)

    ref = await stage.cast(await stage.home.spawn(DynamicSupervisor, Armed), DynamicSupervisor.count_children)
    await stage.attempt(ref.call, DynamicSupervisor.start_from_template)


@raised("sync_pool async_pool", far=True)
async def work(stage: Stage) -> None:
    class SyncWorker(Worker):
        def work(self, job: Any) -> Any:
            raise stage.make()

    class AsyncWorker(Worker):
        async def work(self, job: Any) -> Any:
            raise stage.make()

    kind = SyncWorker if stage.tier == "sync_pool" else AsyncWorker
    ref = await stage.cast(await stage.home.spawn(Pool, kind, size=2), Pool.statistics)
    await stage.attempt(ref.call, Pool.submit, "job")


@raised("pool")
async def worker_start(stage: Stage) -> None:
    class Armed(Worker):
        def __init__(self) -> None:
            raise stage.make()

        def work(self, job: Any) -> Any:
            return job

    ref = await stage.cast(await stage.home.spawn(Pool, Armed, size=1), Pool.statistics)
    await stage.attempt(ref.call, Pool.submit, "job")


@raised("made on_add on_event on_call on_remove")
async def event_handler(stage: Stage) -> None:
    ref = await manager(stage)
    await stage.attempt(
        lambda: ref.call(
            EventManager.add_handler, "key", Handler, stage.tier, stage.make, supervised=stage.me.ref
        )
    )
    await stage.attempt(ref.call, EventManager.notify, "event")
    await stage.attempt(ref.call, EventManager.call_handler, "key", "request")
    await stage.attempt(ref.call, EventManager.delete_handler, "key")


@raised("clause enter leave after")
async def machine_step(stage: Stage) -> None:
    kind: Any = machine(stage, stage.tier)
    ref = await stage.cast(await stage.home.spawn(kind), kind.ping)
    await stage.attempt(ref.call, kind.move)


async def fail(stage: Stage) -> None:
    raise stage.make()


@raised("task")
async def task(stage: Stage) -> None:
    ref = await stage.cast(await stage.home.spawn(TaskSupervisor), TaskSupervisor.count_children)
    found = await stage.attempt(lambda: async_nolink(ref, fail, stage))
    await stage.attempt(found.wait, 5)


@raised("task")
async def stream(stage: Stage) -> None:
    ref = await stage.cast(await stage.home.spawn(TaskSupervisor), TaskSupervisor.count_children)

    async def consume() -> None:
        async with async_stream(ref, fail, [stage, stage]) as outcomes:
            async for _ in outcomes:
                pass

    await stage.attempt(consume)
