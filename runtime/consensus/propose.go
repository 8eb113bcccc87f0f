package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"

	"github.com/seed79541315/postern/abi"
)

// AssembleProposal builds the next block of what the pool holds. It cannot
// decline: without a trusted clock it returns a proposal that its own check
// refuses, so that the others choose another leader.
func (r *replica) AssembleProposal(metadata []byte, requests [][]byte) types.Proposal {
	r.pause(metadata)
	if p, ok := r.proposedAlready(metadata); ok {
		return p
	}
	now, trusted := r.cfg.Clock()
	if !trusted {
		r.log.Warn("cannot lead without a trusted clock")
		return types.Proposal{Metadata: metadata}
	}
	r.mu.Lock()
	r.nextBatch = time.Now().Add(r.cfg.BatchInterval)
	sequence := r.sequence
	r.mu.Unlock()
	raws := r.queue.batch(requests)
	block, err := r.cfg.App.Propose(r.ctx, now, raws)
	if errors.Is(err, abi.CodeNotFound) {
		r.log.Warn("dropped transactions that cannot stand in a block", "count", len(raws), "err", err)
		r.discard(requests, raws)
		return types.Proposal{Metadata: metadata}
	}
	if err == nil && len(block.Txs) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		r.end(fmt.Errorf("proposing a block: %w", err))
	}
	return newProposal(block, metadata, sequence)
}

// proposalPause is between two proposals of this leader for the same height of
// the same view.
const proposalPause = 300 * time.Millisecond

// pause keeps a leader whose proposals come to nothing, since its clock is
// lost, its view left or its transactions fit no block, from making them
// without end: after each SmartBFT syncs and begins again at once.
func (r *replica) pause(metadata []byte) {
	r.mu.Lock()
	wait := time.Duration(0)
	if bytes.Equal(metadata, r.asking) {
		wait = time.Until(r.askedAt.Add(proposalPause))
	}
	r.asking, r.askedAt = metadata, time.Now().Add(max(wait, 0))
	r.mu.Unlock()
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.ctx.Done():
	}
}

// proposedAlready returns this leader's proposal for the same height of the
// same view: SmartBFT asks again when a sync has restarted the view, and a
// second proposal would be refused by all who hold the first.
func (r *replica) proposedAlready(metadata []byte) (types.Proposal, bool) {
	md, err := parseMetadata(metadata)
	if err != nil {
		r.end(fmt.Errorf("proposing a block: %w", err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a := &r.promises.accepted
	return a.raw, a.height > 0 && a.height == md.LatestSequence && a.view == md.ViewId
}

// discard drops what no block can hold from the queue and the pool, or it
// would be proposed for ever.
func (r *replica) discard(requests, raws [][]byte) {
	bad := make(map[string]bool, len(raws))
	for _, raw := range raws {
		bad[string(raw)] = true
	}
	r.unpool(r.queue.prune(func(raw []byte) bool { return bad[string(raw)] }))
	for _, request := range requests {
		id, _ := splitPoolRequest(request)
		r.remove(id)
	}
}
