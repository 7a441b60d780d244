"""A server written as upstream's library has it, which frees no slot, serves client after client."""

from __future__ import annotations

import functools
import gc

import pytest
import trio

from enfilade.actors import Node, open_node
from enfilade.actors.guests import Guest, guests_of
from enfilade.actors.messages.reasons import NORMAL
from enfilade.actors.processes.links import Down
from enfilade.hostcalls.abi import ChannelBackpressure, ChannelCreate, IoRead, IoWrite
from enfilade.hostcalls.codec.rkyv import codec
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.resources.channel import Channel
from enfilade.hostcalls.sdk.wat import RESULT, Assembler

CAPABILITIES = ("ChannelLifecycle", "ChannelReader", "ChannelWriter")
LAST_FIELDS = 12  # of an IoFrame, whose payload of 8 bytes lies before them


@functools.cache
def module() -> bytes:
    """`serve` reads handles of reply channels from a channel and answers on each; `ask` is a client.

    Neither frees anything, as guests written against Selium's library do not.
    """
    guest = Assembler(
        "channel::create",
        "channel::share",
        "channel::attach",
        "channel::strong_reader_create",
        "channel::weak_writer_create",
        "channel::strong_writer_create",
        "channel::strong_read",
        "channel::strong_write",
        "channel::weak_write",
    )
    slot, handle = guest.data(bytes(8)), guest.data(bytes(8))
    read = guest.data(codec(IoRead).encode(IoRead(0, 64)))
    answer = guest.data(codec(IoWrite).encode(IoWrite(0, b"answered")))
    question = guest.data(codec(IoWrite).encode(IoWrite(0, bytes(8))))
    channel = guest.message(ChannelCreate, ChannelCreate(256, ChannelBackpressure.PARK))
    reader = f"""
      (i32.store (i32.const {slot}) (local.get $channel))
      (i32.store (i32.const {read})
        (call $ok32 (call $channel.strong_reader_create (i32.const {slot}) (i32.const 4))))"""
    receive = f"(call $ok (call $channel.strong_read (i32.const {read}) (i32.const 8)))"
    guest.function(
        "serve",
        f"""
        {reader}
        (loop $again
          {receive}
          (i64.store (i32.const {handle}) (i64.load (i32.const {RESULT})))
          (i32.store (i32.const {slot})
            (call $ok32 (call $channel.attach (i32.const {handle}) (i32.const 8))))
          (i32.store (i32.const {answer + 8})
            (call $ok32 (call $channel.strong_writer_create (i32.const {slot}) (i32.const 4))))
          (call $ok (call $channel.strong_write (i32.const {answer}) (i32.const 20)))
          (br $again))""",
        "(param $channel i32)",
    )
    guest.function(
        "ask",
        f"""
        (i32.store (i32.const {slot}) (local.get $requests))
        (i32.store (i32.const {question + 8})
          (call $ok32 (call $channel.weak_writer_create (i32.const {slot}) (i32.const 4))))
        (local.set $channel (call $ok32 (call $channel.create {channel})))
        {reader}
        (i64.store (i32.const {question}) (call $ok64 (call $channel.share (i32.const {slot}) (i32.const 4))))
        (call $ok (call $channel.weak_write (i32.const {question}) (i32.const 20)))
        {receive}""",
        "(param $requests i32) (local $channel i32)",
    )
    return guest.binary()


async def serve(node: Node, clients: int, limits: Limits, look: int = 0) -> list[int]:
    """Clients one after another; the resident memory after each `look` of them."""
    requests = Channel(4096)
    seen: list[int] = []

    def guest(entrypoint: str, bounds: Limits) -> Guest:
        return Guest(
            module(), entrypoint=entrypoint, capabilities=CAPABILITIES, arguments=[requests], limits=bounds
        )

    client = guest("ask", Limits())
    async with node.mailbox() as me:
        server = await node.spawn(guest("serve", limits))
        me.monitor(server)
        for number in range(clients):
            ref = await node.spawn(client)
            me.monitor(ref)
            down = await me.receive(Down)
            assert (down.ref, down.reason) == (ref, NORMAL), number
            if look and number % look == look - 1:
                gc.collect()
                seen.append(resident())
    return seen


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


async def test_clients_one_after_another() -> None:
    """Ten times as many clients as the server may have slots, with its few resources in the end."""
    async with open_node("test") as node:
        with trio.fail_after(60):
            await serve(node, 160, Limits(resources=16))
        registry = guests_of(node).kernel.registry
        assert len(registry) < 2 * 16 + 256 + 20  # the server's, and the tombstones of clients


@pytest.mark.soak
async def test_a_hundred_thousand_clients_in_constant_memory() -> None:
    """The default limits, and 100,000 clients: the second half takes no memory."""
    clients, look = 100_000, 10_000
    async with open_node("test") as node:
        with trio.fail_after(600):
            seen = await serve(node, clients, Limits(), look)
    print("resident MiB after each", look, "clients:", [f"{size / 2**20:.1f}" for size in seen])
    assert max(seen[len(seen) // 2 :]) - seen[len(seen) // 2 - 1] < 4 * 2**20
