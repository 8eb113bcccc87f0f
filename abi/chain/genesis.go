package chain

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Genesis is what a chain begins with; the chain's id is the hash of its
// encoding: {1: name, 2: time ms, 3: Params, 4: ValidatorSet, 5: accounts
// [Grant …], 6: Origin (absent where the chain begins with nothing)}. It is
// block 0's stored bytes. A chain with an origin begins with the state of
// another one; its parameters, validators and accounts change that state.
type Genesis struct {
	Name       string
	Time       int64
	Params     Params
	Validators ValidatorSet
	Accounts   []Grant
	Origin     *Origin
}

// Append appends the encoding of g.
func (g *Genesis) Append(b []byte) []byte {
	var f fields
	f.text(1, g.Name)
	f.int(2, g.Time)
	f.raw(3, g.Params.Append(nil))
	f.raw(4, g.Validators.Append(nil))
	accounts := cbor.AppendArray(nil, len(g.Accounts))
	for i := range g.Accounts {
		accounts = g.Accounts[i].Append(accounts)
	}
	f.raw(5, accounts)
	if g.Origin != nil {
		f.raw(6, g.Origin.Append(nil))
	}
	return f.appendTo(b)
}

// ParseGenesis reads and checks a genesis. Its parameters are a record that may
// grow, but a genesis with fields that this program does not know is refused:
// it would begin another chain than its hash names.
func ParseGenesis(b []byte) (*Genesis, error) {
	g := &Genesis{}
	err := parseArgs(b, 1<<1|1<<2|1<<3|1<<4|1<<5, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			g.Name = name(r)
		case 2:
			g.Time = r.Int()
		case 3:
			g.Params = sub(r, ParseParams)
		case 4:
			g.Validators = readValidatorSet(r)
		case 5:
			for n := r.Array(); n > 0 && r.Err() == nil; n-- {
				g.Accounts = append(g.Accounts, sub(r, ParseGrant))
			}
		case 6:
			o := sub(r, ParseOrigin)
			g.Origin = &o
		default:
			return false
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	if g.Time <= 0 || len(g.Validators) == 0 {
		return nil, fmt.Errorf("genesis: no time or no validators: %w", abi.CodeBadArgument)
	}
	if g.Origin != nil && g.Time <= g.Origin.Header.Time {
		return nil, fmt.Errorf("genesis: it is not later than the block whose state it takes: %w", abi.CodeBadArgument)
	}
	if g.Params.Protocol == 0 || g.Params.Protocol > Protocol {
		return nil, fmt.Errorf("genesis: protocol version %d, this program knows versions up to %d: %w", g.Params.Protocol, Protocol, abi.CodeUnknownVersion)
	}
	if p := &g.Params; p.Profile != abi.ProfileLean && p.Profile != abi.ProfileWide || p.ActivationDelay < 0 || p.UploadTTL < 0 {
		return nil, fmt.Errorf("genesis: unknown profile or negative time among the parameters: %w", abi.CodeBadArgument)
	}
	if p := &g.Params; p.TxGas == 0 || p.TxGas > p.BlockGas/2 { // timers leave half of a block's gas, and need a transaction's
		return nil, fmt.Errorf("genesis: a transaction's gas %d is not between 1 and half of a block's, %d: %w", p.TxGas, p.BlockGas, abi.CodeBadArgument)
	}
	if !bytes.Equal(g.Append(nil), b) {
		return nil, fmt.Errorf("genesis: fields are missing or unknown: %w", abi.CodeMalformed)
	}
	return g, nil
}

// ChainID is the hash of the encoded genesis.
func ChainID(genesis []byte) abi.Hash { return sha256.Sum256(genesis) }
