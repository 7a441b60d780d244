"""An outbound HTTP connection as its guest sees it: one half takes requests, the other gives responses."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

from enfilade.hostcalls.abi.errors import InvalidArgument, LimitReached, SubsystemError
from enfilade.hostcalls.net.account import Account, Charge
from enfilade.hostcalls.net.halves import Connection
from enfilade.hostcalls.net.message import Malformed, Request, Response, parse_request, response_text
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Departure

LONGEST_ADDRESS = 224
"""Bytes of `remote_addr` that fit into the reply buffer of upstream's userland."""


class Failure(Exception):
    """The connection failed; the text is what the guest reads after `HTTP connection failed: `."""


CANCELED = "operation was canceled"
CLOSED_EARLY = "connection closed before message completed"
CLOSED_IN_BODY = "error reading a body from connection"
TOO_LARGE = "response too large"


class ResponseReader:
    """The half that drains responses, which follow each other without a gap."""

    def __init__(self, conversation: Conversation, charge: Charge) -> None:
        self.charge = charge
        self.is_released = False
        self._conversation = conversation
        self._texts: deque[bytes] = deque()
        self._position = 0
        self._at_end = False
        self._waiting: tuple[int, Future[bytes]] | None = None

    def read(self, length: int) -> bytes | Future[bytes]:
        """Take at most `length` bytes; waits when there are none, and is empty when none can come."""
        if self._texts or self._at_end:
            return self._take(length)
        future: Future[bytes] = Future(self._forget_waiting)
        self._waiting = (length, future)
        return future

    def _forget_waiting(self) -> None:
        self._waiting = None

    def _take(self, length: int) -> bytes:
        taken = bytearray()
        while self._texts and len(taken) < length:
            text = self._texts[0]
            part = text[self._position : self._position + length - len(taken)]
            taken += part
            self._position += len(part)
            if self._position == len(text):
                self._texts.popleft()
                self._position = 0
                self.charge.unhold(len(text))
        return bytes(taken)

    def put_back(self, taken: bytes) -> None:
        """Have the next read begin with what the last one has taken."""
        if self._position:
            rest = self._texts[0][self._position :]
            self.charge.unhold(self._position)
            self._texts[0] = rest
            self._position = 0
        self._texts.appendleft(taken)
        self.charge.hold(len(taken))

    @property
    def spent(self) -> bool:
        """True when all that could ever come has been read."""
        return self._at_end and not self._texts

    def put(self, text: bytes) -> None:
        """Add a response."""
        if self.is_released:
            return
        self._texts.append(text)
        self.charge.hold(len(text))
        self._serve()

    def end(self) -> None:
        """Let reads be empty when all has been read. Twice is the same."""
        self._at_end = True
        self._serve()

    def _serve(self) -> None:
        if self._waiting is not None:
            (length, future), self._waiting = self._waiting, None
            future.resolve(self._take(length))

    def release(self, departure: Departure) -> None:
        """Forget what was not read, and what will come."""
        self.is_released = True
        self._texts.clear()
        self.charge.close()
        self.charge.wake()
        self._conversation.wake()


class RequestWriter:
    """The half that sends requests, one a write."""

    def __init__(self, conversation: Conversation, charge: Charge) -> None:
        self.charge = charge
        self._conversation = conversation

    @property
    def spent(self) -> bool:
        """True when no request can be sent any more."""
        return self._conversation.is_over and self._conversation.request is None

    def write(self, payload: bytes) -> Future[int]:
        """Send the request `payload`; done when its whole response is there.

        Raises `InvalidArgument` for anything but one whole request, with nothing sent, and fails with
        `SubsystemError` when the connection has ended or ends before the response is whole.
        """
        return self._conversation.send(payload)

    def release(self, departure: Departure) -> None:
        """Send nothing any more. A request on its way is completed, unless its process has ended."""
        self._conversation.writer_released(departure)


class Conversation:
    """The state that a guest's halves share with the task of their connection.

    Args:
        domain: the peer's, as the guest gave it.
        port: the peer's.
        account: of the guest.
        secure: True for `Https`.

    Attributes:
        connection: the halves, for the guest.
        request: what the task shall send; None without one.
        is_over: True when no request can come: the task shall end.
        is_abandoned: True when the task shall end even though a request is on its way.
        wake: called when the task may have something to do; the task sets it.
    """

    def __init__(self, domain: str, port: int, account: Account, *, secure: bool) -> None:
        self.domain = domain
        self.port = port
        self._secure = secure
        self._reader = ResponseReader(self, Charge(account))
        self._writer = RequestWriter(self, Charge(account))
        address = f"{domain}:{port}".encode()[:LONGEST_ADDRESS].decode()
        self.connection = Connection(self._reader, self._writer, address)
        self.request: Request | None = None
        self.is_over = False
        self.is_abandoned = False
        self.wake: Callable[[], object] = _nothing
        self._size = 0
        self._written: Future[int] = Future()

    @property
    def is_forgotten(self) -> bool:
        """True when the guest will neither send nor read anything any more."""
        return self.is_over and self._reader.is_released

    async def when_room(self) -> None:
        """Wait until the host may hold more of a response for the guest. A checkpoint if it has to wait."""
        while not self._reader.is_released and not self._reader.charge.has_room:
            await self._reader.charge.when_room()

    @property
    def charge(self) -> Charge:
        """Of the half that reads."""
        return self._reader.charge

    @property
    def largest_body(self) -> int:
        """Bytes that the body of a response may have."""
        return self._reader.charge.account.allowance.http_body

    def send(self, payload: bytes) -> Future[int]:
        """Take a request from the guest; see `RequestWriter.write`."""
        try:
            request = parse_request(payload, self.domain, self.port, secure=self._secure)
        except Malformed:
            raise InvalidArgument from None
        largest = self._writer.charge.account.allowance.http_body
        if len(request.body) > largest:
            raise LimitReached("http_body", largest)
        if self.is_over:
            raise failed(CANCELED)
        self.request = request
        self._size = len(payload)
        self._written = Future()
        self._writer.charge.hold(self._size)
        self.wake()
        return self._written

    def answer(self, response: Response, label: str) -> None:
        """Give the guest the response to its request."""
        self._reader.put(response_text(response, label))
        self._settle()
        self._written.resolve(self._size)

    def end(self, text: str = CANCELED) -> None:
        """The connection has ended: fail the request on its way, and let reads end. Twice is the same."""
        self.is_over = True
        if self.request is not None:
            self._settle()
            self._written.fail(failed(text))
        self._reader.end()

    def _settle(self) -> None:
        self.request = None
        self._writer.charge.unhold(min(self._size, self._writer.charge.held))

    def writer_released(self, departure: Departure) -> None:
        """No request can come any more."""
        self.is_over = True
        if departure is Departure.PROCESS_ENDED:
            self.is_abandoned = True
        if self.request is None:
            self._reader.end()
        self.wake()


def failed(text: str) -> SubsystemError:
    """The error of a connection that failed."""
    return SubsystemError(f"HTTP connection failed: {text}")


class Client(Protocol):
    """One connection to a server, as `converse_with` drives it."""

    @property
    def is_usable(self) -> bool:
        """False once no further request can be sent."""
        ...

    async def receive(self) -> None:
        """Wait for bytes between requests. Cancelled when there is a request, with nothing read."""
        ...

    async def attend(self) -> None:
        """Do what is due at the beginning, and after bytes were received between requests."""
        ...

    async def exchange(self, request: Request) -> bool:
        """Send the request, give the guest the response. True if the connection can take another one.

        Raises `Failure` if there is no whole response.
        """
        ...


async def converse_with(
    client: Client, stream: trio.abc.Stream, conversation: Conversation, settings: NetworkSettings
) -> None:
    """Drive one connection until no request can come or be sent, then close it and end the conversation."""
    idle = trio.CancelScope()

    def wake() -> None:
        if conversation.is_abandoned:
            whole.cancel()
        elif conversation.is_forgotten:
            whole.deadline = trio.current_time() + settings.response_timeout
        idle.cancel()

    try:
        with trio.CancelScope() as whole:
            conversation.wake = wake
            wake()  # the guest may have done everything before this task began
            await client.attend()
            while client.is_usable and not conversation.is_abandoned:
                request = conversation.request
                if request is not None:
                    if not await client.exchange(request):
                        break
                elif conversation.is_over:
                    break
                else:
                    with trio.CancelScope() as idle:
                        await client.receive()
                    await client.attend()
            conversation.end()
            with trio.move_on_after(settings.write_timeout):
                await stream.aclose()
    except Failure as failure:
        conversation.end(str(failure))
    except trio.BrokenResourceError:
        pass  # the peer has reset the connection
    finally:
        conversation.end()
        conversation.wake = _nothing
        await trio.aclose_forcefully(stream)


def _nothing() -> None:
    pass
