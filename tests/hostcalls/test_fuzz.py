"""Random hostcalls of a real guest, through the codec and the dispatch table: whatever it asks for, the host
answers or ends the guest, soon, and no driver fails.
"""

from __future__ import annotations

import logging
import os
import random
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import (
    Actor,
    Node,
    NoProcess,
    ProcessDied,
    Reason,
    Ref,
    SenderDropped,
    Trapped,
    open_node,
)
from enfilade.actors.guests import Guest, guests_of, open_guests
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.catalogue import CATALOGUE
from enfilade.hostcalls.codec.rkyv import codec
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.engine import EngineConfig
from enfilade.hostcalls.resources.registry import Kind
from tests.hostcalls.guests import ACTOR, PUPPET, GuestError, Puppet
from tests.hostcalls.test_every_hostcall import (
    CASES,
    OTHER,
    STRONG_READER,
    WEAK_WRITER,
    known_handles,
    make_channel,
    sample,
    write,
)

__all__ = ["known_handles"]  # a fixture, so that handles can be guessed here

LIMITS = Limits(resources=40, children=3, mailbox=50, message_bytes=2048, channel_bytes=1 << 20)
PATIENCE = 5  # seconds that a hostcall of the guest may take; of the node's clock, which jumps
HANDLES = (0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 39, 40, 41, 999, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


class Other(Actor):
    """Whom the guest speaks to."""

    def request(self, data: bytes) -> bytes:
        return data[::-1]


def corpus() -> list[tuple[int, bytes]]:
    """Encoded arguments that mean something, with the hostcall that they are for."""
    return [
        (index, case.hostcall.input.encode(value))
        for index, case in enumerate(CASES)
        for value in (case.value, *(value for value, _ in case.wrong), sample(case.hostcall))
        if not callable(value) and (value is not None or case.hostcall.input.size == 0)
    ]


def mutate(generator: random.Random, data: bytes) -> bytes:
    """Other handles, other bytes, more or less of them."""
    changed = bytearray(data)
    way = generator.random()
    for _ in range(generator.choice((0, 0, 1, 1, 2))):
        if not changed:
            break
        if way < 0.6 and len(changed) >= 4:
            place = generator.randrange(0, len(changed) - 3) & ~3
            struct.pack_into("<I", changed, place, generator.choice(HANDLES))
        elif way < 0.9:
            changed[generator.randrange(len(changed))] = generator.choice((0, 1, 2, 127, 128, 255))
        elif way < 0.95:
            del changed[: generator.randrange(1, 9)]
        else:
            changed += generator.randbytes(generator.randrange(1, 17))
    return bytes(changed)


def written_by_the_guest(arguments: bytes) -> bool:
    """Whether an answer is not the puppet's, but what these arguments of `reply` had it answer."""
    return c.ACTOR_REPLY.input.decode(arguments).request == 0


async def end(process: Ref[Any]) -> None:
    """Stop a process that may have ended."""
    with suppress(NoProcess):
        await process.stop()


class Fuzz:
    """A guest that is told what to ask for, and replaced when it has ended."""

    def __init__(self, node: Node, seed: int) -> None:
        self.node = node
        self.generator = random.Random(seed)
        self.corpus = corpus()
        self.answers = self.errors = self.traps = 0

    async def run(self, rounds: int) -> None:
        guest = await self.begin()
        for number in range(rounds):
            index, arguments = self.generator.choice(self.corpus)
            if not await self.ask(guest, index, mutate(self.generator, arguments)):
                guest = await self.begin()
            if number % 100 == 0:
                await self.check_the_others()
        await end(guest)
        other = self.node.whereis("other")
        if other is not None:
            await end(other)

    async def begin(self) -> Ref[Guest]:
        guest = Puppet(
            await self.node.spawn(
                Guest(PUPPET, capabilities=Capability, limits=LIMITS, finds="*", registers="*", ends="*")
            )
        )
        await make_channel(guest)
        for _ in range(3):  # up to the slot that the corpus has for it
            assert await guest.do(c.CHANNEL_ATTACH, await guest.do(c.CHANNEL_SHARE, STRONG_READER))
        assert await guest.do(c.ACTOR_RELEASE, OTHER) is None
        await self.find_other(guest)
        await guest.do(c.CHANNEL_WEAK_WRITE, write(WEAK_WRITER))
        return guest.ref

    async def find_other(self, guest: Puppet) -> None:
        """Have the guest find the process that it may do everything to; it is made anew when it has ended.

        It may also be about to end: the guest before was linked to it, perhaps, and has ended just now.
        """
        while True:
            if self.node.whereis("other") is None:
                await self.node.spawn(Other, name="other")
            try:
                assert await guest.do(c.ACTOR_WHEREIS, "other") == OTHER
            except GuestError:
                assert self.node.whereis("other") is None
            else:
                return

    async def ask(self, guest: Ref[Guest], index: int, arguments: bytes) -> bool:
        """Whether the guest is still there afterwards."""
        hostcall = CATALOGUE[index]
        with trio.move_on_after(PATIENCE):
            try:
                answer = await guest.call(Guest.request, struct.pack("<I", index) + arguments)
            except NoProcess:  # a process that it has linked to has ended since the last time
                return False
            except SenderDropped:  # it has let go of the request that it was working on
                assert hostcall in LETTING_GO, hostcall.name
                await end(guest)
                return False
            except ProcessDied as died:
                reason: Reason | None = died.reason
            else:
                reason = None
            if reason is not None:
                self.traps += 1
                if isinstance(reason, Trapped) and reason.kind == "unreachable instruction":
                    assert hostcall in LETTING_GO, reason  # the puppet could not reply
                elif isinstance(reason, Trapped):
                    assert reason.kind == "misused hostcall", reason
                    assert reason.message.startswith(hostcall.name), reason
                else:
                    assert hostcall in ENDING, reason
                return False
            if hostcall is c.ACTOR_REPLY and written_by_the_guest(arguments):
                await end(guest)
                return False
            word, written = int.from_bytes(answer[:4], "little"), answer[4:]
            if word & 0x8000_0000:
                self.errors += 1
                assert codec(str).decode(written[4:])
            else:
                self.answers += 1
                hostcall.output.decode(written)
            return True
        assert hostcall in WAITING, hostcall.name
        await end(guest)
        return False

    async def check_the_others(self) -> None:
        """What the guest has no right to end is there, and answers as ever."""
        echo = await self.node.spawn(Guest(ACTOR, capabilities=["ActorMessage"], entrypoint="echo"))
        assert await echo.call(Guest.request, b"alive") == b"alive"
        await end(echo)


WAITING = (
    *(c.CHANNEL_STRONG_READ, c.CHANNEL_WEAK_READ, c.CHANNEL_STRONG_WRITE, c.CHANNEL_WEAK_WRITE),
    *(c.TIME_SLEEP, c.ACTOR_RECEIVE, c.ACTOR_CALL, c.PROCESS_START, c.ACTOR_SPAWN),
    *(c.NET_HTTP_ACCEPT, c.NET_HTTP_CONNECT, c.NET_HTTP_READ, c.NET_HTTP_WRITE),
    *(c.NET_QUIC_ACCEPT, c.NET_QUIC_CONNECT, c.NET_QUIC_READ, c.NET_QUIC_WRITE),
)
"""What may take as long as it likes; starts read files in a thread, and connects ask the kernel, and for
neither does the clock wait.
"""

LETTING_GO = (c.CHANNEL_DETACH, c.ACTOR_RELEASE, c.ACTOR_SEND, c.ACTOR_CALL, c.ACTOR_REPLY)
"""Whose slots may be that of a request."""

ENDING = (c.PROCESS_STOP, c.ACTOR_EXIT, c.ACTOR_LINK)
"""How a guest may end itself, also by a link to what ends."""


async def fuzz(directory: Path, seed: int, rounds: int, caplog: pytest.LogCaptureFixture) -> Fuzz:
    """Random hostcalls from one seed; nothing is left at the end."""
    (directory / "actor.wasm").write_bytes(ACTOR)
    with caplog.at_level(logging.ERROR):
        async with open_node("test") as node:
            open_guests(node, modules=directory, engine=EngineConfig(max_guests=64))
            made = Fuzz(node, seed)
            await made.run(rounds)
            with trio.fail_after(60):
                while node.statistics().processes:  # noqa: ASYNC110 - children end after their parents
                    await trio.sleep(0.01)
            registry = guests_of(node).kernel.registry
            for kind in set(Kind) - {Kind.PROCESS, Kind.CHANNEL, Kind.READER, Kind.WRITER}:
                assert not registry.of_kind(kind)
            for entry in registry.of_kind(Kind.PROCESS):
                registry.remove(entry)
            assert len(registry) == 0
    assert [
        record.getMessage() for record in caplog.records if record.name.startswith("enfilade.hostcalls")
    ] == []
    return made


@pytest.mark.parametrize("seed", [1, 2])
async def test_random_hostcalls(
    seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """A short run comes by answers, errors and traps."""
    made = await fuzz(tmp_path, seed, 600, caplog)
    assert min(made.answers, made.errors, made.traps) > 20


@pytest.mark.soak
async def test_many_random_hostcalls(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """A long run from a seed that is printed when it fails; `ENFILADE_SEED` repeats it."""
    seed = int(os.environ.get("ENFILADE_SEED", random.randrange(1 << 32)))
    print(f"ENFILADE_SEED={seed}")
    await fuzz(tmp_path, seed, 30_000, caplog)
