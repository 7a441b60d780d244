"""What a process may do with its own means that it had better not: in a call, a cast, a message, a hook."""

from __future__ import annotations

import gc
import math
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any, Final

import trio

from enfilade.actors import (
    KILL,
    NORMAL,
    Actor,
    Custom,
    Exit,
    Process,
    Supervisor,
    system,
)
from tests.isolation.armed import play
from tests.isolation.place import handed
from tests.isolation.stage import Stage
from tests.isolation.victims import Async, Sync

ACTIONS: Final[dict[str, Callable[[], Any]]] = {}


def action(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Something that an actor does to itself or to its node."""
    ACTIONS[fn.__name__] = lambda: fn
    return fn


class Sends:
    """Garbage that uses the runtime when it is collected."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act
        self.itself = self

    def __del__(self) -> None:
        self.act()


@action
def kills_itself(actor: Any) -> None:
    actor.process.exit(actor.process.ref, KILL)


@action
def exits_itself(actor: Any) -> None:
    actor.process.exit(actor.process.ref, NORMAL)
    actor.process.exit(actor.process.ref, Custom("again"))


@action
def stops_twice(actor: Any) -> None:
    actor.process.stop()
    actor.process.stop(Custom("again"))


@action
def stops_and_raises(actor: Any) -> None:
    actor.process.stop()
    raise ValueError("as asked")


@action
def stops_and_exits(actor: Any) -> None:
    actor.process.stop()
    raise Exit(Custom("otherwise"))


@action
def drains_and_sends_to_itself(actor: Any) -> None:
    actor.process.stop(drain=True)
    for number in range(10):
        actor.process.ref.send(number)


@action
def kills_the_node(actor: Any) -> None:
    actor.process.exit(actor.process.node.ref, KILL)
    actor.process.node.ref.exit(Custom("end"))


@action
def links_to_the_node(actor: Any) -> None:
    actor.process.link(actor.process.node.ref)
    actor.process.monitor(actor.process.node.ref)
    actor.process.exit(actor.process.ref, Custom("end"))


@action
def links_to_itself(actor: Any) -> None:
    actor.process.link(actor.process.ref)
    actor.process.monitor(actor.process.ref)
    actor.process.unlink(actor.process.ref)
    raise ValueError("as asked")


@action
def defers_twice(actor: Any) -> Any:
    actor.process.defer()
    return actor.process.defer()


@action
def defers_and_raises(actor: Any) -> Any:
    actor.deferred = actor.process.defer()
    raise ValueError("as asked")


@action
def replies_twice(actor: Any) -> Any:
    deferred = actor.process.defer()
    deferred.reply(1)
    deferred.reply(2)
    deferred.fail(ValueError("as asked"))
    return 3


@action
def forwards_to_itself(actor: Any) -> Any:
    deferred = actor.process.defer()
    deferred.forward(actor.process.ref, Sync.take, deferred)
    return deferred


@action
def refuses_with_no_error(actor: Any) -> Any:
    return actor.process.refuse("no error")


@action
def refuses_with_a_fatal_error(actor: Any) -> Any:
    return actor.process.refuse(GeneratorExit())


@action
def continues_for_long(actor: Any) -> None:
    left = 2_000

    def go_on() -> None:
        nonlocal left
        left -= 1
        if left:
            actor.process.continue_with(go_on)

    go_on()


@action
def continues_with_nothing(actor: Any) -> None:
    actor.process.continue_with(None)


@action
def sets_strange_timers(actor: Any) -> None:
    for seconds in (0, -1, math.nan, math.inf, "soon", None):
        try:
            actor.process.timers.start(seconds, seconds, "message")
        except (TypeError, ValueError):
            actor.process.timers.cancel(seconds)


@action
def sets_many_timers(actor: Any) -> None:
    for number in range(2_000):
        actor.process.timers.start(number % 10, 0.01, "message", every=True)
        actor.process.send_after(0.01, actor.process.ref, "message")
    raise ValueError("as asked")


@action
def spawns_many_and_raises(actor: Any) -> None:
    for _ in range(100):
        actor.process.spawn_soon(Sync, link=True)
    raise ValueError("as asked")


@action
def spawns_what_cannot_be_spawned(actor: Any) -> None:
    actor.process.spawn_soon(5)
    actor.process.spawn_soon(Sync, 1, 2, unknown=3)


@action
def owns_what_it_spawns(actor: Any) -> None:
    actor.process.open_arena()
    for _ in range(10):
        actor.process.spawn_soon(Async)
    raise ValueError("as asked")


@action
def calls_itself(actor: Any) -> Any:
    request = actor.process.request(actor.process.ref, Sync.ping)
    request.then(lambda _: None)
    return actor.process.ref.call(Sync.ping)  # a coroutine


@action
def forgets_its_attributes(actor: Any) -> None:
    vars(actor).clear()


@action
def becomes_another_class(actor: Any) -> None:
    actor.__class__ = Async if type(actor).__mro__[1] is Sync else Sync


@action
def breaks_its_process(actor: Any) -> None:
    actor.process.label = object()
    actor.process.trap_exits = object()


@action
def takes_names(actor: Any) -> None:
    for name in ("one", "two", "one"):
        actor.process.node.register(name, actor.process.ref)


@action
def leaves_garbage_that_sends(actor: Any) -> None:
    ref = actor.process.ref
    Sends(lambda: ref.send("out of a finalizer"))
    gc.collect(0)
    raise ValueError("as asked")


@action
def watches_itself_die(actor: Any) -> None:
    node, ref = actor.process.node, actor.process.ref
    weakref.finalize(actor, lambda: node.spawn_soon(Sync) if not node.stopped else ref.send("late"))
    raise ValueError("as asked")


@action
def collects_each_time(actor: Any) -> None:
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        actor.process.ref.send("message")
        actor.process.send_after(0.01, actor.process.ref, "message")
    finally:
        gc.set_threshold(*before)


@action
def uses_all_of_the_stack(actor: Any) -> None:
    uses_all_of_the_stack(actor)


@action
def stays_deep_in_the_stack(actor: Any) -> Any:
    def descend(depth: int) -> Any:
        if depth:
            return descend(depth - 1)
        actor.process.ref.send("from deep down")
        return actor.process.spawn_soon(Sync)

    return descend(sys.getrecursionlimit() - len(_stack()) - 60)


def _stack() -> list[Any]:
    frames, frame = [], sys._getframe()
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back  # type: ignore[assignment]
    return frames


@action
def suspends_itself(actor: Any) -> None:
    actor.process.node.start_task(lambda: _suspended(actor.process), "suspends", actor.process)


async def _suspended(process: Process) -> None:
    await system.suspend(process.ref)
    process.ref.send("message")
    await system.resume(process.ref)


@action
def sends_from_another_thread(actor: Any) -> None:
    raised: list[BaseException] = []

    def send() -> None:
        try:
            actor.process.ref.send("message")
            actor.process.stop()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


@action
def opens_a_scope_and_leaves_it(actor: Any) -> None:
    actor.scope = trio.CancelScope()
    actor.scope.__enter__()
    actor.scope.cancel()


@action
def warns_as_an_error(actor: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.warn("as asked", stacklevel=1)


@action
def starts_a_child_of_a_dead_supervisor(actor: Any) -> None:
    ref = actor.process.spawn_soon(Supervisor)
    actor.process.exit(ref, KILL)
    ref.cast(Supervisor.start_child, Sync)
    ref.send("message")


PLACES: Final = "call cast message start stop"


async def misbehaves(stage: Stage, base: type[Actor]) -> None:
    """An actor that does it where the tier says so; others go on, and hear of its end once."""
    act, where = stage.make(), stage.tier
    if act is opens_a_scope_and_leaves_it and where == "call":
        return  # it harms its caller, in whose task it runs, by contract (C7)
    done = False

    def once(self: Any, *_: Any) -> Any:
        nonlocal done
        if done:
            return None
        done = True
        return act(self)

    async def once_in_task(self: Any, *_: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return once(self)

    await play(stage, base, once if base is Sync else once_in_task)
    await trio.sleep(0.5)


@handed(PLACES, objects=ACTIONS)
async def sync_actor(stage: Stage) -> None:
    await misbehaves(stage, Sync)


@handed(PLACES, objects=ACTIONS)
async def async_actor(stage: Stage) -> None:
    await misbehaves(stage, Async)
