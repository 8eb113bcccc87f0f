// Package contract is the Go SDK for contracts: plain Go, built by the
// standard toolchain, tested natively with package fake.
//
// A contract is a main package. It exports each entry point that it has by
// two lines, and keeps its state in package variables of the types Item, Map
// and Index:
//
//	package main
//
//	import "github.com/seed79541315/postern/sdk/contract"
//
//	var count = contract.NewItem("count", contract.Uint64Value)
//
//	//go:wasmexport execute
//	func execute(ptr, size uint32) uint64 { return contract.Enter(ptr, size, onExecute) }
//
//	func onExecute(c *contract.Context) ([]byte, error) {
//		count.Set(count.GetOr(0) + 1)
//		return nil, nil
//	}
//
//	func main() {}
//
// The entry points are init, migrate, execute, timer, query, search, decide
// (by EnterDecide) and observe (by EnterObserve); package abi says when each runs, and which of
// the functions here it has. The folders template and example hold whole
// contracts with their tests. A contract is built by
//
//	GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 go build -trimpath -buildvcs=false \
//		-ldflags='-w -buildid=' -buildmode=c-shared -o contract.wasm .
//
// which gives the same bytes in every folder, about 2 MB with the names of
// functions that traps tell. Chains of the wide profile admit it.
//
// # Duties
//
//  1. Message is hostile, and so are parts of it that were stored: read it by
//     a Reader to its end, and return the reader's error.
//  2. Ask who calls by Account, CallerIs, FromOwner or HasRoles: Caller alone also
//     names an account on whose behalf another contract asks.
//  3. Keep nothing in memory between calls. The host runs the initialisation
//     of all packages once, and sets memory back to what it left before each
//     call.
//  4. Depend on nothing but the call and the state. There is no file, no
//     network and no environment; a clock of the standard library stands
//     still, random bytes are zeros, and goroutines run one at a time.
//  5. Return errors. A panic ends the call as well, and undoes what it did,
//     but the outcome tells a code of the host instead of the contract's own;
//     the node's debug log has Go's message with file and line.
//
// # Costs and limits
//
// The call of a Go contract begins at about 80,000 units of gas, a price for
// its memory; entering it and reading the context costs as much again, and
// reading a short value 12,000.
// What the standard library brings along is what makes guests large: fmt adds
// 0.7 MB, encoding/json 1.2 MB. Calls of functions cost more than in other
// languages for Wasm, and functions nest about 1,000 deep. Memory that a call
// allocates is collected when it reaches 4 MiB; the first allocation of a size
// costs about a microsecond, so what runs often uses few. This package itself
// allocates nothing to read and write short keys and values. Go contracts
// that call one another share a limit on memory: a chain of six fits.
package contract
