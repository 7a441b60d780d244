"""Guests in the WebAssembly text format, without the boilerplate.

An `Assembler` writes what every small guest needs: the imports, an exported memory, the mailbox loop, and
one function for each hostcall that takes encoded arguments and returns when the outcome is there. A guest
that sleeps for five milliseconds and then writes down the time is

    guest = Assembler("time::sleep", "time::now") nap = guest.message(abi.TimeSleep, abi.TimeSleep(5))
    guest.function("start", f"(call $ok (call $time.sleep {nap})) (call $ok (call $time.now
    {guest.nothing}))") module = guest.binary()

What the text may use, besides wasm itself:

* `(call $time.sleep P N)`: make the hostcall with the N bytes of arguments at P, wait, and return the
result word;
* `(call $time.sleep.create P N)`: only begin it, and return the future id; `.poll` and `.drop` are there as
well;
* `(call $wait F)`: wait for the future F and return the result word;
* `(call $ok W)`: trap if the result word W is an error; `$ok32` and `$ok64` also return the number that was
written;
* `(global.get $result)`: where results are written, with room for `RESULT_SIZE` bytes.
"""

from __future__ import annotations

from typing import Any

from ..modules import binary
from ..rkyv import codec

#: Where results are written, and how many bytes there are for one.
RESULT = 0xF0000
RESULT_SIZE = 0x10000

#: Where the guest's own data begins; below lie the mailbox and the arguments.
DATA = 0x10000

_PENDING = 0x8000_0000


class Assembler:
    """Collects the parts of one guest.

    Args:
        hostcalls: those that the guest imports, by their full names or without the leading `selium::`.
        pages: pages of memory to begin with, 64 KiB each.
    """

    def __init__(self, *hostcalls: str, pages: int = 17) -> None:
        self.nothing = "(i32.const 1) (i32.const 0)"
        self._hostcalls = [name if name.startswith("enfilade::") else f"selium::{name}" for name in hostcalls]
        self._pages = pages
        self._data: list[tuple[int, bytes]] = []
        self._next = DATA
        self._text: list[str] = []

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
        segments = [f'(data (i32.const {at}) "{_escaped(content)}")' for at, content in self._data]
        memory = f'(memory (export "memory") {self._pages})'
        parts = [*imports, memory, *segments, _GLOBALS, *helpers, *self._text]
        return "(module\n" + "\n".join(parts) + "\n)"

    def binary(self) -> bytes:
        """The module in the binary format. Raises `ModuleError` when the text is wrong."""
        return binary(self.source())


def _escaped(content: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in content)


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
    (if (i32.ne (local.get $word) (i32.const {_PENDING})) (then (return (local.get $word))))
    (if (i32.eqz (i32.load (i32.const 4))) (then (call $yield_now)))
    (i32.store (i32.const 8) (i32.load (i32.const 12)))
    (i32.store (i32.const 4) (i32.const 0))
    (br $again))
  unreachable)"""
