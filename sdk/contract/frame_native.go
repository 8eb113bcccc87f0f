//go:build !wasm

package contract

func newFrame() *frame { return new(frame) }
