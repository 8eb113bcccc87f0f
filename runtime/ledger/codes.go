package ledger

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// leastCode is what each code counts at least, in bytes: the start function of
// a tiny one may fill its memory, too.
const leastCode = 256 << 10

// blockCodes are the codes that a block ran. Loading one that the contract
// host has dropped takes milliseconds, far more than the gas of a call; the
// host keeps what a block ran until its end, so a bound on their bytes bounds
// the time of all loads.
type blockCodes struct {
	ran   map[abi.Hash]struct{}
	bytes uint64
	limit uint64
}

// newBlockCodes begins a block. A lean block may run 16 codes of up to 256 KiB,
// a wide one 8 of 2 MiB.
func newBlockCodes(p abi.Profile) blockCodes {
	b := blockCodes{ran: make(map[abi.Hash]struct{}), limit: 16 * leastCode}
	if p == abi.ProfileWide {
		b.limit = 8 << 21
	}
	return b
}

// half says whether half of the limit is used. Then no further timer runs, and
// a leader adds no further transaction: each that is in the block has found
// the other half free.
func (b *blockCodes) half() bool { return b.bytes > b.limit/2 }

// runs counts a code that the block is about to run. The error is
// abi.CodeBlockFull where it may run no further one.
func (x *execution) runs(code abi.Hash) error {
	b := &x.codes
	if _, counted := b.ran[code]; counted {
		return nil
	}
	c, ok, err := load(x.state, chain.CodeKey(code), chain.ParseCode)
	if err != nil || !ok {
		return orFault(err, "code %x is missing", code)
	}
	weight := max(c.Length, leastCode)
	if b.bytes+weight > b.limit {
		return abi.CodeBlockFull
	}
	b.ran[code] = struct{}{}
	b.bytes += weight
	return nil
}
