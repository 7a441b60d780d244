"""Log records of guests: decoding, and forwarding into the logging tree."""

from __future__ import annotations

import logging
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enfilade.hostcalls.abi import ChannelBackpressure
from enfilade.hostcalls.resources import logs
from enfilade.hostcalls.resources.channel import Channel
from enfilade.hostcalls.resources.logs import Forwarder, InvalidRecord, LogRecord, Span, decode
from enfilade.hostcalls.resources.rate import Rate
from tests.hostcalls.desk import ManualClock


def table(values: list[object]) -> bytes:
    """A table in one piece, its children behind it, as FlatBuffers wants: offsets lead forwards."""
    vtable_size = 4 + 2 * len(values)
    inline = bytearray(4)
    offsets: list[int] = []
    children: list[tuple[int, object]] = []
    for value in values:
        if value is None:
            offsets.append(0)
        elif isinstance(value, bytes):  # a number, naturally aligned
            inline += bytes(-len(inline) % len(value))
            offsets.append(len(inline))
            inline += value
        else:
            inline += bytes(-len(inline) % 4)
            offsets.append(len(inline))
            children.append((len(inline), value))
            inline += bytes(4)
    start = vtable_size + -vtable_size % 8
    struct.pack_into("<i", inline, 0, start)
    out = bytearray(struct.pack(f"<HH{len(values)}H", vtable_size, len(inline), *offsets))
    out += bytes(start - len(out)) + inline
    for position, child in children:
        out += bytes(-len(out) % 8)
        struct.pack_into("<I", out, start + position, len(out) - start - position)
        if isinstance(child, str):
            encoded = child.encode()
            out += struct.pack("<I", len(encoded)) + encoded + b"\0"
        else:
            assert isinstance(child, list)
            vector = len(out)
            out += struct.pack("<I", len(child)) + bytes(4 * len(child))
            for index, values_of_child in enumerate(child):
                out += bytes(-len(out) % 8)
                inner = table(values_of_child)
                slot = vector + 4 + 4 * index
                size = struct.unpack_from("<H", inner)[0]
                struct.pack_into("<I", out, slot, len(out) + size + -size % 8 - slot)
                out += inner
    return bytes(out)


def encode(record: LogRecord) -> bytes:
    """A record as guests write it, defaults left out."""

    def pairs(fields: tuple[tuple[str, str], ...]) -> object:
        return [[key, value] for key, value in fields] or None

    body = table(
        [
            struct.pack("<b", record.level) if record.level else None,
            record.target or None,
            record.message or None,
            pairs(record.fields),
            [[span.name, pairs(span.fields)] for span in record.spans] or None,
            struct.pack("<Q", record.timestamp_ms) if record.timestamp_ms else None,
        ]
    )
    size = struct.unpack_from("<H", body)[0]
    head = 8
    return struct.pack("<I4x", head + size + -size % 8) + body


FULL = LogRecord(
    2,
    "echo::client",
    "hello",
    (("slot", "42"), ("who", "me")),
    (Span("inner"), Span("outer", (("a", "b"),))),
    1000,
)


def test_every_part_of_a_record_is_decoded() -> None:
    """Every part of a record, and the defaults of those that are left out."""
    assert decode(encode(FULL)) == FULL
    assert decode(encode(LogRecord(0, "", ""))) == LogRecord(0, "", "")


@settings(max_examples=100)
@given(
    st.integers(0, 4),
    st.text(max_size=20),
    st.text(max_size=50),
    st.lists(st.tuples(st.text(max_size=5), st.text(max_size=9)), max_size=4),
)
def test_round_trip(level: int, target: str, message: str, fields: list[tuple[str, str]]) -> None:
    """Whatever the texts."""
    record = LogRecord(level, target, message, tuple(fields))
    assert decode(encode(record)) == record


def is_a_record(record: object) -> bool:
    """Whether it has the shape that its type promises."""

    def are_pairs(fields: object) -> bool:
        return isinstance(fields, tuple) and all(
            isinstance(pair, tuple) and [type(part) for part in pair] == [str, str] for pair in fields
        )

    return (
        isinstance(record, LogRecord)
        and type(record.level) is int
        and 0 <= record.level <= 4
        and type(record.target) is type(record.message) is str
        and are_pairs(record.fields)
        and isinstance(record.spans, tuple)
        and all(
            isinstance(span, Span) and type(span.name) is str and are_pairs(span.fields)
            for span in record.spans
        )
        and type(record.timestamp_ms) is int
        and 0 <= record.timestamp_ms < 1 << 64
    )


def test_damaged_records_are_refused_or_decoded() -> None:
    """Damaged records, and noise, are refused or decoded: to a record that comes back when it is encoded."""
    generator = random.Random(7)
    whole = encode(FULL)
    changed = [
        whole[:place] + bytes([value]) + whole[place + 1 :]
        for place in range(len(whole))
        for value in (0, 1, 127, 255)
    ]
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(generator.randrange(1, 6)):
            data[generator.randrange(len(data))] = generator.choice([0, 1, 4, 255, generator.randrange(256)])
        changed.append(bytes(data[: generator.choice((len(data), generator.randrange(len(data) + 1)))]))
    changed += [generator.randbytes(size) for size in range(64)]
    decoded = 0
    for sample in changed:
        try:
            record = decode(sample)
        except InvalidRecord:
            continue
        decoded += 1
        assert is_a_record(record), record
        assert decode(encode(record)) == record
    assert 100 < decoded < len(changed) - 100


@pytest.mark.parametrize("data", [b"", bytes(7), b"\xff" * 8, struct.pack("<Ii", 4, 100) + bytes(8)])
def test_offsets_that_lead_nowhere_are_refused(data: bytes) -> None:
    """Offsets that lead nowhere."""
    with pytest.raises(InvalidRecord):
        decode(data)


def test_late_replay_and_forwarding(caplog: pytest.LogCaptureFixture) -> None:
    """What was written before the forwarder came is replayed; targets become loggers, levels are kept."""
    channel = Channel(4096, ChannelBackpressure.DROP)
    writer = channel.writer(strong=False)
    writer.write(encode(LogRecord(2, "app::net", "early")))
    with caplog.at_level(logging.DEBUG, logger="enfilade.guest"):
        forwarder = Forwarder(channel, "worker", ManualClock())
        writer.write(encode(LogRecord(4, "app", "late", (("code", "5"),), (Span("a"), Span("b")))))
        writer.write(b"not a record")
        writer.write(encode(LogRecord(1, "", "still here")))
        channel.close()
        forwarder.close()
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("enfilade.guest.app.net", "INFO", "early"),
        ("enfilade.guest.app", "ERROR", "late code=5"),
        (
            "enfilade.guest",
            "WARNING",
            "guest worker wrote an invalid log record: an offset leads to 544501614, and there are 12 bytes",
        ),
        ("enfilade.guest", "DEBUG", "still here"),
    ]
    late = caplog.records[1]
    assert (late.guest, late.guest_spans, late.guest_fields) == ("worker", "a::b", "code=5")  # type: ignore[attr-defined]


def test_a_forwarder_that_is_left_behind_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """Losing records is said once, and the rest still comes."""
    channel = Channel(256, ChannelBackpressure.DROP)
    writer = channel.writer(strong=False)
    received: list[str] = []
    forwarder = Forwarder(
        channel, "burst", ManualClock(), lambda record, guest: received.append(record.message)
    )
    reader = forwarder._reader
    reader.sequence = reader.position = -1  # as if it had not kept up
    writer.write(encode(LogRecord(2, "", "one")))
    writer.write(encode(LogRecord(2, "", "two")))
    assert received == ["one", "two"]
    assert "were lost" in caplog.text


def test_replay_gives_others_their_turn() -> None:
    """However much was written before, a part is forwarded at a time, and the rest when it is closed."""
    channel = Channel(1 << 16)
    writer = channel.writer(strong=False)
    for number in range(300):
        writer.write(encode(LogRecord(2, "", str(number))))
    received: list[str] = []
    clock = ManualClock()
    forwarder = Forwarder(channel, "g", clock, lambda record, guest: received.append(record.message))
    assert len(received) == 64
    clock.advance(0)
    assert len(received) == 128
    writer.write(encode(LogRecord(2, "", "300")))
    forwarder.close()
    assert received == [str(number) for number in range(301)]
    clock.advance(0)
    writer.write(encode(LogRecord(2, "", "nobody listens")))
    assert len(received) == 301
    assert clock.waiting == 0


def test_a_failing_receiver_is_told_of_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """What handles records may fail; the channel is read on."""
    channel = Channel(1 << 16)
    writer = channel.writer(strong=False)
    received: list[str] = []

    def receive(record: LogRecord, guest: str) -> None:
        received.append(record.message)
        raise RuntimeError("a bug in a handler")

    Forwarder(channel, "g", ManualClock(), receive)
    for word in ("one", "two"):
        writer.write(encode(LogRecord(2, "", word)))
    assert received == ["one", "two"]
    assert "a log record of guest g could not be handled" in caplog.text


def test_a_record_is_not_larger_than_it_looks() -> None:
    """Offsets that lead again and again to the same tables and texts make no more than a record may have."""
    text = struct.pack("<I", 60_000) + b"x" * 60_000
    pairs = struct.pack("<HHHH", 8, 12, 4, 8) + struct.pack("<iII", 8, 8, 4)
    for spans, fields in ((1, 4096), (3000, 3000)):
        # A record whose spans are all one table, whose fields are all one table, whose texts are all one.
        out = bytearray(8)
        vtable = len(out)
        out += struct.pack("<HH6H", 16, 8, 0, 0, 0, 0, 4, 0)
        record = len(out)
        struct.pack_into("<I", out, 0, record)
        out += struct.pack("<iI", record - vtable, 4)
        vector = len(out)
        out += struct.pack("<I", spans) + bytes(4 * spans)
        span_vtable = len(out)
        out += struct.pack("<HHHH", 8, 8, 0, 4)
        span = len(out)
        for index in range(spans):
            struct.pack_into("<I", out, vector + 4 + 4 * index, span - (vector + 4 + 4 * index))
        out += struct.pack("<iI", span - span_vtable, 4)
        inner = len(out)
        out += struct.pack("<I", fields) + bytes(4 * fields)
        field = len(out) + 8
        for index in range(fields):
            struct.pack_into("<I", out, inner + 4 + 4 * index, field - (inner + 4 + 4 * index))
        out += pairs + text
        with pytest.raises(InvalidRecord, match=r"a (vector of|text of)"):
            decode(bytes(out))


@pytest.mark.parametrize(
    ("record", "counts"),
    [
        (LogRecord(2, "", "short", (("k", "v"),) * 7), 1),
        (LogRecord(2, "", "x" * 40_000), 10),
        (LogRecord(2, "", "", (("k", "v"),) * 240), 33),
        (LogRecord(2, "", "", (), (Span("s", (("k", "v"),) * 23),) * 10), 33),
    ],
)
def test_records_that_cost_much_count_for_several(record: LogRecord, counts: int) -> None:
    """Neither long records nor those of many fields hold up others for longer than short ones do."""
    clock = ManualClock()
    channel = Channel(1 << 24)
    writer = channel.writer(strong=False)
    for _ in range(200):
        writer.write(encode(record))
    received: list[LogRecord] = []
    rate = Rate(1000, clock, clock.now)
    forwarder = Forwarder(channel, "g", clock, lambda record, guest: received.append(record), rate)
    assert len(received) == -(-64 // counts)  # before others have their turn
    assert rate.left == 1000 - counts * len(received)
    forwarder.close()
    assert len(received) == min(200, -(-1001 // counts))  # in a second


def test_a_message_is_one_line_and_does_nothing_to_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    """Control characters are written as escapes; lines after the first are indented."""
    with caplog.at_level(logging.INFO, logger="enfilade.guest"):
        logs.emit(LogRecord(2, "", "\x1b[2Jhello\r\nERROR forged\t\x9b\u202e\u2028", (("key", "a\0b"),)), "g")
    assert (
        caplog.records[0].getMessage()
        == "\\x1b[2Jhello\\x0d\n    ERROR forged\t\\x9b\\u202e\\u2028 key=a\\x00b"
    )


def test_guests_make_no_loggers(caplog: pytest.LogCaptureFixture) -> None:
    """Records keep the names that guests choose, however many, and the logging tree does not grow."""
    present = set(logging.Logger.manager.loggerDict)
    targets = [f"flood::{number}" for number in range(2000)]
    with caplog.at_level(logging.INFO, logger="enfilade.guest"):
        for target in targets:
            logs.emit(LogRecord(4, target, "x"), "flood")
    assert [record.name for record in caplog.records] == [
        f"enfilade.guest.flood.{number}" for number in range(2000)
    ]
    assert set(logging.Logger.manager.loggerDict) == present


@pytest.mark.parametrize("target", ["", "::", "a" * 129, "bell\a"])
def test_a_target_that_cannot_be_a_name_is_that_of_all_guests(
    target: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Names are printable and of bounded length; the record tells the target all the same."""
    with caplog.at_level(logging.INFO, logger="enfilade.guest"):
        logs.emit(LogRecord(4, target, "x"), "g")
    (record,) = caplog.records
    assert record.name == "enfilade.guest"
    assert record.guest_target == target  # type: ignore[attr-defined]


def test_a_part_of_a_guest_has_the_level_of_the_nearest_logger(caplog: pytest.LogCaptureFixture) -> None:
    """What the program sets for a part counts for everything below it, and for nothing beside it."""
    with (
        caplog.at_level(logging.INFO, logger="enfilade.guest"),
        caplog.at_level(logging.ERROR, logger="enfilade.guest.quiet_part"),
        caplog.at_level(logging.DEBUG, logger="enfilade.guest.quiet_part.deep.loud"),
    ):
        for target in ("quiet_part", "quiet_part::deep", "quiet_part::deep::loud::er", "quiet_parts", ""):
            logs.emit(LogRecord(1, target, "debug"), "g")
            logs.emit(LogRecord(2, target, "info"), "g")
            logs.emit(LogRecord(4, target, "error"), "g")
    assert [
        (record.name.removeprefix("enfilade.guest"), record.getMessage()) for record in caplog.records
    ] == [
        (".quiet_part", "error"),
        (".quiet_part.deep", "error"),
        *((".quiet_part.deep.loud.er", text) for text in ("debug", "info", "error")),
        *((".quiet_parts", text) for text in ("info", "error")),
        *(("", text) for text in ("info", "error")),
    ]
