"""One HTTP request that a guest serves: the halves that an accept gives, and the response they lead to."""

from __future__ import annotations

from collections.abc import Callable, Collection

from enfilade.hostcalls.net.account import Charge
from enfilade.hostcalls.net.halves import Connection
from enfilade.hostcalls.net.listener import Admission, Listener
from enfilade.hostcalls.net.message import Malformed, Request, Response, ResponseDraft, request_text
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Departure


def plain(code: int, text: str = "") -> Response:
    """A response of the host itself."""
    return Response(code, (), text.encode())


INVALID_RESPONSE = plain(502, "invalid response")
RESPONSE_TIMEOUT = plain(504, "response timeout")
OVERLOADED = plain(503, "overloaded")
LISTENER_CLOSED = plain(503, "listener closed")


class RequestReader:
    """The half that gives the guest the request.

    Args:
        text: the request.
        charge: has counted nothing yet.
    """

    def __init__(self, text: bytes, charge: Charge) -> None:
        self.charge = charge
        self._text = text
        self._position = 0
        charge.hold(len(text))

    @property
    def spent(self) -> bool:
        """True when everything has been read."""
        return not self._text

    def read(self, length: int) -> bytes:
        """Take at most `length` bytes; an empty result, again and again, at the end. Never waits."""
        taken = self._text[self._position : self._position + length]
        self._position += len(taken)
        if self._position == len(self._text):
            self.forget()
        return taken

    def put_back(self, taken: bytes) -> None:
        """Have the next read begin with what the last one has taken."""
        rest = self._text[self._position :]
        self.forget()
        self._text = taken + rest
        self.charge.hold(len(self._text))

    def release(self, departure: Departure) -> None:
        """Forget what was not read."""
        self.forget()

    def forget(self) -> None:
        """Hold nothing any more: reads are empty."""
        self._text = b""
        self._position = 0
        self.charge.close()


class ResponseWriter:
    """The half that takes the guest's response.

    Args:
        draft: collects it.
        charge: has counted nothing yet. It counts the response until `forget`, which is when the peer has it.
        settle: called once, with the whole response, or with `INVALID_RESPONSE`.
    """

    def __init__(self, draft: ResponseDraft, charge: Charge, settle: Callable[[Response], None]) -> None:
        self.charge = charge
        self._draft: ResponseDraft | None = draft
        self._is_parked = False
        self._is_released = False
        self._settle = settle

    @property
    def spent(self) -> bool:
        """True when the exchange has its response: what is written now is thrown away."""
        return self._draft is None

    def write(self, payload: bytes) -> int | Future[int]:
        """Collect `payload`. Waits while the host may hold no more for the guest.

        What is written after the response is counted and thrown away, as is what follows an error.
        """
        if self._draft is not None and not self.charge.has_room:
            return self._collect_later(payload)
        self._collect(payload)
        return len(payload)

    def _collect(self, payload: bytes) -> None:
        if self._draft is None:
            return
        self.charge.hold(len(payload))
        try:
            response = self._draft.add(payload, largest=self.charge.account.allowance.net_bytes)
        except Malformed:
            response = INVALID_RESPONSE
        if response is not None:
            self._draft = None
            self._settle(response)

    def _collect_later(self, payload: bytes) -> Future[int]:
        written: Future[int] = Future()
        self._is_parked = True

        def retry(_: Future[None]) -> None:
            if self._draft is not None and not self.charge.has_room:
                self.charge.when_room().when_done(retry)
                return
            self._is_parked = False
            self._collect(payload)
            if self._is_released:
                self._give_up()
            written.resolve(len(payload))

        self.charge.when_room().when_done(retry)
        return written

    def release(self, departure: Departure) -> None:
        """Answer `INVALID_RESPONSE` unless the response is whole, or will be with a write that waits."""
        self._is_released = True
        if not self._is_parked or departure is Departure.PROCESS_ENDED:
            self._give_up()

    def _give_up(self) -> None:
        if self._draft is not None:
            self._draft = None
            self._settle(INVALID_RESPONSE)

    def forget(self) -> None:
        """Hold nothing any more: the exchange is over, and what the guest writes is thrown away."""
        self._draft = None
        self.charge.close()
        self.charge.wake()


class Exchange:
    """One request on its way through a listener to a guest, and back.

    Args:
        request: whole and valid, with the Host that the listener wants.
        label: of the protocol spoken.
        labels: that the guest's response may have.
        listener: to offer the request to.
        remote_addr: of the peer.
        on_settled: called once, when `response` is there. Not a place for much work: a guest's write waits.

    Attributes:
        request: as above.
        response: the guest's, or the host's in its place; None until then.
        is_refused: True if the response is the host's because no guest has taken the request, or answered in
            time. The peer should not send its next request on the same connection.
    """

    def __init__(
        self,
        request: Request,
        label: str,
        labels: Collection[str],
        listener: Listener,
        remote_addr: str,
        on_settled: Callable[[], None],
    ) -> None:
        self.request = request
        self.response: Response | None = None
        self.is_refused = False
        self._listener = listener
        self._on_settled = on_settled
        account = listener.account
        self._reader = RequestReader(request_text(request, label), Charge(account))
        draft = ResponseDraft(labels, request.method)
        self._writer = ResponseWriter(draft, Charge(account), self.settle)
        self._connection = Connection(self._reader, self._writer, remote_addr)

    def offer(self) -> None:
        """Queue the request at its listener; settled at once where that is full or closed."""
        admission = self._listener.offer(self._connection, self._turn_away)
        if admission is not Admission.QUEUED:
            self._turn_away(OVERLOADED if admission is Admission.FULL else LISTENER_CLOSED)

    def settle(self, response: Response) -> None:
        """Give the exchange its response; the first one counts."""
        if self.response is None:
            self.response = response
            self._on_settled()

    def time_out(self) -> None:
        """Answer in the guest's place, since it has not answered in time."""
        self._withdraw()
        self._refuse(RESPONSE_TIMEOUT)

    def finish(self) -> None:
        """Forget everything: the peer has its response, or has gone. Twice is the same."""
        self._withdraw()
        self._writer.forget()

    def _refuse(self, response: Response) -> None:
        self.is_refused = True
        self._writer.forget()
        self.settle(response)

    def _turn_away(self, response: Response = LISTENER_CLOSED) -> None:
        self._reader.forget()
        self._refuse(response)

    def _withdraw(self) -> None:
        if self._listener.withdraw(self._connection):
            self._reader.forget()
