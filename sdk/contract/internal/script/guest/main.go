// Command guest is the contract of package script, for Wasm.
package main

import (
	"github.com/seed79541315/postern/sdk/contract"
	"github.com/seed79541315/postern/sdk/contract/internal/script"
)

//go:wasmexport init
func initialise(ptr, size uint32) uint64 { return contract.Enter(ptr, size, script.Run) }

//go:wasmexport migrate
func migrate(ptr, size uint32) uint64 { return contract.Enter(ptr, size, script.Run) }

//go:wasmexport execute
func execute(ptr, size uint32) uint64 { return contract.Enter(ptr, size, script.Run) }

//go:wasmexport timer
func timer(ptr, size uint32) uint64 { return contract.Enter(ptr, size, script.Run) }

//go:wasmexport query
func query(ptr, size uint32) uint64 { return contract.Enter(ptr, size, script.Run) }

//go:wasmexport search
func search(ptr, size uint32) uint64 { return contract.Enter(ptr, size, script.Run) }

//go:wasmexport observe
func observe(ptr, size uint32) uint64 { return contract.Enter(ptr, size, script.Run) }

//go:wasmexport decide
func decide(ptr, size uint32) uint64 { return contract.EnterDecide(ptr, size, script.Decide) }

func main() {}
