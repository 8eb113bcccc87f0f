;; A behaviour contract that quarantines whatever device an abi.Observation
;; names, {1: kind, 2: device id, …}: execute looks for a4 01 kind 02 58 20 in
;; its input, sets the status of the device whose id follows, and emits the
;; input. It aborts with 1 where no observation stands, and with minus the code
;; where the status is refused. Build it with `wat2wasm -o judge.wasm judge.wat`.
(module
  (import "postern" "emit" (func $emit (param i32 i32 i32 i32)))
  (import "postern" "device_set_status" (func $set (param i32 i32 i32 i32) (result i32)))
  (import "postern" "abort" (func $abort (param i32 i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 512) "judged")
  (data (i32.const 528) "scans the network")
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func $found (param $at i32) (result i32) ;; the head of an observation
    (i32.and
      (i32.eq (i32.load16_u (local.get $at)) (i32.const 0x01a4))
      (i32.eq (i32.and (i32.load (i32.add (local.get $at) (i32.const 3))) (i32.const 0xffffff)) (i32.const 0x205802))))
  (func (export "execute") (param $at i32) (param $len i32) (result i64)
    (local $end i32) (local $code i32)
    (call $emit (i32.const 512) (i32.const 6) (local.get $at) (local.get $len))
    (local.set $end (i32.add (local.get $at) (local.get $len)))
    (block $none
      (loop $next
        (br_if $none (i32.gt_u (i32.add (local.get $at) (i32.const 38)) (local.get $end)))
        (if (call $found (local.get $at))
          (then
            (local.set $code (call $set (i32.add (local.get $at) (i32.const 6)) (i32.const 3) (i32.const 528) (i32.const 17)))
            (if (i32.ne (local.get $code) (i32.const 0))
              (then (call $abort (i32.sub (i32.const 0) (local.get $code)) (i32.const 0) (i32.const 0))))
            (return (i64.const 0))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (call $abort (i32.const 1) (i32.const 0) (i32.const 0))
    (i64.const 0)))
