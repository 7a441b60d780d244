"""The modules that guests and peers run: as little WebAssembly as the work needs."""

from __future__ import annotations

import wasmtime

PARKING = """
(module
  (import "selium::async" "yield_now" (func $yield_now))
  (memory (export "memory") 17)
  (func (export "park") (loop $ever (call $yield_now) (br $ever))))
"""
"""Parks for ever."""

ASKING = """
(module
  (import "bench::host" "create" (func $create (param i32 i32) (result i32)))
  (import "bench::host" "poll" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "selium::async" "yield_now" (func $yield_now))
  (memory (export "memory") 17)
  (func (export "ask") (param $calls i32) (local $future i32)
    (loop $next
      (local.set $future (call $create (i32.const 65536) (i32.const 8)))
      (block $answered
        (loop $again
          (br_if $answered (i32.ne (i32.const 0x80000000)
            (call $poll (local.get $future) (i32.const 7) (i32.const 131072) (i32.const 64))))
          (if (i32.eqz (i32.load (i32.const 4))) (then (call $yield_now)))
          (i32.store (i32.const 8) (i32.load (i32.const 12)))
          (i32.store (i32.const 4) (i32.const 0))
          (br $again)))
      (local.set $calls (i32.sub (local.get $calls) (i32.const 1)))
      (br_if $next (local.get $calls)))))
"""
"""Makes so many hostcalls by the guest ABI, each with eight bytes of arguments, and waits for each answer."""

PLAIN = """
(module
  (import "bench" "host" (func $host (param i32 i32) (result i64)))
  (memory (export "memory") 17)
  (func (export "park"))
  (func (export "ask") (param $calls i32)
    (loop $next
      (drop (call $host (i32.const 65536) (i32.const 8)))
      (local.set $calls (i32.sub (local.get $calls) (i32.const 1)))
      (br_if $next (local.get $calls))))
  (func (export "echo") (param $from i32) (param $size i32) (result i32)
    (memory.copy (i32.const 131072) (local.get $from) (local.get $size))
    (local.get $size))
  (func (export "compute") (param i32)
    (loop $again
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (br_if $again (local.get 0)))))
"""
"""The same work with a callback of the host instead of the guest ABI."""


def binary(text: str) -> bytes:
    """The module in the binary format."""
    return bytes(wasmtime.wat2wasm(text))
