package consensus

import (
	"bytes"
	"fmt"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// judged is a proposal and the pool ids of its transactions.
type judged struct {
	raw types.Proposal
	ids []abi.Hash
}

// is compares rather than hash 256 KiB.
func (j *judged) is(p *types.Proposal) bool {
	return sameProposal(&j.raw, p)
}

func sameProposal(a, b *types.Proposal) bool {
	return a.VerificationSequence == b.VerificationSequence && bytes.Equal(a.Header, b.Header) &&
		bytes.Equal(a.Metadata, b.Metadata) && bytes.Equal(a.Payload, b.Payload)
}

// VerifyProposal decides whether to vote for a leader's proposal.
func (r *replica) VerifyProposal(raw types.Proposal) ([]types.RequestInfo, error) {
	p, ids, err := r.judge(raw)
	leader := r.bft.GetLeaderID()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		err = r.promises.allow(p, &raw) // a view may have been left meanwhile
	}
	if err != nil {
		r.order.refuse(&raw, r.cfg.App.Head().Height+1)
		if r.ctx.Err() == nil {
			r.log.Warn("refused a proposal", "leader", leader, "err", err)
		}
		return nil, err
	}
	r.verified = judged{raw, ids}
	r.promises.accepted = accepted{p.view, p.height, p.hash, raw}
	return requestInfos(ids), nil
}

// judge parses a proposal and checks that it is acceptable. It returns the
// pool ids of its transactions as well.
func (r *replica) judge(raw types.Proposal) (*proposal, []abi.Hash, error) {
	p, err := parseProposal(raw)
	if err != nil {
		return nil, nil, err
	}
	r.mu.Lock()
	err = r.promises.allow(p, &raw)
	r.mu.Unlock()
	if err == nil {
		r.awaitParent(p.height)
		err = r.checkPlace(p)
	}
	if err == nil {
		err = r.checkTime(p.block.Header.Time)
	}
	if err != nil {
		return nil, nil, err
	}
	ids, err := blockIDs(p)
	if err != nil {
		return nil, nil, err
	}
	if err := r.cfg.App.Verify(r.ctx, p.block); err != nil {
		return nil, nil, fmt.Errorf("block %d: %w", p.height, err)
	}
	return p, ids, nil
}

// parentWait is how long a proposal may wait for the block before it.
const parentWait = 500 * time.Millisecond

// awaitParent waits until the block before the one at height is in the ledger,
// if that is the next. When a view ends between a decision and its delivery, the
// next view takes the delivery of that block for the one of its own first, and
// is one block ahead of the ledger from then on.
func (r *replica) awaitParent(height uint64) {
	timer := time.NewTimer(parentWait)
	defer timer.Stop()
	for {
		r.mu.Lock()
		if r.grown == nil {
			r.grown = make(chan struct{})
		}
		grown := r.grown
		r.mu.Unlock()
		if r.cfg.App.Head().Height+2 != height {
			return
		}
		select {
		case <-grown:
		case <-timer.C:
			return
		case <-r.ctx.Done():
			return
		}
	}
}

// grows tells those who wait for a block that the ledger has one more. It needs
// mu.
func (r *replica) grows() {
	if r.grown != nil {
		close(r.grown)
		r.grown = nil
	}
}

// checkPlace checks that p follows our head.
func (r *replica) checkPlace(p *proposal) error {
	head := r.cfg.App.Head()
	h := &p.block.Header
	switch {
	case h.Chain != r.chain:
		return abi.CodeWrongChain
	case h.Height != head.Height+1:
		return fmt.Errorf("block of height %d follows %d: %w", h.Height, head.Height, abi.CodeMalformed)
	case h.Parent != head.Hash():
		return fmt.Errorf("block %d has another parent: %w", h.Height, abi.CodeMalformed)
	case len(p.block.Txs) == 0:
		return fmt.Errorf("block %d is empty: %w", h.Height, abi.CodeMalformed)
	}
	return nil
}

// checkTime compares with this node's own clock. It stands here alone: blocks
// that a quorum agreed on are executed at any later time.
func (r *replica) checkTime(ms int64) error {
	now, trusted := r.cfg.Clock()
	if !trusted {
		return fmt.Errorf("cannot vote: %w", abi.CodeClockUntrusted)
	}
	if ms < now-maxClockSkew || ms > now+maxClockSkew {
		return fmt.Errorf("block's time is %d ms from this node's clock: %w", ms-now, abi.CodeBadArgument)
	}
	return nil
}

// knownIDs returns the pool ids of a proposal's transactions if it is the one
// that VerifyProposal accepted last.
func (r *replica) knownIDs(raw types.Proposal) ([]abi.Hash, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.verified.ids, r.verified.is(&raw)
}

func requestInfos(ids []abi.Hash) []types.RequestInfo {
	infos := make([]types.RequestInfo, len(ids))
	for i, id := range ids {
		infos[i] = requestInfo(id)
	}
	return infos
}

func blockIDs(p *proposal) ([]abi.Hash, error) {
	ids := make([]abi.Hash, 0, len(p.block.Txs))
	for _, raw := range p.block.Txs {
		tx, err := chain.ParseTx(raw)
		if err != nil {
			return nil, err
		}
		ids = append(ids, poolID(tx, p.height))
	}
	return ids, nil
}

// VerifyRequest checks a transaction.
func (r *replica) VerifyRequest(request []byte) (types.RequestInfo, error) {
	id, raw := splitPoolRequest(request)
	if _, _, err := r.cfg.App.CheckRelayed(raw); err != nil {
		return types.RequestInfo{}, err
	}
	return requestInfo(id), nil
}

// VerifyConsenterSig checks a validator's vote for a proposal. Votes carry no
// auxiliary data.
func (r *replica) VerifyConsenterSig(signature types.Signature, raw types.Proposal) ([]byte, error) {
	p, err := parseProposal(raw)
	if err != nil {
		return nil, err
	}
	return nil, r.verify(signature, p.vote())
}

// VerifySignature checks a validator's signature of view data.
func (r *replica) VerifySignature(signature types.Signature) error {
	return r.verify(signature, appendViewData(nil, r.chain, signature.Msg))
}

func (r *replica) verify(signature types.Signature, message []byte) error {
	key, ok := r.cfg.App.ValidatorSet().Key(signature.ID)
	if !ok || !chain.VerifySignature(key, message, signature.Value) {
		return fmt.Errorf("signature of validator %d: %w", signature.ID, abi.CodeBadSignature)
	}
	return nil
}

// RequestsFromProposal names the requests of a decided proposal.
func (r *replica) RequestsFromProposal(raw types.Proposal) []types.RequestInfo {
	p, err := parseProposal(raw)
	if err != nil {
		return nil
	}
	ids, err := blockIDs(p)
	if err != nil {
		return nil
	}
	return requestInfos(ids)
}
