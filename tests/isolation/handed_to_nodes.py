"""Values in the places of the public interface where a program hands something over and nobody handles it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from enfilade.actors import (
    Backoff,
    Child,
    Custom,
    Global,
    Mailbox,
    PartitionSupervisor,
    Pool,
    RateLimit,
    RequestCollection,
    Supervisor,
    TaskSupervisor,
    Worker,
    async_nolink,
    async_stream,
    multi_call,
    multi_cast,
    system,
)
from tests.isolation.place import handed
from tests.isolation.stage import Stage
from tests.isolation.victims import Async, Sync


async def provoke(stage: Stage) -> None:
    """Have everything happen that somebody may have subscribed to."""
    ref = await stage.home.spawn(Sync, name="provoked")
    stage.home.scope().join("group", ref)
    await stage.attempt(ref.stop)
    await stage.attempt(ref.send, "dead letter")
    supervisor = await stage.home.spawn(Supervisor, [Child(Sync, id="c")], intensity=5)
    (info,) = await supervisor.call(Supervisor.children)
    await stage.attempt(info.ref.call, Sync.crash)
    await trio.sleep(0.1)
    await stage.attempt(supervisor.stop)


@handed(
    "dead_letters child_events supervisor_events group_watcher scope_watcher events demonitor unsubscribe"
)
async def subscriber(stage: Stage) -> None:
    home = stage.home
    await stage.victim()
    subscribe: Callable[[Any], Any] = {
        "dead_letters": home.dead_letters.subscribe,
        "child_events": home.child_events.subscribe,
        "supervisor_events": lambda value: home.child_events.subscribe(stage.ref, value),
        "group_watcher": lambda value: home.scope().monitor(value, "group"),
        "scope_watcher": lambda value: home.scope().monitor_scope(value),
        "events": home.send_events,
        "demonitor": lambda value: home.scope().demonitor(value),
        "unsubscribe": home.dead_letters.unsubscribe,
    }[stage.tier]
    await stage.attempt(subscribe, stage.make())
    await provoke(stage)


@handed("id kinds handler")
async def attached(stage: Stage) -> None:
    given: dict[str, Any] = {"id": "id", "kinds": "*", "handler": lambda *_: None, stage.tier: stage.make()}
    await stage.attempt(lambda: stage.home.attach(given["id"], given["kinds"], given["handler"]))
    await provoke(stage)
    await stage.attempt(lambda: stage.home.detach(given["id"]))


@handed("sync async function")
async def observer_itself(stage: Stage) -> None:
    victim = await stage.victim()
    await stage.attempt(system.install, victim, stage.make())
    await stage.attempt(victim.call, Sync.take, 1)
    await stage.attempt(victim.send, "message")
    await stage.attempt(system.uninstall, victim, stage.make())


@handed("sync async")
async def code(stage: Stage) -> None:
    victim = await stage.victim()
    await stage.attempt(system.change_code, victim, stage.make())
    await stage.attempt(system.change_code, victim, stage.kind(), stage.make())


@handed("request label")
async def collected(stage: Stage) -> None:
    victim = await stage.victim()
    requests: RequestCollection[Any] = RequestCollection()
    if stage.tier == "request":
        await stage.attempt(requests.add, stage.make(), "label")
        await stage.attempt(requests.wait, 1)
    else:
        requests.add(stage.me.request(victim, Sync.ping), stage.make())
        await stage.attempt(requests.receive, 1)


@handed(
    "then continuation timer_key timer_seconds idle stash alias forward_to forward_method "
    "spawn_soon link name"
)
async def means(stage: Stage) -> None:
    """What an actor hands to its own process."""
    tier = stage.tier

    def use(self: Any) -> Any:
        process, value = self.process, stage.make()
        match tier:
            case "then":
                process.request(process.node.spawn_soon(Sync), Sync.ping).then(value)
            case "continuation":
                process.continue_with(value)
            case "timer_key":
                process.timers.start(value, 0.1, "message", every=True)
                process.timers.cancel(value)
            case "timer_seconds":
                process.timers.start("key", value, "message")
            case "idle":
                process.timeout_after(value)
            case "stash":
                process.stash("message", value)
                process.unstash()
            case "alias":
                process.alias(value)
            case "forward_to":
                deferred = process.defer()
                deferred.forward(value, Sync.ping)
                return deferred
            case "forward_method":
                deferred = process.defer()
                deferred.forward(process.node.spawn_soon(Sync), value)
                return deferred
            case "spawn_soon":
                process.spawn_soon(value, link=True)
            case "link":
                process.link(value)
            case "name":
                process.node.register(value, process.ref)
        return None

    for base in (Sync, Async):
        kind: Any = type("Armed", (base,), {"use": use})
        ref = await stage.home.spawn(kind)
        stage.watch(ref)
        await stage.attempt(ref.call, kind.use)


@handed("send_after_seconds send_after_to exit_after_to exit_after_reason kill_after")
async def timed(stage: Stage) -> None:
    me, victim, value = stage.me, await stage.victim(), stage.make()
    await stage.attempt(
        {
            "send_after_seconds": lambda: me.send_after(value, victim, "message"),
            "send_after_to": lambda: me.send_after(0.1, value, "message"),
            "exit_after_to": lambda: me.exit_after(0.1, value, Custom("end")),
            "exit_after_reason": lambda: me.exit_after(0.1, victim, value),
            "kill_after": lambda: me.kill_after(0.1, value),
        }[stage.tier]
    )
    await trio.sleep(0.2)


@handed(
    "backoff rate mailbox overflow global restart partitions pool_size resize key "
    "multi_call multi_cast stream limit"
)
async def option(stage: Stage) -> None:
    victim, value, near = await stage.victim(), stage.make(), stage.home

    class Plain(Worker):
        def work(self, job: Any) -> Any:
            return job

    async def stream() -> None:
        tasks = await near.spawn(TaskSupervisor)
        async with async_stream(tasks, _same, value) as outcomes:
            for _ in range(3):  # an iterator may have no end
                await anext(outcomes)

    async def partition(method: Any) -> None:
        ref = await near.spawn(PartitionSupervisor, Child(Sync), partitions=2)
        await ref.call(method, value)

    async def pool() -> None:
        ref = await near.spawn(Pool, Plain, size=1)
        await ref.call(Pool.resize, value)
        await ref.call(Pool.submit, "job")

    async def task() -> None:
        tasks = await near.spawn(TaskSupervisor)
        await async_nolink(tasks, _same, 1).wait(value)

    uses: dict[str, Callable[[], Any]] = {
        "backoff": lambda: near.spawn(Supervisor, [Child(Sync, id="c", backoff=Backoff(first=value))]),
        "rate": lambda: RateLimit(value, value),
        "mailbox": lambda: near.spawn(Sync, mailbox=Mailbox(value)),
        "overflow": lambda: near.spawn(Sync, mailbox=Mailbox(5, value)),
        "global": lambda: near.spawn(Sync, name=Global(value)),
        "restart": lambda: near.spawn(Supervisor, value),
        "partitions": lambda: near.spawn(PartitionSupervisor, Child(Sync), partitions=value),
        "pool_size": lambda: near.spawn(Pool, Plain, size=value),
        "resize": pool,
        "key": lambda: partition(PartitionSupervisor.partition),
        "multi_call": lambda: multi_call([victim, value], Sync.ping, timeout=1),
        "multi_cast": lambda: multi_cast([victim, value], Sync.ping),
        "stream": stream,
        "limit": task,
    }
    await stage.attempt(uses[stage.tier])


async def _same(value: Any) -> Any:
    return value
