"""The log channels of guests, as records of the standard `logging` module.

A guest writes each log event as one FlatBuffers `LogRecord` into its log channel. A forwarder reads the
channel as a weak reader, from the oldest record that the channel still has, and emits every record at the
logger `enfilade.guest` followed by the record's target, so that levels and handlers can be set for parts of
a guest. A forwarder that was too slow says so and goes on.

The decoder trusts nothing: every offset is checked, and what it copies is bounded by the size of the record.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable

import attrs

from .channel import Channel, Frame, LeftBehind, Reader
from .errors import HostcallError
from .futures import Cancelled, Future

_LARGEST = 512 * 1024
_MOST_ENTRIES = 4096  # fields and spans that one record may have
_LEVELS = (5, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)

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
    """

    level: int
    target: str
    message: str
    fields: tuple[tuple[str, str], ...] = ()
    spans: tuple[Span, ...] = ()
    timestamp_ms: int = 0


class _Table:
    """A FlatBuffers table: a vtable says where, behind `start`, each field lies."""

    def __init__(self, data: bytes, start: int) -> None:
        self.data = data
        self.start = start
        self.vtable = start - self._read("<i", start)
        self.fields = self._read("<H", self.vtable)
        if self.fields < 4 or self.fields % 2:
            raise InvalidRecord(f"a vtable of {self.fields} bytes")

    def _read(self, form: str, position: int) -> int:
        if position < 0 or position + struct.calcsize(form) > len(self.data):
            raise InvalidRecord(f"an offset leads to {position}, and there are {len(self.data)} bytes")
        (value,) = struct.unpack_from(form, self.data, position)
        assert isinstance(value, int)
        return value

    def _field(self, number: int) -> int | None:
        """Where the field lies, None if the record leaves it out."""
        entry = 4 + 2 * number
        if entry + 2 > self.fields:
            return None
        offset = self._read("<H", self.vtable + entry)
        return self.start + offset if offset else None

    def integer(self, number: int, form: str) -> int:
        """A number; 0 if it is left out."""
        position = self._field(number)
        return 0 if position is None else self._read(form, position)

    def text(self, number: int) -> str:
        """A string; empty if it is left out."""
        position = self._field(number)
        if position is None:
            return ""
        start, length = self._vector(position)
        if length > len(self.data) - start:
            raise InvalidRecord(f"a text of {length} bytes at {start}")
        try:
            return self.data[start : start + length].decode()
        except UnicodeDecodeError as error:
            raise InvalidRecord(f"a text is not UTF-8: {error.reason}") from None

    def tables(self, number: int) -> list[_Table]:
        """A vector of tables; none if it is left out."""
        position = self._field(number)
        if position is None:
            return []
        start, count = self._vector(position)
        if count > min(_MOST_ENTRIES, (len(self.data) - start) // 4):
            raise InvalidRecord(f"a vector of {count} tables at {start}")
        return [_Table(self.data, self._follow(start + 4 * index)) for index in range(count)]

    def _vector(self, position: int) -> tuple[int, int]:
        start = self._follow(position)
        return start + 4, self._read("<I", start)

    def _follow(self, position: int) -> int:
        return position + self._read("<I", position)


def decode(data: bytes) -> LogRecord:
    """The record that `data` is. Raises `InvalidRecord`."""
    if len(data) < 8:
        raise InvalidRecord(f"{len(data)} bytes are no record")
    (root,) = struct.unpack_from("<I", data)
    table = _Table(data, root)
    level = table.integer(0, "<b")
    if not 0 <= level < len(_LEVELS):
        raise InvalidRecord(f"level {level}")
    return LogRecord(
        level,
        table.text(1),
        table.text(2),
        _pairs(table, 3),
        tuple(Span(span.text(0), _pairs(span, 1)) for span in table.tables(4)),
        table.integer(5, "<Q"),
    )


def _pairs(table: _Table, number: int) -> tuple[tuple[str, str], ...]:
    return tuple((field.text(0), field.text(1)) for field in table.tables(number))


def emit(record: LogRecord, guest: str) -> None:
    """Give `record`, of the guest with that label, to the logging tree.

    The record's parts are attributes of the `logging.LogRecord`: `guest`, `guest_target`, `guest_spans`
    (names joined with `::`), `guest_fields` (`key=value` joined with spaces), `guest_timestamp_ms`.
    """
    level = _LEVELS[record.level]
    target = _logger(record.target)
    if target.isEnabledFor(level):
        fields = " ".join(f"{key}={value}" for key, value in record.fields)
        extra = {
            "guest": guest,
            "guest_target": record.target,
            "guest_spans": "::".join(span.name for span in record.spans),
            "guest_fields": fields,
            "guest_timestamp_ms": record.timestamp_ms,
        }
        target.log(level, "%s", f"{record.message} {fields}".strip(), extra=extra)


def _logger(target: str) -> logging.Logger:
    """The logger for a target. Loggers are never freed, so guests can name only so many."""
    path = target.replace("::", ".").strip(".")
    if path not in _PATHS:
        if not path or len(path) > 128 or not path.isprintable() or len(_PATHS) >= _MOST_LOGGERS:
            return logger
        _PATHS.add(path)
    return logger.getChild(path)


_MOST_LOGGERS = 1024
_PATHS: set[str] = set()


class Forwarder:
    """Reads a log channel until it ends.

    Args:
        channel: the log channel.
        guest: the guest's label.
        receive: what to do with each record; `emit` if it is not given.
    """

    def __init__(
        self, channel: Channel, guest: str, receive: Callable[[LogRecord, str], None] = emit
    ) -> None:
        self._reader: Reader = channel.reader(strong=False)
        self._guest = guest
        self._receive = receive
        self._largest = max(_LARGEST, channel.capacity)
        self._closed = False
        self._next()

    def close(self) -> None:
        """Stop forwarding."""
        self._closed = True
        self._reader.close()

    def _next(self) -> None:
        while not self._closed:
            future = self._reader.read(self._largest)
            if not future.done:
                future.when_done(self._arrived)
                return
            self._handle(future)

    def _arrived(self, future: Future[Frame]) -> None:
        self._handle(future)
        self._next()

    def _handle(self, future: Future[Frame]) -> None:
        try:
            self._receive(decode(future.result().payload), self._guest)
        except LeftBehind:
            logger.warning("some log records of guest %s were lost: they came faster than read", self._guest)
        except InvalidRecord as error:
            logger.warning("guest %s wrote an invalid log record: %s", self._guest, error)
        except (HostcallError, Cancelled):
            self.close()
