"""Every hostcall of the catalogue, made by a real guest: with good input, without its capability, with a
handle that leads nowhere, with one that leads to something else, and with arguments that were cut off.
"""

from __future__ import annotations

import itertools
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from enfilade.actors import Actor, Node, ProcessDied, Trapped, open_node
from enfilade.actors.guests import Guest, guests_of, open_guests
from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.actor_types import (
    ActorBody,
    ActorCall,
    ActorDemonitor,
    ActorExit,
    ActorExport,
    ActorImport,
    ActorReason,
    ActorReceive,
    ActorReceived,
    ActorRegister,
    ActorReply,
    ActorSend,
    ActorSpawn,
    PlainMessage,
    ReasonKind,
    RequestMessage,
)
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.hostcall import Hostcall
from enfilade.hostcalls.drivers.session import Scope, Session
from enfilade.hostcalls.net.memory_sockets import MemorySockets
from enfilade.hostcalls.resources.message import Message
from enfilade.hostcalls.resources.registry import Kind
from tests.hostcalls.desk import DENIED, INVALID, NOT_FOUND, Desk, fails
from tests.hostcalls.guests import ACTOR, PUPPET, GuestError, Puppet

KERNEL = "The kernel encountered an error. Please report this to your administrator."
TOO_LONG = "internal error: io error: frame exceeds requested length"
NOWHERE = 999
READER = Capability.CHANNEL_READER
NAME = abi.DependencyId(bytes(range(16)))
PARK = abi.ChannelCreate(64, abi.ChannelBackpressure.PARK)
NORMAL = ActorReason(ReasonKind.NORMAL)

# What is in the guest's slots when a case begins, behind the request that asks it for the hostcall.
CHANNEL, STRONG_READER, WEAK_READER, STRONG_WRITER, WEAK_WRITER, SESSION, CHILD_SESSION, OTHER = range(1, 9)
FREE = 9
"""The next free slot."""

SHARED, SHARED_READER = 1, 2
"""The shared handles of the channel and of its reader, which are random elsewhere."""

FRAME = b"frame"
"""What is written and read: 5 bytes."""


class Other(Actor):
    """Whom the guest speaks to."""

    def request(self, data: bytes) -> bytes:
        return data.upper()


def start(*args: abi.EntrypointArg, params: tuple[abi.AbiParam, ...] = ()) -> abi.ProcessStart:
    signature = abi.AbiSignature(params)
    return abi.ProcessStart("actor.wasm", "done", (), abi.EntrypointInvocation(signature, args))


def resource(kind: abi.ScalarType, handle: int) -> abi.ProcessStart:
    return start(abi.ResourceArg(handle), params=(abi.ScalarParam(kind),))


@attrs.frozen
class Case:
    """What a hostcall is given, and what comes of it; `answer` is a value, or says whether it is right."""

    hostcall: Hostcall[Any, Any]
    value: Any = None
    answer: Any = None
    error: str | None = None  # the text with which even good input fails
    wrong: tuple[tuple[Any, str], ...] = ()  # input with a bad handle, and the error's text


def both(make: Callable[[int], Any], kind_of: int = CHANNEL) -> tuple[tuple[Any, str], ...]:
    """A handle that leads nowhere, and one that leads to a resource of another kind."""
    return (make(NOWHERE), NOT_FOUND), (make(kind_of), INVALID)


def session(make: Callable[[int, int], Any]) -> tuple[tuple[Any, str], ...]:
    """Both sessions that a hostcall is given may be wrong."""
    return (
        (make(NOWHERE, CHILD_SESSION), NOT_FOUND),
        (make(SESSION, NOWHERE), NOT_FOUND),
        (make(CHANNEL, CHILD_SESSION), INVALID),
        (make(SESSION, CHANNEL), INVALID),
        (make(CHILD_SESSION, SESSION), DENIED),
    )


def read(slot: int) -> abi.IoRead:
    return abi.IoRead(slot, 64)


def write(slot: int) -> abi.IoWrite:
    return abi.IoWrite(slot, FRAME)


SERVER = abi.TlsServerBundle(b"cert", b"key", None, ("h2",), False)
CLIENT = abi.TlsClientBundle(b"ca", b"", None, None)


HTTP, HTTPS, QUIC = abi.NetProtocol.HTTP, abi.NetProtocol.HTTPS, abi.NetProtocol.QUIC
NO_CERTIFICATE = "internal error: failed to build TLS config: no default certificate"
NOBODY_LISTENS = "internal error: failed to connect: Connection refused (os error 111)"


def listen(protocol: abi.NetProtocol, port: int = 8080, tls: int | None = None) -> abi.NetCreateListener:
    return abi.NetCreateListener(protocol, "localhost", port, tls)


def connect(protocol: abi.NetProtocol, port: int = 443, tls: int | None = None) -> abi.NetConnect:
    return abi.NetConnect(protocol, "localhost", port, tls)


def no_settings(make: Callable[[int], Any]) -> tuple[tuple[Any, str], ...]:
    """Whatever is no TLS settings is not found."""
    return (make(NOWHERE), NOT_FOUND), (make(CHANNEL), NOT_FOUND), (make(1 << 40), NOT_FOUND)


CASES = [
    Case(
        c.SESSION_CREATE,
        abi.SessionCreate(SESSION, bytes(32)),
        FREE,
        wrong=(
            *both(lambda slot: abi.SessionCreate(slot, bytes(32))),
            (abi.SessionCreate(CHILD_SESSION, bytes(32)), DENIED),
        ),
    ),
    Case(c.SESSION_REMOVE, abi.SessionRemove(SESSION, CHILD_SESSION), wrong=session(abi.SessionRemove)),
    Case(
        c.SESSION_ADD_ENTITLEMENT,
        abi.SessionEntitlement(SESSION, CHILD_SESSION, READER),
        wrong=session(lambda one, two: abi.SessionEntitlement(one, two, READER)),
    ),
    Case(
        c.SESSION_RM_ENTITLEMENT,
        abi.SessionEntitlement(SESSION, CHILD_SESSION, Capability.CHANNEL_WRITER),
        wrong=session(lambda one, two: abi.SessionEntitlement(one, two, READER)),
    ),
    Case(
        c.SESSION_ADD_RESOURCE,
        abi.SessionResource(SESSION, CHILD_SESSION, Capability.CHANNEL_WRITER, 5),
        1,
        wrong=session(lambda one, two: abi.SessionResource(one, two, READER, 5)),
    ),
    Case(
        c.SESSION_RM_RESOURCE,
        abi.SessionResource(SESSION, CHILD_SESSION, Capability.CHANNEL_WRITER, 4),
        1,
        wrong=session(lambda one, two: abi.SessionResource(one, two, READER, 5)),
    ),
    Case(
        c.CHANNEL_CREATE,
        PARK,
        FREE,
        wrong=((abi.ChannelCreate((1 << 32) - 1, abi.ChannelBackpressure.DROP), INVALID),),
    ),
    Case(c.CHANNEL_DELETE, CHANNEL, wrong=both(int, STRONG_READER)),
    Case(c.CHANNEL_DRAIN, CHANNEL, wrong=both(int, WEAK_WRITER)),
    Case(c.CHANNEL_SHARE, CHANNEL, SHARED, wrong=((NOWHERE, NOT_FOUND),)),
    Case(c.CHANNEL_ATTACH, SHARED, FREE, wrong=((NOWHERE, NOT_FOUND), ((1 << 64) - 1, NOT_FOUND))),
    Case(c.CHANNEL_DETACH, CHANNEL, wrong=((NOWHERE, NOT_FOUND),)),
    Case(
        c.PROCESS_REGISTER_LOG_CHANNEL,
        abi.ProcessLogRegistration(SHARED),
        wrong=both(abi.ProcessLogRegistration, SHARED_READER),
    ),
    Case(
        c.SINGLETON_REGISTER,
        abi.SingletonRegister(NAME, SHARED),
        wrong=((abi.SingletonRegister(NAME, NOWHERE), NOT_FOUND),),
    ),
    Case(
        c.SINGLETON_LOOKUP,
        abi.SingletonLookup(abi.DependencyId(bytes(16))),
        SHARED_READER,
        wrong=((abi.SingletonLookup(NAME), NOT_FOUND),),
    ),
    Case(c.TIME_NOW, None, lambda now: now.unix_ms > 1_600_000_000_000 and now.monotonic_ms == 0),
    Case(c.TIME_SLEEP, abi.TimeSleep(1)),
    Case(c.CHANNEL_STRONG_READER_CREATE, CHANNEL, FREE, wrong=both(int, STRONG_READER)),
    Case(c.CHANNEL_WEAK_READER_CREATE, CHANNEL, FREE, wrong=both(int, OTHER)),
    Case(
        c.CHANNEL_STRONG_READ,
        read(STRONG_READER),
        abi.IoFrame(2, FRAME),
        wrong=(*both(read), (read(WEAK_READER), INVALID)),
    ),
    Case(
        c.CHANNEL_WEAK_READ,
        read(WEAK_READER),
        abi.IoFrame(2, FRAME),
        wrong=(*both(read), (read(STRONG_READER), INVALID)),
    ),
    Case(c.CHANNEL_STRONG_WRITER_CREATE, CHANNEL, FREE, wrong=both(int, STRONG_WRITER)),
    Case(c.CHANNEL_WEAK_WRITER_CREATE, CHANNEL, FREE, wrong=both(int, SESSION)),
    Case(
        c.CHANNEL_WRITER_DOWNGRADE,
        STRONG_WRITER,
        STRONG_WRITER,
        wrong=(*both(int), (WEAK_WRITER, INVALID)),
    ),
    Case(
        c.CHANNEL_STRONG_WRITE, write(STRONG_WRITER), 5, wrong=(*both(write), (write(WEAK_WRITER), INVALID))
    ),
    Case(c.CHANNEL_WEAK_WRITE, write(WEAK_WRITER), 5, wrong=(*both(write), (write(STRONG_WRITER), INVALID))),
    Case(
        c.PROCESS_LOG_CHANNEL,
        lambda ids: abi.ProcessLogLookup(ids["child"]),
        SHARED_READER,
        wrong=(
            (abi.ProcessLogLookup(1 << 40), NOT_FOUND),
            (lambda ids: abi.ProcessLogLookup(ids["channel"]), INVALID),
            (lambda ids: abi.ProcessLogLookup(ids["other"]), DENIED),
        ),
    ),
    Case(
        c.PROCESS_START,
        start(),
        lambda process: process > 0,
        wrong=(
            (resource(abi.ScalarType.I32, NOWHERE), NOT_FOUND),
            (resource(abi.ScalarType.U64, NOWHERE), KERNEL),
            (resource(abi.ScalarType.U32, CHANNEL), KERNEL),
        ),
    ),
    Case(
        c.PROCESS_STOP,
        lambda ids: ids["child"],
        wrong=(
            (1 << 40, NOT_FOUND),
            (lambda ids: ids["channel"], INVALID),
            (lambda ids: ids["other"], DENIED),
        ),
    ),
    Case(
        c.NET_QUIC_BIND,
        listen(QUIC),
        error=NO_CERTIFICATE,
        wrong=(
            *no_settings(lambda slot: listen(QUIC, tls=slot)),
            (listen(HTTP), INVALID),
            (listen(HTTPS), INVALID),
            (listen(QUIC, 0), INVALID),
            (listen(QUIC, 80), DENIED),
        ),
    ),
    Case(c.NET_QUIC_ACCEPT, abi.NetAccept(CHANNEL), error=INVALID, wrong=both(abi.NetAccept)),
    Case(
        c.NET_QUIC_CONNECT,
        attrs.evolve(connect(QUIC), domain="[::1]"),
        error="internal error: connect failed: invalid server name: [::1]",
        wrong=(*no_settings(lambda slot: connect(QUIC, tls=slot)), (connect(HTTPS), INVALID)),
    ),
    Case(c.NET_QUIC_READ, read(CHANNEL), error=INVALID, wrong=both(read, STRONG_READER)),
    Case(c.NET_QUIC_WRITE, write(CHANNEL), error=INVALID, wrong=both(write, STRONG_WRITER)),
    Case(
        c.NET_HTTP_BIND,
        listen(HTTP),
        abi.NetCreateListenerReply(FREE),
        wrong=(
            *no_settings(lambda slot: listen(HTTPS, tls=slot)),
            (listen(HTTP, tls=NOWHERE), INVALID),
            (listen(QUIC), INVALID),
            (listen(HTTP, 0), INVALID),
            (listen(HTTP, 80), DENIED),
        ),
    ),
    Case(c.NET_HTTP_ACCEPT, abi.NetAccept(CHANNEL), error=INVALID, wrong=both(abi.NetAccept)),
    Case(
        c.NET_HTTP_CONNECT,
        connect(HTTP),
        error=NOBODY_LISTENS,
        wrong=(*no_settings(lambda slot: connect(HTTPS, tls=slot)), (connect(QUIC), INVALID)),
    ),
    Case(c.NET_HTTP_READ, read(CHANNEL), error=INVALID, wrong=both(read, STRONG_READER)),
    Case(c.NET_HTTP_WRITE, write(CHANNEL), error=INVALID, wrong=both(write, STRONG_WRITER)),
    Case(c.NET_TLS_SERVER_CONFIG_CREATE, abi.NetTlsServerConfig(SERVER), abi.NetTlsConfigReply(FREE)),
    Case(c.NET_TLS_CLIENT_CONFIG_CREATE, abi.NetTlsClientConfig(CLIENT), abi.NetTlsConfigReply(FREE)),
    Case(c.ACTOR_SELF, None, FREE),
    Case(
        c.ACTOR_SEND,
        ActorSend(OTHER, 7, b"hello", (STRONG_READER,)),
        wrong=(
            *both(lambda slot: ActorSend(slot, 0, b"")),
            (ActorSend(OTHER, 0, b"", (NOWHERE,)), NOT_FOUND),
            (ActorSend(OTHER, 0, b"", (CHANNEL, CHANNEL)), INVALID),
        ),
    ),
    Case(c.ACTOR_RECEIVE, ActorReceive(0, 1, 3, 64), ActorReceived(PlainMessage(3, b"tagged", ()))),
    Case(
        c.ACTOR_CALL,
        ActorCall(OTHER, 1000, b"hello", (), 64),
        ActorBody(b"HELLO"),
        wrong=(
            *both(lambda slot: ActorCall(slot, None, b"", (), 64)),
            (ActorCall(OTHER, None, b"", (NOWHERE,), 64), NOT_FOUND),
            (ActorCall(OTHER, None, b"hello", (), 4), TOO_LONG),
        ),
    ),
    Case(c.ACTOR_REPLY, wrong=both(lambda slot: ActorReply(slot, b""))),
    Case(c.ACTOR_RELEASE, CHANNEL, wrong=((NOWHERE, NOT_FOUND),)),
    Case(
        c.ACTOR_SPAWN,
        ActorSpawn(start(), False, True),
        lambda spawned: spawned.actor == FREE and spawned.monitor,
        wrong=(
            (ActorSpawn(resource(abi.ScalarType.I32, NOWHERE), True, False), NOT_FOUND),
            (ActorSpawn(resource(abi.ScalarType.U64, NOWHERE), True, False), KERNEL),
        ),
    ),
    Case(c.ACTOR_LINK, OTHER, wrong=both(int)),
    Case(c.ACTOR_UNLINK, OTHER, wrong=both(int)),
    Case(c.ACTOR_MONITOR, OTHER, lambda number: number > 0, wrong=both(int)),
    Case(
        c.ACTOR_DEMONITOR,
        lambda ids: ActorDemonitor(ids["monitor"], True),
        wrong=((ActorDemonitor(1 << 40, True), NOT_FOUND),),
    ),
    Case(c.ACTOR_EXIT, ActorExit(OTHER, NORMAL), wrong=both(lambda slot: ActorExit(slot, NORMAL))),
    Case(c.ACTOR_TRAP, True, False),
    Case(
        c.ACTOR_REGISTER,
        None,
        wrong=(
            *both(lambda slot: ActorRegister("name", slot)),
            (ActorRegister("", OTHER), DENIED),
            (ActorRegister("other", OTHER), DENIED),
            (ActorRegister("elsewhere", OTHER), DENIED),
        ),
    ),
    Case(
        c.ACTOR_WHEREIS,
        "other",
        OTHER,
        wrong=(("nobody", NOT_FOUND), ("", DENIED), ("root", DENIED), ("elsewhere", DENIED)),
    ),
    # What they do when a guest is moved to another module is shown in tests/actors/test_guest_upgrade.py.
    Case(c.ACTOR_EXPORT_STATE, ActorExport(b"state"), error=INVALID),
    Case(c.ACTOR_IMPORT_STATE, None, ActorImport(None)),
    Case(c.TRACE_CONTEXT, None, ""),
]
NAMES = [case.hostcall.name for case in CASES]


def test_no_hostcall_is_left_out() -> None:
    """The table has the whole catalogue, in its order."""
    assert [case.hostcall for case in CASES] == list(c.CATALOGUE)


async def make_channel(guest: Puppet) -> None:
    """The first slots of every scene."""
    assert await guest.do(c.CHANNEL_CREATE, PARK) == CHANNEL
    assert await guest.do(c.CHANNEL_STRONG_READER_CREATE, CHANNEL) == STRONG_READER
    assert await guest.do(c.CHANNEL_WEAK_READER_CREATE, CHANNEL) == WEAK_READER
    assert await guest.do(c.CHANNEL_STRONG_WRITER_CREATE, CHANNEL) == STRONG_WRITER
    assert await guest.do(c.CHANNEL_WEAK_WRITER_CREATE, CHANNEL) == WEAK_WRITER


@pytest.fixture(autouse=True)
def known_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count shared handles from 1."""
    numbers = itertools.count(SHARED)
    monkeypatch.setattr(
        secrets, "randbits", lambda bits: next(numbers) if bits == 63 else random.getrandbits(bits)
    )


@asynccontextmanager
async def scene(directory: Path) -> AsyncIterator[tuple[Node, Puppet, dict[str, int]]]:
    """A guest whose slots are filled, another process, and the ids of what is there."""
    (directory / "actor.wasm").write_bytes(ACTOR)
    async with open_node("test") as node:
        registry = open_guests(node, modules=directory, sockets=MemorySockets()).kernel.registry
        await node.spawn(Other, name="other")
        names = ["other", "nobody", "name", "me"]
        puppet = Guest(PUPPET, capabilities=Capability, finds=names, registers=names, ends=["other"])
        guest = Puppet(await node.spawn(puppet))
        await make_channel(guest)
        (caller,) = [entry.payload for entry in registry.of_kind(Kind.PROCESS)]
        place_of_the_request = caller.add(Kind.OTHER, "it is free between two requests")
        child = Session(scopes={Capability.CHANNEL_WRITER: {4}})
        scopes: dict[Capability, set[int] | Scope] = {
            Capability.SESSION_LIFECYCLE: Scope.ANY,
            READER: {5},
            Capability.CHANNEL_WRITER: {4, 5},
        }
        assert caller.add(Kind.SESSION, Session(scopes=scopes)) == SESSION
        child.parent = caller.get(SESSION, Kind.SESSION).payload
        assert caller.add(Kind.SESSION, child) == CHILD_SESSION
        caller.slots.free(place_of_the_request)
        assert await guest.do(c.ACTOR_WHEREIS, "other") == OTHER
        assert await guest.do(c.CHANNEL_SHARE, CHANNEL) == SHARED
        assert await guest.do(c.CHANNEL_SHARE, STRONG_READER) == SHARED_READER
        await guest.do(c.CHANNEL_WEAK_WRITE, write(WEAK_WRITER))
        monitor = await guest.do(c.ACTOR_MONITOR, OTHER)
        child_id = await guest.do(c.PROCESS_START, attrs.evolve(start(), name="idle", capabilities=IDLE))
        # Another guest, the log of the child, and a singleton.
        idle = Guest(ACTOR, capabilities=IDLE, entrypoint="idle")
        await node.spawn(idle)
        other = registry.of_kind(Kind.PROCESS)[-1]
        child_entry = registry.get(child_id, Kind.PROCESS)
        registry.register_log_channel(child_entry, registry.shared(SHARED_READER))
        registry.register_singleton(bytes(16), registry.shared(SHARED_READER))
        guest.ref.send(b"plain")
        guest.ref.send(Message(b"tagged", tag=3))
        channel = registry.shared(SHARED).id
        yield node, guest, {"child": child_id, "other": other.id, "channel": channel, "monitor": monitor}
        await guest.ref.stop()
        for kind in set(Kind) - {Kind.PROCESS, Kind.CHANNEL, Kind.READER}:
            assert not registry.of_kind(kind)
        # What is left is the log of the child: here a reader, and the channel that it holds.
        assert len(registry.of_kind(Kind.CHANNEL)) <= 1
        assert len(registry.of_kind(Kind.READER)) <= 1


IDLE = (Capability.ACTOR_MESSAGE,)


def made(value: Any, ids: dict[str, int]) -> Any:
    return value(ids) if callable(value) else value


@pytest.mark.parametrize("case", CASES, ids=NAMES)
async def test_good_input_and_wrong_handles(case: Case, tmp_path: Path) -> None:
    """Handles that lead nowhere, or to something else, are errors that change nothing: good input, given
    afterwards, has its effect.
    """
    async with scene(tmp_path) as (_, guest, ids):
        for value, text in case.wrong:
            with pytest.raises(GuestError) as caught:
                await guest.do(case.hostcall, made(value, ids))
            assert str(caught.value) == text, value
        if case.hostcall is c.ACTOR_REPLY:
            await answer_a_request(guest)
        elif case.hostcall is c.ACTOR_REGISTER:
            me = await guest.do(c.ACTOR_SELF)
            assert await guest.do(case.hostcall, ActorRegister("me", me)) is None
        elif case.error is not None:
            with pytest.raises(GuestError) as caught:
                await guest.do(case.hostcall, made(case.value, ids))
            assert str(caught.value) == case.error
        else:
            found = await guest.do(case.hostcall, made(case.value, ids))
            assert case.answer(found) if callable(case.answer) else found == case.answer


async def answer_a_request(guest: Puppet) -> None:
    """The guest receives a request while another one, that it does so, waits for its answer."""
    answers: list[bytes] = []

    async def ask() -> None:
        await trio.testing.wait_all_tasks_blocked()
        answers.append(await guest.ref.call(Guest.request, b"question"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        got = await guest.do(c.ACTOR_RECEIVE, ActorReceive(10_000, 2, None, 64))
        assert got == ActorReceived(RequestMessage(FREE, b"question", ()))
        with pytest.raises(GuestError, match=INVALID):
            await guest.do(c.ACTOR_REPLY, ActorReply(FREE, b"", (FREE,)))
        await guest.do(c.ACTOR_REPLY, ActorReply(FREE, b"answer"))
    assert answers == [b"answer"]
    with pytest.raises(GuestError, match=NOT_FOUND):
        await guest.do(c.ACTOR_REPLY, ActorReply(FREE, b"again"))


@pytest.mark.parametrize("case", CASES, ids=NAMES)
async def test_without_its_capability_a_hostcall_is_denied(case: Case, tmp_path: Path) -> None:
    """Without its capability a hostcall is there, looks at nothing, and says "permission denied"."""
    if case.hostcall.capability is Capability.ACTOR_MESSAGE:
        # The puppet needs it to be moved; a dispatch is refused all the same.
        with pytest.raises(Exception, match=DENIED):
            denied(case.hostcall)
        return
    async with open_node("test") as node:
        granted = frozenset(Capability) - {case.hostcall.capability}
        guest = Puppet(await node.spawn(Guest(PUPPET, capabilities=granted)))
        value = case.value if not callable(case.value) and case.value is not None else sample(case.hostcall)
        with pytest.raises(GuestError) as caught:
            await guest.do(case.hostcall, value)
        assert str(caught.value) == DENIED


def denied(hostcall: Hostcall[Any, Any]) -> None:
    desk = Desk()
    table, imports = desk.kernel._table(frozenset())
    index = list(c.CATALOGUE).index(hostcall)
    assert imports[index].denied
    table[index].contract.run(desk.caller(), None)


def sample(hostcall: Hostcall[Any, Any]) -> Any:
    """Some input of the hostcall's type."""
    samples: dict[Hostcall[Any, Any], Any] = {
        c.PROCESS_LOG_CHANNEL: abi.ProcessLogLookup(1),
        c.PROCESS_STOP: 1,
        c.ACTOR_DEMONITOR: ActorDemonitor(1, False),
        c.ACTOR_EXPORT_STATE: ActorExport(b"long enough"),
        c.ACTOR_RECEIVE: ActorReceive(0, 0, 0, 0),
        c.ACTOR_REGISTER: ActorRegister("a name that is long", 1),
        c.ACTOR_REPLY: ActorReply(1, b"long enough"),
    }
    return samples.get(hostcall)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
@pytest.mark.parametrize("cut", [1, "root", "all"])
async def test_arguments_that_were_cut_off(case: Case, cut: int | str, tmp_path: Path) -> None:
    """Without their last byte, the first byte of their root or any at all, arguments are a trap that names
    the hostcall, and nothing has happened; one without input does not mind.
    """
    hostcall = case.hostcall
    value = case.value if not callable(case.value) and case.value is not None else sample(hostcall)
    arguments = hostcall.input.encode(value)
    size = hostcall.input.size
    short = {"root": arguments[1 - size :] if size > 1 else b"", "all": b""}.get(str(cut), arguments[:-1])
    async with open_node("test") as node:
        guest = Puppet(await node.spawn(Guest(PUPPET, capabilities=Capability)))
        number = list(c.CATALOGUE).index(hostcall).to_bytes(4, "little")
        if size == 0:
            assert await guest.ref.call(Guest.request, number + short)
            return
        with pytest.raises(ProcessDied) as caught:
            await guest.ref.call(Guest.request, number + short)
        reason = caught.value.reason
        assert isinstance(reason, Trapped)
        assert reason.kind == "misused hostcall"
        assert reason.message.startswith(hostcall.name + ": ")
        assert len(guests_of(node).kernel.registry) == 1


LARGE = bytes(1 << 20)


@pytest.mark.parametrize(
    ("bundle", "valid"),
    [
        pytest.param(SERVER, True, id="server"),
        pytest.param(attrs.evolve(SERVER, alpn=None), True, id="no-protocols"),
        pytest.param(attrs.evolve(SERVER, alpn=()), True, id="empty-list-of-protocols"),
        pytest.param(attrs.evolve(SERVER, alpn=("h2", "")), False, id="empty-protocol"),
        pytest.param(attrs.evolve(SERVER, cert_chain_pem=b""), False, id="no-certificate"),
        pytest.param(attrs.evolve(SERVER, private_key_pem=b""), False, id="no-key"),
        pytest.param(attrs.evolve(SERVER, require_client_auth=True), False, id="no-client-ca"),
        pytest.param(
            attrs.evolve(SERVER, require_client_auth=True, client_ca_pem=b""), False, id="empty-client-ca"
        ),
        pytest.param(
            attrs.evolve(SERVER, require_client_auth=True, client_ca_pem=b"ca"), True, id="client-ca"
        ),
        pytest.param(attrs.evolve(SERVER, client_ca_pem=LARGE[9:]), True, id="a-mebibyte"),
        pytest.param(attrs.evolve(SERVER, client_ca_pem=LARGE[8:]), False, id="more-than-a-mebibyte"),
        pytest.param(abi.TlsClientBundle(None, None, None, None), True, id="client"),
        pytest.param(CLIENT, True, id="empty-is-none"),
        pytest.param(attrs.evolve(CLIENT, client_cert_pem=b"cert"), False, id="certificate-without-key"),
        pytest.param(attrs.evolve(CLIENT, client_key_pem=b"key"), False, id="key-without-certificate"),
        pytest.param(attrs.evolve(CLIENT, client_cert_pem=b"c", client_key_pem=b"k"), True, id="both"),
        pytest.param(attrs.evolve(CLIENT, client_key_pem=b""), True, id="both-empty"),
        pytest.param(attrs.evolve(CLIENT, alpn=("",)), False, id="client-empty-protocol"),
        pytest.param(attrs.evolve(CLIENT, ca_bundle_pem=LARGE + b"x"), False, id="client-too-large"),
    ],
)
def test_tls_bundles(bundle: abi.TlsServerBundle | abi.TlsClientBundle, valid: bool) -> None:
    """The form of a bundle is checked, and nothing else."""
    desk = Desk()
    hostcall: Hostcall[Any, Any] = c.NET_TLS_CLIENT_CONFIG_CREATE
    value: Any = abi.NetTlsClientConfig(bundle) if isinstance(bundle, abi.TlsClientBundle) else None
    if value is None:
        hostcall, value = c.NET_TLS_SERVER_CONFIG_CREATE, abi.NetTlsServerConfig(bundle)  # type: ignore[arg-type]
    if valid:
        assert desk.call(desk.caller(), hostcall, value) == abi.NetTlsConfigReply(0)
    else:
        assert fails(lambda: desk.call(desk.caller(), hostcall, value)) == INVALID
