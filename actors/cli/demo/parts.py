"""The processes of the demo's zones: a ledger, a clerk that gives work to the other zone's mill, a reporter.

The mill is a WebAssembly guest: it answers every request with a checksum of it, and traps on poison.
"""

import time
from collections import deque
from typing import Any

import trio

from enfilade.actors.guests import Guest
from enfilade.actors.messages.errors import RuntimeFault
from enfilade.actors.messages.ref import Ref
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.process import Process
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.hostcalls.abi.actor_types import ActorReceive
from enfilade.hostcalls.sdk.wat import Assembler

POISON = b"\xff"
DATA_LIMIT = 4096
ROUND_TRIPS_KEPT = 200
PAUSE_SECONDS = 0.002
RETRY_SECONDS = 0.005


def mill_module() -> bytes:
    """The mill: for each request its FNV-1a checksum, 4 bytes; a request that begins with 0xff is poison."""
    guest = Assembler("enfilade::actor::receive", "enfilade::actor::reply")
    waiting = guest.message(ActorReceive, ActorReceive(None, 0, None, DATA_LIMIT))
    answer = guest.data(bytes(4))
    guest.text(
        """
        (func $checksum (param $from i32) (param $length i32) (result i32) (local $hash i32) (local $end i32)
          (local.set $hash (i32.const 0x811c9dc5))
          (local.set $end (i32.add (local.get $from) (local.get $length)))
          (loop $next
            (if (i32.lt_u (local.get $from) (local.get $end)) (then
              (local.set $hash (i32.mul (i32.const 0x01000193)
                (i32.xor (local.get $hash) (i32.load8_u (local.get $from)))))
              (local.set $from (i32.add (local.get $from) (i32.const 1)))
              (br $next))))
          (local.get $hash))"""
    )
    guest.function(
        "start",
        f"""
        (loop $forever
          (call $received (call $actor.receive {waiting}))
          (if (i32.eq (call $kind) (i32.const 1)) (then
            (if (i32.eq (i32.load8_u (call $data)) (i32.const {POISON[0]})) (then unreachable))
            (i32.store (i32.const {answer}) (call $checksum (call $data) (call $length)))
            (call $ok (call $reply_with (call $request) (i32.const {answer}) (i32.const 4)))))
          (br $forever))""",
    )
    return guest.binary()


def checksum(data: bytes) -> bytes:
    """Compute the answer that the mill must give."""
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value.to_bytes(4, "little")


class Ledger(Actor):
    """Keeps count: what was answered, what failed, and how long the last answers took."""

    def __init__(self) -> None:
        self._answered = 0
        self._failed = 0
        self._round_trips: deque[float] = deque(maxlen=ROUND_TRIPS_KEPT)

    def answered(self, seconds: float) -> None:
        """A call was answered, after so many seconds."""
        self._answered += 1
        self._round_trips.append(seconds)

    def failed(self) -> None:
        """Count a call that reached no process."""
        self._failed += 1

    def totals(self) -> dict[str, Any]:
        """All counts, as plain values that travel between nodes."""
        return {
            "answered": self._answered,
            "failed": self._failed,
            "round_trips": list(self._round_trips),
        }


async def clerk(me: Process, peer: str) -> None:
    """Give work to the mill of the node `peer`, check what it answers, and tell the ledger."""
    ledger = me.node.named("ledger")
    number = 0
    while True:
        number += 1
        work = f"order {number} from {me.node.full_name}".encode()
        started = time.perf_counter()
        try:
            result = await me.node.remote("mill", peer).call(Guest.request, work)
        except RuntimeFault:
            ledger.cast(Ledger.failed)
            await trio.sleep(RETRY_SECONDS)
            continue
        if result != checksum(work):
            raise ValueError(f"the mill of {peer} answered {result!r} to {work!r}")
        ledger.cast(Ledger.answered, time.perf_counter() - started)
        await trio.sleep(PAUSE_SECONDS)


class Reporter(Actor):
    """Tells the console how its zone is doing."""

    async def report(self) -> dict[str, Any]:
        """The children of the zone's supervisor, and the ledger's totals."""
        node = self.process.node
        children = await node.named("root").call(Supervisor.children)
        return {
            "children": [
                [str(child.id), child.ref.serial if isinstance(child.ref, Ref) else 0] for child in children
            ],
            "totals": await node.named("ledger").call(Ledger.totals),
        }
