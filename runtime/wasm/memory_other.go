//go:build !linux

package wasm

import "errors"

// extent is nothing here: images stay on the heap.
type extent struct{}

// imageFile exists on Linux only.
type imageFile struct{}

func openImageFile() (*imageFile, error) {
	return nil, errors.New("memory is copied on write on Linux only")
}

func (*imageFile) close() {}

func (*imageFile) keep(*image) error { return nil }

func (*imageFile) drop(*image) {}

func (*imageFile) memory(img *image, _ int) (memory, error) { return newPlainMemory(img), nil }
