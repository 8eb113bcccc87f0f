package consensus

import (
	"fmt"
	"runtime"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
)

// Sign signs view data.
func (r *replica) Sign(data []byte) []byte {
	sig, err := r.cfg.Key.Sign(appendViewData(nil, r.chain, data))
	if err != nil {
		r.end(fmt.Errorf("signing a view change: %w", err))
	}
	return sig
}

// SignProposal votes for a proposal. In a change of view, where SmartBFT knows
// of no prepares, it is called with one of SmartBFT's locks held, so a failure
// must not end the goroutine: the vote is then empty, which nobody counts, and
// the write-ahead log takes no more records.
func (r *replica) SignProposal(raw types.Proposal, prepares []byte) *types.Signature {
	sig := &types.Signature{ID: r.cfg.ID}
	inFlight := len(prepares) == 0 && len(r.Nodes()) > 1
	if inFlight {
		defer r.hurry()
	}
	if !inFlight {
		r.beginVote(raw)
	}
	if r.ctx.Err() != nil {
		return sig
	}
	value, err := r.vote(raw, inFlight)
	if err != nil {
		r.fail(fmt.Errorf("voting: %w", err))
		return sig
	}
	sig.Value = value
	return sig
}

// beginVote keeps a sync from ending before the vote is recorded: at its end
// SmartBFT forgets the proposal if the ledger has its height, and does not
// survive a vote for a proposal that it has forgotten. If the ledger has it by
// now, there is nothing to vote for, and the view's goroutine ends.
func (r *replica) beginVote(raw types.Proposal) {
	p, err := parseProposal(raw)
	if err != nil {
		r.end(fmt.Errorf("voting: %w", err))
	}
	saved := make(chan struct{})
	r.mu.Lock()
	r.unsaved = saved
	r.mu.Unlock()
	if p.height <= r.cfg.App.Head().Height {
		r.voteSaved()
		r.log.Debug("too late for a vote", "height", p.height)
		runtime.Goexit()
	}
}

// voteSaved lets a sync end that waits for the vote.
func (r *replica) voteSaved() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unsaved != nil {
		close(r.unsaved)
		r.unsaved = nil
	}
}

// awaitVote waits until the vote that is being given is recorded, or refused.
func (r *replica) awaitVote() {
	r.mu.Lock()
	saved := r.unsaved
	r.mu.Unlock()
	if saved != nil {
		<-saved
	}
}

// vote signs a proposal that this node has executed: one that VerifyProposal
// has not seen comes from the write-ahead log or from a change of view, where
// a quorum has prepared it.
func (r *replica) vote(raw types.Proposal, inFlight bool) ([]byte, error) {
	p, err := parseProposal(raw)
	if err != nil {
		return nil, err
	}
	r.signing.Lock()
	defer r.signing.Unlock()
	if _, known := r.knownIDs(raw); !known {
		if err := r.cfg.App.Verify(r.ctx, p.block); err != nil {
			return nil, fmt.Errorf("block %d, which others prepared: %w", p.height, err)
		}
	}
	if p.height < r.signed.height {
		return nil, fmt.Errorf("block %d is below the last signed height %d", p.height, r.signed.height)
	}
	if err := r.promise(p, &raw, inFlight); err != nil {
		return nil, err
	}
	if err := r.signed.raise(p.height); err != nil {
		return nil, fmt.Errorf("last signed height: %w", err)
	}
	value, err := r.cfg.Key.Sign(p.vote())
	if err == nil && inFlight {
		err = r.recordInFlight(p, &raw, value)
	}
	return value, err
}

// promise notes a vote that is about to be given.
func (r *replica) promise(p *proposal, raw *types.Proposal, inFlight bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.promises.allowVote(p); err != nil {
		return err
	}
	r.promises.voted = accepted{view: p.view, height: p.height, block: p.hash}
	r.promises.bound = inFlight
	if inFlight {
		r.promises.voted.raw = *raw
		r.flight = flight{p.view, p.height}
	}
	return nil
}
