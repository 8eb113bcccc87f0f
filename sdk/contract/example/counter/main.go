// Command counter is about the smallest contract: numbers that everybody may
// raise, one for each account.
package main

import (
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/contract"
)

var counts = contract.NewMap("counts/", contract.HashKey, contract.Uint64Value)

//go:wasmexport execute
func execute(ptr, size uint32) uint64 { return contract.Enter(ptr, size, onExecute) }

//go:wasmexport query
func query(ptr, size uint32) uint64 { return contract.Enter(ptr, size, onQuery) }

func main() {}

var errNoAccount = contract.Refuse(2, "only accounts count")

// onExecute adds one to the caller's number and returns it.
func onExecute(c *contract.Context) ([]byte, error) {
	who, ok := c.Account()
	if !ok {
		return nil, errNoAccount
	}
	n, _ := counts.Get(who)
	counts.Set(who, n+1)
	return cbor.AppendUint(nil, n+1), nil
}

// onQuery returns the sum of all numbers.
func onQuery(*contract.Context) ([]byte, error) {
	sum := uint64(0)
	for _, n := range counts.All() {
		sum += n
	}
	return cbor.AppendUint(nil, sum), nil
}
