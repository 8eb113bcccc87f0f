//go:build !linux

package wasm

// memoryKinds are the ways in which memories can be set back here.
func memoryKinds() map[string]func(*Runtime) {
	return map[string]func(*Runtime){"plain": func(*Runtime) {}}
}
