package client

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Checkpoint is a block that someone vouches for, and who signs behind it: a
// place to begin from instead of the genesis. Whoever begins there need not
// trust that the keys of validators who left long ago were never stolen. As
// JSON:
//
//	{
//	  "height": 1042,
//	  "block": "<hash of its header in hex>",
//	  "validators": [{"id": 1, "key": "<ed25519 key in hex>"}]
//	}
type Checkpoint struct {
	Height     uint64
	Block      abi.Hash
	Validators chain.ValidatorSet // of the next block
}

type checkpointFile struct {
	Height     uint64          `json:"height"`
	Block      string          `json:"block"`
	Validators []validatorFile `json:"validators"`
}

type validatorFile struct {
	ID  uint64 `json:"id"`
	Key string `json:"key"`
}

// MarshalJSON is the form that a bundle has it in.
func (c *Checkpoint) MarshalJSON() ([]byte, error) {
	f := checkpointFile{Height: c.Height, Block: hex.EncodeToString(c.Block[:]), Validators: []validatorFile{}}
	for _, v := range c.Validators {
		f.Validators = append(f.Validators, validatorFile{v.ID, hex.EncodeToString(v.Key)})
	}
	return json.Marshal(f)
}

// UnmarshalJSON reads that form and checks it.
func (c *Checkpoint) UnmarshalJSON(text []byte) error {
	var f checkpointFile
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("checkpoint: %w: %w", abi.CodeMalformed, err)
	}
	block, err := hex.DecodeString(f.Block)
	if err != nil || len(block) != len(c.Block) {
		return fmt.Errorf("checkpoint: block %q is not 64 hexadecimal digits: %w", f.Block, abi.CodeMalformed)
	}
	*c = Checkpoint{Height: f.Height, Block: abi.Hash(block)}
	for _, v := range f.Validators {
		key, err := hex.DecodeString(v.Key)
		if err != nil {
			return fmt.Errorf("checkpoint: key of validator %d: %w: %w", v.ID, abi.CodeMalformed, err)
		}
		c.Validators = append(c.Validators, chain.Validator{ID: v.ID, Key: key})
	}
	return c.validate()
}

func (c *Checkpoint) validate() error {
	if c.Height == 0 || c.Block == (abi.Hash{}) || len(c.Validators) == 0 {
		return fmt.Errorf("checkpoint: height, block and validators are required: %w", abi.CodeMalformed)
	}
	if _, err := chain.ParseValidatorSet(c.Validators.Append(nil)); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}
