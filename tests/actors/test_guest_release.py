"""When a node ends, nothing of its guests is left."""

from __future__ import annotations

import gc
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from enfilade.actors import KILL, KILLED, NORMAL, Down, Node, Trapped, open_node
from enfilade.actors.guests import Guest, guests_of, open_guests, run_guest
from enfilade.actors.guests.guest_body import GuestBody
from enfilade.actors.guests.guest_host import NodeHost
from enfilade.actors.guests.guest_service import Service
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.hostcalls.abi import (
    ChannelBackpressure,
    ChannelCreate,
    EntrypointInvocation,
    IoRead,
    ProcessLogRegistration,
    ProcessStart,
    TimeSleep,
)
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.actor_types import ActorSend
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.inbox import Inbox
from enfilade.hostcalls.engine import Engine, EngineConfig, Instance
from enfilade.hostcalls.kernel.execution import Execution
from enfilade.hostcalls.kernel.kernel import Kernel
from enfilade.hostcalls.resources.channel import Channel
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.message import Held
from enfilade.hostcalls.resources.registry import Kind, Registry, Resource
from tests.hostcalls.guests import ACTOR, PUPPET, Puppet

GRANTS = [capability for capability in Capability if not capability.name.startswith("NET")]
KINDS = (Engine, Instance, Kernel, Execution, Caller, Registry, Resource, Channel, Held, Future)


def alive() -> Counter[str]:
    """What there is of guests and of what they have, by type."""
    gc.collect()
    return Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, KINDS))


def descriptors() -> int:
    """How many file descriptors are open."""
    return len(os.listdir("/proc/self/fd"))


async def populate(node: Node, nursery: trio.Nursery) -> None:
    """Guests that idle, compute, wait, have ended, are supervised, own channels, and have children."""
    for entrypoint in ("idle", "spin", "spin", "nap", "done"):
        await node.spawn(Guest(ACTOR, capabilities=GRANTS, entrypoint=entrypoint))
    idle = Guest(ACTOR, capabilities=GRANTS, entrypoint="idle")
    await node.spawn(Supervisor, [Child(idle, id="idle")])
    puppets = [Puppet(await node.spawn(Guest(PUPPET, capabilities=GRANTS))) for _ in range(2)]
    for puppet in puppets:
        log = await puppet.do(c.CHANNEL_CREATE, ChannelCreate(4096, ChannelBackpressure.PARK))
        handle = await puppet.do(c.CHANNEL_SHARE, log)
        await puppet.do(c.PROCESS_REGISTER_LOG_CHANNEL, ProcessLogRegistration(handle))
        child = ProcessStart("child.wasm", "idle", (Capability.ACTOR_MESSAGE,), EntrypointInvocation())
        await puppet.do(c.PROCESS_START, child)
        sent = await puppet.do(c.CHANNEL_CREATE, ChannelCreate(4096, ChannelBackpressure.PARK))
        me = await puppet.do(c.ACTOR_SELF)
        await puppet.do(c.ACTOR_SEND, ActorSend(me, 3, b"with a channel", (sent,)))
    reader = await puppets[-1].do(c.CHANNEL_STRONG_READER_CREATE, log)
    nursery.start_soon(puppets[-1].do, c.CHANNEL_STRONG_READ, IoRead(reader, 100))
    nursery.start_soon(puppets[0].do, c.TIME_SLEEP, TimeSleep(3_600_000))
    await trio.sleep(0.02)  # computing guests go to workers meanwhile, or they do not: both must end


@pytest.mark.parametrize("how", ["ends", "fails"])
async def test_nothing_is_left_of_guests_when_their_node(how: str, tmp_path: Path) -> None:
    """Memory, stores, mailboxes, channels, futures, and messages with resources that nobody has taken."""
    (tmp_path / "child.wasm").write_bytes(ACTOR)
    before, open_before = alive(), descriptors()
    engines: list[Engine] = []
    try:
        async with open_node("test") as node, trio.open_nursery() as nursery:
            open_guests(node, modules=tmp_path, engine=EngineConfig(max_guests=50))
            engines.append(guests_of(node).kernel.engine)
            await populate(node, nursery)
            assert engines[0].guests > 0
            if how == "fails":
                raise LookupError
            nursery.cancel_scope.cancel()
    except* LookupError:
        assert how == "fails"
    assert engines.pop().closed
    del node, nursery
    assert alive() - before == Counter()
    assert descriptors() <= open_before


def parts() -> Counter[str]:
    """What there is of the parts that a process has for a guest, by type."""
    kinds = (GuestBody, NodeHost, Service, Inbox, Execution)
    return Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, kinds))


ENDS: dict[str, Any] = {"done": NORMAL, "crash": Trapped, "idle": KILLED, "nap": NORMAL}


@pytest.mark.parametrize("entrypoint", ENDS)
async def test_guests_that_have_ended_are_freed_without_the_collector(entrypoint: str) -> None:
    """The host of a guest, its mailbox and its trace go with the process; a small entry stays for a while,
    for those who ask for the guest's log, and keeps nothing of the process.
    """
    guest = Guest(ACTOR, capabilities=GRANTS, entrypoint=entrypoint)
    async with open_node("test") as node, node.mailbox() as me:
        me.trap_exits = True
        await run_guest(node, Guest(ACTOR, entrypoint="done"))
        gc.collect()
        gc.disable()
        try:
            before = parts()
            for _ in range(3):
                ref = await me.spawn(guest)
                me.monitor(ref)
                if entrypoint == "idle":
                    me.exit(ref, KILL)
                elif entrypoint == "nap":
                    await ref.stop()
                reason = (await me.receive(Down)).reason
                assert reason == ENDS[entrypoint] or type(reason) is ENDS[entrypoint]
            del ref
            await trio.testing.wait_all_tasks_blocked()
            assert parts() == before
            callers = [entry.payload for entry in guests_of(node).kernel.registry.of_kind(Kind.PROCESS)]
            assert [caller.ended for caller in callers] == [True] * 4
        finally:
            gc.enable()
