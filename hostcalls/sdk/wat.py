"""Guests in the WebAssembly text format, without the boilerplate.

An `Assembler` writes what every small guest needs: the imports, an exported memory, the mailbox loop, and
one function for each hostcall that takes encoded arguments and returns when the outcome is there. A guest
that sleeps for five milliseconds and then writes down the time is::

    guest = Assembler("time::sleep", "time::now")
    nap = guest.message(abi.TimeSleep, abi.TimeSleep(5))
    sleep = f"(call $ok (call $time.sleep {nap}))"
    guest.function("start", f"{sleep} (call $ok (call $time.now {guest.nothing}))")
    module = guest.binary()

What the text may use, besides wasm itself:

* `(call $time.sleep P N)`: make the hostcall with the N bytes of arguments at P, wait, and return the
  result word;
* `(call $time.sleep.create P N)`: only begin it, and return the future id; `.poll` and `.drop` are there as
  well;
* `(call $wait F)`: wait for the future F and return the result word;
* `(call $ok W)`: trap if the result word W is an error; `$ok32` and `$ok64` also return the number that was
  written;
* `(global.get $result)`: where results are written, with room for `RESULT_SIZE` bytes.

A guest that imports `enfilade::actor::receive` may further use, after a receive whose result word it gives
to `$received`: `(call $kind)`, 0 to 3 for a plain message, a request, an exit and a down notice, -1 when
the time was over; `(call $request)`, `(call $tag)`, `(call $data)` and `(call $length)`. With
`enfilade::actor::reply` there is `(call $reply_with REQUEST POINTER LENGTH)`, with `enfilade::actor::send`
`(call $send_to ACTOR POINTER LENGTH)`; both return the result word. A guest that imports `LOGGING` may use
what `Assembler.log` gives.
"""

from __future__ import annotations

import struct
from typing import Any

from enfilade.hostcalls.abi import ChannelBackpressure, ChannelCreate, IoWrite
from enfilade.hostcalls.abi.catalogue import CATALOGUE
from enfilade.hostcalls.codec.rkyv import codec
from enfilade.hostcalls.kernel.modules import binary

RESULT = 0xF0000
"""Where results are written."""

RESULT_SIZE = 0x10000
"""Bytes that there are for one."""

SCRATCH = 0xE0000
"""Where `$reply_with` and `$send_to` build their arguments: 64 KiB, up to the results."""

DATA = 0x10000
"""Where the guest's own data begins; below lie the mailbox and the arguments."""

LOGGING = (
    "channel::create",
    "channel::share",
    "channel::strong_writer_create",
    "channel::strong_write",
    "process::register_log_channel",
)
"""The hostcalls of a guest that logs; their capabilities are ChannelLifecycle and ChannelWriter."""

_NAMES = {hostcall.name for hostcall in CATALOGUE}
_PENDING = 0x8000_0000


class Assembler:
    """Collects the parts of one guest.

    Args:
        hostcalls: those that the guest imports, by their full names or without the leading `selium::`.
        pages: pages of memory to begin with, 64 KiB each.
    """

    def __init__(self, *hostcalls: str, pages: int = 17) -> None:
        self.nothing = "(i32.const 1) (i32.const 0)"
        self._hostcalls = [f"selium::{name}" if f"selium::{name}" in _NAMES else name for name in hostcalls]
        self._pages = pages
        self._data: list[tuple[int, bytes]] = []
        self._next = DATA
        self._text: list[str] = []
        self._logs = False

    def data(self, content: bytes, *, align: int = 16) -> int:
        """Put `content` into the guest's memory; its address."""
        address = self._next + -self._next % align
        self._data.append((address, content))
        self._next = address + len(content)
        return address

    def message(self, annotation: Any, value: object) -> str:
        """Put an encoded value into memory; pointer and length, as the text of two operands."""
        return self.buffer(codec(annotation).encode(value))

    def buffer(self, content: bytes) -> str:
        """Put bytes into memory; pointer and length, as the text of two operands."""
        return f"(i32.const {self.data(content)}) (i32.const {len(content)})"

    def log(self, level: int, target: str, message: str) -> str:
        """An instruction that writes this record to the guest's log, as the text of a call.

        A guest that may have no log goes on without one; the host tells what it was refused.

        Args:
            level: 0 to 4 for trace, debug, info, warning, error.
            target: where in the guest, as in `filter::table`.
            message: the text.
        """
        if not self._logs:
            self._logs = True
            create = self.message(ChannelCreate, ChannelCreate(_LOG_CAPACITY, ChannelBackpressure.DROP))
            slot, handle = self.data(bytes(4)), self.data(bytes(8))
            self.text(_LOG.format(create=create, slot=slot, handle=handle))
        return f"(call $log {self.message(IoWrite, IoWrite(0, _record(level, target, message)))})"

    def function(self, name: str, body: str, signature: str = "") -> None:
        """An exported function; `signature` is its parameters, results and locals."""
        self._text.append(f'(func (export "{name}") {signature} {body})')

    def text(self, part: str) -> None:
        """Any other part of the module: helper functions, globals."""
        self._text.append(part)

    def source(self) -> str:
        """The module in the text format."""
        imports = ['(import "selium::async" "yield_now" (func $yield_now))']
        helpers = []
        for name in self._hostcalls:
            short = name.split("::", 1)[1].replace("::", ".")
            create, poll = "(param i32 i32) (result i32)", "(param i32 i32 i32 i32) (result i32)"
            imports += (
                f'(import "{name}" "create" (func ${short}.create {create}))',
                f'(import "{name}" "poll" (func ${short}.poll {poll}))',
                f'(import "{name}" "drop" (func ${short}.drop (param i32 i32 i32) (result i32)))',
            )
            helpers.append(
                f"(func ${short} {create} (call $wait (call ${short}.create (local.get 0) (local.get 1))))"
            )
        if self._hostcalls:
            # Future ids belong to the instance: any hostcall's poll serves all of them.
            first = self._hostcalls[0].split("::", 1)[1].replace("::", ".")
            helpers.append(_WAIT.replace("$poll", f"${first}.poll"))
        for name, text in _ACTORS.items():
            if name in self._hostcalls:
                helpers.append(text)
        segments = [f'(data (i32.const {at}) "{_escaped(content)}")' for at, content in self._data]
        memory = f'(memory (export "memory") {self._pages})'
        parts = [*imports, memory, *segments, _GLOBALS, *helpers, *self._text]
        return "(module\n" + "\n".join(parts) + "\n)"

    def binary(self) -> bytes:
        """The module in the binary format. Raises `ModuleError` when the text is wrong."""
        return binary(self.source())


def _record(level: int, target: str, message: str) -> bytes:
    """A log record: a FlatBuffers table at 20, behind a vtable that says where each of the six fields is."""
    texts = bytearray()
    fields = []
    for at, text in ((24, target), (28, message)):
        encoded = text.encode()
        fields.append(44 + len(texts) - at)
        texts += struct.pack("<I", len(encoded)) + encoded + b"\0"
        texts += bytes(-len(texts) % 4)
    table = struct.pack("<I8HiIIQbxxx", 20, 16, 24, 20, 4, 8, 0, 0, 12, 16, *fields, 0, level)
    return table + bytes(texts)


def _escaped(content: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in content)


_LOG_CAPACITY = 16384  # bytes; records beyond it are dropped and do not hold up the guest

# The writer's slot goes into the archive of the write, whose root is its last 12 bytes. It is -1 until the
# log is opened, and -2 when that was refused.
_LOG = """(global $log_writer (mut i32) (i32.const -1))
(func $log_open
  (global.set $log_writer (i32.const -2))
  (br_if 0 (i32.lt_s (call $channel.create {create}) (i32.const 0)))
  (i32.store (i32.const {slot}) (i32.load (global.get $result)))
  (br_if 0 (i32.lt_s (call $channel.share (i32.const {slot}) (i32.const 4)) (i32.const 0)))
  (i64.store (i32.const {handle}) (i64.load (global.get $result)))
  (br_if 0 (i32.lt_s (call $process.register_log_channel (i32.const {handle}) (i32.const 8)) (i32.const 0)))
  (br_if 0 (i32.lt_s (call $channel.strong_writer_create (i32.const {slot}) (i32.const 4)) (i32.const 0)))
  (global.set $log_writer (i32.load (global.get $result))))
(func $log (param $record i32) (param $size i32)
  (if (i32.eq (global.get $log_writer) (i32.const -1)) (then (call $log_open)))
  (br_if 0 (i32.lt_s (global.get $log_writer) (i32.const 0)))
  (i32.store
    (i32.sub (i32.add (local.get $record) (local.get $size)) (i32.const 12)) (global.get $log_writer))
  (drop (call $channel.strong_write (local.get $record) (local.get $size))))"""

_GLOBALS = f"""
(global $result i32 (i32.const {RESULT}))
(func $ok (param i32)
  (if (i32.lt_s (local.get 0) (i32.const 0)) (then unreachable)))
(func $ok32 (param i32) (result i32)
  (call $ok (local.get 0)) (i32.load (i32.const {RESULT})))
(func $ok64 (param i32) (result i64)
  (call $ok (local.get 0)) (i64.load (i32.const {RESULT})))"""

_WAIT = f"""(func $wait (param $future i32) (result i32) (local $word i32)
  (loop $again
    (local.set $word
      (call $poll (local.get $future) (i32.const 7) (i32.const {RESULT}) (i32.const {RESULT_SIZE})))
    (if (i32.ne (local.get $word) (i32.const {_PENDING})) (then
      (i32.store (i32.const 8) (i32.load (i32.const 12))) ;; room for the next; the flag stays
      (return (local.get $word))))
    (if (i32.eqz (i32.load (i32.const 4))) (then (call $yield_now)))
    (i32.store (i32.const 8) (i32.load (i32.const 12)))
    (i32.store (i32.const 4) (i32.const 0))
    (br $again))
  unreachable)"""

# The root of an `ActorReceived` is its last 40 bytes: the option's tag, and 8 bytes on the message, whose
# own tag comes first and whose fields lie as the codec has them. `ActorReply` and `ActorSend` are built
# behind the data they carry.
_ACTORS = {
    "enfilade::actor::receive": f"""
(global $root (mut i32) (i32.const 0))
(func $received (param $word i32)
  (call $ok (local.get $word))
  (global.set $root (i32.add (i32.const {RESULT - 40}) (local.get $word))))
(func $kind (result i32)
  (if (result i32) (i32.load8_u (global.get $root))
    (then (i32.load8_u offset=8 (global.get $root))) (else (i32.const -1))))
(func $request (result i32) (i32.load offset=12 (global.get $root)))
(func $tag (result i64) (i64.load offset=16 (global.get $root)))
(func $vector (result i32)
  (i32.add (global.get $root) (select (i32.const 16) (i32.const 24) (i32.eq (call $kind) (i32.const 1)))))
(func $data (result i32) (i32.add (call $vector) (i32.load (call $vector))))
(func $length (result i32) (i32.load offset=4 (call $vector)))""",
    "enfilade::actor::reply": f"""
(func $reply_with (param $request i32) (param $from i32) (param $length i32) (result i32) (local $root i32)
  (memory.copy (i32.const {SCRATCH}) (local.get $from) (local.get $length))
  (local.set $root (i32.and (i32.add (local.get $length) (i32.const {SCRATCH + 3})) (i32.const -4)))
  (i32.store (local.get $root) (local.get $request))
  (i32.store offset=4 (local.get $root) (i32.sub (i32.const {SCRATCH - 4}) (local.get $root)))
  (i32.store offset=8 (local.get $root) (local.get $length))
  (i32.store offset=12 (local.get $root) (i32.const -12))
  (i32.store offset=16 (local.get $root) (i32.const 0))
  (call $actor.reply (i32.const {SCRATCH}) (i32.sub (local.get $root) (i32.const {SCRATCH - 20}))))""",
    "enfilade::actor::send": f"""
(func $send_to (param $actor i32) (param $from i32) (param $length i32) (result i32) (local $root i32)
  (memory.copy (i32.const {SCRATCH}) (local.get $from) (local.get $length))
  (local.set $root (i32.and (i32.add (local.get $length) (i32.const {SCRATCH + 7})) (i32.const -8)))
  (i64.store (local.get $root) (i64.extend_i32_u (local.get $actor)))
  (i64.store offset=8 (local.get $root) (i64.const 0))
  (i32.store offset=16 (local.get $root) (i32.sub (i32.const {SCRATCH - 16}) (local.get $root)))
  (i32.store offset=20 (local.get $root) (local.get $length))
  (i32.store offset=24 (local.get $root) (i32.const -24))
  (i32.store offset=28 (local.get $root) (i32.const 0))
  (call $actor.send (i32.const {SCRATCH}) (i32.sub (local.get $root) (i32.const {SCRATCH - 32}))))""",
}
