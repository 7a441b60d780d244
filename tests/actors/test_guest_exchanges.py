"""Exchanges with guests: nobody can tell whether a guest was served in one, or by way of its host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
import trio.lowlevel

from enfilade.actors import KILL, Down, Node, Ref, open_node
from enfilade.actors.guests import Guest, guests_of
from enfilade.hostcalls.abi import TimeSleep
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.actor_types import ActorCall, ActorReceive, ActorSend
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.codec.rkyv import codec
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.engine.exchange import Exchange
from enfilade.hostcalls.kernel import kernel
from enfilade.hostcalls.sdk.wat import Assembler
from tests.hostcalls.guests import PUPPET, GuestError, Puppet

EVERYTHING = [capability for capability in Capability if not capability.name.startswith("NET")]
CALL = b"eabcdefg"
HEARD, COPY, SLOT = 0x30000, 0x40000, 0x50000
LONG = 5000


def _guests() -> bytes:
    """`serve` does with each request what its first byte says, and answers with its data.

    It keeps plain messages, and answers `h` with what it has heard. `converse` calls an actor so many times,
    with the first bytes of `script` in turn, and looks whether the answers are right. `tell` sends an actor
    something, calls it in the same turn, and looks whether it has heard of that.
    """
    guest = Assembler(
        "enfilade::actor::receive",
        "enfilade::actor::reply",
        "enfilade::actor::call",
        "enfilade::actor::release",
        "enfilade::actor::send",
        "time::sleep",
        "time::now",
    )
    anything = guest.message(ActorReceive, ActorReceive(None, 0, None, 4096))
    other = guest.message(ActorReceive, ActorReceive(None, 0, None, 4095))
    nap = guest.message(TimeSleep, TimeSleep(1))

    def on(letter: str, then: str) -> str:
        return f"(if (i32.eq (local.get $first) (i32.const {ord(letter)})) (then {then}))"

    answer = "(call $reply_with (local.get $request) (local.get $from) (local.get $size))"
    guest.function(
        "serve",
        f"""
        (local.set $kept (i32.const -1))
        (loop $again
          (if (i32.eq (local.get $first) (i32.const {ord("v")}))
            (then (call $received (call $actor.receive {other})))
            (else (call $received (call $actor.receive {anything}))))
          (if (i32.ne (call $kind) (i32.const 1)) (then
            (memory.copy (i32.add (i32.const {HEARD}) (local.get $heard)) (call $data) (call $length))
            (local.set $heard (i32.add (local.get $heard) (call $length)))
            (br $again)))
          (local.set $request (call $request))
          (local.set $first (i32.load8_u (call $data)))
          (local.set $from (i32.const {COPY}))
          (local.set $size (call $length))
          (memory.copy (i32.const {COPY}) (call $data) (call $length))
          (i32.store (i32.const {SLOT}) (local.get $request))
          (if (i32.ge_s (local.get $kept) (i32.const 0)) (then
            (call $ok (call $reply_with (local.get $kept) (local.get $from) (i32.const 1)))
            (local.set $kept (i32.const -1))))
          {on("t", "unreachable")}
          {on("Q", "(return)")}
          {on("d", f"(call $ok (call $actor.release (i32.const {SLOT}) (i32.const 4))) (br $again)")}
          {on("o", "(local.set $kept (local.get $request)) (br $again)")}
          {on("s", f"(call $ok (call $time.sleep {nap}))")}
          {on("n", f"(call $ok (call $time.now {guest.nothing}))")}
          {on("r", "(drop (call $reply_with (i32.const 99) (local.get $from) (local.get $size)))")}
          {on("l", f"(local.set $size (i32.const {LONG}))")}
          {on("h", f"(local.set $from (i32.const {HEARD})) (local.set $size (local.get $heard))")}
          {
            on(
                "x",
                f"(drop (call $actor.receive.drop (call $actor.receive.create {anything})"
                " (global.get $result) (i32.const 256)))",
            )
        }
          {
            on(
                "c",
                '''(local.set $turns (i32.const 3000000))
             (loop $count (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
               (br_if $count (local.get $turns)))''',
            )
        }
          {
            on(
                "b",
                '''(local.set $turns (i32.const 100))
             (loop $ring (i32.store (i32.const 4) (i32.const 1)) (call $yield_now)
               (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
               (br_if $ring (local.get $turns)))''',
            )
        }
          (call $ok {answer})
          {on("2", f"(drop {answer})")}
          {on("q", "(return)")}
          (br $again))
        """,
        "(local $request i32) (local $first i32) (local $from i32) (local $size i32) (local $heard i32)"
        " (local $turns i32) (local $kept i32)",
    )
    one, two = (codec(ActorCall).encode(ActorCall(slot, None, CALL, (), 4096)) for slot in (0, 1))
    slot = next(at for at, (a, b) in enumerate(zip(one, two, strict=True)) if a != b)
    call = guest.data(one)
    told = guest.message(ActorSend, ActorSend(0, 0, CALL))  # the callee is the first of the slots
    guest.function(
        "converse",
        f"""
        (i32.store (i32.const {call + slot}) (local.get $callee))
        (loop $again
          (i32.store8 (i32.const {call})
            (i32.load8_u (i32.add (local.get $script) (i32.rem_u (local.get $count) (local.get $size)))))
          (i32.store offset=4 (i32.const {call}) (local.get $count))
          (call $ok (call $actor.call (i32.const {call}) (i32.const {len(one)})))
          (if (i32.ne (i32.load offset=4 (global.get $result)) (local.get $count)) (then unreachable))
          (local.set $count (i32.sub (local.get $count) (i32.const 1)))
          (br_if $again (local.get $count)))
        """,
        "(param $callee i32) (param $script i32) (param $size i32) (param $count i32)",
    )
    guest.function(
        "tell",
        f"""
        (i32.store (i32.const {call + slot}) (local.get $callee))
        (i32.store8 (i32.const {call}) (i32.const {ord("h")}))
        (loop $again
          (local.set $told (i32.add (local.get $told) (i32.const {len(CALL)})))
          (call $ok (call $actor.send {told})) ;; which is done at once: the call is made in the same turn
          (local.set $word (call $actor.call (i32.const {call}) (i32.const {len(one)})))
          (call $ok (local.get $word))
          (if (i32.ne (local.get $told) (i32.load
              (i32.sub (i32.add (global.get $result) (local.get $word)) (i32.const 12))))
            (then unreachable))
          (br_if $again (i32.lt_u (local.get $told) (i32.const {5 * len(CALL)}))))
        """,
        "(param $callee i32) (local $told i32) (local $word i32)",
    )
    return guest.binary()


GUESTS = _guests()


@attrs.define
class Stage:
    """A node with a server, and others who want something of it.

    Attributes:
        node: where they are.
        log: what has come of it.
    """

    node: Node
    log: list[Any] = attrs.field(factory=list)

    async def serve(self, **limits: Any) -> Ref[Any]:
        return await self.node.spawn(
            Guest(GUESTS, entrypoint="serve", capabilities=EVERYTHING, limits=Limits(**limits))
        )

    async def puppet(self, server: Ref[Any], **limits: Any) -> tuple[Puppet, int]:
        """A guest that does what it is told, and its slot of the server."""
        self.node.register("server", server)
        guest = Guest(PUPPET, capabilities=EVERYTHING, finds="*", limits=Limits(**limits))
        puppet = Puppet(await self.node.spawn(guest))
        return puppet, await puppet.do(c.ACTOR_WHEREIS, "server")

    async def note(self, outcome: Awaitable[Any]) -> None:
        try:
            self.log.append(await outcome)
        except GuestError as error:
            self.log.append(str(error))
        except Exception as error:
            self.log.append(type(error))

    async def reckon(self, *refs: Ref[Any]) -> None:
        """Note what the guests have used, and what they have, when they have nothing more to do."""
        for ref in refs:
            process = self.node.processes.get(ref.serial)
            if process is None:
                self.log.append("ended")
                continue
            execution = process.body.execution
            while not process.idle or execution.instance.offloaded:
                await trio.lowlevel.checkpoint()
            budget = execution.caller.budget
            self.log.append((budget.hostcalls.left, budget.messages.left))
            self.log.append((len(execution.caller.slots), execution.caller.slots.coming, execution.pending))
            self.log.append((execution.waits_for, process.idle, len(process.queue)))
        self.log.append(len(guests_of(self.node).kernel.registry))


Scene = Callable[[Stage], Awaitable[None]]


async def play(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], Counter[str]]:
    """Play the scene with exchanges and without; what has come of it, and how many there were."""
    counts: Counter[str] = Counter()
    for name in ("feed", "ask", "converse"):
        plain = getattr(Exchange, name)

        def counted(*args: Any, name: str = name, plain: Any = plain, **named: Any) -> Any:
            counts[name] += 1
            return plain(*args, **named)

        monkeypatch.setattr(Exchange, name, counted)
    logs = []
    for make in (kernel._exchange, lambda *_: None):
        monkeypatch.setattr(kernel, "_exchange", make)
        async with open_node("stage") as node:
            stage = Stage(node)
            with trio.fail_after(60):
                await scene(stage)
            logs.append(stage.log)
    assert logs[0] == logs[1]
    return logs[0], counts


SCRIPT = ["e", "n", "e", "s", "r", "2", "x", "l", "c", "b", "v", "e", "o", "d", "e", "h", "e"]


async def test_requests_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        server = await stage.serve()
        async with trio.open_nursery() as nursery:
            for number, letter in enumerate(SCRIPT):
                data = letter.encode() + bytes(number * 7 % 50)
                nursery.start_soon(stage.note, server.call(Guest.request, data))
                await trio.testing.wait_all_tasks_blocked(0.01)
            await stage.reckon(server)
            for _ in range(2):  # one after the other without a pause in between
                await stage.note(server.call(Guest.request, b"e"))
        await stage.reckon(server)

    log, counts = await play(scene, monkeypatch)
    assert counts["ask"] >= len(SCRIPT) // 2  # on a busy machine the guest is not always back in time
    assert log.count(b"l" + bytes(49)) == 0


@pytest.mark.parametrize("letter", ["t", "Q", "q"])
async def test_a_server_that_ends(letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its callers hear of that as ever, whether it has answered or not; later ones, too."""

    async def scene(stage: Stage) -> None:
        for of_guest in (False, True):
            server = await stage.serve()
            puppet, slot = await stage.puppet(server)
            for data in (b"e1", letter.encode(), b"e2"):
                if of_guest:
                    await stage.note(puppet.do(c.ACTOR_CALL, ActorCall(slot, None, data, (), 100)))
                else:
                    await stage.note(server.call(Guest.request, data))
            await stage.reckon(server, puppet.ref)
            stage.node.unregister("server") if stage.node.whereis("server") is not None else None

    _, counts = await play(scene, monkeypatch)
    assert counts["ask"]
    assert counts["converse"]


async def test_calls_of_a_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        server = await stage.serve()
        puppet, slot = await stage.puppet(server)
        for number, letter in enumerate(SCRIPT):
            data = letter.encode() + bytes(number * 7 % 50)
            for limit in (100, 10):
                call = ActorCall(slot, 20 if letter in "do" else None, data, (), limit)
                await stage.note(puppet.do(c.ACTOR_CALL, call))
                await stage.reckon(server, puppet.ref)

    _, counts = await play(scene, monkeypatch)
    assert counts["converse"] > len(SCRIPT)


@pytest.mark.parametrize("script", ["e", "en", "ees", "eeeeeeeb", "nc2r"])
async def test_a_conversation(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two guests call a third at the same time, and Python does, too."""

    async def scene(stage: Stage) -> None:
        server = await stage.serve()
        async with stage.node.mailbox() as me:
            for _ in range(2):
                guest = Guest(
                    GUESTS,
                    entrypoint="converse",
                    capabilities=["ActorMessage", "TimeRead"],
                    arguments=(server, script.encode(), 300),
                )
                me.monitor(await stage.node.spawn(guest))
            for _ in range(3):
                await stage.note(server.call(Guest.request, b"e"))
            for _ in range(2):
                stage.log.append((await me.receive(Down)).reason)
        await stage.reckon(server)

    log, counts = await play(scene, monkeypatch)
    assert counts["converse"]
    assert all(entry.is_normal for entry in log if hasattr(entry, "is_normal"))


async def test_one_conversation_has_many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        server = await stage.serve()
        guest = Guest(
            GUESTS,
            entrypoint="converse",
            capabilities=["ActorMessage", "TimeRead"],
            arguments=(server, b"e", 1000),
        )
        async with stage.node.mailbox() as me:
            me.monitor(await stage.node.spawn(guest))
            stage.log.append((await me.receive(Down)).reason)
        await stage.reckon(server)

    _, counts = await play(scene, monkeypatch)
    assert 0 < counts["converse"] < 500


async def test_messages_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of Python, of guests, and requests in between, in batches and one by one."""

    async def scene(stage: Stage) -> None:
        server = await stage.serve()
        puppet, slot = await stage.puppet(server)
        for batch in (1, 2, 3, 70, 200):
            for number in range(batch):
                server.send(bytes([number]) * (number % 40))
            await puppet.do(c.ACTOR_SEND, ActorSend(slot, 0, b"of a guest"))
            await puppet.do(c.ACTOR_SEND, ActorSend(slot, 7, b"with a tag"))
            server.send(b"behind")
            await stage.note(puppet.do(c.ACTOR_CALL, ActorCall(slot, None, b"h", (), 10_000)))
            server.send(bytes(4097))  # which the guest has no room for
            await stage.note(server.call(Guest.request, b"h"))
            await stage.reckon(server, puppet.ref)

    log, counts = await play(scene, monkeypatch)
    assert counts["feed"]
    heard = next(entry for entry in log if hasattr(entry, "data"))
    assert heard.data == b"of a guestwith a tagbehind"


async def test_a_batch_that_was_not_looked_at_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest drops a receive that has its message: the next one has it, before those behind it."""

    async def scene(stage: Stage) -> None:
        server = await stage.serve()
        for number in range(6):
            server.send(b"%d" % number)
        await stage.note(server.call(Guest.request, b"x"))
        for number in range(6):
            server.send(b"%d" % number)
        await stage.note(server.call(Guest.request, b"x"))
        await stage.note(server.call(Guest.request, b"h"))
        await stage.reckon(server)

    log, counts = await play(scene, monkeypatch)
    assert counts["feed"]
    assert b"012345" * 2 in log


async def test_limits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        server = await stage.serve(message_bytes=20, resources=3)
        puppet, slot = await stage.puppet(server, message_bytes=30)
        for size in (10, 20, 21, 30, 31):
            call = ActorCall(slot, None, b"e" + bytes(size - 1), (), 1000)
            await stage.note(puppet.do(c.ACTOR_CALL, call))
            await stage.note(server.call(Guest.request, b"e" + bytes(size - 1)))
        for _ in range(5):  # each of which it keeps, until it may have no more
            await stage.note(puppet.do(c.ACTOR_CALL, ActorCall(slot, 1, b"o", (), 1000)))
            await stage.reckon(server, puppet.ref)

    await play(scene, monkeypatch)


@pytest.mark.parametrize(("of_caller", "calls"), [(True, 6000), (False, 3000)])
async def test_a_rate_holds(of_caller: bool, calls: int) -> None:
    """A guest that calls without a pause is made to rest, and so is the one that is called."""
    slow, fast = Limits(hostcalls=3000.0), Limits()
    async with open_node("test") as node, node.mailbox() as me:
        limits = fast if of_caller else slow
        server = await node.spawn(Guest(GUESTS, entrypoint="serve", capabilities=EVERYTHING, limits=limits))
        caller = Guest(
            GUESTS,
            entrypoint="converse",
            capabilities=["ActorMessage", "TimeRead"],
            arguments=(server, b"e", calls),
            limits=slow if of_caller else fast,
        )
        ref = await node.spawn(caller)
        me.monitor(ref)
        process = node.processes[(ref if of_caller else server).serial]
        rate = process.body.execution.caller.budget.hostcalls
        assert (await me.receive(Down)).reason.is_normal
        assert rate.left > -2000  # of 6000 in all


@pytest.mark.parametrize("kind", ["hostcalls", "messages"])
async def test_who_has_to_rest_takes_part_in_no_exchange(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_node("test") as node:
        stage = Stage(node)
        server = await stage.serve()
        assert await server.call(Guest.request, b"e") == b"e"
        monkeypatch.setattr(Exchange, "ask", None)
        getattr(node.processes[server.serial].body.execution.caller.budget, kind).left = -1.0
        assert await server.call(Guest.request, b"e") == b"e"


async def test_a_call_does_not_overtake_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest sends, and calls in the same turn: what it has sent is heard first."""

    async def scene(stage: Stage) -> None:
        server = await stage.serve()
        guest = Guest(GUESTS, entrypoint="tell", capabilities=EVERYTHING, arguments=(server,))
        async with stage.node.mailbox() as me:
            me.monitor(await stage.node.spawn(guest))
            stage.log.append((await me.receive(Down)).reason)

    log, _ = await play(scene, monkeypatch)
    assert log[0].is_normal


async def test_a_kill_ends_a_server_between_two_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        server = await stage.serve()
        puppet, slot = await stage.puppet(server)
        async with stage.node.mailbox() as me:
            await stage.note(puppet.do(c.ACTOR_CALL, ActorCall(slot, None, b"e", (), 10)))
            me.monitor(server)
            me.exit(server, KILL)
            await stage.note(puppet.do(c.ACTOR_CALL, ActorCall(slot, None, b"e", (), 10)))
            stage.log.append((await me.receive(Down)).reason)
            await stage.reckon(puppet.ref)

    await play(scene, monkeypatch)


async def test_a_server_that_computes_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller has called in an exchange, and others get their turn all the same."""
    async with open_node("test") as node:
        spin = Guest(GUESTS, entrypoint="serve", capabilities=EVERYTHING)
        server = await node.spawn(spin)
        assert await server.call(Guest.request, b"e") == b"e"
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(server.call, Guest.request, b"c")
                await trio.lowlevel.checkpoint()
                assert await (await node.spawn(spin)).call(Guest.request, b"e") == b"e"
