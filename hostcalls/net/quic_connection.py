"""One QUIC connection as a guest has it: one stream, a half to read from and a half to write to.

The connection neither sends nor waits. Its endpoint gives it datagrams and the time, and asks it for
datagrams and for the moment at which it wants to be asked again.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable

import trio

from enfilade.hostcalls.abi.errors import SubsystemError
from enfilade.hostcalls.net.account import Account, Charge
from enfilade.hostcalls.net.halves import Connection
from enfilade.hostcalls.net.quic_private import (
    Core,
    IdIssued,
    IdRetired,
    PacketDropped,
    SendingStopped,
    Site,
    StreamData,
    StreamReset,
    describe_end,
)
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.sockets import Address, address_text
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Departure

_log = logging.getLogger("enfilade.hostcalls.net")

_NO_ERROR = 0
_PROCESS_ENDED = 1


class _Stage(enum.Enum):
    """The part of its life that a connection is in."""

    HANDSHAKE = "handshake"
    STREAMLESS = "streamless"
    """The handshake is complete, and the client has sent nothing on its stream."""
    IN_USE = "in use"
    """Guests have the halves, or will have them."""
    LINGERING = "lingering"
    """Nobody has a half any more; what was written is still being delivered."""


class QuicConnection:
    """A QUIC connection with one stream.

    Args:
        core: the protocol.
        address: the peer's address.
        settings: bounds.
        now: the time.
        wake: called when there may be something to send; the endpoint then calls `datagrams`.
        on_usable: called once, when the stream is there.

    Attributes:
        core: as above.
        address: as above; it stays that of the first packet.
        ids: the connection ids under which the peer sends.
        connection: the halves, from `begin` on.
        reason: why it has ended, in words.
    """

    def __init__(
        self,
        core: Core,
        address: Address,
        settings: NetworkSettings,
        now: float,
        *,
        wake: Callable[[QuicConnection], None],
        on_usable: Callable[[QuicConnection], None],
    ) -> None:
        self.core = core
        self.address = address
        self.ids = {core.host_cid}
        self.connection: Connection | None = None
        self.reason = ""
        self._settings = settings
        self._wake = wake
        self._on_usable = on_usable
        self._stage = _Stage.HANDSHAKE
        self._expires_at: float | None = now + settings.quic_handshake_timeout
        self._is_ended = False
        self._reader: _Reader | None = None
        self._writer: _Writer | None = None
        self._farewell: list[tuple[bytes, Address]] = []
        self._received_since = 0  # datagrams since the farewell
        self._repeats = False

    # For the endpoint.

    @property
    def window(self) -> int:
        """Bytes that may be written and not acknowledged."""
        return self._settings.quic_window

    @property
    def site(self) -> Site | None:
        """The site that the client asked for, once the handshake is complete."""
        return self.core.site if self.core.is_ready else None

    @property
    def is_shaking_hands(self) -> bool:
        """True until the handshake is complete."""
        return self._stage is _Stage.HANDSHAKE

    @property
    def is_over(self) -> bool:
        """True when the endpoint may forget the connection."""
        return self.core.is_over

    @property
    def deadline(self) -> float | None:
        """The time at which to call `expire`."""
        times = [each for each in (self.core.get_timer(), self._expires_at) if each is not None]
        return min(times, default=None)

    def receive(self, datagram: bytes, address: Address, now: float) -> None:
        """Take in a datagram."""
        if self._farewell:
            # Remind a peer that missed the end, ever more rarely.
            self._received_since += 1
            if self._received_since.bit_count() == 1 and self.core.is_proven:
                self._repeats = True
                self._wake(self)
            return
        try:
            if self.core.is_reset_by(datagram):
                self.core.forget()
            else:
                self.core.receive_datagram(datagram, address, now)
        except PacketDropped:
            pass
        except Exception as error:  # the library knows its own errors; anything else is a fault of its
            _complain(error)
            self.core.forget()
        self.advance(now)

    def expire(self, now: float) -> None:
        """Do what is due at this time."""
        timer = self.core.get_timer()
        if timer is not None and now >= timer:
            self.core.handle_timer(now)
        if self._expires_at is not None and now >= self._expires_at:
            self._expires_at = None
            if self._stage is _Stage.HANDSHAKE:
                self.core.forget()
            elif self._stage is _Stage.STREAMLESS:
                self.core.close(_NO_ERROR, reason_phrase="no stream")
            else:
                self._close()
        self.advance(now)

    def datagrams(self, now: float) -> list[tuple[bytes, Address]]:
        """The datagrams to send at this time."""
        if self._farewell:
            repeats, self._repeats = self._repeats, False
            return self._farewell if repeats else []
        is_ending = self.core.ended is not None
        try:
            datagrams = self.core.datagrams_to_send(now)
        except Exception as error:
            _complain(error)
            self.core.forget()
            datagrams = []
        if is_ending and not self.core.is_ended_by_peer:
            self._farewell = datagrams
        self.advance(now)
        return datagrams

    def advance(self, now: float) -> None:
        """Look at what has happened, and wake whoever waits for it."""
        core = self.core
        if self._stage is _Stage.HANDSHAKE and core.is_ready:
            self._stage = _Stage.STREAMLESS
            self._expires_at = now + self._settings.quic_idle_timeout
            if core.is_client:
                core.open()
        if self._stage is _Stage.STREAMLESS and core.is_open:
            self._stage = _Stage.IN_USE
            self._expires_at = None
            self._on_usable(self)
        while (event := core.next_event()) is not None:
            if isinstance(event, IdIssued):
                self.ids.add(event.connection_id)
            elif isinstance(event, IdRetired):
                self.ids.discard(event.connection_id)
            elif self._reader is not None and self._writer is not None:
                if isinstance(event, StreamData) and core.is_main(event.stream_id):
                    self._reader.feed(event.data, event.end_stream)
                elif isinstance(event, StreamReset) and core.is_main(event.stream_id):
                    self._reader.fail(f"stream reset by peer: error {event.error_code}")
                elif isinstance(event, SendingStopped) and core.is_main(event.stream_id):
                    self._writer.fail(f"sending stopped by peer: error {event.error_code}")
        if self._writer is not None:
            self._writer.advance()
        if core.ended is not None and not self._is_ended:
            self._end()
        if self._stage is _Stage.LINGERING and self._expires_at is not None and core.is_delivered:
            self._close()

    def _end(self) -> None:
        self._is_ended = True
        self.reason = describe_end(self.core)
        self._expires_at = None
        if self._reader is not None:
            self._reader.fail("connection lost")
        if self._writer is not None:
            self._writer.fail("connection lost")

    # The halves.

    def begin(self, account: Account) -> Connection:
        """Make the halves.

        Args:
            account: of the guest that they count for.
        """
        charge = Charge(account)
        self._reader = _Reader(self, charge)
        self._writer = _Writer(self, charge.split())
        self.core.has_room = lambda: charge.has_room
        self.connection = Connection(self._reader, self._writer, address_text(self.address))
        return self.connection

    @property
    def is_hollow(self) -> bool:
        """True if the connection has ended and left nothing to read."""
        return self._is_ended and (self._reader is None or not self._reader.unread)

    def wake(self) -> None:
        """Have what is there sent."""
        self._wake(self)

    def refuse(self, reason: str) -> None:
        """Close a connection that no guest has had, with code 0."""
        if self._reader is not None and self._writer is not None:
            self._reader.discard(Departure.RELEASED)
            self._writer.discard(Departure.RELEASED)
        self.core.close(_NO_ERROR, reason_phrase=reason)
        self._wake(self)

    def abort(self, now: float) -> None:
        """Close the connection, since its socket goes."""
        if self._stage is _Stage.LINGERING:
            self._close()
        else:
            self.core.close(_PROCESS_ENDED, reason_phrase="process ended")
        self.advance(now)

    def half_released(self) -> None:
        """Close the connection when nobody has a half any more: at once if the writer's process has ended,
        otherwise when the peer has everything.
        """
        assert self._reader is not None
        assert self._writer is not None
        if self._reader.departure is None or self._writer.departure is None or self._is_ended:
            self._wake(self)
            return
        self._stage = _Stage.LINGERING
        if self._writer.departure is Departure.PROCESS_ENDED:
            self._close()
        else:
            self._expires_at = trio.current_time() + self._settings.quic_close_timeout
            self._wake(self)

    def _close(self) -> None:
        assert self._reader is not None
        assert self._writer is not None
        self._expires_at = None
        if Departure.PROCESS_ENDED in (self._reader.departure, self._writer.departure):
            self.core.close(_PROCESS_ENDED, reason_phrase="process ended")
        else:
            self.core.close(_NO_ERROR)
        self._wake(self)


class _Reader:
    """The half that a guest reads from."""

    def __init__(self, owner: QuicConnection, charge: Charge) -> None:
        self.charge = charge
        self.departure: Departure | None = None
        self.unread = bytearray()
        self._owner = owner
        self._has_end = False
        self._error = ""
        self._length = 0
        self._pending: Future[bytes] | None = None

    @property
    def spent(self) -> bool:
        """True when all has been read that will ever come."""
        return not self.unread and (self._has_end or bool(self._error))

    def read(self, length: int) -> bytes | Future[bytes]:
        """Take at most `length` bytes; none when the peer has finished.

        Raises, or fails the future with, `SubsystemError` when the peer has reset the stream or the
        connection is lost, once all bytes were read; and again each time.
        """
        if self.unread:
            return self._take(length)
        if self._has_end:
            return b""
        if self._error:
            raise self._failure()
        self._length = length
        self._pending = Future(self._forget)
        return self._pending

    def put_back(self, taken: bytes) -> None:
        """Have the next read begin with what the last one has taken. The peer keeps its window."""
        self.unread[:0] = taken
        self.charge.hold(len(taken))
        self._owner.core.consumed(-len(taken))

    def release(self, departure: Departure) -> None:
        """Ask the peer to send no more, unless it has finished."""
        self.discard(departure)
        if not self._has_end and not self._error:
            is_over = departure is Departure.PROCESS_ENDED
            self._owner.core.stop_reading(_PROCESS_ENDED if is_over else _NO_ERROR)
        self._owner.half_released()

    def discard(self, departure: Departure) -> None:
        """Keep nothing any more."""
        self.departure = departure
        self.unread.clear()
        self.charge.close()

    def feed(self, data: bytes, has_end: bool) -> None:
        """Take what has come in."""
        if self.departure is None:
            self.unread += data
            self.charge.hold(len(data))
            self._has_end = has_end
            self._serve()

    def fail(self, error: str) -> None:
        """Remember why nothing more will come; the first reason counts."""
        if not self._has_end and not self._error:
            self._error = error
            self._serve()

    def _failure(self) -> SubsystemError:
        return SubsystemError(f"read failed: {self._error}")

    def _take(self, length: int) -> bytes:
        payload = bytes(self.unread[:length])
        del self.unread[:length]
        self.charge.unhold(len(payload))
        if self._owner.core.consumed(len(payload)):
            self._owner.wake()
        return payload

    def _forget(self) -> None:
        self._pending = None

    def _serve(self) -> None:
        future = self._pending
        if future is None:
            return
        self._pending = None
        if self.unread:
            future.resolve(self._take(self._length))
        elif self._has_end:
            future.resolve(b"")
        else:
            future.fail(self._failure())


class _Writer:
    """The half that a guest writes to."""

    def __init__(self, owner: QuicConnection, charge: Charge) -> None:
        self.charge = charge
        self.departure: Departure | None = None
        self._owner = owner
        self._limit = owner.window
        self._rest = memoryview(b"")
        self._length = 0
        self._has_finished = False
        self._error = ""
        self._pending: Future[int] | None = None

    @property
    def spent(self) -> bool:
        """True when the peer takes nothing any more."""
        return bool(self._error)

    def write(self, payload: bytes) -> int | Future[int]:
        """Send all of `payload`, waiting while too much is not yet acknowledged.

        Raises, or fails the future with, `SubsystemError` when the peer has stopped the stream or the
        connection is lost; and again each time.
        """
        if self._error:
            raise self._failure()
        self._rest = memoryview(payload)
        self._length = len(payload)
        self._push()
        self._owner.wake()
        if not self._rest and self.charge.has_room:
            return self._length
        self._pending = Future()
        self._await_room()
        return self._pending

    def release(self, departure: Departure) -> None:
        """Send the end of the stream after all that was written, or give it up with its process."""
        self.departure = departure
        if departure is Departure.PROCESS_ENDED and not self._error:
            self._rest = memoryview(b"")
            self._owner.core.abandon(_PROCESS_ENDED)
        self._push()
        self._owner.half_released()

    def discard(self, departure: Departure) -> None:
        """Keep nothing any more."""
        self.departure = departure
        self._rest = memoryview(b"")
        self.charge.close()

    def advance(self) -> None:
        """Go on after the peer has acknowledged something."""
        self._push()
        if self._pending is not None and not self._rest:
            if self.charge.has_room:
                future, self._pending = self._pending, None
                future.resolve(self._length)
            else:
                self._await_room()

    def fail(self, error: str) -> None:
        """Remember why nothing more can be sent; the first reason counts."""
        if self._error:
            return
        self._error = error
        self._rest = memoryview(b"")
        self.charge.close()
        if self._pending is not None:
            future, self._pending = self._pending, None
            future.fail(self._failure())

    def _failure(self) -> SubsystemError:
        return SubsystemError(f"write failed: {self._error}")

    def _await_room(self) -> None:
        if not self._rest:
            self.charge.when_room().when_done(lambda _: self.advance())

    def _push(self) -> None:
        """Give the protocol as much as it may have, and count what the host holds."""
        if self._error:
            return
        core = self._owner.core
        room = self._limit - core.unacknowledged
        if self._rest and room > 0:
            core.write(bytes(self._rest[:room]))
            self._rest = self._rest[room:]
            self._owner.wake()
        if self.departure is Departure.RELEASED and not self._rest and not self._has_finished:
            self._has_finished = True
            core.finish()
        self.charge.hold(core.unacknowledged + len(self._rest) - self.charge.held)


_complaints: set[tuple[type, int]] = set()


def _complain(error: Exception) -> None:
    """Log a fault of the library, once for each place: peers choose how often it happens."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = type(error), trace.tb_lineno if trace is not None else 0
    if place not in _complaints:
        _complaints.add(place)
        _log.warning("a QUIC connection ended by a fault of the protocol's implementation", exc_info=error)
