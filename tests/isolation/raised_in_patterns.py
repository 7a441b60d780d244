"""Errors raised below supervisors, pools, event managers, machines and tasks."""

from __future__ import annotations

from typing import Any

import trio

from enfilade.actors import (
    Child,
    DynamicSupervisor,
    EventManager,
    PartitionSupervisor,
    Pool,
    Supervisor,
    TaskSupervisor,
    Worker,
    async_nolink,
    async_stream,
    system,
)
from tests.isolation.cast import Handler, machine, manager
from tests.isolation.place import raised
from tests.isolation.stage import Stage
from tests.isolation.victims import Async, Sync, Victim


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


HOOKS = "on_start on_stop on_child_event format_status handler continuation then"


@raised(HOOKS, far=True)
async def supervisor_hook(stage: Stage) -> None:
    """A supervisor with hooks of its own, and two children, of which one ends."""
    hook, armed = stage.tier, True

    def meet(self: Any, *_: Any) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise stage.make()

    def watch(self: Any, ref: Any) -> None:
        self.process.monitor(ref)
        self.process.link(ref)
        if hook == "continuation":
            self.process.continue_with(meet, self)
        if hook == "then":
            self.process.request(ref, Sync.take).then(lambda _: meet(self))

    kind: Any = type("Armed", (Supervisor,), {hook: meet, "watch": watch})
    children = [Child(Sync, id="c"), Child(Async, id="d", restart="temporary")]
    ref = await stage.attempt(stage.home.spawn, kind, children, intensity=5)
    if ref is None:
        return
    infos = await ref.call(Supervisor.children)
    ref = await stage.cast(ref, Supervisor.children)
    await stage.attempt(ref.call, kind.watch, await stage.home.spawn(Sync, name="other"))
    await stage.attempt(stage.home.named("other").stop)
    await stage.attempt(ref.send, "message")
    for info in infos:
        await stage.attempt(info.ref.call, Sync.crash)
    await stage.attempt(system.get_status, ref)
    if hook == "handler":
        await stage.attempt(ref.call, kind.handler)
    await trio.sleep(0.1)
    await stage.attempt(ref.stop)


@raised("partitions")
async def partition(stage: Stage) -> None:
    class Armed(Sync):
        where = "handler"
        make = staticmethod(stage.make)

    ref = await stage.home.spawn(PartitionSupervisor, Child(Armed), partitions=2, intensity=5)
    ref = await stage.cast(ref, Supervisor.count_children)
    found = await stage.attempt(ref.call, PartitionSupervisor.partition, 1)
    await stage.attempt(found.call, Sync.fire)


@raised("sync_pool async_pool")
async def worker_stop(stage: Stage) -> None:
    class SyncWorker(Worker):
        def work(self, job: Any) -> Any:
            return self.process.stop()

        def on_stop(self, reason: Any) -> None:
            raise stage.make()

    class AsyncWorker(SyncWorker):
        async def work(self, job: Any) -> Any:
            return self.process.stop()

    kind = SyncWorker if stage.tier == "sync_pool" else AsyncWorker
    ref = await stage.cast(await stage.home.spawn(Pool, kind, size=2), Pool.statistics)
    await stage.attempt(ref.call, Pool.submit, "job")
    await stage.attempt(ref.call, Pool.resize, 1)
    await stage.attempt(ref.stop)


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


@raised("sync_pool async_pool")
async def refused_job(stage: Stage) -> None:
    class SyncWorker(Worker):
        def work(self, job: Any) -> Any:
            return self.process.refuse(stage.make()) if job == "refused" else job

    class AsyncWorker(SyncWorker):
        async def work(self, job: Any) -> Any:
            return super().work(job)

    kind = SyncWorker if stage.tier == "sync_pool" else AsyncWorker
    ref = await stage.cast(await stage.home.spawn(Pool, kind, size=1), Pool.statistics)
    for job in ("refused", "another"):
        await stage.attempt(ref.call, Pool.submit, job)


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
