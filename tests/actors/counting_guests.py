"""Guests that count, and hand their count over to the module that takes their place."""

from __future__ import annotations

from collections.abc import Callable

from enfilade.hostcalls.abi import actor_types
from enfilade.hostcalls.abi.actor_types import ActorReceive
from enfilade.hostcalls.sdk.wat import RESULT, Assembler

CALLS = (
    "enfilade::actor::receive",
    "enfilade::actor::reply",
    "enfilade::actor::export_state",
    "enfilade::actor::import_state",
    "enfilade::actor::self",
    "time::sleep",
)
GRANTS = ["ActorMessage", "TimeRead"]
ALL_KINDS = 31


def exporter(state: bytes) -> bytes:
    """A guest that answers every request with "old", and exports this state."""
    guest = Assembler(*CALLS)
    anything = guest.message(ActorReceive, ActorReceive(None, ALL_KINDS, None, 100))
    export = guest.message(actor_types.ActorExport, actor_types.ActorExport(state))
    old = guest.data(b"old")
    guest.function(
        "start",
        f"""
        (loop $again
          (call $received (call $actor.receive {anything}))
          (if (i32.eq (call $kind) (i32.const 4)) (then (call $ok (call $actor.export_state {export}))))
          (br_if $again (i32.ne (call $kind) (i32.const 1)))
          (call $ok (call $reply_with (call $request) (i32.const {old}) (i32.const 3)))
          (br $again))
        """,
    )
    return guest.binary()


def counter(
    version: str,
    *,
    kinds: int = ALL_KINDS,
    start: str | Callable[[Assembler], str] = "",
    imports: bool = True,
    told: str | Callable[[Assembler], str] = "",
    calls: tuple[str, ...] = (),
) -> bytes:
    """A guest that counts its requests, and answers with its version and the count, each one byte.

    `start` is done first. `imports` says whether it asks for the state before it. `told` is done when the
    guest has received an upgrade, in place of exporting, which `EXPORT` in it stands for; `STATE` is what to
    export. `calls` are further hostcalls. A request for "hold" is never answered.
    """
    guest = Assembler(*CALLS, *calls)
    if not isinstance(start, str):
        start = start(guest)
    if not isinstance(told, str):
        told = told(guest)
    anything = guest.message(ActorReceive, ActorReceive(None, kinds, None, 100))
    # The archive of an export of one byte: the byte, padding, and the root that leads to it.
    state = guest.message(actor_types.ActorExport, actor_types.ActorExport(b"\0"))
    place = state.split()[1].rstrip(")")
    answer = guest.data(version.encode() + b"\0")
    taken = f"""
        (local.set $size (call $actor.import_state {guest.nothing}))
        (call $ok (local.get $size))
        (local.set $root (i32.add (i32.const {RESULT - 12}) (local.get $size)))
        (if (i32.load8_u (local.get $root)) (then
          (local.set $count (i32.load8_u
            (i32.add (i32.add (local.get $root) (i32.const 4)) (i32.load offset=4 (local.get $root)))))))
    """
    export = (
        f"(i32.store8 (i32.const {place}) (local.get $count)) (call $ok (call $actor.export_state {state}))"
    )
    told = told.replace("EXPORT", export).replace("STATE", state)
    hold = int.from_bytes(b"hold", "little")
    guest.function(
        "start",
        f"""
        {taken if imports else ""}
        {start}
        (loop $again
          (call $received (call $actor.receive {anything}))
          (if (i32.eq (call $kind) (i32.const 4)) (then {told or export} (br $again)))
          (br_if $again (i32.ne (call $kind) (i32.const 1)))
          (if (i32.eq (call $length) (i32.const 4)) (then
            (if (i32.eq (i32.load (call $data)) (i32.const {hold})) (then (br $again)))))
          (if (i32.eq (call $length) (i32.const 5)) (then unreachable))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (i32.store8 offset=1 (i32.const {answer}) (local.get $count))
          (call $ok (call $reply_with (call $request) (i32.const {answer}) (i32.const 2)))
          (br $again))
        """,
        "(local $count i32) (local $size i32) (local $root i32)",
    )
    return guest.binary()
