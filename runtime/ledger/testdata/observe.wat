;; A behaviour contract that does what the last byte of its input says, which is
;; the one item of an observation's payload:
;;   0 finds nothing
;;   1 counts in its local record, and scores the count
;;   2 counts, then traps
;;   3 aborts with 7
;;   4 loops for ever
;;   5 returns what is no judgement
;;   6 quarantines for "theft"
;;   7 writes to its state
;;   8 alerts, with a timer of 30 s and the finding "odd"
;;   9 scores 1 if the gateway's clock is to be trusted
;; Build it with `wat2wasm -o observe.wasm observe.wat`.
(module
  (import "postern" "local_get" (func $get (param i32 i32) (result i32)))
  (import "postern" "local_set" (func $set (param i32 i32)))
  (import "postern" "state_set" (func $state (param i32 i32 i32 i32)))
  (import "postern" "now" (func $now (result i64)))
  (import "postern" "abort" (func $abort (param i32 i32 i32)))
  (memory (export "memory") 3)
  (data (i32.const 16) "\a0")                        ;; {}
  (data (i32.const 32) "\a1\02\00")                  ;; {2: the count}
  (data (i32.const 48) "\ff")
  (data (i32.const 64) "\a2\01\03\04\65theft")       ;; {1: 3, 4: "theft"}
  (data (i32.const 80) "\a3\01\01\05\19\75\30\06\81\63odd") ;; {1: 1, 5: 30000, 6: ["odd"]}
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func $result (param $at i64) (param $len i64) (result i64)
    (i64.or (i64.shl (local.get $at) (i64.const 32)) (local.get $len)))
  (func $count
    (drop (call $get (i32.const 34) (i32.const 1)))
    (i32.store8 (i32.const 34) (i32.add (i32.load8_u (i32.const 34)) (i32.const 1)))
    (call $set (i32.const 34) (i32.const 1)))
  (func (export "observe") (param $at i32) (param $len i32) (result i64)
    (local $mode i32)
    (local.set $mode (i32.load8_u (i32.sub (i32.add (local.get $at) (local.get $len)) (i32.const 1))))
    (if (i32.eq (local.get $mode) (i32.const 1))
      (then (call $count) (return (call $result (i64.const 32) (i64.const 3)))))
    (if (i32.eq (local.get $mode) (i32.const 2)) (then (call $count) (unreachable)))
    (if (i32.eq (local.get $mode) (i32.const 3)) (then (call $abort (i32.const 7) (i32.const 0) (i32.const 0))))
    (if (i32.eq (local.get $mode) (i32.const 4)) (then (loop $ever (br $ever))))
    (if (i32.eq (local.get $mode) (i32.const 5)) (then (return (call $result (i64.const 48) (i64.const 1)))))
    (if (i32.eq (local.get $mode) (i32.const 6)) (then (return (call $result (i64.const 64) (i64.const 10)))))
    (if (i32.eq (local.get $mode) (i32.const 7)) (then (call $state (i32.const 16) (i32.const 1) (i32.const 16) (i32.const 1))))
    (if (i32.eq (local.get $mode) (i32.const 8)) (then (return (call $result (i64.const 80) (i64.const 13)))))
    (if (i32.eq (local.get $mode) (i32.const 9))
      (then
        (i32.store8 (i32.const 34) (i64.ge_s (call $now) (i64.const 0)))
        (return (call $result (i64.const 32) (i64.const 3)))))
    (call $result (i64.const 16) (i64.const 1))))
