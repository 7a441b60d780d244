"""Values that are handed to actors and functions, and come from them."""

from __future__ import annotations

from typing import Any

import trio

from enfilade.actors import (
    NORMAL,
    Actor,
    Custom,
    Mailbox,
    RequestCollection,
    Shutdown,
    system,
)
from tests.isolation.place import handed
from tests.isolation.stage import Stage
from tests.isolation.victims import Async, Sync


@handed("sync async function", far=True)
async def argument(stage: Stage) -> None:
    await stage.attempt((await stage.victim()).call, Sync.take, stage.make())


@handed("sync async", far=True)
async def wrong_argument(stage: Stage) -> None:
    await stage.attempt((await stage.victim()).call, Sync.ping, stage.make())
    await stage.attempt(stage.ref.cast, Sync.ping, stage.make())


@handed("sync async function", far=True)
async def argument_of_crash(stage: Stage) -> None:
    victim = await stage.victim()
    await stage.attempt(lambda: victim.call(Sync.take, named=stage.make()))
    await stage.attempt(victim.call, Sync.crash, stage.make())
    victim.cast(Sync.crash)


@handed("sync async function", far=True)
async def argument_of_cast(stage: Stage) -> None:
    await stage.attempt((await stage.victim()).cast, Sync.take, stage.make())


@handed("sync async function", far=True)
async def message(stage: Stage) -> None:
    await stage.attempt((await stage.victim("on_message")).send, stage.make())


@handed("sync async function", far=True)
async def unread_message(stage: Stage) -> None:
    victim = await stage.victim()
    await stage.attempt(victim.send, stage.make())
    await stage.attempt(victim.send, stage.make())
    victim.exit(Custom("end"))
    await trio.sleep(0.1)
    await stage.attempt(victim.send, stage.make())


@handed("sync async", far=True)
async def unhandled_message(stage: Stage) -> None:
    class Plain(Actor):
        def ping(self) -> str:
            return "pong"

    class Waiting(Actor):
        async def ping(self) -> str:
            return "pong"

    kind: Any = Plain if stage.tier == "sync" else Waiting
    ref = await stage.cast(await stage.home.spawn(kind), kind.ping)
    await stage.attempt(ref.send, stage.make())


@handed("sync async function")
async def message_to_full_mailbox(stage: Stage) -> None:
    victim = await stage.victim(mailbox=Mailbox(1, overflow="dead_letter"))
    for _ in range(3):
        await stage.attempt(victim.send, stage.make())


@handed("sync async function", far=True)
async def reply(stage: Stage) -> None:
    await stage.attempt((await stage.victim()).call, Sync.give)


@handed("sync async")
async def reply_to_cast(stage: Stage) -> None:
    await stage.attempt((await stage.victim()).cast, Sync.give)


@handed("sync async", far=True)
async def deferred_reply(stage: Stage) -> None:
    victim = await stage.victim()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.attempt, victim.call, Sync.defer)
        await trio.sleep(0.1)
        await stage.attempt(lambda: victim.cast(Sync.answer, failing=False))


@handed("sync async function")
async def error_of_reply(stage: Stage) -> None:
    await stage.attempt((await stage.victim()).call, Sync.refuse)


@handed("sync async")
async def forwarded(stage: Stage) -> None:
    other = await stage.home.spawn(Sync)
    await stage.attempt((await stage.victim()).call, Sync.forward, other)


@handed("sync async function")
async def timer_message(stage: Stage) -> None:
    victim = await stage.victim()
    await stage.attempt(stage.me.send_after, 0.1, victim, stage.make())
    await trio.sleep(0.2)


@handed("sync async")
async def own_timer(stage: Stage) -> None:
    await stage.attempt((await stage.victim()).call, Sync.set_timer)
    await trio.sleep(0.2)


@handed("sync async")
async def timer_key(stage: Stage) -> None:
    await stage.attempt((await stage.victim()).call, Sync.set_timer_key)
    await trio.sleep(0.2)


@handed("sync async function", far=True)
async def exit_reason(stage: Stage) -> None:
    victim = await stage.victim()
    for wrap in (Custom, Shutdown, lambda value: value):
        await stage.attempt(lambda wrap=wrap: victim.exit(wrap(stage.make())))


@handed("sync async", far=True)
async def trapped_reason(stage: Stage) -> None:
    victim = await stage.victim("on_exit")
    for wrap in (Custom, Shutdown):
        await stage.attempt(lambda wrap=wrap: victim.exit(wrap(stage.make())))


@handed("sync async function", far=True)
async def stop_reason(stage: Stage) -> None:
    victim = await stage.victim()
    await stage.attempt(lambda: victim.stop(Shutdown(stage.make())))


@handed("sync async function", far=True)
async def custom_stop_reason(stage: Stage) -> None:
    victim = await stage.victim()
    await stage.attempt(lambda: victim.stop(Custom(stage.make())))


@handed("sync async function")
async def own_reason(stage: Stage) -> None:
    await stage.attempt((await stage.victim()).call, Sync.leave_with, Custom)


@handed("sync async")
async def own_stop_reason(stage: Stage) -> None:
    await stage.attempt((await stage.victim()).call, Sync.stop_with, Shutdown)


@handed("sync async")
async def wrong_reason(stage: Stage) -> None:
    await stage.attempt((await stage.victim()).call, Sync.stop_with, lambda value: value)


@handed("sync async function", far=True)
async def argument_of_spawn(stage: Stage) -> None:
    stage.entries["armed"] = stage.kind("on_message")
    if stage.far:
        ref = await stage.attempt(stage.near.spawn_on, stage.home.full_name, "armed", stage.make())
    else:
        ref = await stage.attempt(stage.me.spawn, stage.entries["armed"], stage.make())
    if ref is not None:
        stage.watch(ref)
        ref.send("crash") if stage.tier != "function" else ref.exit(Custom("end"))


@handed("name label mailbox timeout heir_of link monitor arena target")
async def option_of_spawn(stage: Stage) -> None:
    if stage.tier == "target":
        await stage.attempt(stage.me.spawn, stage.make())
    else:
        for kind in (Sync, Async):
            await stage.attempt(lambda kind=kind: stage.me.spawn(kind, **{stage.tier: stage.make()}))


@handed("sync async")
async def label_of_crash(stage: Stage) -> None:
    victim = await stage.attempt(lambda: stage.victim(label=stage.make()))
    if victim is not None:
        await stage.attempt(victim.call, Sync.crash)


@handed("sync async")
async def result_of_start(stage: Stage) -> None:
    await stage.attempt(stage.victim, "started")


@handed("sync async")
async def status(stage: Stage) -> None:
    victim = await stage.victim("status")
    await stage.attempt(system.get_status, victim)
    await stage.attempt(victim.call, Sync.crash)


@handed("sync async")
async def state(stage: Stage) -> None:
    victim = await stage.victim()
    await stage.attempt(victim.call, Sync.keep)
    for look in (system.get_state, system.get_status):
        await stage.attempt(look, victim)
    await stage.attempt(victim.call, Sync.crash)


@handed("sync async")
async def replaced_state(stage: Stage) -> None:
    victim = await stage.victim()
    await stage.attempt(system.replace_state, victim, lambda _: stage.make())


@handed("sync async function")
async def traced(stage: Stage) -> None:
    victim = await stage.victim()
    await stage.attempt(system.trace, victim)
    await stage.attempt(victim.send, stage.make())
    await stage.attempt(victim.call, Sync.take, stage.make())
    await stage.attempt(system.trace, victim, False)


@handed("sync async function")
async def method(stage: Stage) -> None:
    victim = await stage.victim()
    await stage.attempt(victim.call, stage.make())
    await stage.attempt(victim.cast, stage.make())
    await stage.attempt(stage.me.request, victim, stage.make())


@handed(
    "monitor link unlink demonitor unalias exit call register whereis unregister named within group scope"
)
async def wrong_kind(stage: Stage) -> None:
    me, near, victim = stage.me, stage.near, await stage.cast(await stage.home.spawn(Sync))
    use = {
        "monitor": me.monitor,
        "link": me.link,
        "unlink": me.unlink,
        "demonitor": me.demonitor,
        "unalias": me.unalias,
        "exit": lambda value: me.exit(value, NORMAL),
        "call": lambda value: near.named(value).call(Sync.ping),
        "register": lambda value: near.register(value, victim),
        "whereis": near.whereis,
        "unregister": near.unregister,
        "named": lambda value: near.named(value).send("message"),
        "within": lambda value: victim.within(value).call(Sync.ping),
        "group": lambda value: near.scope().join(value, victim),
        "scope": lambda value: near.scope(value).join("group", victim),
    }[stage.tier]
    await stage.attempt(use, stage.make())


@handed("sync async function", far=True)
async def tag_of_monitor(stage: Stage) -> None:
    victim = await stage.victim()
    await stage.attempt(lambda: stage.watch(victim, tag=stage.make()))
    victim.exit(Custom("end"))


@handed("mailbox")
async def match(stage: Stage) -> None:
    await stage.attempt(stage.me.receive, stage.make(), 0.1)
    stage.me.send_after(0.1, stage.me.ref, "message")
    await stage.attempt(stage.me.receive, lambda _: stage.make(), 0.2)


@handed("sync async function")
async def context_variable(stage: Stage) -> None:
    await stage.attempt((await stage.victim()).call, Sync.set_variable)


@handed("sync async")
async def label_of_request(stage: Stage) -> None:
    requests: RequestCollection[Any] = RequestCollection()
    requests.add(stage.me.request(await stage.victim("handler"), Sync.ping), stage.make())
    await stage.attempt(requests.wait, 5)
