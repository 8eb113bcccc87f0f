package client

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// Receipt verifies a receipt without any gateway: the block that anchored the
// log as Header does, and the way from there to the record. The client learns
// the changes of the validators from it.
func (l *LightClient) Receipt(r *proof.Receipt) (*proof.Proven, error) {
	for i := range r.Steps {
		if err := l.advanceTo(r.Steps[i].Append(nil), r.Anchor.Header.Height); err != nil {
			return nil, fmt.Errorf("step %d of the receipt: %w", i+1, err)
		}
	}
	if r.Anchor.Header.Height == 0 {
		return nil, fmt.Errorf("the genesis anchors no log: %w", abi.CodeBadProof)
	}
	e, err := l.entry(nil, &r.Anchor, chain.AnchorKey(r.Account), 0)
	if err != nil {
		return nil, err
	}
	return r.VerifyAnchored(l.chain, e.Value, e.Present)
}
