package wasm

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
)

// rules are everything that a protocol version fixes for the contracts of one
// profile: what is admitted, how it is rewritten, what it costs and what WASI
// functions answer. Nodes that differ in any of it fork. A later version gets
// rules of its own beside the old ones; one that rewrites otherwise says so in
// rewrite.Options.
type rules struct {
	limits   *module.Limits
	costs    *rewrite.Costs               // of instructions
	host     *[abi.HostFuncCount]hostCost // of host functions
	wasi     []wasiFunc                   // sorted by name
	callBase int64                        // gas of a call before its first instruction
	callPage int64                        // the same for each page of the image
	callByte int64                        // eighths, for each byte of input and output
	start    int64                        // gas that a start function has
	local    bool                         // observe has its local record
}

// protocols holds the rules of the protocol versions that this package knows.
var protocols = map[uint64]map[abi.Profile]*rules{
	1: {
		abi.ProfileLean: {&module.Lean, &leanCosts, &gasHost, wasiFuncs, GasCallBase, GasCallPage, GasCallByte, GasStart, false},
		abi.ProfileWide: {&module.Wide, &wideCosts, &gasHost, wasiFuncs, GasCallBase, GasCallPage, GasCallByte, GasStartWide, false},
	},
	2: {
		abi.ProfileLean: {&module.Lean, &leanCosts2, &gasHost, wasiFuncs, GasCallBase, GasCallPage, GasCallByte, GasStart, false},
		abi.ProfileWide: {&module.Wide, &wideCosts2, &gasHost, wasiFuncs, GasCallBase, GasCallPage, GasCallByte, GasStartWide, false},
	},
	3: { // as 2, and observe has its local record
		abi.ProfileLean: {&module.Lean, &leanCosts2, &gasHost, wasiFuncs, GasCallBase, GasCallPage, GasCallByte, GasStart, true},
		abi.ProfileWide: {&module.Wide, &wideCosts2, &gasHost, wasiFuncs, GasCallBase, GasCallPage, GasCallByte, GasStartWide, true},
	},
}

// callBytes is the price of n bytes of input or output.
func (r *rules) callBytes(n int) int64 { return (r.callByte*int64(n) + 7) / 8 }

// rulesOf gives the rules of a protocol version under a profile.
func rulesOf(protocol uint64, p abi.Profile) (*rules, error) {
	profiles := protocols[protocol]
	if profiles == nil {
		return nil, fmt.Errorf("protocol version %d: %w", protocol, abi.CodeUnknownVersion)
	}
	if profiles[p] == nil {
		return nil, fmt.Errorf("profile %d is not part of protocol version %d", p, protocol)
	}
	return profiles[p], nil
}
