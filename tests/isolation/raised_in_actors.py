"""Errors that actors and functions raise, and that they are told."""

from __future__ import annotations

import logging
from typing import Any

import trio

from enfilade.actors import (
    Crashed,
    RequestCollection,
    system,
)
from tests.isolation.place import raised
from tests.isolation.stage import Stage
from tests.isolation.victims import Sync


@raised("sync async function", far=True)
async def called(stage: Stage) -> None:
    await stage.attempt((await stage.victim("handler")).call, Sync.fire)


@raised("sync async function", far=True)
async def cast(stage: Stage) -> None:
    await stage.attempt((await stage.victim("handler")).cast, Sync.fire)


@raised("sync async function")
async def requested(stage: Stage) -> None:
    request = stage.me.request(await stage.victim("handler"), Sync.fire)
    await stage.attempt(request.receive, 5)


@raised("sync async function")
async def collected(stage: Stage) -> None:
    requests: RequestCollection[str] = RequestCollection()
    requests.add(stage.me.request(await stage.victim("handler"), Sync.fire), "label")
    await stage.attempt(requests.wait, 5)


@raised("sync async function", far=True)
async def on_message(stage: Stage) -> None:
    await stage.attempt((await stage.victim("on_message")).send, "message")


@raised("sync async function", far=True)
async def on_start(stage: Stage) -> None:
    stage.entries["armed"] = stage.kind("on_start")
    if stage.far:
        await stage.attempt(stage.near.spawn_on, stage.home.full_name, "armed")
    else:
        await stage.attempt(stage.me.spawn, stage.entries["armed"], monitor=True)


@raised("sync async function", far=True)
async def init(stage: Stage) -> None:
    stage.entries["armed"] = stage.kind("init")
    if stage.far:
        await stage.attempt(stage.near.spawn_on, stage.home.full_name, "armed")
    else:
        await stage.attempt(stage.me.spawn, stage.entries["armed"], name="victim")


@raised("sync async function")
async def init_soon(stage: Stage) -> None:
    stage.watch(stage.me.spawn_soon(stage.kind("init"), name="victim"))


@raised("sync async", far=True)
async def on_stop(stage: Stage) -> None:
    await stage.attempt((await stage.victim("on_stop")).stop)


@raised("sync async", far=True)
async def on_stop_with_reply(stage: Stage) -> None:
    await stage.attempt((await stage.victim("on_stop")).call, Sync.leave)


@raised("sync async", far=True)
async def on_stop_after_crash(stage: Stage) -> None:
    await stage.attempt((await stage.victim("on_stop")).call, Sync.crash)


@raised("sync async")
async def on_down(stage: Stage) -> None:
    other = await stage.home.spawn(Sync)
    await stage.attempt((await stage.victim("on_down")).call, Sync.watch, other)
    await stage.attempt(other.stop)


@raised("sync async")
async def on_exit(stage: Stage) -> None:
    other = await stage.home.spawn(Sync)
    await stage.attempt((await stage.victim("on_exit")).call, Sync.watch, other)
    await stage.attempt(other.stop)


@raised("sync async")
async def format_status(stage: Stage) -> None:
    await stage.attempt(system.get_status, await stage.victim("format_status"))


@raised("sync async", far=True)
async def format_status_of_crash(stage: Stage) -> None:
    await stage.attempt((await stage.victim("format_status")).call, Sync.crash)


@raised("sync async")
async def on_code_change(stage: Stage) -> None:
    victim = await stage.victim("on_code_change")
    await stage.attempt(system.change_code, victim, stage.kind("on_code_change"))


@raised("sync async")
async def replace_state(stage: Stage) -> None:
    def replace(_: Any) -> Any:
        raise stage.make()

    await stage.attempt(system.replace_state, await stage.victim(), replace)


@raised("sync async")
async def observer(stage: Stage) -> None:
    class Observer:
        def received(self, *_: Any) -> None:
            raise stage.make()

        handled = received

    victim = await stage.victim()
    await stage.attempt(system.install, victim, Observer())
    await stage.attempt(victim.call, Sync.ping)


@raised("sync async")
async def continuation(stage: Stage) -> None:
    await stage.attempt((await stage.victim("continuation")).call, Sync.proceed)


@raised("sync async")
async def then(stage: Stage) -> None:
    await stage.attempt((await stage.victim("then")).call, Sync.ask, await stage.home.spawn(Sync))


@raised("sync async", far=True)
async def deferred(stage: Stage) -> None:
    victim = await stage.victim()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.attempt, victim.call, Sync.defer)
        await trio.sleep(0.1)
        await stage.attempt(lambda: victim.cast(Sync.answer, failing=True))


@raised("sync async function", far=True)
async def refused(stage: Stage) -> None:
    await stage.attempt((await stage.victim()).call, Sync.refuse)


@raised("sync async")
async def refused_cast(stage: Stage) -> None:
    await stage.attempt((await stage.victim()).cast, Sync.refuse)


@raised("function")
async def predicate(stage: Stage) -> None:
    await stage.attempt((await stage.victim("predicate")).send, "message")


@raised("sync async function", far=True)
async def reason(stage: Stage) -> None:
    victim = await stage.victim()
    await stage.attempt(lambda: victim.exit(Crashed(stage.make())))


@raised("handle emit filter format")
async def logged(stage: Stage) -> None:
    stage.tier, where = "sync", stage.tier

    class Handler(logging.Handler):
        def meet(self, place: str, record: logging.LogRecord) -> bool:
            if where == place:
                raise stage.make()
            return True

        def handle(self, record: logging.LogRecord) -> bool:
            return self.meet("handle", record) and super().handle(record)

        def filter(self, record: logging.LogRecord) -> bool:
            return self.meet("filter", record)

        def emit(self, record: logging.LogRecord) -> None:
            self.meet("emit", record)
            self.format(record)

        def format(self, record: logging.LogRecord) -> str:
            self.meet("format", record)
            return ""

        def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (a name of logging)
            """Say nothing on stderr."""

    handler = Handler()
    logging.getLogger("enfilade").addHandler(handler)
    try:
        victim = await stage.victim()
        await stage.attempt(victim.call, Sync.crash)
        await stage.attempt(victim.send, "dead letter")
        await trio.sleep(1)
    finally:
        logging.getLogger("enfilade").removeHandler(handler)
