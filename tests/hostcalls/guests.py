"""Small guests that several tests use, in the text format."""

from __future__ import annotations

from hostcalls import abi
from hostcalls.actor_abi import ActorReceive
from hostcalls.sdk.wat import Assembler

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
