package ledger

import "github.com/seed79541315/postern/abi/chain"

// The gas prices of native operations in protocol version 1, on the scale of
// the contract host's table: a unit is about half a nanosecond. A change of any
// number here is a change of the protocol version.
const (
	gasTx       = 50_000 // every signed transaction: signature, guards, the payer's records
	gasByte     = 20     // each byte of the arguments: hashing, storing
	gasCodeByte = 40     // each byte of code that a deployment assembles, checks and rewrites
	gasTick     = 10_000 // a tick, towards the block's gas only
	gasTimer    = 30_000 // a timer, before the contract that it runs
)

// gasOp is an operation's price beyond gasTx and gasByte.
var gasOp = map[chain.Op]uint64{
	chain.OpGrant:        20_000,
	chain.OpRotate:       100_000, // a second signature
	chain.OpEnrol:        140_000, // a second signature, four records
	chain.OpDeviceStatus: 20_000,
	chain.OpUpload:       40_000,
	chain.OpChunk:        20_000,
	chain.OpDeploy:       60_000,
	chain.OpUpgrade:      60_000,
	chain.OpCall:         10_000,
	chain.OpBind:         20_000,
	chain.OpIssueToken:   20_000,
	chain.OpRevokeToken:  20_000,
	chain.OpPropose:      250_000, // a second signature, a rehearsal, what it asks for if one vote is enough
	chain.OpApprove:      150_000, // the proposal's record, and what it asks for
	chain.OpReject:       100_000, // the proposal's record
	chain.OpGuardians:    40_000,
}

// declaredGas is what a transaction counts towards its block's gas.
func declaredGas(t *chain.Tx) uint64 {
	if t.Tick != 0 {
		return gasTick
	}
	return t.Gas
}

// PriceOf is the least gas that an operation with arguments of n bytes needs.
// A deployment and a call need more: the code's bytes, what the contract uses.
func PriceOf(op chain.Op, n int) uint64 { return gasTx + gasByte*uint64(n) + gasOp[op] }
