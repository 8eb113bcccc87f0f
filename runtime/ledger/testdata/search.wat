;; A policy contract whose execute keeps its message, 512 bytes, and whose search
;; does what that says. A first byte of 'x' aborts with the second as the code's
;; low byte and 0xff as its high one, 'l' loops, and 's' tries to write. Any other
;; answers: two bytes are the length, little-endian, and the answer stands behind.
;; Build it with `wat2wasm -o search.wasm search.wat`.
(module
  (import "postern" "state_get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "postern" "state_set" (func $set (param i32 i32 i32 i32)))
  (import "postern" "abort" (func $abort (param i32 i32 i32)))
  (memory (export "memory") 4)
  (data (i32.const 16) "a")
  (func (export "alloc") (param i32) (result i32) (i32.const 65536))
  ;; The message is the end of the input: the tests' have 512 bytes.
  (func (export "execute") (param $at i32) (param $len i32) (result i64)
    (call $set (i32.const 16) (i32.const 1) (i32.sub (i32.add (local.get $at) (local.get $len)) (i32.const 512)) (i32.const 512))
    (i64.const 0))
  (func (export "search") (param i32 i32) (result i64)
    (local $first i32)
    (drop (call $get (i32.const 16) (i32.const 1) (i32.const 1024) (i32.const 16384)))
    (local.set $first (i32.load8_u (i32.const 1024)))
    (if (i32.eq (local.get $first) (i32.const 120)) (then
      (call $abort (i32.or (i32.const 0xff00) (i32.load8_u (i32.const 1025))) (i32.const 0) (i32.const 0))))
    (if (i32.eq (local.get $first) (i32.const 108)) (then (loop $again (br $again))))
    (if (i32.eq (local.get $first) (i32.const 115)) (then
      (call $set (i32.const 16) (i32.const 1) (i32.const 1024) (i32.const 1))))
    ;; Bytes 1 and 2 are the length of the answer, little-endian.
    (i64.or (i64.shl (i64.const 1027) (i64.const 32)) (i64.extend_i32_u (i32.load16_u (i32.const 1025))))))
