"""Faults within a batch of frames: what is wrong with one frame concerns nobody else; and the end of a node
link within a batch.
"""

from typing import Any

import attrs
import msgspec
import pytest
import trio

from enfilade.actors import (
    SHUTDOWN,
    Actor,
    Child,
    Down,
    ProcessDied,
    RemoteEntry,
    Supervisor,
    open_node,
)
from enfilade.transport import PayloadError, Policy, Settings, register, wire
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.peer import Peer
from tests.conformance.actors.town import (
    Account,
    Town,
    autojump_clock,
    mesh_server,
    settle,
    strikes_the_carrier,
    town,
    way,
)

__all__ = ["autojump_clock", "mesh_server", "town", "way"]


@register
@attrs.frozen
class Explosive:
    """Travels well, and cannot be made at the other end."""

    fuse: int

    def __attrs_post_init__(self) -> None:
        if self.fuse == 0:
            raise SystemExit("as the whole program would, if anybody let it")


def encoded(town: Town, value: Any) -> msgspec.Raw:
    """A value as `a` sends it to `b`."""
    remote: Any = town.a.distribution._current["b@right"]  # type: ignore[attr-defined]
    payload: msgspec.Raw = remote._codec.encode(value)[0]
    return payload


def explosive(town: Town, *, arguments: bool = False) -> msgspec.Raw:
    """A payload that `b` cannot make anything of."""
    value = Explosive(1)
    object.__setattr__(value, "fuse", 0)
    return encoded(town, [[value], {}] if arguments else value)


def peer_of(town: Town, node: str) -> Peer:
    """The node link of one node to the other."""
    (peer,) = getattr(town, node).distribution.rendezvous.peers.values()
    assert isinstance(peer, Peer)
    return peer


NOTHING = msgspec.Raw(b"\xc1")
"""No payload at all."""

FAULTY = {
    "send": lambda town: wire.Send("account", NOTHING),
    "send_explosive": lambda town: wire.Send("account", explosive(town)),
    "cast": lambda town: wire.Cast("account", "add", explosive(town, arguments=True)),
    "cast_without_arguments": lambda town: wire.Cast("account", "add", encoded(town, 5)),
    "cast_of_nothing": lambda town: wire.Cast("account", "", encoded(town, [[], {}])),
    "call": lambda town: wire.Call(2**40, "account", "add", explosive(town, arguments=True)),
    "call_of_a_hook": lambda town: wire.Call(2**40 + 1, "account", "on_stop", encoded(town, [[], {}])),
    "reply_nobody_asked_for": lambda town: wire.Reply(2**40, True, explosive(town)),
    "cancel": lambda town: wire.Cancel(2**40),
    "exit": lambda town: wire.Exit(1, 2**40, False, explosive(town)),
    "down": lambda town: wire.Down(2**40, NOTHING),
    "spawn": lambda town: wire.Spawn(2**40, "Account", explosive(town, arguments=True)),
    "spawned": lambda town: wire.Spawned(2**40, NOTHING, NOTHING),
    "whereis_reply": lambda town: wire.WhereisReply(2**40, NOTHING),
    "members": lambda town: wire.Members("default", NOTHING),
    "members_of_nothing": lambda town: wire.Members("default", encoded(town, 5)),
    "members_of_a_list": lambda town: wire.Members("default", encoded(town, [[1], []])),
    "members_that_are_none": lambda town: wire.Members("default", encoded(town, ["group", 5])),
    "members_explosive": lambda town: wire.Members("default", explosive(town)),
    "token": lambda town: wire.Present(5, b"forged"),
}


@pytest.mark.parametrize("fault", FAULTY)
async def test_the_rest_of_the_batch_is_carried_out(town: Town, autojump_clock: object, fault: str) -> None:
    """D1: a frame that cannot be carried out is reported, and those behind it are carried out."""
    account = await town.b.spawn(Account, name="account")
    peer = peer_of(town, "b")
    object.__setattr__(peer, "rights", attrs.evolve(peer.rights, groups=("*",)))
    frames = [FAULTY[fault](town), wire.Send("account", encoded(town, "behind"))]
    town.b.distribution.host.peer_frames(peer, frames, ())
    await settle()
    assert await account.call(Account.history) == ["behind"]
    assert peer_of(town, "b") is peer
    assert await town.a.remote("account", "b@right").call(Account.add, 1) == 1


ANSWERS = {
    "reply": lambda number: wire.Reply(number, True, NOTHING),
    "failure": lambda number: wire.Reply(number, False, NOTHING),
    "failure_without_a_reason": lambda number: wire.Reply(number, False, msgspec.Raw(b"\x05")),
}


@pytest.mark.parametrize("answer", ANSWERS)
@strikes_the_carrier
async def test_an_answer_that_cannot_be_decoded(town: Town, autojump_clock: object, answer: str) -> None:
    """C2: whoever waits for an answer that nobody can make sense of is told so, and nobody else."""
    await town.b.spawn(Account, name="account")
    async with town.a.mailbox() as me:
        request = me.request(town.a.remote("account", "b@right"), Account.wait)
        asked = town.a.distribution._current["b@right"]._open.calls  # type: ignore[attr-defined]
        (number,) = asked
        town.a.distribution.host.peer_frames(peer_of(town, "a"), [ANSWERS[answer](number)], ())
        with pytest.raises(PayloadError):
            await request.receive(1)
        assert not asked
    async with trio.open_nursery() as nursery:

        async def ask(question: Any, *args: Any) -> None:
            with pytest.raises(PayloadError):
                await question("b@right", *args)

        nursery.start_soon(ask, town.a.whereis_on, "account")
        nursery.start_soon(ask, town.a.spawn_on, "Account")
        carrier: Any = town.a.distribution._current["b@right"]  # type: ignore[attr-defined]
        town.carriers["b"].freeze()
        await trio.testing.wait_all_tasks_blocked()
        whereis, spawn = carrier._open.asked
        frames = [wire.WhereisReply(whereis, NOTHING), wire.Spawned(spawn, NOTHING)]
        town.a.distribution.host.peer_frames(peer_of(town, "a"), frames, ())
        town.carriers["b"].thaw()


BY = {
    "no_payload": lambda town: NOTHING,
    "no_ref": lambda town: encoded(town, "who?"),
    "explosive": explosive,
}


@pytest.mark.parametrize("by", BY)
async def test_an_end_is_told_whoever_asked_for_it(town: Town, autojump_clock: object, by: str) -> None:
    """L9, D9: what stands in the place of a ref to the process that asked for an end counts as nobody."""
    account = await town.b.spawn(Account, name="account")
    async with town.a.mailbox() as me:
        monitor = me.monitor(town.a.remote("account", "b@right"))
        request = me.request(town.a.remote("account", "b@right"), Account.wait)
        await settle()
        carrier: Any = town.a.distribution._current["b@right"]  # type: ignore[attr-defined]
        reason = carrier.encode_reason(SHUTDOWN)
        (number,) = carrier._open.calls
        who = BY[by](town)
        frames = [wire.Reply(number, False, reason, 0, who), wire.Down(monitor.number, reason, who)]
        town.a.distribution.host.peer_frames(peer_of(town, "a"), frames, ())
        down = await me.receive(Down, timeout=1)
        assert (down.reason, down.reason.by) == (SHUTDOWN, None)
        with pytest.raises(ProcessDied) as died:
            await request.receive(1)
        assert (died.value.reason, died.value.reason.by) == (SHUTDOWN, None)
    account.exit(SHUTDOWN)


@strikes_the_carrier
async def test_a_batch_ends_with_its_node_link(
    town: Town, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """D1, D3: what stands behind the frame with which the node link ended is lost with it."""
    victim = await town.b.spawn(Account, name="account")
    peer = peer_of(town, "b")
    remote: Any = town.b.distribution._current["a@left"]  # type: ignore[attr-defined]
    remote._passing.grant(victim)
    arguments = encoded(town, [[], {}])
    frames = [
        wire.Whereis(1, "account"),  # the answer is what does not get through
        wire.Link(77, victim.serial),
        wire.Monitor(78, victim.serial),
        wire.Spawn(79, "Account", arguments, 0, 77),
        wire.Call(80, "account", "wait", arguments),
        wire.Send(victim.serial, encoded(town, "behind")),
    ]
    before = set(town.b.processes)
    town.cut()
    town.b.distribution.host.peer_frames(peer, frames, ())
    await settle()
    assert not town.b.distribution.peers
    assert set(town.b.processes) == before
    process = town.b.processes[victim.serial]
    assert not process.links
    assert not process.watchers
    assert await victim.call(Account.history) == []
    ledger = remote._open
    assert not any((ledger.links, ledger.watched, ledger.spawning, ledger.answering))
    assert "failed to carry out" not in caplog.text


class Ledger(Actor):
    """Is started by another node, which is out of reach as soon as that has begun."""

    made: list["Ledger"] = []  # noqa: RUF012
    network: MemoryNetwork

    def __init__(self) -> None:
        self.made.append(self)
        if len(self.made) == 1:
            self.network.cut("home", "far")


async def test_a_child_does_not_outlive_the_news_of_its_start(autojump_clock: object) -> None:
    """D3: a node link that ends with the very frame that tells of a child's start takes the child along."""
    Ledger.made = []
    Ledger.network = network = MemoryNetwork()
    policy = Policy.same_user(exports="*", entries="*")

    def options(name: str) -> dict[str, Any]:
        return {
            "zone": "z",
            "listen": f"/{name}",
            "policy": policy,
            "carrier": network.carrier(name),
            "settings": Settings(period=2.0),
        }

    async with (
        open_node("far", entries={"Ledger": Ledger}, **options("far")) as far,
        open_node("home", **options("home")) as home,
    ):
        await home.connect("/far")
        await home.spawn(Supervisor, [Child(RemoteEntry("Ledger", "far@z"), id="ledger")])
        assert Ledger.made
        await trio.sleep(20)
        assert not far.processes
