"""Many calls at once: requests under way, and the same call to several processes."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import trio

from enfilade.actors.messages.errors import CallTimeout, NoProcess, Restarting
from enfilade.actors.messages.methods import method_name
from enfilade.actors.messages.ref import Ref, checked_ref
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.seconds import check_seconds
from enfilade.actors.messages.signals import NO_KWARGS, Cast
from enfilade.actors.messages.wake import Waiter

__all__ = ["RequestCollection", "multi_call", "multi_cast"]

L = TypeVar("L")


class RequestCollection(Generic[L]):
    """Requests under way, each with a label; answers are taken in the order in which they come.

    Source: `gen_server:send_request/4` and its request id collections.
    """

    def __init__(self) -> None:
        self._labels: dict[Request[Any], L] = {}
        self._ready: deque[Request[Any]] = deque()
        self._waiter = Waiter()

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[tuple[Request[Any], L]]:
        return iter(self._labels.items())

    def add(self, request: Request[Any], label: L) -> None:
        """Put `request` in, under `label`, which need not be unique. Not a checkpoint.

        It may be in other collections, too. If it is in this one already, it gets the new label.

        Raises:
            TypeError: `request` is not a `Request`.
        """
        if not issubclass(type(request), Request):
            raise TypeError(
                f"expected a Request, which `Process.request` has returned, got {safe_repr(request)}"
            )
        is_new = request not in self._labels
        self._labels[request] = label
        if is_new:
            request.observe(self._arrived, also_given_up=True)

    def _arrived(self, request: Request[Any]) -> None:
        self._ready.append(request)
        self._waiter.wake()

    def check(self) -> tuple[L, Request[Any]] | None:
        """Take the next settled request with its label; None when there is none. Not a checkpoint."""
        while self._ready:
            request = self._ready.popleft()
            if request in self._labels:
                return self._labels.pop(request), request
        return None

    async def wait(self, timeout: float = math.inf) -> tuple[L, Request[Any]]:
        """Wait for the next settled request. A checkpoint when it has to wait.

        On timeout, and when cancelled, all requests stay good and can be waited for again. A request that was
        given up, or that ran out of its time, counts as settled: its `receive` raises `CallTimeout`.
        Source: `gen_server:wait_response/3`.

        Args:
            timeout: seconds, at least 0; `math.inf` for ever.

        Raises:
            trio.TooSlowError: none came within `timeout` seconds.
            LookupError: the collection is empty.
        """
        check_seconds(timeout, "a timeout")
        answer = self.check()
        if answer is not None:
            return answer
        with trio.fail_after(timeout):
            while answer is None:
                if not self._labels:
                    raise LookupError("the collection is empty: there is no request to wait for")
                await self._park()
                answer = self.check()
        return answer

    async def _park(self) -> None:
        """Wait until a request is settled, which another task may then have taken."""
        if self._waiter.task is not None:
            raise trio.BusyResourceError("another task is already waiting for this collection")
        await self._waiter.wait(self._ready.__len__)

    async def receive(self, timeout: float = math.inf) -> tuple[L, Request[Any]]:
        """Wait for the next reply, as `wait` does; on timeout, and when cancelled, give up all requests.

        A checkpoint when it has to wait. Source: `gen_server:receive_response/3`.

        Args:
            timeout: seconds.

        Raises:
            trio.TooSlowError: no reply came in time; later ones are dropped.
            Everything that `wait` raises.
        """
        try:
            return await self.wait(timeout)
        except (trio.TooSlowError, trio.Cancelled):
            for request in self._labels:
                request.cancel()
            self._labels.clear()
            self._ready.clear()
            raise


async def multi_call(
    refs: Iterable[Ref[Any]], method: Callable[..., Any], /, *args: Any, timeout: float = 5.0
) -> tuple[list[tuple[Ref[Any], Any]], list[tuple[Ref[Any], BaseException]]]:
    """Call the same method of several processes at once; return the replies and the failures.

    The processes may be of several classes, each with a method of that name: `method` is any one of them. All
    share one time limit, `timeout` seconds. A checkpoint. Late replies are dropped, and, when it is
    cancelled, all replies. Source: `gen_server:multi_call/4`.

    Raises:
        NotPublic: `method` is not a public method.
        TypeError, ValueError: `timeout` is not a number of seconds, or one of `refs` is not a ref; then no
            process is called.
    """
    check_seconds(timeout, "a time limit")
    refs = [checked_ref(ref) for ref in refs]
    collection: RequestCollection[Ref[Any]] = RequestCollection()
    name = method_name(method)
    replies: list[tuple[Ref[Any], Any]] = []
    failures: list[tuple[Ref[Any], BaseException]] = []
    for ref in refs:
        node = ref._node()
        request = node.request_type(node, ref, name, args, {}, node.current)
        ref.deliver(request)
        collection.add(request, ref)
    with trio.move_on_after(timeout):
        while len(collection):
            ref, request = await collection.wait()
            if request.error is None:
                replies.append((ref, request.value))
            else:
                failures.append((ref, request.error))
    for request, ref in list(collection):
        request.cancel()
        failures.append((ref, CallTimeout(ref, timeout)))
    while collection.check() is not None:
        pass  # those that were given up are settled: nobody asks for them, and they hold the collection
    return replies, failures


def multi_cast(refs: Iterable[Ref[Any]], method: Callable[..., Any], /, *args: Any) -> None:
    """Cast the same to several processes; those that cannot be reached are skipped.

    As for `multi_call`, they may be of several classes. What finds a full mailbox goes by its policy; where
    that is to refuse, it is dropped and counted, because it is one of many. Not a checkpoint. Source:
    `gen_server:abcast/2`.

    Raises:
        NotPublic: `method` is not a public method.
        TypeError: one of `refs` is not a ref; no process is told then.
    """
    name = method_name(method)
    for ref in [checked_ref(ref) for ref in refs]:
        with contextlib.suppress(NoProcess, Restarting):
            ref.deliver(Cast(name, args, NO_KWARGS))
