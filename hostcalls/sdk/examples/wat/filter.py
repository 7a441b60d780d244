"""A rate-limiting filter, in the text format. Run it to write the module: `python filter.py filter.wasm`.

A request is a key of at most 32 bytes; the answer is "pass", or "wait MILLISECONDS" when the key has been
asked for more than `rate` times a second, after `burst` times at once. A longer key is a fault.

The state is one instant for each key: when its bucket will be empty. It is gone when a supervisor starts the
filter again, and handed over when the filter is moved to another module.
"""

from __future__ import annotations

import sys
from pathlib import Path

from enfilade.hostcalls.abi.actor_types import ActorExport, ActorReceive
from enfilade.hostcalls.codec.rkyv import codec
from enfilade.hostcalls.sdk.wat import LOGGING, RESULT, Assembler

BUCKET = 48  # bytes: when it is empty, 8 bytes; the key's size, 4 bytes; and the key
KEYS = 64
LONGEST = 32
HOSTCALLS = (
    "enfilade::actor::receive",
    "enfilade::actor::reply",
    "enfilade::actor::export_state",
    "enfilade::actor::import_state",
    "time::now",
    *LOGGING,
)


def module() -> bytes:
    """The filter; its entrypoint is `start(rate, burst)`."""
    guest = Assembler(*HOSTCALLS)
    anything = guest.message(ActorReceive, ActorReceive(timeout_ms=None, kinds=31, tag=None, data_limit=1024))
    state = codec(ActorExport).encode(ActorExport(bytes(KEYS * BUCKET)))
    buckets = guest.data(state)  # they lie where the archive of their export has them
    fault = guest.log(4, "filter", "expected 1 to 1000 a second and a burst of at least 1")
    passed = guest.buffer(b"pass")
    waits = guest.data(b"wait " + bytes(20))
    guest.text(
        f"""
        ;; Whether two runs of bytes are the same.
        (func $same (param $one i32) (param $other i32) (param $size i32) (result i32)
          (loop $again
            (if (i32.eqz (local.get $size)) (then (return (i32.const 1))))
            (local.set $size (i32.sub (local.get $size) (i32.const 1)))
            (br_if $again
              (i32.eq (i32.load8_u (i32.add (local.get $one) (local.get $size)))
                      (i32.load8_u (i32.add (local.get $other) (local.get $size))))))
          (i32.const 0))

        ;; The bucket of a key; a new key takes the place of the one that was empty first.
        (func $find (param $key i32) (param $size i32) (result i32) (local $bucket i32) (local $oldest i32)
          (local.set $bucket (i32.const {buckets}))
          (local.set $oldest (local.get $bucket))
          (loop $again
            (if (i64.ne (i64.load (local.get $bucket)) (i64.const 0)) (then
              (if (i32.eq (i32.load offset=8 (local.get $bucket)) (local.get $size)) (then
                (if (call $same
                      (i32.add (local.get $bucket) (i32.const 12)) (local.get $key) (local.get $size))
                  (then (return (local.get $bucket))))))))
            (if (i64.lt_u (i64.load (local.get $bucket)) (i64.load (local.get $oldest)))
              (then (local.set $oldest (local.get $bucket))))
            (local.set $bucket (i32.add (local.get $bucket) (i32.const {BUCKET})))
            (br_if $again (i32.ne (local.get $bucket) (i32.const {buckets + KEYS * BUCKET}))))
          (i64.store (local.get $oldest) (i64.const 0))
          (i32.store offset=8 (local.get $oldest) (local.get $size))
          (memory.copy (i32.add (local.get $oldest) (i32.const 12)) (local.get $key) (local.get $size))
          (local.get $oldest))

        ;; Milliseconds to wait, or 0 if the key may pass now.
        (func $admit
          (param $bucket i32) (param $now i64) (param $interval i64) (param $burst i64) (result i64)
          (local $empty_at i64) (local $ahead i64) (local $allowed i64)
          (local.set $empty_at (i64.load (local.get $bucket)))
          (if (i64.lt_u (local.get $empty_at) (local.get $now)) (then (local.set $empty_at (local.get $now))))
          (local.set $ahead (i64.sub (local.get $empty_at) (local.get $now)))
          (local.set $allowed (i64.mul (i64.sub (local.get $burst) (i64.const 1)) (local.get $interval)))
          (if (i64.gt_u (local.get $ahead) (local.get $allowed))
            (then (return (i64.sub (local.get $ahead) (local.get $allowed)))))
          (i64.store (local.get $bucket) (i64.add (local.get $empty_at) (local.get $interval)))
          (i64.const 0))

        ;; Write a number behind "wait "; the size of the whole text.
        (func $wait_text (param $number i64) (result i32) (local $size i32) (local $rest i64) (local $at i32)
          (local.set $size (i32.const 5))
          (local.set $rest (local.get $number))
          (loop $count
            (local.set $size (i32.add (local.get $size) (i32.const 1)))
            (local.set $rest (i64.div_u (local.get $rest) (i64.const 10)))
            (br_if $count (i64.ne (local.get $rest) (i64.const 0))))
          (local.set $at (i32.add (i32.const {waits}) (local.get $size)))
          (loop $digit
            (local.set $at (i32.sub (local.get $at) (i32.const 1)))
            (i64.store8 (local.get $at)
              (i64.add (i64.const 48) (i64.rem_u (local.get $number) (i64.const 10))))
            (local.set $number (i64.div_u (local.get $number) (i64.const 10)))
            (br_if $digit (i64.ne (local.get $number) (i64.const 0))))
          (local.get $size))"""
    )
    guest.function(
        "start",
        f"""
        (if (i32.or (i32.gt_u (i32.sub (local.get $rate) (i32.const 1)) (i32.const 999))
                    (i32.eqz (local.get $burst)))
          (then {fault} unreachable))
        (local.set $imported (call $actor.import_state {guest.nothing}))
        (call $ok (local.get $imported))
        (local.set $imported (i32.add (i32.const {RESULT - 12}) (local.get $imported)))
        (if (i32.load8_u (local.get $imported)) (then
          ;; Nobody may lose the state: the module before goes on.
          (if (i32.ne (i32.load offset=8 (local.get $imported)) (i32.const {KEYS * BUCKET}))
            (then unreachable))
          (local.set $imported (i32.add (local.get $imported) (i32.const 4)))
          (memory.copy (i32.const {buckets})
            (i32.add (local.get $imported) (i32.load (local.get $imported)))
            (i32.const {KEYS * BUCKET}))))
        {guest.log(2, "filter", "ready")}
        (loop $again
          (call $received (call $actor.receive {anything}))
          (if (i32.eq (call $kind) (i32.const 4))
            (then (drop (call $actor.export_state (i32.const {buckets}) (i32.const {len(state)})))))
          (br_if $again (i32.ne (call $kind) (i32.const 1)))
          (if (i32.gt_u (call $length) (i32.const {LONGEST})) (then unreachable))
          (local.set $bucket (call $find (call $data) (call $length)))
          (local.set $request (call $request))
          (call $ok (call $time.now {guest.nothing}))
          (local.set $wait
            (call $admit (local.get $bucket)
              (i64.add (i64.load offset=8 (global.get $result)) (i64.const 1))
              (i64.extend_i32_u (i32.div_u (i32.const 1000) (local.get $rate)))
              (i64.extend_i32_u (local.get $burst))))
          (if (i64.eqz (local.get $wait))
            (then (drop (call $reply_with (local.get $request) {passed})))
            (else
              {guest.log(1, "filter", "held back")}
              (drop (call $reply_with
                (local.get $request) (i32.const {waits}) (call $wait_text (local.get $wait))))))
          (br $again))
        """,
        "(param $rate i32) (param $burst i32) (local $bucket i32) (local $request i32) (local $wait i64) "
        "(local $imported i32)",
    )
    return guest.binary()


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(module())
