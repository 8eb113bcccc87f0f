package ledger

import "github.com/seed79541315/postern/abi/chain"

// The gas prices of native operations, the same in all protocol versions that
// know them, on the scale of
// the contract host's table: a unit is about half a nanosecond. A change of any
// number here is a change of the protocol version.
const (
	gasTx       = 50_000 // every signed transaction: signature, guards, the payer's records
	gasByte     = 20     // each byte of the arguments: hashing, storing
	gasCodeByte = 40     // each byte of code that a deployment assembles, checks and rewrites
	gasTick     = 10_000 // a tick, towards the block's gas only
	gasTimer    = 30_000 // a timer, before the contract that it runs

	gasOrigin = 120_000 // a proof of origin with an enrolment: a signature, three records
	gasListed = 40_000  // each entry of a platform's list, and a theft: up to three records and an event
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

	chain.OpManufacturer:    200_000, // up to eight points on a curve
	chain.OpOrigin:          140_000, // a second signature
	chain.OpTransfer:        160_000, // a second signature, five records
	chain.OpBindDevice:      80_000,  // up to four contracts and their reports
	chain.OpBlacklist:       60_000,
	chain.OpPlatform:        200_000, // up to eight points on a curve
	chain.OpImportBlacklist: 120_000, // a second signature
	chain.OpAnchor:          200_000, // a second signature, a consistency proof, what witnesses saw
	chain.OpOffence:         240_000, // two more signatures
	chain.OpWitness:         40_000,
	chain.OpVerdict:         100_000, // the other gateways' accounts
	chain.OpEvidence:        140_000, // a second signature, before the contract
	chain.OpAlert:           60_000,
	chain.OpSealed:          80_000,
}

// declaredGas is what a transaction counts towards its block's gas.
func declaredGas(t *chain.Tx) uint64 {
	if t.Tick != 0 {
		return gasTick
	}
	return t.Gas
}

// PriceOf is the least gas that an operation with arguments of n bytes needs.
// A deployment, a call and evidence need more: the code's bytes, what the contract
// uses; so do an enrolment with a proof of origin, a theft and each entry of a list.
func PriceOf(op chain.Op, n int) uint64 { return gasTx + gasByte*uint64(n) + gasOp[op] }
