package blocksync

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/net/peer"
)

// How long offers are waited for.
const (
	noOfferAfter = 10 * time.Second // without any answer
	offersAfter  = time.Second      // at least; then for all that are connected
	lateOffers   = 5 * time.Second  // for the slow ones
)

// offered is a snapshot and who has it.
type offered struct {
	offer
	by peer.Key
}

// choose finds the newest snapshot that verifies, or among those that could
// not be completed the one with the fewest failures.
func (j *joining) choose(ctx context.Context, genesis *chain.Genesis) (best *Manifest, err error) {
	list, err := j.offers(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b offered) int { return cmp.Compare(b.height, a.height) })
	for _, o := range list {
		m, err := j.manifest(ctx, o, genesis)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			j.conduct.judge(o.by, err)
			continue
		}
		if best == nil || j.failed[m.Header.Hash()] < j.failed[best.Header.Hash()] {
			best = m
		}
		if j.failed[best.Header.Hash()] == 0 {
			break
		}
	}
	if best == nil {
		return nil, ErrNoSnapshot
	}
	j.cfg.Logger.Info("joining by a snapshot", "height", best.Header.Height, "keys", best.Keys)
	return best, nil
}

// offers asks all peers what they have.
func (j *joining) offers(ctx context.Context) (list []offered, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	defer func() { cancel(); group.Wait() }()
	asked, answered, begun := map[peer.Key]bool{}, 0, time.Now()
	for {
		changed := j.cfg.Peers.Changed()
		for _, i := range j.cfg.Peers.Connected() {
			if asked[i.Key] {
				continue
			}
			asked[i.Key] = true
			group.Go(func() {
				o, err := j.offer(ctx, i.Key)
				if ctx.Err() == nil {
					j.conduct.judge(i.Key, err)
				}
				mu.Lock()
				defer mu.Unlock()
				answered++
				if err == nil && o.height > j.cfg.Above {
					list = append(list, offered{o, i.Key})
				}
			})
		}
		mu.Lock()
		waited, all := time.Since(begun), answered == len(asked)
		enough := all && answered > 0 && waited >= offersAfter || answered > 0 && waited >= lateOffers
		nobody := answered == 0 && waited >= noOfferAfter
		found := slices.Clone(list)
		mu.Unlock()
		switch {
		case enough:
			return found, nil
		case nobody:
			return nil, ErrNoPeers
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-changed:
		case <-time.After(tick):
		}
	}
}

// offer asks one peer; none is a height of 0.
func (j *joining) offer(ctx context.Context, key peer.Key) (offer, error) {
	frame, err := j.one(ctx, key, &request{kind: kindOffer})
	if errors.Is(err, abi.CodeNotFound) {
		return offer{}, nil
	}
	if err != nil {
		return offer{}, err
	}
	o, err := parseOffer(frame)
	if err != nil {
		return offer{}, lies("offer: %w", err)
	}
	return o, nil
}

// manifest fetches and verifies what a peer offered.
func (j *joining) manifest(ctx context.Context, o offered, genesis *chain.Genesis) (*Manifest, error) {
	if o.bytes > maxManifest {
		return nil, lies("a manifest of %d bytes", o.bytes)
	}
	a, err := ask(ctx, j.cfg.Peers, o.by, &request{kind: kindManifest, height: o.height}, j.conduct.patience(o.by))
	if err != nil {
		return nil, err
	}
	defer a.close()
	var raw []byte
	for {
		part, err := a.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if raw = append(raw, part...); len(raw) > maxManifest {
			return nil, lies("a manifest of more than %d bytes", maxManifest)
		}
	}
	m, err := ParseManifest(raw)
	if err != nil {
		return nil, lies("manifest: %w", err)
	}
	if m.Header.Height != o.height || m.Header.Height == 0 {
		return nil, lies("a manifest of height %d, %d was offered", m.Header.Height, o.height)
	}
	if err := m.Verify(&proof.Trusted{Chain: j.chain, Validators: genesis.Validators}); err != nil {
		return nil, lies("manifest of height %d: %w", o.height, err)
	}
	return m, nil
}
