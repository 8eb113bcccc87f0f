;; A contract whose price differs between protocol versions: every entry point
;; grows the memory by a page. Build it with `wat2wasm -o grow.wasm grow.wat`.
(module
  (memory (export "memory") 1)
  (data (i32.const 512) "\a1\01\f5") ;; the verdict {1: true}: permit
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func $grow (param i32 i32) (result i64)
    (drop (memory.grow (i32.const 1)))
    (i64.const 0))
  (func (export "decide") (param i32 i32) (result i64)
    (drop (call $grow (local.get 0) (local.get 1)))
    (i64.const 0x20000000003)) ;; the three bytes at 512
  (export "init" (func $grow))
  (export "execute" (func $grow))
  (export "timer" (func $grow))
  (export "query" (func $grow)))
