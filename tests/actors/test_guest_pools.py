"""Guests as the workers of a pool."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from enfilade.actors import (
    SHUTDOWN,
    Actor,
    BadArguments,
    CallTimeout,
    Down,
    NodeConfig,
    Pool,
    ProcessDied,
    Trapped,
    UnknownMethod,
    open_node,
)
from enfilade.actors.guests import Guest
from enfilade.hostcalls import Message
from enfilade.hostcalls.sdk.wat import Assembler
from tests.actors.counting_guests import GRANTS, counter

counting = cache(counter)


def worker() -> Guest:
    """Answers with "a" and the number of jobs that it has done; traps of "crash", never answers "hold"."""
    return Guest(counting("a"), capabilities=GRANTS)


async def statistics(pool: Any) -> Any:
    return await pool.call(Pool.statistics)


@pytest.mark.parametrize("debug", [False, True])
async def test_guests_do_jobs(debug: bool) -> None:
    """C1: jobs that come while the module is compiled wait; a job is answered in its kind."""
    async with open_node("n", config=NodeConfig(debug=debug)) as node, node.mailbox() as me:
        pool = await node.spawn(Pool, worker(), size=1)
        requests = [me.request(pool, Pool.submit, b"x") for _ in range(3)]
        assert [await request.receive() for request in requests] == [b"a\1", b"a\2", b"a\3"]
        answer = await pool.call(Pool.submit, Message(b"x"))
        assert (type(answer), answer.data) == (Message, b"a\4")
        assert (await statistics(pool)).completed == 4


async def test_a_trap_costs_one_job() -> None:
    """C5: who submitted it is told the trap; the next guest does what waits."""
    async with open_node("n") as node, node.mailbox() as me:
        pool = await node.spawn(Pool, worker(), size=1)
        requests = [me.request(pool, Pool.submit, job) for job in (b"x", b"crash", b"x", b"x")]
        assert await requests[0].receive() == b"a\1"
        with pytest.raises(ProcessDied) as died:
            await requests[1].receive()
        assert isinstance(died.value.reason, Trapped)
        assert [await request.receive() for request in requests[2:]] == [b"a\1", b"a\2"]
        assert (await statistics(pool)).replaced == 1


@pytest.mark.parametrize("job", [5, "text", None, [b"x"], object()])
async def test_what_guests_cannot_receive(job: Any) -> None:
    """C1: it is refused, to who submitted it, and the guest goes on."""
    async with open_node("n") as node:
        pool = await node.spawn(Pool, worker(), size=1)
        assert await pool.call(Pool.submit, b"x") == b"a\1"
        with pytest.raises(BadArguments, match="only bytes"):
            await pool.call(Pool.submit, job)
        pool.cast(Pool.submit, job)
        assert await pool.call(Pool.submit, b"x") == b"a\2"
        assert (await statistics(pool)).replaced == 0


async def test_a_stuck_guest_is_replaced() -> None:
    """C5: one that does not answer, as any worker; its job is over."""
    async with open_node("n") as node:
        pool = await node.spawn(Pool, worker(), size=1)
        assert await pool.call(Pool.submit, b"x") == b"a\1"
        pool = await node.spawn(Pool, worker(), size=1, stuck_after=0.2)
        with pytest.raises(ProcessDied):
            await pool.within(60).call(Pool.submit, b"hold")
        assert await pool.within(60).call(Pool.submit, b"x") == b"a\1"
        assert (await statistics(pool)).completed == 2


async def test_guests_that_never_take_a_job_end_the_pool() -> None:
    """C5: the job waits for the next guest, until the pool gives up."""
    endless = Assembler("enfilade::actor::receive")
    endless.function("start", "(loop $again (br $again))")
    async with open_node("n") as node:
        guest = Guest(endless.binary(), capabilities=GRANTS)
        pool = await node.spawn(Pool, guest, size=1, stuck_after=0.1, intensity=2)
        with pytest.raises(ProcessDied) as died:
            await pool.within(60).call(Pool.submit, b"x")
        assert died.value.target == pool
        assert died.value.reason == SHUTDOWN


async def test_a_pool_of_guests_changes_its_size_and_drains() -> None:
    """C5: superfluous guests end, and the others finish what is theirs."""
    async with open_node("n") as node, node.mailbox() as me:
        pool = await node.spawn(Pool, worker(), size=3, routing="round_robin")
        for _ in range(3):
            assert await pool.call(Pool.submit, b"x") == b"a\1"
        workers = [ref for ref in node.processes.values() if ref.parent == pool]
        for process in workers:
            me.monitor(process.ref)
        await pool.call(Pool.resize, 1)
        ended = {(await me.receive(Down, timeout=60)).ref for _ in range(2)}
        assert ended < {process.ref for process in workers}
        requests = [me.request(pool, Pool.submit, b"x") for _ in range(2)]
        await pool.call(Pool.drain)
        assert [await request.receive() for request in requests] == [b"a\2", b"a\3"]


async def test_a_module_that_cannot_run_ends_the_pool() -> None:
    """C5: its guests are replaced as often as the pool may, and whoever waits for a job is told."""
    async with open_node("n") as node, node.mailbox() as me:
        pool = await node.spawn(Pool, Guest(b"no module"), size=1, intensity=2)
        me.monitor(pool)
        with pytest.raises((ProcessDied, CallTimeout)) as told:
            await pool.within(60).call(Pool.submit, b"x")
        assert isinstance(told.value, ProcessDied)
        down = await me.receive(Down, timeout=60)
        assert down.ref == pool


class Clerk(Actor):
    """Answers as it is asked."""

    def request(self, data: bytes) -> bytes:
        return data


async def test_a_guest_answers_its_three_methods_alone() -> None:
    """C1, R1: near, by the names that its description has; a cast of another is a dead letter."""
    async with open_node("n") as node:
        ref = await node.spawn(worker())
        for method in (Guest.request, Guest.work, Clerk.request):
            assert (await ref.call(method, b"x"))[:1] == b"a"
        before = node.dead_letters.count
        ref.cast(Pool.drain)
        ref.cast(Guest.request, 5)
        with pytest.raises(UnknownMethod):
            await ref.call(Pool.drain)
        assert node.dead_letters.count == before + 2
