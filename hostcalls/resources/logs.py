"""The log channels of guests, as records of the standard `logging` module.

A guest writes each log event as one FlatBuffers `LogRecord` into its log channel. A forwarder reads the
channel as a weak reader, from the oldest record that the channel still has, and emits every record at the
logger `enfilade.guest` followed by the record's target, so that levels and handlers can be set for parts of
a guest; where the program has no logger of that name, the nearest one above it takes the record, which keeps
its own name. A forwarder that was too slow says so and goes on.

The decoder trusts nothing: every offset is checked, and what it makes of a record is bounded, though offsets
may lead many times to the same bytes. What a guest writes cannot pass for another line of the log either.
"""

from __future__ import annotations

import contextlib
import logging
import struct
from collections import deque
from collections.abc import Callable

import attrs

from enfilade.hostcalls.abi.errors import HostcallError
from enfilade.hostcalls.resources.channel import Channel, Frame, LeftBehind, Reader
from enfilade.hostcalls.resources.clock import Clock, Timer
from enfilade.hostcalls.resources.futures import Cancelled, Future
from enfilade.hostcalls.resources.rate import Rate

_LARGEST = 512 * 1024
_MOST_TABLES = 256  # fields and spans that one record may have; the guest ABI's own library writes 32
_SHARED_TEXT = 64 * 1024  # bytes of text that it may use again
_BURST = 64  # records that are forwarded before others have their turn; large ones count for several
_LAST_BURST = 4096  # and when there is no turn left

_BYTES_OF_ONE = 4096  # bytes up to which a record counts for one
_BYTES_OF_TABLE = 512  # that a field or a span costs as much as

_I8, _U16, _I32, _U32, _U64 = map(struct.Struct, ("<b", "<H", "<i", "<I", "<Q"))

_DIRECTIONS = (0x061C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROLS = (
    {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
    | {code: f"\\u{code:04x}" for code in _DIRECTIONS}
    | {9: "\t", 10: "\n    "}
)
"""Control characters act on terminals, a line break begins what looks like another record, and a change of
the direction of writing has a line read as another.
"""

_TAIL = 100  # records that are kept of each guest
_TAIL_TEXT = 200  # characters of each
_TAIL_FIELDS = 10  # and fields

_LEVELS = (5, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)

_LONGEST_PATH = 128  # characters of a target that names a logger
_NOWHERE = "(unknown file)"  # as logging says where it does not know

logger = logging.getLogger("enfilade.guest")


class InvalidRecord(ValueError):
    """The bytes are not a log record."""


@attrs.frozen
class Span:
    """Something that was under way when the event happened."""

    name: str
    fields: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class LogRecord:
    """One event in a guest.

    Attributes:
        level: 0 to 4 for trace, debug, info, warning, error.
        target: where in the guest, as in `echo::client`.
        message: the text.
        fields: keys and values, in order.
        spans: what was under way, in the order of the record.
        timestamp_ms: milliseconds since the Unix epoch, or a count where the guest has no clock.
        traceparent: the trace that the guest's message at hand belongs to, as the host knows it; or empty.
    """

    level: int
    target: str
    message: str
    fields: tuple[tuple[str, str], ...] = ()
    spans: tuple[Span, ...] = ()
    timestamp_ms: int = 0
    traceparent: str = ""


class _Bytes:
    """The bytes of one record, and how much may still be made of them."""

    __slots__ = ("data", "tables", "text")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.tables = _MOST_TABLES
        self.text = len(data) + _SHARED_TEXT

    def read(self, form: struct.Struct, position: int) -> int:
        """The number at `position`."""
        if position < 0 or position + form.size > len(self.data):
            raise InvalidRecord(f"an offset leads to {position}, and there are {len(self.data)} bytes")
        value: int = form.unpack_from(self.data, position)[0]
        return value

    def take_text(self, start: int, length: int) -> str:
        """The text at `start`."""
        self.text -= length
        if length > len(self.data) - start or self.text < 0:
            raise InvalidRecord(f"a text of {length} bytes at {start}")
        try:
            return self.data[start : start + length].decode()
        except UnicodeDecodeError as error:
            raise InvalidRecord(f"a text is not UTF-8: {error.reason}") from None


class _Table:
    """A FlatBuffers table: a vtable says where, behind `start`, each field lies."""

    __slots__ = ("data", "fields", "start", "vtable")

    def __init__(self, data: _Bytes, start: int) -> None:
        self.data = data
        self.start = start
        self.vtable = start - data.read(_I32, start)
        self.fields = data.read(_U16, self.vtable)
        if self.fields < 4 or self.fields % 2:
            raise InvalidRecord(f"a vtable of {self.fields} bytes")

    def _field(self, number: int) -> int | None:
        """Where the field lies, None if the record leaves it out."""
        entry = 4 + 2 * number
        if entry + 2 > self.fields:
            return None
        offset = self.data.read(_U16, self.vtable + entry)
        return self.start + offset if offset else None

    def integer(self, number: int, form: struct.Struct) -> int:
        """A number; 0 if it is left out."""
        position = self._field(number)
        return 0 if position is None else self.data.read(form, position)

    def text(self, number: int) -> str:
        """A string; empty if it is left out."""
        position = self._field(number)
        if position is None:
            return ""
        return self.data.take_text(*self._vector(position))

    def tables(self, number: int) -> list[_Table]:
        """A vector of tables; none if it is left out."""
        position = self._field(number)
        if position is None:
            return []
        start, count = self._vector(position)
        self.data.tables -= count
        if self.data.tables < 0:
            raise InvalidRecord(f"a vector of {count} tables at {start}")
        return [_Table(self.data, self._follow(start + 4 * index)) for index in range(count)]

    def _vector(self, position: int) -> tuple[int, int]:
        start = self._follow(position)
        return start + 4, self.data.read(_U32, start)

    def _follow(self, position: int) -> int:
        return position + self.data.read(_U32, position)


def decode(data: bytes) -> LogRecord:
    """The record that `data` is. Raises `InvalidRecord`."""
    if len(data) < 8:
        raise InvalidRecord(f"expected a record of at least 8 bytes, got {len(data)}")
    (root,) = _U32.unpack_from(data)
    table = _Table(_Bytes(data), root)
    level = table.integer(0, _I8)
    if not 0 <= level < len(_LEVELS):
        raise InvalidRecord(f"level {level}")
    return LogRecord(
        level,
        table.text(1),
        table.text(2),
        _pairs(table, 3),
        tuple(Span(span.text(0), _pairs(span, 1)) for span in table.tables(4)),
        table.integer(5, _U64),
    )


def _pairs(table: _Table, number: int) -> tuple[tuple[str, str], ...]:
    return tuple((field.text(0), field.text(1)) for field in table.tables(number))


def emit(record: LogRecord, guest: str) -> None:
    """Give `record`, of the guest with that label, to the logging tree.

    The record's parts are attributes of the `logging.LogRecord`: `guest`, `guest_target`, `guest_spans`
    (names joined with `::`), `guest_fields` (`key=value` joined with spaces), `guest_timestamp_ms`; and
    `trace_id` and `span_id`, if the record belongs to a trace. In the message itself control characters are
    written as escapes, and further lines are indented.
    """
    level = _LEVELS[record.level]
    name = _name(record.target)
    receiver = _nearest(name)
    if receiver.isEnabledFor(level):
        fields = " ".join(f"{key}={value}" for key, value in record.fields)
        extra: dict[str, object] = {
            "guest": guest,
            "guest_target": record.target,
            "guest_spans": "::".join(span.name for span in record.spans),
            "guest_fields": fields,
            "guest_timestamp_ms": record.timestamp_ms,
        }
        if record.traceparent:
            _, extra["trace_id"], extra["span_id"], _ = record.traceparent.split("-")
        message = f"{record.message} {fields}".strip().translate(_CONTROLS)
        receiver.handle(
            receiver.makeRecord(name, level, _NOWHERE, 0, "%s", (message,), exc_info=None, extra=extra)
        )


def _name(target: str) -> str:
    """The name of the logger for a target; that of all guests where the target cannot be one."""
    path = target.replace("::", ".").strip(".")
    if not path or len(path) > _LONGEST_PATH or not path.isprintable():
        return logger.name
    return f"{logger.name}.{path}"


def _nearest(name: str) -> logging.Logger:
    """The logger of that name, or else the nearest above it.

    None is made: the logging tree never frees a logger, and guests choose the names.
    """
    present = logging.Logger.manager.loggerDict
    while name != logger.name:
        found = present.get(name)
        if isinstance(found, logging.Logger):
            return found
        name = name.rpartition(".")[0]
    return logger


def _shortened(record: LogRecord) -> LogRecord:
    """What is kept of a record: its fields are part of the message."""
    text = " ".join([record.message, *(f"{key}={value}" for key, value in record.fields[:_TAIL_FIELDS])])
    target, message = record.target[:_LONGEST_PATH], text[:_TAIL_TEXT].translate(_CONTROLS)
    return LogRecord(record.level, target, message, timestamp_ms=record.timestamp_ms)


class Forwarder:
    """Reads a log channel until it ends.

    What a guest writes is forwarded at once; of what was written before, and of what comes faster, a part at
    a time.

    A record costs the host time by its length and by the number of its fields and spans, which may all lead
    to the same bytes. One that is large in either way counts for several.

    Args:
        channel: the log channel.
        guest: the guest's label.
        clock: lets others have their turn.
        receive: what to do with each record.
        traceparent: tells the trace that what the guest does belongs to.
        rate: how many records are handled a second; what comes faster waits in the channel, and is lost when
            the channel is full. None for any number.

    Attributes:
        tail: the last records, shortened, oldest first; also those of levels that are not logged.
    """

    def __init__(
        self,
        channel: Channel,
        guest: str,
        clock: Clock,
        receive: Callable[[LogRecord, str], None] = emit,
        rate: Rate | None = None,
        traceparent: Callable[[], str] = str,
    ) -> None:
        self.guest = guest
        self._reader: Reader = channel.reader(strong=False)
        self._clock = clock
        self._rate = rate
        self._receive = receive
        self._traceparent = traceparent
        self._largest = max(_LARGEST, channel.capacity)
        self.tail: deque[LogRecord] = deque(maxlen=_TAIL)
        self._handled = 0  # records, of which large ones count for several
        self._pause: Timer | None = None
        self._forward(_BURST)

    def close(self) -> None:
        """Forward what is there, as far as the rate permits, and then nothing more."""
        if self._pause is not None:
            self._pause.cancel()
            self._forward(_LAST_BURST)
        if self._pause is not None:
            self._pause.cancel()
        self._reader.close()

    def _forward(self, most: int) -> None:
        self._pause = None
        until = self._handled + most
        while self._handled < until:
            if self._rate is not None and (pause := self._rate.pause()):
                self._pause = self._clock.call_later(pause, lambda: self._forward(_BURST))
                return
            future = self._reader.read(self._largest)
            if not future.done:
                future.when_done(self._arrived)
                return
            if not self._handle(future):
                return
        self._pause = self._clock.call_later(0, lambda: self._forward(_BURST))

    def _arrived(self, future: Future[Frame]) -> None:
        if self._handle(future):
            self._forward(_BURST)

    def _handle(self, future: Future[Frame]) -> bool:
        """Forward a frame; whether there may be another."""
        self._count(1)
        with contextlib.suppress(Exception):  # a log handler may fail, and again when that is logged
            try:
                payload = future.result().payload
                self._count(len(payload) // _BYTES_OF_ONE)
                record, traceparent = decode(payload), self._traceparent()
                self._count(_tables_of(record) * _BYTES_OF_TABLE // _BYTES_OF_ONE)
                if traceparent:
                    record = attrs.evolve(record, traceparent=traceparent)
                self.tail.append(_shortened(record))
                self._receive(record, self.guest)
            except LeftBehind:
                logger.warning(
                    "some log records of guest %s were lost: they came faster than read", self.guest
                )
            except InvalidRecord as error:
                logger.warning("guest %s wrote an invalid log record: %s", self.guest, error)
            except (HostcallError, Cancelled):
                return False
            except Exception:
                logger.exception("a log record of guest %s could not be handled", self.guest)
        return True

    def _count(self, records: int) -> None:
        self._handled += records
        if self._rate is not None:
            self._rate.left -= records


def _tables_of(record: LogRecord) -> int:
    """The number of the record's fields and spans, and of their fields."""
    return len(record.fields) + sum(1 + len(span.fields) for span in record.spans)
