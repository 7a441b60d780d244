"""Hostile guests that reach for what they were not handed: names, other processes, channels and logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from enfilade.actors import KILLED, NORMAL, Actor, Backoff, Child, Down, Node, Supervisor, open_node
from enfilade.actors.guests import Guest, guests_of, open_guests, run_guest
from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.actor_types import ActorExit, ActorReason, ActorRegister, ActorSpawn, ReasonKind
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.errors import PermissionDenied
from enfilade.hostcalls.abi.hostcall import Hostcall
from enfilade.hostcalls.contracts.authority import Authority
from enfilade.hostcalls.resources.registry import Kind
from enfilade.hostcalls.sdk.wat import Assembler
from tests.hostcalls.desk import DENIED, NOT_FOUND
from tests.hostcalls.guests import PUPPET, GuestError, Puppet

EVERYTHING = [capability for capability in Capability if not capability.name.startswith("NET")]
KILL = ActorReason(ReasonKind.KILL)
NAMES = ("root", "enfilade.control", "enfilade.observe", "vault", "nobody")


class Vault(Actor):
    def request(self, data: bytes) -> bytes:
        return b"the vault's"

    def crash(self) -> None:
        raise RuntimeError("on purpose")


async def hostile(node: Node, **options: Any) -> Puppet:
    """A guest with every capability that makes the hostcalls which the test tells it."""
    return Puppet(await node.spawn(Guest(PUPPET, capabilities=EVERYTHING, **options)))


async def denied(guest: Puppet, hostcall: Hostcall[Any, Any], value: Any) -> str:
    """The error that the guest gets."""
    with pytest.raises(GuestError) as caught:
        await guest.do(hostcall, value)
    return str(caught.value)


async def test_names_of_others_are_not_found() -> None:
    """By default a guest finds nobody but itself, whether the name is taken or not."""
    async with open_node("test") as node:
        for name in NAMES[:-1]:
            await node.spawn(Vault, name=name)
        guest = await hostile(node)
        for name in NAMES:
            assert await denied(guest, c.ACTOR_WHEREIS, name) == DENIED
        node.register("itself", guest.ref)
        me = await guest.do(c.ACTOR_SELF)
        assert await guest.do(c.ACTOR_WHEREIS, "itself") == me


async def test_patterns_open_names_but_never_the_roots() -> None:
    """With every name granted, the root supervisor and the control processes stay out of reach."""
    everything = {"finds": "*", "registers": "*", "ends": "*"}
    async with open_node("test") as node:
        root = await node.spawn(Supervisor, [Child(Vault, id="vault", name="vault")], name="tree")
        node.root = root
        for name in NAMES[:3]:
            await node.spawn(Vault, name=name)
        guest = await hostile(node, **everything)
        for name in (*NAMES[:3], "tree"):
            assert await denied(guest, c.ACTOR_WHEREIS, name) == DENIED
        me = await guest.do(c.ACTOR_SELF)
        for name in ("root", "enfilade.control", "enfilade.", "enfilade.new"):
            assert await denied(guest, c.ACTOR_REGISTER, ActorRegister(name, me)) == DENIED
        assert await denied(guest, c.ACTOR_WHEREIS, "nobody") == NOT_FOUND
        vault = await guest.do(c.ACTOR_WHEREIS, "vault")
        await guest.do(c.ACTOR_EXIT, ActorExit(vault, KILL))
        await trio.testing.wait_all_tasks_blocked()
        assert root in {process.ref for process in node.processes.values()}
        node.root = None


def test_the_settings_are_apart() -> None:
    """To find a name gives no right to take it or to end its holder, and the other way round."""
    finds, registers, ends = Authority(finds="a*"), Authority(registers=["a*"]), Authority(ends=["a*"])
    for authority, right in ((finds, "may_find"), (registers, "may_register"), (ends, "may_end")):
        for each in ("may_find", "may_register", "may_end"):
            assert getattr(authority, each)("ab") is (each == right)
            assert not getattr(authority, each)("b")


async def test_exit_signals_and_links_only_to_descendants() -> None:
    """A guest that was handed a ref may speak to its process, and not end it: neither by a signal of any
    reason, nor by linking to it and trapping.
    """
    async with open_node("test") as node:
        vault = await node.spawn(Vault, name="vault")
        unnamed = await node.spawn(Vault)
        guest = await hostile(node, finds=["vault"], registers=["mine"])
        (caller,) = [entry.payload for entry in guests_of(node).kernel.registry.of_kind(Kind.PROCESS)]
        for victim in (await guest.do(c.ACTOR_WHEREIS, "vault"), caller.add(Kind.ACTOR, unnamed)):
            for kind in ReasonKind:
                assert await denied(guest, c.ACTOR_EXIT, ActorExit(victim, ActorReason(kind))) == DENIED
            assert await denied(guest, c.ACTOR_LINK, victim) == DENIED
            assert await denied(guest, c.ACTOR_REGISTER, ActorRegister("mine", victim)) == DENIED
        guest.ref.exit(KILLED)
        for ref in (vault, unnamed):
            assert await ref.call(Vault.request, b"") == b"the vault's"


async def test_descendants_may_be_ended(tmp_path: Path) -> None:
    """Children and grandchildren are a guest's own, and nobody is a descendant of its descendants."""
    (tmp_path / "puppet.wasm").write_bytes(PUPPET)
    grants = (Capability.ACTOR_MESSAGE, Capability.ACTOR_SPAWN, Capability.ACTOR_LINK)
    start = abi.ProcessStart("puppet.wasm", "start", grants, abi.EntrypointInvocation())
    async with open_node("test") as node, node.mailbox() as me:
        open_guests(node, modules=tmp_path)
        first = await hostile(node)
        family = [first]
        for _ in range(2):
            slot = (await family[-1].do(c.ACTOR_SPAWN, ActorSpawn(start, False, False))).actor
            *_, entry = guests_of(node).kernel.registry.of_kind(Kind.PROCESS)
            family.append(Puppet(entry.payload.host.me()))
        callers = [entry.payload for entry in guests_of(node).kernel.registry.of_kind(Kind.PROCESS)]
        above = callers[2].add(Kind.ACTOR, first.ref)
        assert await denied(family[2], c.ACTOR_EXIT, ActorExit(above, KILL)) == DENIED
        below = callers[0].add(Kind.ACTOR, family[2].ref)
        await first.do(c.ACTOR_LINK, slot)
        me.monitor(family[2].ref)
        await first.do(c.ACTOR_EXIT, ActorExit(below, KILL))
        assert (await me.receive(Down, timeout=10)).reason == KILLED
        assert await first.do(c.ACTOR_SELF) is not None


async def test_names_of_restarting_children_are_not_to_be_had(tmp_path: Path) -> None:
    """A guest that may register a supervised child's name, and tries all the time while the child crashes and
    is started again, never gets it.
    """
    guest = Assembler("enfilade::actor::self", "enfilade::actor::register", "time::sleep")
    register = guest.message(ActorRegister, ActorRegister("vault", 0))
    pause = guest.message(abi.TimeSleep, abi.TimeSleep(0))
    guest.function(
        "start",
        f"""
        (call $ok (call $actor.self {guest.nothing}))
        (loop $again
          (if (i32.ge_s (call $actor.register {register}) (i32.const 0)) (then unreachable))
          (call $ok (call $time.sleep {pause}))
          (br $again))
        """,
    )
    async with open_node("test") as node:
        child = Child(Vault, id="vault", name="vault", backoff=Backoff(first=0.01, factor=1.0))
        await node.spawn(Supervisor, [child], intensity=1000, period=600.0)
        squatter = await node.spawn(Guest(guest.binary(), capabilities=EVERYTHING, registers="vault"))
        for _ in range(20):
            before = node.whereis("vault")
            assert before is not None
            assert before != squatter
            before.cast(Vault.crash)
            with trio.fail_after(10):
                while node.whereis("vault") in (None, before):  # noqa: ASYNC110 - a registration is no event
                    await trio.sleep(0.001)
        assert squatter in {process.ref for process in node.processes.values()}


async def test_handles_cannot_be_guessed() -> None:
    """A guest with every grant that tries the numbers which upstream would give out finds no channel."""
    thief = Assembler("channel::attach")
    handle = thief.data(bytes(8))
    thief.function(
        "start",
        f"""
        (loop $more
          (i64.store (i32.const {handle}) (i64.extend_i32_u (local.get 0)))
          (if (i32.ge_s (call $channel.attach (i32.const {handle}) (i32.const 8)) (i32.const 0))
            (then unreachable))
          (local.set 0 (i32.add (local.get 0) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get 0) (i32.const 5000))))
        """,
        "(local i32)",
    )
    async with open_node("test") as node:
        owner = await hostile(node)
        channel = await owner.do(c.CHANNEL_CREATE, abi.ChannelCreate(64, abi.ChannelBackpressure.PARK))
        await owner.do(c.CHANNEL_SHARE, channel)
        assert await run_guest(node, Guest(thief.binary(), capabilities=EVERYTHING)) == NORMAL


async def test_a_refusal_says_what_to_grant() -> None:
    """The host's log names the name, and the setting that would allow it."""
    async with open_node("test") as node:
        guest = await hostile(node)
        for hostcall, value, setting in (
            (c.ACTOR_WHEREIS, "vault", "finds=[...]"),
            (c.ACTOR_REGISTER, ActorRegister("vault", await guest.do(c.ACTOR_SELF)), "registers=[...]"),
        ):
            error = error_of(node, hostcall, value)
            assert "'vault'" in error.why
            assert setting in error.why


def error_of(node: Node, hostcall: Hostcall[Any, Any], value: Any) -> PermissionDenied:
    """What the only guest of a node gets from a hostcall, as the host sees it."""
    (caller,) = [entry.payload for entry in guests_of(node).kernel.registry.of_kind(Kind.PROCESS)]
    table, _ = guests_of(node).kernel._table(caller.grants)
    with pytest.raises(PermissionDenied) as caught:
        table[c.CATALOGUE.index(hostcall)].contract.run(caller, value)
    return caught.value
