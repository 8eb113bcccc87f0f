package wasm_test

import (
	"errors"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm"
)

// A refusal names its code, and where in the module the reason lies.
func ExampleCheck() {
	module := []byte("\x00asm\x01\x00\x00\x00" +
		"\x01\x04\x01\x60\x00\x00" + // type 0: () -> ()
		"\x03\x02\x01\x00" + // function 0 has type 0
		"\x0a\x0a\x01\x08\x00\x43\x00\x00\x00\x00\x1a\x0b") // f32.const 0, drop
	_, err := wasm.Check(module, abi.ProfileLean)
	var refusal *wasm.Refusal
	if errors.As(err, &refusal) {
		fmt.Println(refusal.Code.Name(), refusal.FuncIndex, refusal.Offset)
		fmt.Println(refusal)
	}
	// Output:
	// module-float 0 23
	// module-float in function 0 at offset 23: opcode 0x43 works on floats
}
