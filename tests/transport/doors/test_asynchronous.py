"""Door calls and server procedures beside a trio loop."""

import os
import threading

import pytest
import trio

from enfilade.transport.doors import Descriptor, Door, DoorCallError, Request


async def test_calls_run_side_by_side() -> None:
    barrier = threading.Barrier(3, timeout=60)

    def procedure(request: Request) -> bytes:
        barrier.wait()
        return request.data

    answers: set[bytes] = set()
    with Door(procedure) as door, door.client() as client:

        async def one(number: int) -> None:
            with await client.call_async(b"%d" % number) as reply:
                answers.add(reply.data)

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(one, number)
    assert answers == {b"0", b"1", b"2"}


async def test_cancellation_interrupts_a_call_in_progress() -> None:
    """The call ends at once, the procedure goes on without its client, and the thread is free for the next
    one.
    """
    entered, leave, abandoned = threading.Event(), threading.Event(), threading.Event()

    def procedure(request: Request) -> None:
        if request.data == b"wait":
            entered.set()
            assert leave.wait(60)
            if request.is_abandoned:
                abandoned.set()

    with Door(procedure, threads=1) as door, door.client() as client:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.call_async, b"wait")
                await trio.to_thread.run_sync(entered.wait)
                nursery.cancel_scope.cancel()
            leave.set()
            assert await trio.to_thread.run_sync(abandoned.wait, 60)
            (await client.call_async(b"next")).close()


async def test_cancellation_of_a_queued_call_means_it_never_runs() -> None:
    entered, leave = threading.Event(), threading.Event()
    ran: list[bytes] = []

    def procedure(request: Request) -> None:
        ran.append(request.data)
        entered.set()
        assert leave.wait(60)

    reading, writing = os.pipe()
    with Door(procedure, threads=1) as door, door.client() as client, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.call_async, b"first")
            await trio.to_thread.run_sync(entered.wait)
            released = Descriptor(writing, release=True)
            with trio.move_on_after(0.2) as scope:
                await client.call_async(b"second", [released])
            assert scope.cancelled_caught
            assert not released.closed  # it had not begun: still ours
            released.close()
            leave.set()
    assert ran == [b"first"]
    os.close(reading)


async def test_cancelled_before_it_begins() -> None:
    with Door(lambda request: b"") as door, door.client() as client, trio.CancelScope() as scope:
        scope.cancel()
        await client.call_async()
    assert scope.cancelled_caught


async def test_async_procedures_run_in_the_loop() -> None:
    where: list[int] = []

    async def procedure(request: Request) -> bytes:
        await trio.lowlevel.checkpoint()
        where.append(threading.get_ident())
        return str(request.credentials().pid).encode()

    with Door(procedure) as door, door.client() as client, await client.call_async() as reply:
        assert reply.data == str(os.getpid()).encode()
    assert where == [threading.get_ident()]


async def test_object_that_is_called_like_an_async_function() -> None:
    class Greeter:
        async def __call__(self, request: Request) -> bytes:
            await trio.lowlevel.checkpoint()
            return b"hello " + request.data

    with Door(Greeter()) as door, door.client() as client, await client.call_async(b"you") as reply:
        assert reply.data == b"hello you"


async def test_async_procedure_that_fails() -> None:
    errors: list[Exception] = []

    def hook(error: Exception, request: Request | None) -> bytes:
        errors.append(error)
        return b"sorry"

    async def procedure(request: Request) -> bytes:
        await trio.lowlevel.checkpoint()
        raise ValueError(request.data)

    with (
        Door(procedure, on_error=hook) as door,
        door.client() as client,
        await client.call_async(b"x") as reply,
    ):
        assert reply.data == b"sorry"
    assert isinstance(errors[0], ValueError)


def test_async_procedure_whose_loop_has_ended() -> None:
    """When the loop has gone the procedure cannot run: an error for the hook, and an answer for
    the client.
    """
    errors: list[Exception] = []

    def hook(error: Exception, request: Request | None) -> bytes:
        errors.append(error)
        return b"closed"

    async def procedure(request: Request) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"open"

    async def make() -> Door:
        await trio.lowlevel.checkpoint()
        return Door(procedure, on_error=hook)

    with trio.run(make) as door, door.client() as client:
        assert client.call_with_data(b"") == b"closed"
    assert isinstance(errors[0], trio.RunFinishedError)


def test_async_procedure_outside_of_a_loop() -> None:
    async def procedure(request: Request) -> bytes:
        await trio.lowlevel.checkpoint()
        return b""

    with pytest.raises(RuntimeError, match="trio loop"):
        Door(procedure)


async def test_limiter_of_ones_own() -> None:
    limiter = trio.CapacityLimiter(1)
    inside: list[int] = []
    most: list[int] = []

    def procedure(request: Request) -> None:
        inside.append(1)
        most.append(len(inside))
        threading.Event().wait(0.02)
        inside.pop()

    with Door(procedure) as door, door.client() as client:

        async def one() -> None:
            (await client.call_async(limiter=limiter)).close()

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)
    assert max(most) == 1


async def test_errors_come_through() -> None:
    door = Door(lambda request: b"", data_max=1)
    with door, door.client() as client, pytest.raises(DoorCallError.ENOBUFS):
        await client.call_async(b"two")


async def test_async_procedure_may_ask_whether_it_is_abandoned() -> None:
    """Who calls is known to the server thread alone; it answers, however often, and from whatever task."""
    asked: list[bool] = []
    entered, gone = trio.Event(), trio.Event()

    async def procedure(request: Request) -> bytes:
        if request.data != b"wait":
            return b"%d" % request.is_abandoned
        asked.append(request.is_abandoned)
        entered.set()
        while not request.is_abandoned:  # noqa: ASYNC110 - to ask is what is tested
            await trio.sleep(0.005)
        asked.append(await trio.to_thread.run_sync(lambda: request.is_abandoned))
        gone.set()
        return b""

    with Door(procedure) as door, door.client() as client, trio.fail_after(60):
        with await client.call_async(b"") as reply:
            assert reply.data == b"0"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.call_async, b"wait")
            await entered.wait()
            nursery.cancel_scope.cancel()
        await gone.wait()
    assert asked == [False, True]


async def test_request_of_an_async_procedure_is_over_when_it_has_returned() -> None:
    kept: list[Request] = []

    async def procedure(request: Request) -> None:
        await trio.lowlevel.checkpoint()
        kept.append(request)

    with Door(procedure) as door, door.client() as client, trio.fail_after(60):
        (await client.call_async(b"")).close()
        with pytest.raises(ValueError, match="over"):
            _ = kept[0].is_abandoned
