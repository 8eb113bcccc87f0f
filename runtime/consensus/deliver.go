package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Deliver commits a decided block: durable before it returns, or not at all.
func (r *replica) Deliver(raw types.Proposal, votes []types.Signature) types.Reconfig {
	p, err := parseProposal(raw)
	if err != nil {
		r.end(fmt.Errorf("decided block: %w", err))
	}
	if err := r.commit(p, votes); err != nil {
		r.end(fmt.Errorf("committing block %d: %w", p.height, err))
	}
	r.settle(p, raw)
	poke(r.order.moved)
	r.mu.Lock()
	r.unasked = 0
	r.mu.Unlock()
	change := r.changed()
	if change == nil {
		r.returns()
	}
	return types.Reconfig{InLatestDecision: change != nil, CurrentNodes: change, CurrentConfig: smartConfig(r.cfg.ID)}
}

// returns notes that SmartBFT's controller has come so far and has to go on now.
func (r *replica) returns() {
	r.mu.Lock()
	r.returned, r.unheeded = time.Now(), time.Time{}
	r.mu.Unlock()
	poke(r.wake)
}

func (r *replica) commit(p *proposal, votes []types.Signature) error {
	head := r.cfg.App.Head()
	if p.height <= head.Height {
		r.log.Debug("block is there already", "height", p.height)
		return nil
	}
	if p.height > head.Height+1 {
		return fmt.Errorf("the ledger is at height %d: blocks are missing", head.Height)
	}
	c := p.certificate(votes)
	if n, q := len(c.Signatures), r.cfg.App.ValidatorSet().Quorum(); n < q {
		return fmt.Errorf("%d votes, %d are needed", n, q)
	}
	// A commit that has begun is finished, even when the node is stopping.
	return r.cfg.App.Commit(context.WithoutCancel(r.ctx), p.block, c)
}

// settle clears the queue and the pool of what a committed block makes
// pointless, and lets the next requests in. SmartBFT itself removes the
// block's own requests if it knows them: not after recovery, and not if the
// block was in flight while views changed.
func (r *replica) settle(p *proposal, raw types.Proposal) {
	ids, known := r.knownIDs(raw)
	if !known {
		var err error
		if ids, err = blockIDs(p); err != nil {
			r.end(fmt.Errorf("committed block %d: %w", p.height, err))
		}
	}
	r.unpool(r.queue.settle(ids, p.block.Header.Time))
	r.mu.Lock()
	if r.cfg.App.Head().Height == p.height {
		r.decidedIn = p.view
		r.sequence = sequenceAfter(&p.block.Header, p.sequence)
	}
	inFlight := r.flight.height == p.height
	r.grows()
	r.mu.Unlock()
	if !known || inFlight {
		for _, id := range ids {
			r.remove(id)
		}
	}
	poke(r.wake)
}

func (r *replica) unpool(requests []*request) {
	for _, q := range requests {
		r.remove(q.id)
	}
}

// remove takes a request out of SmartBFT's pool. It reports one that is not
// there, which is what was wanted.
func (r *replica) remove(id abi.Hash) { _ = r.bft.Pool.RemoveRequest(requestInfo(id)) }

// Sync brings the ledger up to date and says where it stands.
func (r *replica) Sync() types.SyncResponse {
	r.heeds(true)
	defer r.heeds(false)
	if err := r.cfg.sync(r.ctx, r.queue, r.unpool); err != nil {
		r.log.Warn("sync failed", "err", err)
	}
	latest, sequence, err := lastDecision(r.cfg.App)
	if err != nil {
		r.end(err)
	}
	md, err := parseMetadata(latest.Proposal.Metadata)
	if err != nil {
		r.end(err)
	}
	r.mu.Lock()
	r.sequence, r.decidedIn = sequence, md.ViewId
	r.grows()
	r.mu.Unlock()
	r.awaitVote()
	r.order.restarted()
	change := r.changed()
	if change == nil {
		r.returns()
		r.countUnasked()
	}
	return types.SyncResponse{Latest: latest, Reconfig: types.ReconfigSync{
		InReplicatedDecisions: change != nil, CurrentNodes: change, CurrentConfig: smartConfig(r.cfg.ID)}}
}

// countUnasked ends the attempt when SmartBFT syncs in the place of deliveries.
func (r *replica) countUnasked() {
	r.mu.Lock()
	r.unasked++
	again := r.unasked >= maxUnasked
	r.mu.Unlock()
	if again && len(r.Nodes()) > 1 {
		r.fail(errSyncsOnly)
	}
}

// heeds notes that SmartBFT syncs, as it may have been told to, or has synced.
func (r *replica) heeds(syncing bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.syncing, r.unheeded = syncing, time.Time{}
}

// sync brings the ledger up to date. Meanwhile, and at the end, it takes out of
// the queue what the blocks make pointless, and gives removed what of it was in
// the pool: the lines fill with what others pass on, and what was decided here
// without this validator would keep its clients' transactions out.
func (c *Config) sync(ctx context.Context, q *queue, removed func([]*request)) error {
	if c.Syncer == nil {
		return nil
	}
	height := c.App.Head().Height
	tidy := func() {
		if h := c.App.Head().Height; h > height {
			height = h
			removed(q.prune(c.pointless))
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var tidies sync.WaitGroup
	tidies.Go(func() {
		tick := time.NewTicker(tidyEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				tidy()
			case <-ctx.Done():
				return
			}
		}
	})
	err := c.Syncer.Sync(ctx)
	cancel()
	tidies.Wait()
	tidy()
	return err
}

// tidyEvery is how often the queue is looked through while blocks are fetched.
const tidyEvery = 500 * time.Millisecond

// pointless says whether a transaction can no more stand in a block: it is
// refused for what will not pass.
func (c *Config) pointless(raw []byte) bool {
	var code abi.Code
	_, _, err := c.App.CheckRelayed(raw)
	return errors.As(err, &code) && !code.Passing()
}

// lastDecision reads the head's block as SmartBFT's decision, empty at height
// 0, and the verification sequence after it.
func lastDecision(app App) (types.Decision, uint64, error) {
	height := app.Head().Height
	if height == 0 {
		return types.Decision{}, 0, nil
	}
	rawBlock, rawCertificate, _, err := app.Block(height)
	if err != nil {
		return types.Decision{}, 0, fmt.Errorf("reading block %d: %w", height, err)
	}
	block, err := chain.ParseBlock(rawBlock)
	if err != nil {
		return types.Decision{}, 0, fmt.Errorf("block %d: %w", height, err)
	}
	certificate, err := chain.ParseCertificate(rawCertificate)
	if err != nil {
		return types.Decision{}, 0, fmt.Errorf("certificate of block %d: %w", height, err)
	}
	return decision(block, &certificate), sequenceAfter(&block.Header, certificate.Sequence), nil
}

// changed returns the validators' ids if they are others than SmartBFT knows,
// and notes them. It ends Run if this node is no longer among them, or under
// another key.
func (r *replica) changed() []uint64 {
	set := r.cfg.App.ValidatorSet()
	if err := r.cfg.member(set); err != nil {
		r.fail(err)
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := members(set)
	if slices.Equal(ids, members(r.set)) {
		return nil
	}
	r.set = set
	r.recovery.forget()
	for _, t := range r.tickers {
		t.Reset(tickPeriod(len(ids)))
	}
	return ids
}

func members(set chain.ValidatorSet) []uint64 {
	ids := make([]uint64, len(set))
	for i, v := range set {
		ids[i] = v.ID
	}
	return ids
}
