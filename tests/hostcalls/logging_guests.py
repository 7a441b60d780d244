"""Guests that log, as those of the guest ABI's own library do."""

from __future__ import annotations

from enfilade.hostcalls.abi import ChannelBackpressure, ChannelCreate, IoWrite
from enfilade.hostcalls.abi.actor_types import ActorReceive
from enfilade.hostcalls.codec.rkyv import U32
from enfilade.hostcalls.resources.logs import LogRecord
from enfilade.hostcalls.sdk.wat import Assembler
from tests.hostcalls.test_logs import encode

CAPABILITIES = ["ChannelLifecycle", "ChannelWriter", "TimeRead"]


def logging_guest(*records: LogRecord, waits: bool = False) -> bytes:
    """A guest whose slots 0 and 1 are its log channel and writer, and that writes these records first of all;
    then it ends, or waits for a message (which takes ActorMessage).
    """
    receive = ["enfilade::actor::receive"] if waits else []
    guest = Assembler(
        "channel::create",
        "channel::share",
        "process::register_log_channel",
        "channel::weak_writer_create",
        "channel::weak_write",
        *receive,
    )
    create = guest.message(ChannelCreate, ChannelCreate(524288, ChannelBackpressure.DROP))
    zero = guest.message(U32, 0)
    anything = guest.message(ActorReceive, ActorReceive(None, 0, None, 100))
    writes = (guest.message(IoWrite, IoWrite(1, encode(record))) for record in records)
    guest.function(
        "start",
        f"""
        (if (call $ok32 (call $channel.create {create})) (then unreachable))
        (call $ok (call $channel.share {zero}))
        (call $ok (call $process.register_log_channel (global.get $result) (i32.const 8)))
        (if (i32.ne (call $ok32 (call $channel.weak_writer_create {zero})) (i32.const 1)) (then unreachable))
        {" ".join(f"(call $ok (call $channel.weak_write {write}))" for write in writes)}
        {f"(call $received (call $actor.receive {anything}))" if waits else ""}
        """,
    )
    return guest.binary()
