;; A guest that naps for half a second: one hostcall, written out.
;;
;; A message lies at 65536, above the mailbox and the arguments; results are written at 70000.
(module
  (import "selium::async" "yield_now" (func $yield_now))
  (import "selium::time::sleep" "create" (func $create (param i32 i32) (result i32)))
  (import "selium::time::sleep" "poll" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 17)
  (data (i32.const 65536) "\f4\01\00\00\00\00\00\00") ;; 500 milliseconds, as a u64

  (func (export "start") (local $future i32) (local $word i32)
    (local.set $future (call $create (i32.const 65536) (i32.const 8)))
    (loop $again
      (local.set $word (call $poll (local.get $future) (i32.const 1) (i32.const 70000) (i32.const 256)))
      (if (i32.eq (local.get $word) (i32.const 0x80000000)) ;; pending
        (then
          (if (i32.eqz (i32.load (i32.const 4))) (then (call $yield_now)))
          (i32.store (i32.const 8) (i32.load (i32.const 12))) ;; the mailbox is read
          (i32.store (i32.const 4) (i32.const 0))
          (br $again))))
    (if (i32.lt_s (local.get $word) (i32.const 0)) (then unreachable)))) ;; an error
