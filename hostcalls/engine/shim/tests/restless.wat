;; A guest that never ends and does anything at random: the subject of stress.c.
(module
  (import "stress" "create" (func $create (param i32 i32) (result i32)))
  (import "stress" "poll" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "stress" "drop" (func $drop (param i32 i32 i32) (result i32)))
  (import "selium::async" "yield_now" (func $yield_now))
  (memory (export "memory") 1)
  (data (i32.const 7200) "\00\00\00\00\fc\ff\ff\ff\00\00\00\00\f4\ff\ff\ff\00\00\00\00") ;; a reply to request 0
  (global $seed (mut i32) (i32.const 0))

  (func $draw (param $below i32) (result i32)
    (global.set $seed
      (i32.add (i32.mul (global.get $seed) (i32.const 1664525)) (i32.const 1013904223)))
    (i32.rem_u (i32.shr_u (global.get $seed) (i32.const 8)) (local.get $below)))

  (func (export "run") (param $seed i32)
    (local $choice i32) (local $count i32)
    (global.set $seed (local.get $seed))
    (loop $ever
      (local.set $choice (call $draw (i32.const 20)))
      (if (i32.gt_u (local.get $choice) (i32.const 15)) (then
        (drop (call $poll
          (if (result i32) (i32.and (local.get $choice) (i32.const 1))
            (then (call $create (i32.const 4000) (i32.const 48))) ;; of zeros
            (else (call $create (i32.const 7200) (i32.const 20))))
          (call $draw (i32.const 1000)) (i32.const 8192) (i32.const 4096)))))
      (if (i32.lt_u (local.get $choice) (i32.const 5)) (then
        (drop (call $poll
          (call $create (i32.const 4000) (call $draw (i32.const 3000)))
          (call $draw (i32.const 1000)) (i32.const 8192) (i32.const 4096)))))
      (if (i32.eq (local.get $choice) (i32.const 5)) (then
        (drop (call $poll (call $draw (i32.const 20)) (call $draw (i32.const 1000))
          (i32.const 8192) (i32.const 4096)))))
      (if (i32.eq (local.get $choice) (i32.const 6)) (then
        (drop (call $drop (call $draw (i32.const 20)) (i32.const 8192) (i32.const 4096)))))
      (if (i32.eq (local.get $choice) (i32.const 7)) (then
        (local.set $count (call $draw (i32.const 200000)))
        (loop $spin
          (local.set $count (i32.sub (local.get $count) (i32.const 1)))
          (br_if $spin (i32.gt_s (local.get $count) (i32.const 0))))))
      (if (i32.eq (local.get $choice) (i32.const 8)) (then
        (i32.store (i32.const 8) (i32.load (i32.const 12)))
        (i32.store (i32.const 4) (i32.const 0))))
      (if (i32.eq (i32.and (local.get $choice) (i32.const 28)) (i32.const 12)) (then (call $yield_now)))
      (if (i32.eqz (call $draw (i32.const 5000))) (then (unreachable)))
      (br $ever))))
