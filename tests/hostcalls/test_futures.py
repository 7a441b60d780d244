"""Futures: one outcome, one callback, and tasks that wait."""

import pytest
import trio

from enfilade.hostcalls.resources.futures import Cancelled, Future


def test_first_outcome_counts() -> None:
    """Later outcomes are ignored, cancellation included."""
    future: Future[int] = Future()
    with pytest.raises(RuntimeError, match="no outcome yet"):
        future.result()
    future.resolve(1)
    future.resolve(2)
    future.fail(ValueError())
    future.cancel()
    assert future.result() == 1
    assert Future.of(3).result() == 3


def test_a_callback_runs_once_with_the_outcome() -> None:
    """The callback runs when the outcome comes, or at once when it has come; not after a cancellation."""
    seen: list[Future[int]] = []
    future: Future[int] = Future()
    future.when_done(seen.append)
    assert not seen
    future.fail(ValueError("no"))
    assert seen == [future]
    future.when_done(seen.append)
    assert seen == [future, future]
    forgotten: list[str] = []
    cancelled: Future[int] = Future(lambda: forgotten.append("forgotten"))
    cancelled.when_done(seen.append)
    cancelled.cancel()
    cancelled.cancel()
    assert (len(seen), forgotten) == (2, ["forgotten"])
    with pytest.raises(Cancelled):
        cancelled.result()


def test_a_converted_future_passes_everything_on() -> None:
    """A converted future has the converted value or the error, and passes a cancellation on."""
    source: Future[int] = Future()
    converted = source.then(lambda value: str(10 // value))
    source.resolve(5)
    assert converted.result() == "2"
    assert isinstance(_error(Future.of(0).then(lambda value: 1 // value)), ZeroDivisionError)
    failing: Future[int] = Future()
    broken = failing.then(str)
    failing.fail(ValueError("as given"))
    assert isinstance(_error(broken), ValueError)
    upstream: Future[int] = Future()
    upstream.then(str).cancel()
    assert isinstance(_error(upstream), Cancelled)


def _error(future: Future[object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what the caller asks
        future.result()
    return caught.value


async def test_a_task_waits_and_cancels() -> None:
    """A task waits for the outcome; when it is cancelled, so is the future."""
    future: Future[str] = Future()
    got: list[str] = []

    async def wait() -> None:
        got.append(await future)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        future.resolve("here")
    assert got == ["here"]
    with trio.testing.assert_checkpoints():
        assert await future.wait() == "here"
    abandoned: Future[str] = Future()
    with trio.move_on_after(0):
        await abandoned
    assert abandoned.done
