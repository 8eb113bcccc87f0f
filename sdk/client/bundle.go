package client

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// maxBundle bounds what ParseBundle reads, in bytes: a genesis with some
// thousand accounts, or that of a chain which goes on from one that has changed
// 16 validators as often as chain.MaxOriginSteps.
const maxBundle = 4 << 20

// Bundle is all that a device must hold to trust a chain, as a JSON file:
//
//	{
//	  "chain": "<chain id in hex>",
//	  "genesis": "<genesis in base64>",
//	  "gateways": ["192.0.2.1:7421"],
//	  "height": 0,
//	  "checkpoint": {"height": …, "block": …, "validators": …}
//	}
//
// The chain id is the hash of the genesis. Gateways are hints: a wrong one
// cannot pass for the chain's. Height is one that the chain had reached, and
// older proofs are refused. A checkpoint is trusted like the genesis: what lies
// above it is proved from there.
type Bundle struct {
	Genesis    []byte // encoded chain.Genesis
	Gateways   []string
	Height     uint64
	Checkpoint *Checkpoint // nil: none
}

type bundleFile struct {
	Chain      string      `json:"chain"`
	Genesis    []byte      `json:"genesis"`
	Gateways   []string    `json:"gateways,omitempty"`
	Height     uint64      `json:"height,omitempty"`
	Checkpoint *Checkpoint `json:"checkpoint,omitempty"`
}

// Chain is the chain's id.
func (b *Bundle) Chain() abi.Hash { return chain.ChainID(b.Genesis) }

// ParseBundle reads a bundle and checks that chain id, genesis and addresses
// fit together.
func ParseBundle(text []byte) (*Bundle, error) {
	if len(text) > maxBundle {
		return nil, fmt.Errorf("trust bundle of %d bytes: %w", len(text), abi.CodeTooLarge)
	}
	var f bundleFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("trust bundle: %w: %w", abi.CodeMalformed, err)
	}
	if _, err := chain.ParseGenesis(f.Genesis); err != nil {
		return nil, fmt.Errorf("trust bundle: %w", err)
	}
	b := &Bundle{Genesis: f.Genesis, Gateways: f.Gateways, Height: f.Height, Checkpoint: f.Checkpoint}
	if id := b.Chain(); f.Chain != hex.EncodeToString(id[:]) {
		return nil, fmt.Errorf("trust bundle: the genesis is of chain %x: %w", id, abi.CodeWrongChain)
	}
	for _, address := range b.Gateways {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("trust bundle: gateway %q: %w: %w", address, abi.CodeBadArgument, err)
		}
	}
	return b, nil
}

// MarshalJSON is the file's form, on one line.
func (b *Bundle) MarshalJSON() ([]byte, error) {
	id := b.Chain()
	return json.Marshal(bundleFile{Chain: hex.EncodeToString(id[:]), Genesis: b.Genesis, Gateways: b.Gateways, Height: b.Height, Checkpoint: b.Checkpoint})
}

// Write writes the bundle as JSON.
func (b *Bundle) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(b)
}
