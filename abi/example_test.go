package abi_test

import (
	"bytes"
	"fmt"

	"github.com/seed79541315/postern/abi"
)

// A frame is a message with its length before it.
func ExampleReadFrame() {
	out := abi.BeginFrame(nil)
	out = abi.AppendRequest(out, &abi.Request{ID: 1, Op: abi.OpStatus, Body: []byte{0xa0}})
	out = abi.EndFrame(out, 0)

	frame, err := abi.ReadFrame(bytes.NewReader(out), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	q, err := abi.ParseRequest(frame)
	fmt.Println(q.ID, q.Op == abi.OpStatus, err)
	// Output: 1 true <nil>
}
