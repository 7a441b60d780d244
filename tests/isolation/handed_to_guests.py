"""Values that Python programs hand to guests: guests take bytes, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import trio
from trio.testing import MockClock

from enfilade.actors import Child, Custom, Pool, Supervisor
from enfilade.actors.guests import Guest
from enfilade.hostcalls.abi import catalogue
from enfilade.hostcalls.abi.actor_types import ActorCall, ActorReceive
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.resources.message import Message
from tests.actors.counting_guests import GRANTS, counter
from tests.hostcalls.guests import PUPPET, Puppet
from tests.hostcalls.hostile_messages import HostileByteArray, HostileBytes, HostileMessage, HostileTag
from tests.isolation.place import handed
from tests.isolation.stage import Stage
from tests.isolation.values import VALUES


def released_view() -> memoryview:
    view = memoryview(b"x")
    view.release()
    return view


OBJECTS: Final[dict[str, Callable[[], Any]]] = {
    "hostile_bytes": lambda: HostileBytes(b"x"),
    "hostile_byte_array": lambda: HostileByteArray(b"x"),
    "released_view": released_view,
    "hostile_message": lambda: HostileMessage(b"x"),
    "hostile_data": lambda: Message(HostileBytes(b"x")),
    "hostile_tag": lambda: Message(b"x", HostileTag(1)),
    "hostile_resources": lambda: Message(b"x", 0, (object(),)),  # type: ignore[arg-type]
    "empty_message": lambda: object.__new__(Message),
    **VALUES,
}

ALL: Final = [capability for capability in Capability if not capability.name.startswith("NET")]

counting = cache(counter)


def to_guests(tiers: str, *, far: bool = False) -> Any:
    """Mark a function in which a value is handed to a guest."""
    return handed(tiers, far=far, objects=OBJECTS)


async def spawn(stage: Stage, *args: Any) -> Any:
    """Spawn a guest, or its supervisor, in real time: a thread loads the module, which no clock sees."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    clock.autojump_threshold, before = math.inf, clock.autojump_threshold
    try:
        return await stage.home.spawn(*args)
    finally:
        clock.autojump_threshold = before


async def guest(stage: Stage) -> Any:
    """A guest that answers requests."""
    ref = await spawn(stage, Guest(counting("a"), capabilities=GRANTS))
    return await stage.cast(ref, Guest.request, b"x")


@to_guests("call cast exchange send send_wait timer", far=True)
async def to_guest(stage: Stage) -> None:
    ref, value = await guest(stage), stage.make()
    ways: dict[str, tuple[Any, ...]] = {
        "call": (ref.call, Guest.request),
        "cast": (ref.cast, Guest.request),
        "exchange": (ref.call, Guest.exchange),
        "send": (ref.send,),
        "send_wait": (ref.send_wait,),
        "timer": (stage.me.send_after, 0.1, ref),
    }
    await stage.attempt(*ways[stage.tier], value)
    await trio.sleep(0.2)


@to_guests("guest", far=True)
async def reason_to_guest(stage: Stage) -> None:
    ref = await guest(stage)
    await stage.attempt(lambda: ref.exit(Custom(stage.make())))


@to_guests("guest")
async def to_supervised_guest(stage: Stage) -> None:
    children = [Child(Guest(counting("a"), capabilities=GRANTS), id="c", name="guest")]
    await stage.cast(await spawn(stage, Supervisor, children), Supervisor.count_children)
    await stage.attempt(stage.home.named("guest").send, stage.make())
    await stage.attempt(stage.home.named("guest").call, Guest.request, stage.make())
    await stage.attempt(lambda: stage.home.named("guest").exit(Custom(stage.make())))


@to_guests("any key", far=True)
async def job_of_guest(stage: Stage) -> None:
    worker, routing = Guest(counting("a"), capabilities=GRANTS), stage.tier
    await spawn(stage, worker)  # so that the module is compiled, which a pool does not wait for
    pool = await stage.home.spawn(Pool, worker, size=2, routing=routing)
    pool = await stage.cast(pool, Pool.statistics)
    pool.cast(Pool.submit, b"crash")
    for job, key in ((stage.make(), 1), (b"job", stage.make()), (b"crash", 1), (stage.make(), stage.make())):
        await stage.attempt(pool.call, Pool.submit, job, key)
    await stage.attempt(pool.call, Pool.resize, 1)


async def caller(stage: Stage, kind: Any) -> tuple[Puppet, int]:
    """A guest that does what it is told, and its slot for the victim."""
    await stage.cast(await stage.home.spawn(kind, name="victim"))
    ref = await spawn(stage, Guest(PUPPET, capabilities=ALL, finds="*"))
    stage.watch(ref)
    puppet = Puppet(ref)
    return puppet, await puppet.do(catalogue.ACTOR_WHEREIS, "victim")


@to_guests("sync async")
async def reply_to_guest(stage: Stage) -> None:
    class Callee(stage.kind()):  # type: ignore[misc]
        def request(self, data: bytes) -> Any:
            return stage.make()

    puppet, victim = await caller(stage, Callee)
    await stage.attempt(puppet.do, catalogue.ACTOR_CALL, ActorCall(victim, 1000, b"x", (), 99))


@to_guests("sync async function")
async def reason_of_monitored(stage: Stage) -> None:
    puppet, victim = await caller(stage, stage.kind())
    await puppet.do(catalogue.ACTOR_MONITOR, victim)
    await stage.attempt(lambda: stage.home.named("victim").exit(Custom(stage.make())))
    await trio.sleep(0.1)
    await stage.attempt(puppet.do, catalogue.ACTOR_RECEIVE, ActorReceive(0, 31, None, 1000))
