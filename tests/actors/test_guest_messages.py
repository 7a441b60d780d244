"""Actor messaging for guests: every `enfilade::actor::*` hostcall, made by a real guest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import (
    NORMAL,
    Actor,
    Custom,
    Down,
    Exit,
    Node,
    Process,
    ProcessDied,
    Shutdown,
    open_node,
)
from enfilade.actors.guests import Guest, guests_of, hold, open_guests
from enfilade.hostcalls.abi import (
    ChannelBackpressure,
    ChannelCreate,
    EntrypointInvocation,
    IoRead,
    IoWrite,
    ProcessStart,
)
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.actor_types import (
    ActorBody,
    ActorCall,
    ActorDemonitor,
    ActorExit,
    ActorReason,
    ActorReceive,
    ActorReceived,
    ActorRegister,
    ActorReply,
    ActorSend,
    ActorSpawn,
    DownMessage,
    ExitedMessage,
    PlainMessage,
    ReasonKind,
)
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.resources.channel import Channel
from enfilade.hostcalls.resources.message import Message
from enfilade.hostcalls.sdk.wat import Assembler
from tests.hostcalls.guests import ACTOR, PUPPET, GuestError, Puppet

EVERYTHING = [capability for capability in Capability if not capability.name.startswith("NET")]
PARK = ChannelCreate(64, ChannelBackpressure.PARK)


def receive(
    timeout_ms: int | None = 0, kinds: int = 1, tag: int | None = None, limit: int = 1000
) -> ActorReceive:
    """Plain messages, exits and downs can be polled for; requests are how the puppet is moved."""
    return ActorReceive(timeout_ms, kinds, tag, limit)


async def puppet(node: Node, **options: Any) -> Puppet:
    guest = Guest(PUPPET, capabilities=EVERYTHING, finds="*", registers="*", ends="*")
    return Puppet(await node.spawn(guest, **options))


async def test_self_and_send() -> None:
    """A guest has one slot for itself and can send itself messages, with tags."""
    async with open_node("test") as node:
        guest = await puppet(node)
        me = await guest.do(c.ACTOR_SELF)
        assert await guest.do(c.ACTOR_SELF) == me
        await guest.do(c.ACTOR_SEND, ActorSend(me, 7, b"to myself"))
        assert await guest.do(c.ACTOR_RECEIVE, receive()) == ActorReceived(PlainMessage(7, b"to myself", ()))
        assert await guest.do(c.ACTOR_RECEIVE, receive()) == ActorReceived(None)


async def test_messages_of_python_processes() -> None:
    """Bytes are messages with tag 0; `Message` carries a tag; a guest's messages arrive as `Message`."""
    async with open_node("test") as node, node.mailbox() as me:
        guest = await puppet(node)
        node.register("python", me.ref)
        guest.ref.send(b"plain")
        guest.ref.send(Message(b"tagged", tag=9))
        guest.ref.cast(Guest.request, b"cast")
        slot = await guest.do(c.ACTOR_WHEREIS, "python")
        await guest.do(c.ACTOR_SEND, ActorSend(slot, 3, b"up"))
        assert await me.receive(Message, timeout=5) == Message(b"up", tag=3)
        got = [(await guest.do(c.ACTOR_RECEIVE, receive())).message for _ in range(3)]
        assert got == [
            PlainMessage(0, b"plain", ()),
            PlainMessage(9, b"tagged", ()),
            PlainMessage(0, b"cast", ()),
        ]


async def test_selective_receive() -> None:
    """A receive takes the first message that fits; the others keep their order."""
    async with open_node("test") as node:
        guest = await puppet(node)
        for tag in (1, 2, 1, 3):
            guest.ref.send(Message(b"%d" % tag, tag=tag))
        assert (await guest.do(c.ACTOR_RECEIVE, receive(tag=3))).message.data == b"3"
        assert (await guest.do(c.ACTOR_RECEIVE, receive(tag=2))).message.data == b"2"
        assert (await guest.do(c.ACTOR_RECEIVE, receive(tag=2))).message is None
        assert (await guest.do(c.ACTOR_RECEIVE, receive())).message.data == b"1"
        assert (await guest.do(c.ACTOR_RECEIVE, receive())).message.data == b"1"


async def test_receive_with_a_time_limit(autojump_clock: trio.testing.MockClock) -> None:
    """A receive gives up after its time, and is woken by a message before that."""
    async with open_node("test") as node:
        guest = await puppet(node)
        started = trio.current_time()
        assert (await guest.do(c.ACTOR_RECEIVE, receive(timeout_ms=2500))).message is None
        assert 2.5 <= trio.current_time() - started < 2.6
        async with trio.open_nursery() as nursery:

            async def later() -> None:
                await trio.sleep(1)
                guest.ref.send(b"in time")

            nursery.start_soon(later)
            got = await guest.do(c.ACTOR_RECEIVE, receive(timeout_ms=3000))
            assert got.message.data == b"in time"
        assert trio.current_time() - started < 4


async def test_message_that_is_too_long_stays() -> None:
    """A message longer than the guest has room for is an error, and can be received with more room."""
    async with open_node("test") as node:
        guest = await puppet(node)
        guest.ref.send(b"12345")
        with pytest.raises(GuestError, match="frame exceeds requested length"):
            await guest.do(c.ACTOR_RECEIVE, receive(limit=4))
        assert (await guest.do(c.ACTOR_RECEIVE, receive(limit=5))).message.data == b"12345"


class Upper(Actor):
    """What a guest can call: an actor with `request`."""

    def request(self, data: bytes) -> bytes:
        if data == b"crash":
            raise RuntimeError("as asked")
        return data.upper()


class Odd(Actor):
    """Answers what guests cannot take."""

    def request(self, data: bytes) -> int:
        return 5


async def test_a_guest_calls_an_actor() -> None:
    """A guest calls a Python actor, and learns why there is no answer."""
    async with open_node("test") as node:
        guest = await puppet(node)
        await node.spawn(Upper, name="upper")
        await node.spawn(Odd, name="odd")
        upper, odd = [await guest.do(c.ACTOR_WHEREIS, name) for name in ("upper", "odd")]
        assert await guest.do(c.ACTOR_CALL, ActorCall(upper, None, b"hello", (), 99)) == ActorBody(b"HELLO")
        with pytest.raises(GuestError, match="frame exceeds"):
            await guest.do(c.ACTOR_CALL, ActorCall(upper, None, b"hello", (), 4))
        with pytest.raises(GuestError, match="call failed: the reply is not bytes"):
            await guest.do(c.ACTOR_CALL, ActorCall(odd, None, b"x", (), 99))
        mine = await guest.do(c.CHANNEL_CREATE, PARK)
        with pytest.raises(GuestError, match="call failed: Upper has no public method 'exchange'"):
            await guest.do(c.ACTOR_CALL, ActorCall(upper, None, b"x", (mine,), 99))
        await guest.do(c.CHANNEL_DRAIN, mine)
        with pytest.raises(GuestError, match="call failed: the process ended: crashed"):
            await guest.do(c.ACTOR_CALL, ActorCall(upper, 1000, b"crash", (), 99))
        with pytest.raises(GuestError, match="call failed: no process"):
            await guest.do(c.ACTOR_CALL, ActorCall(upper, None, b"x", (), 99))
        itself = await guest.do(c.ACTOR_SELF)
        with pytest.raises(GuestError, match="invalid argument"):
            await guest.do(c.ACTOR_CALL, ActorCall(itself, None, b"x", (), 99))


async def test_call_with_a_time_limit(autojump_clock: trio.testing.MockClock) -> None:
    """A call gives up after its time."""
    async with open_node("test") as node:
        guest = await puppet(node)
        await node.spawn(Guest(ACTOR, capabilities=EVERYTHING, entrypoint="nap"), name="sleeper")
        sleeper = await guest.do(c.ACTOR_WHEREIS, "sleeper")
        with pytest.raises(GuestError, match="call failed"):
            await guest.do(c.ACTOR_CALL, ActorCall(sleeper, 100, b"x", (), 99))


async def test_requests_are_slots() -> None:
    """A guest receives a request as a slot that it answers once; two guests call each other."""
    async with open_node("test") as node:
        server, client = await puppet(node, name="server"), await puppet(node)
        slot = await client.do(c.ACTOR_WHEREIS, "server")
        # The puppet's own loop receives requests, so a message of the client's is one; it is no command it
        # knows.
        answer = await client.do(c.ACTOR_CALL, ActorCall(slot, None, b"\xff\0\0\0", (), 99))
        assert answer == ActorBody(b"\0\0\0\0")
        with pytest.raises(GuestError, match="resource not found"):
            await server.do(c.ACTOR_REPLY, ActorReply(55, b""))
        with pytest.raises(GuestError, match="invalid argument"):
            await client.do(c.ACTOR_REPLY, ActorReply(slot, b""))


async def test_act_t11_sent_resources_change_hands() -> None:
    """A resource that is sent is gone at the sender, and belongs to the receiver; unreceived, to nobody."""
    async with open_node("test") as node:
        one, two = await puppet(node), await puppet(node, name="two")
        to = await one.do(c.ACTOR_WHEREIS, "two")
        channel = await one.do(c.CHANNEL_CREATE, PARK)
        writer = await one.do(c.CHANNEL_STRONG_WRITER_CREATE, channel)
        await one.do(c.ACTOR_SEND, ActorSend(to, 0, b"yours", (channel,)))
        with pytest.raises(GuestError, match="resource not found"):
            await one.do(c.CHANNEL_DRAIN, channel)
        got = (await two.do(c.ACTOR_RECEIVE, receive())).message
        assert (got.data, len(got.resources)) == (b"yours", 1)
        reader = await two.do(c.CHANNEL_STRONG_READER_CREATE, got.resources[0])
        await one.do(c.CHANNEL_STRONG_WRITE, IoWrite(writer, b"through it"))
        assert (await two.do(c.CHANNEL_STRONG_READ, IoRead(reader, 99))).payload == b"through it"
        await one.ref.stop()
        await two.do(c.CHANNEL_DRAIN, got.resources[0])  # it outlives who made it
        registry = guests_of(node).kernel.registry
        before = len(registry)
        again = await two.do(c.CHANNEL_CREATE, PARK)
        me = await two.do(c.ACTOR_SELF)
        with pytest.raises(GuestError, match="invalid argument"):
            await two.do(c.ACTOR_SEND, ActorSend(me, 0, b"", (again, again)))
        with pytest.raises(GuestError, match="resource not found"):
            await two.do(c.ACTOR_SEND, ActorSend(me, 0, b"", (again, 99)))
        await two.do(c.ACTOR_SEND, ActorSend(me, 0, b"", (again,)))
        await two.ref.stop()
        assert len(registry) <= before


async def test_what_cannot_be_sent_stays() -> None:
    """When a send fails, the sender has its resources under the same slots as before; requests, too long
    texts and too many resources are refused before anything is given away.
    """
    async with open_node("test") as node:
        limits = Limits(message_bytes=4096)
        guest = Puppet(await node.spawn(Guest(PUPPET, capabilities=EVERYTHING, limits=limits, registers="*")))
        me = await guest.do(c.ACTOR_SELF)
        first, second = [await guest.do(c.CHANNEL_CREATE, PARK) for _ in range(2)]
        with pytest.raises(GuestError, match="invalid argument"):  # nobody calls itself
            await guest.do(c.ACTOR_CALL, ActorCall(me, None, b"", (second, first), 99))
        reader = await guest.do(c.CHANNEL_STRONG_READER_CREATE, second)
        writer = await guest.do(c.CHANNEL_STRONG_WRITER_CREATE, second)
        await guest.do(c.CHANNEL_STRONG_WRITE, IoWrite(writer, b"mine"))
        assert (await guest.do(c.CHANNEL_STRONG_READ, IoRead(reader, 9))).payload == b"mine"
        await guest.do(c.CHANNEL_DRAIN, first)
        handle = await guest.do(c.CHANNEL_SHARE, me)
        many = tuple([await guest.do(c.CHANNEL_ATTACH, handle) for _ in range(5)])
        with pytest.raises(GuestError, match="invalid argument"):
            await guest.do(c.ACTOR_SEND, ActorSend(me, 0, b"", many))
        await guest.do(c.ACTOR_RELEASE, many[4])
        with pytest.raises(GuestError, match="invalid argument"):
            await guest.do(c.ACTOR_REGISTER, ActorRegister("x" * 4097, me))
        with pytest.raises(GuestError, match="invalid argument"):
            await guest.do(c.ACTOR_EXIT, ActorExit(None, ActorReason(ReasonKind.OTHER, "x" * 4097)))


async def test_channels_between_python_and_guests() -> None:
    """A channel of this program travels to a guest and back; both use it."""
    async with open_node("test") as node, node.mailbox() as me:
        node.register("python", me.ref)
        guest = await puppet(node)
        channel = Channel(64)
        held = hold(node, channel)
        guest.ref.send(Message(b"", resources=(held,)))
        del held
        slot = (await guest.do(c.ACTOR_RECEIVE, receive())).message.resources[0]
        writer = await guest.do(c.CHANNEL_WEAK_WRITER_CREATE, slot)
        reader = channel.reader()
        await guest.do(c.CHANNEL_WEAK_WRITE, IoWrite(writer, b"up"))
        assert (await reader.read(99)).payload == b"up"
        to = await guest.do(c.ACTOR_WHEREIS, "python")
        await guest.do(c.ACTOR_SEND, ActorSend(to, 0, b"back", (slot,)))
        message = await me.receive(Message, timeout=5)
        assert message.resources[0].payload is channel
        with pytest.raises(GuestError, match="resource not found"):
            await guest.do(c.CHANNEL_DRAIN, slot)


async def test_resources_in_calls() -> None:
    """Requests and replies carry resources too, in `exchange`."""

    class Giver(Actor):
        def __init__(self, channel: Channel) -> None:
            self.channel = channel

        def exchange(self, message: Message) -> Message:
            assert message.resources
            return Message(b"take this", resources=(hold(self.process.node, self.channel),))

    async with open_node("test") as node:
        guest = await puppet(node)
        channel = Channel(64)
        await node.spawn(Giver, channel, name="giver")
        to = await guest.do(c.ACTOR_WHEREIS, "giver")
        mine = await guest.do(c.CHANNEL_CREATE, PARK)
        body = await guest.do(c.ACTOR_CALL, ActorCall(to, None, b"", (mine,), 99))
        assert body.data == b"take this"
        await guest.do(c.CHANNEL_DRAIN, body.resources[0])
        assert channel.state.value == "draining"


async def test_monitor_and_demonitor() -> None:
    """A monitored actor's end is a message, once; a demonitored one's is not."""
    async with open_node("test") as node:
        guest = await puppet(node)
        victim = await node.spawn(Upper, name="victim")
        slot = await guest.do(c.ACTOR_WHEREIS, "victim")
        first, second, third = [await guest.do(c.ACTOR_MONITOR, slot) for _ in range(3)]
        await guest.do(c.ACTOR_DEMONITOR, ActorDemonitor(second, False))
        await victim.stop(Shutdown("closing"))
        reason = ActorReason(ReasonKind.SHUTDOWN, "closing")
        got = (await guest.do(c.ACTOR_RECEIVE, receive(kinds=8))).message
        assert got == DownMessage(first, slot, reason)
        await guest.do(c.ACTOR_DEMONITOR, ActorDemonitor(third, True))
        assert (await guest.do(c.ACTOR_RECEIVE, receive(kinds=8))).message is None
        for number in (first, second, 12345):
            with pytest.raises(GuestError, match="resource not found"):
                await guest.do(c.ACTOR_DEMONITOR, ActorDemonitor(number, True))
        gone = await guest.do(c.ACTOR_MONITOR, slot)
        got = (await guest.do(c.ACTOR_RECEIVE, receive(kinds=8))).message
        assert got == DownMessage(gone, slot, ActorReason(ReasonKind.NO_PROCESS))


async def test_link_trap_and_exit() -> None:
    """Links carry ends both ways; a guest that traps exits gets messages."""
    async with open_node("test") as node:
        guest = await puppet(node)
        victim = await node.spawn(Upper, name="victim")
        slot = await guest.do(c.ACTOR_WHEREIS, "victim")
        assert await guest.do(c.ACTOR_TRAP, True) is False
        assert await guest.do(c.ACTOR_TRAP, True) is True
        await guest.do(c.ACTOR_LINK, slot)
        await guest.do(c.ACTOR_EXIT, ActorExit(slot, ActorReason(ReasonKind.KILL)))
        got = (await guest.do(c.ACTOR_RECEIVE, receive(kinds=4))).message
        assert got == ExitedMessage(slot, ActorReason(ReasonKind.KILLED))
        assert node.whereis("victim") is None
        assert victim != guest.ref
        await node.spawn(Upper, name="other")
        other = await guest.do(c.ACTOR_WHEREIS, "other")
        await guest.do(c.ACTOR_LINK, other)
        await guest.do(c.ACTOR_UNLINK, other)
        await guest.do(c.ACTOR_EXIT, ActorExit(other, ActorReason(ReasonKind.OTHER, "go away")))
        assert (await guest.do(c.ACTOR_RECEIVE, receive(kinds=4))).message is None
        await guest.do(c.ACTOR_TRAP, False)
        with pytest.raises(GuestError, match="resource not found"):
            await guest.do(c.ACTOR_LINK, other)


@pytest.mark.parametrize(
    ("reason", "ended"),
    [
        (ActorReason(ReasonKind.NORMAL), NORMAL),
        (ActorReason(ReasonKind.SHUTDOWN, "enough"), Shutdown("enough")),
        (ActorReason(ReasonKind.OTHER, "broken"), Custom("broken")),
    ],
)
async def test_exit_of_itself(reason: ActorReason, ended: object) -> None:
    """A guest chooses its own exit reason."""
    async with open_node("test") as node, node.mailbox() as me:
        guest = await puppet(node)
        me.monitor(guest.ref)
        with pytest.raises(ProcessDied):
            await guest.do(c.ACTOR_EXIT, ActorExit(None, reason))
        assert (await me.receive(Down, timeout=5)).reason == ended


async def test_register_and_whereis() -> None:
    """Names are those of the node."""
    async with open_node("test") as node:
        guest = await puppet(node)
        me = await guest.do(c.ACTOR_SELF)
        with pytest.raises(GuestError, match="resource not found"):
            await guest.do(c.ACTOR_WHEREIS, "me")
        await guest.do(c.ACTOR_REGISTER, ActorRegister("me", me))
        assert node.whereis("me") == guest.ref
        assert await guest.do(c.ACTOR_WHEREIS, "me") == me
        other = await puppet(node)
        its = await other.do(c.ACTOR_SELF)
        with pytest.raises(GuestError, match="Stable identifier already exists"):
            await other.do(c.ACTOR_REGISTER, ActorRegister("me", its))
        with pytest.raises(GuestError, match="invalid argument"):
            await other.do(c.ACTOR_REGISTER, ActorRegister("", its))
        await guest.do(c.ACTOR_RELEASE, me)
        with pytest.raises(GuestError, match="resource not found"):
            await guest.do(c.ACTOR_REGISTER, ActorRegister("again", me))


def start(entrypoint: str) -> ProcessStart:
    return ProcessStart(
        "actor.wasm", entrypoint, (Capability.ACTOR_MESSAGE, Capability.TIME_READ), EntrypointInvocation()
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "actor.wasm").write_bytes(ACTOR)
    return tmp_path


async def test_a_guest_spawns_a_guest(store: Path) -> None:
    """A guest spawns a guest, monitored from its first moment, and calls it."""
    async with open_node("test") as node:
        open_guests(node, modules=store)
        guest = await puppet(node)
        spawned = await guest.do(c.ACTOR_SPAWN, ActorSpawn(start("echo"), False, True))
        assert spawned.monitor
        call = ActorCall(spawned.actor, None, b"hello", (), 99)
        assert (await guest.do(c.ACTOR_CALL, call)).data == b"hello"
        await guest.do(c.PROCESS_STOP, spawned.process_id)
        got = (await guest.do(c.ACTOR_RECEIVE, receive(timeout_ms=5000, kinds=8))).message
        assert got == DownMessage(spawned.monitor, spawned.actor, ActorReason(ReasonKind.SHUTDOWN))
        with pytest.raises(GuestError, match="no function named 'missing'"):
            await guest.do(c.ACTOR_SPAWN, ActorSpawn(start("missing"), True, True))


async def test_spawn_linked(store: Path) -> None:
    """A linked child takes its parent along."""
    async with open_node("test") as node, node.mailbox() as me:
        open_guests(node, modules=store)
        guest = await puppet(node)
        me.monitor(guest.ref)
        spawned = await guest.do(c.ACTOR_SPAWN, ActorSpawn(start("echo"), True, False))
        with pytest.raises(ProcessDied):
            await guest.do(c.ACTOR_CALL, ActorCall(spawned.actor, None, b"trap", (), 99))
        assert str((await me.receive(Down, timeout=5)).reason).startswith("trapped")


async def test_children_end_with_their_parent(store: Path) -> None:
    """A guest's children do not outlive it, also when they trap exits."""
    async with open_node("test") as node:
        open_guests(node, modules=store)
        guest = await puppet(node)
        await guest.do(c.ACTOR_SPAWN, ActorSpawn(start("idle"), False, False))
        process = await guest.do(c.PROCESS_START, start("spin"))
        assert process
        assert node.statistics().processes == 3
        await guest.ref.stop()
        with trio.fail_after(60):
            while node.statistics().processes:  # noqa: ASYNC110 - the end of a process is not an event
                await trio.sleep(0.001)


async def test_reasons_of_python_actors() -> None:
    """Guests see why Python processes ended."""

    async def ends(me: Process, reason: Any) -> None:
        raise reason

    async with open_node("test") as node:
        guest = await puppet(node)
        await guest.do(c.ACTOR_TRAP, True)
        for number, (error, kind, detail) in enumerate(
            [
                (RuntimeError("x"), ReasonKind.CRASHED, "RuntimeError('x')"),
                (Exit(Custom("y")), ReasonKind.OTHER, "y"),
                (Exit(NORMAL), ReasonKind.NORMAL, ""),
            ]
        ):
            gate = trio.Event()

            async def body(me: Process, gate: trio.Event = gate, error: BaseException = error) -> None:
                await gate.wait()
                raise error

            await node.spawn(body, name=f"victim{number}")
            slot = await guest.do(c.ACTOR_WHEREIS, f"victim{number}")
            await guest.do(c.ACTOR_LINK, slot)
            gate.set()
            got = (await guest.do(c.ACTOR_RECEIVE, receive(timeout_ms=5000, kinds=4))).message
            assert got == ExitedMessage(slot, ActorReason(kind, detail))


async def test_refs_as_resources() -> None:
    """A ref is passed as an argument or sent, and is a slot to which the guest can speak."""
    probe = Assembler("enfilade::actor::send")
    probe.function(
        "start",
        "(call $ok (call $send_to (local.get 0) (i32.const 65536) (i32.const 0)))",
        "(param i32)",
    )
    async with open_node("test") as node, node.mailbox() as me:
        await node.spawn(Guest(probe.binary(), capabilities=["ActorMessage"]), me.ref)
        assert await me.receive(Message, timeout=5) == Message(b"")
        guest = await puppet(node)
        guest.ref.send(Message(b"", resources=(hold(node, me.ref),)))
        slot = (await guest.do(c.ACTOR_RECEIVE, receive())).message.resources[0]
        await guest.do(c.ACTOR_SEND, ActorSend(slot, 1, b"found you"))
        assert await me.receive(Message, timeout=5) == Message(b"found you", tag=1)
