"""Small guests that several tests use, in the text format."""

from __future__ import annotations

import struct
from typing import Any

from enfilade.actors import Ref
from enfilade.actors.guests import Guest
from enfilade.hostcalls import abi
from enfilade.hostcalls.abi.actor_types import ActorReceive
from enfilade.hostcalls.abi.catalogue import CATALOGUE
from enfilade.hostcalls.abi.hostcall import Hostcall
from enfilade.hostcalls.codec.rkyv import codec
from enfilade.hostcalls.sdk.wat import Assembler

ANYTHING = ActorReceive(timeout_ms=None, kinds=0, tag=None, data_limit=4096)


def actor() -> bytes:
    """A guest with an entrypoint for each way to behave.

    `echo` answers every request with its data and is done on a request for "stop", traps on one for "trap".
    `idle` receives and forgets. `nap` sleeps for five seconds. `spin` computes for ever, `crash` traps,
    `done` returns.
    """
    guest = Assembler("enfilade::actor::receive", "enfilade::actor::reply", "time::sleep")
    anything = guest.message(ActorReceive, ANYTHING)
    nap = guest.message(abi.TimeSleep, abi.TimeSleep(5000))
    stop, trap = (int.from_bytes(word, "little") for word in (b"stop", b"trap"))
    guest.function(
        "echo",
        f"""
        (loop $again
          (call $received (call $actor.receive {anything}))
          (br_if $again (i32.ne (call $kind) (i32.const 1)))
          (if (i32.eq (i32.load (call $data)) (i32.const {trap})) (then unreachable))
          (call $ok (call $reply_with (call $request) (call $data) (call $length)))
          (br_if $again (i32.ne (i32.load (call $data)) (i32.const {stop}))))
        """,
    )
    guest.function("idle", f"(loop $again (call $ok (call $actor.receive {anything})) (br $again))")
    guest.function("nap", f"(call $ok (call $time.sleep {nap}))")
    guest.function("spin", "(loop $again (br $again))")
    guest.function("crash", "unreachable")
    guest.function("done", "nop")
    return guest.binary()


ACTOR = actor()
CAPABILITIES = ("ActorMessage", "TimeRead")


_ARGUMENTS, _OUTPUT = 0x70000, 0xC0000
_BEGIN, _WAIT, _DROP = 0x10000, 0x20000, 0x30000


def puppet() -> bytes:
    """A guest that makes the hostcalls that it is asked to make, and answers with what came of them.

    A request is the hostcall's place in the catalogue and its encoded arguments; the answer is the result
    word and what was written. With `_BEGIN` added to the place, the hostcall is begun, and its future id is
    what was written; with `_WAIT` and `_DROP` the future whose id stands in the arguments is waited for, or
    dropped.
    """
    names = [hostcall.name.split("::", 1)[1].replace("::", ".") for hostcall in CATALOGUE]
    guest = Assembler(*(hostcall.name.removeprefix("selium::") for hostcall in CATALOGUE))
    anything = guest.message(ActorReceive, ActorReceive(None, 2, None, 60_000))
    begin_cases = "".join(
        f"""
        (if (i32.eq (local.get $number) (i32.const {_BEGIN + number})) (then
          (i32.store (global.get $result) (call ${name}.create (i32.const {_ARGUMENTS}) (local.get $size)))
          (local.set $word (i32.const 4))))"""
        for number, name in enumerate(names)
    )
    cases = "".join(
        f"""
        (if (i32.eq (local.get $number) (i32.const {number})) (then (local.set $word
          (call ${name}
            (i32.const {_ARGUMENTS}) (local.get $size)))))"""
        for number, name in enumerate(names)
    )
    guest.function(
        "start",
        f"""
        (loop $again
          (call $received (call $actor.receive {anything}))
          (local.set $request (call $request))
          (local.set $number (i32.load (call $data)))
          (local.set $size (i32.sub (call $length) (i32.const 4)))
          (memory.copy (i32.const {_ARGUMENTS}) (i32.add (call $data) (i32.const 4)) (local.get $size))
          {cases}
          (if (i32.ge_u (local.get $number) (i32.const {_BEGIN})) (then {begin_cases}))
          (if (i32.eq (local.get $number) (i32.const {_WAIT})) (then
            (local.set $word (call $wait (i32.load (i32.const {_ARGUMENTS}))))))
          (if (i32.eq (local.get $number) (i32.const {_DROP})) (then
            (local.set $word (call ${names[0]}.drop
              (i32.load (i32.const {_ARGUMENTS})) (global.get $result) (i32.const 256)))))
          (i32.store (i32.const {_OUTPUT}) (local.get $word))
          (local.set $size (local.get $word))
          (if (i32.lt_s (local.get $word) (i32.const 0))
            (then (local.set $size (i32.add (i32.const 4) (i32.load (global.get $result))))))
          (memory.copy (i32.const {_OUTPUT + 4}) (global.get $result) (local.get $size))
          (call $ok (call $reply_with (local.get $request) (i32.const {_OUTPUT})
            (i32.add (local.get $size) (i32.const 4))))
          (br $again))
        """,
        "(local $request i32) (local $number i32) (local $size i32) (local $word i32)",
    )
    return guest.binary()


PUPPET = puppet()


class GuestError(Exception):
    """A hostcall gave a guest this error text."""


class Puppet:
    """The strings of a puppet."""

    def __init__(self, ref: Ref[Guest]) -> None:
        self.ref = ref

    async def do(self, hostcall: Hostcall[Any, Any], value: Any = None) -> Any:
        """Let the guest make a hostcall; its output. Raises `GuestError`."""
        arguments = hostcall.input.encode(value)
        return hostcall.output.decode(await self._ask(CATALOGUE.index(hostcall), arguments))

    async def begin(self, hostcall: Hostcall[Any, Any], value: Any = None) -> int:
        """Let the guest begin a hostcall, and go on; the id of its future."""
        arguments = hostcall.input.encode(value)
        return int.from_bytes(await self._ask(_BEGIN + CATALOGUE.index(hostcall), arguments), "little")

    async def wait(self, hostcall: Hostcall[Any, Any], future: int) -> Any:
        """Let the guest wait for what it has begun; the output. Raises `GuestError`."""
        return hostcall.output.decode(await self._ask(_WAIT, struct.pack("<I", future)))

    async def drop(self, future: int) -> None:
        """Let the guest drop a future. Raises `GuestError` when there is none."""
        await self._ask(_DROP, struct.pack("<I", future))

    async def _ask(self, number: int, arguments: bytes) -> bytes:
        answer = await self.ref.call(Guest.request, struct.pack("<I", number) + arguments)
        word, written = int.from_bytes(answer[:4], "little"), answer[4:]
        if word & 0x8000_0000:
            raise GuestError(codec(str).decode(written[4:]))
        return written
