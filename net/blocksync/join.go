package blocksync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/net/peer"
)

// attempts is how often one snapshot is tried: each but the last ends with a
// peer that is at fault.
const attempts = 8

// JoinConfig is what Join works with. Peers, Genesis and Sink are required.
type JoinConfig struct {
	Peers   Peers
	Genesis []byte // encoded chain.Genesis, the root of all trust
	Sink    SnapshotSink
	Above   uint64       // snapshots at or below this height are of no use
	Logger  *slog.Logger // nil: none
}

// joining is one Join.
type joining struct {
	cfg     JoinConfig
	chain   abi.Hash
	conduct conduct
	failed  map[abi.Hash]int // how often the snapshot of a block could not be completed

	keys, bytes atomic.Uint64 // fetched
}

// Join makes a ledger out of the newest snapshot in reach that verifies, from
// all peers that have it. When it is interrupted, another Join goes on with
// what the sink has kept. ErrNoSnapshot and ErrNoPeers mean that nothing was
// begun or what was begun cannot be completed now; any other error is the
// sink's, or ctx has ended.
func Join(ctx context.Context, cfg JoinConfig) error {
	if cfg.Peers == nil || cfg.Sink == nil {
		return errors.New("blocksync: Peers, Genesis and Sink are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	genesis, err := chain.ParseGenesis(cfg.Genesis)
	if err != nil {
		return fmt.Errorf("joining: %w", err)
	}
	j := &joining{cfg: cfg, chain: chain.ChainID(cfg.Genesis), failed: map[abi.Hash]int{}}
	j.conduct = newConduct(cfg.Peers, cfg.Logger)
	for {
		m, err := j.choose(ctx, genesis)
		if err != nil {
			return err
		}
		err = j.take(ctx, m)
		if !errors.Is(err, ErrNoPeers) {
			return err
		}
		j.failed[m.Header.Hash()]++
		cfg.Logger.Warn("this snapshot cannot be completed, looking for another", "height", m.Header.Height)
	}
}

// one asks for an answer of one frame.
func (j *joining) one(ctx context.Context, key peer.Key, q *request) ([]byte, error) {
	a, err := ask(ctx, j.cfg.Peers, key, q, j.conduct.patience(key))
	if err != nil {
		return nil, err
	}
	defer a.close()
	frame, err := a.next()
	return frame, noEnd(err)
}

// fault is an error of a peer, not of the sink.
type fault struct{ error }

func (f fault) Unwrap() error { return f.error }

// take fetches a snapshot and finishes it. It returns ErrNoPeers when nobody
// can give what is missing.
func (j *joining) take(ctx context.Context, m *Manifest) error {
	begun := time.Now()
	for range attempts {
		key, err := j.attempt(ctx, m)
		_, faulty := errors.AsType[fault](err)
		switch {
		case err == nil:
			j.cfg.Logger.Info("joined by a snapshot", "height", m.Header.Height, "keys", j.keys.Load(), "bytes", j.bytes.Load(),
				"took", time.Since(begun).Round(time.Millisecond))
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case faulty:
			j.conduct.judge(key, err)
		case errors.Is(err, abi.CodeBadProof):
			j.conduct.judge(key, lies("replay guards: %w", err))
		default:
			return err
		}
	}
	return ErrNoPeers
}

// attempt fetches what is missing and finishes. Faults and wrong guards are
// those of the peer that it names.
func (j *joining) attempt(ctx context.Context, m *Manifest) (key peer.Key, err error) {
	done, err := j.cfg.Sink.Begin(m)
	if err != nil {
		return key, fmt.Errorf("beginning with the snapshot of height %d: %w", m.Header.Height, err)
	}
	if err := j.state(ctx, m, newPlan(m.Keys, done)); err != nil {
		return key, err
	}
	if key, err = j.anyone(ctx); err != nil {
		return key, err
	}
	if err := j.guardsOf(ctx, m, key); err != nil {
		return key, err
	}
	return key, j.cfg.Sink.Finish(ctx)
}

// anyone is a connected peer without a fault.
func (j *joining) anyone(ctx context.Context) (peer.Key, error) {
	for begun := time.Now(); time.Since(begun) < giveUpAfter; {
		if list := j.conduct.fit(); len(list) > 0 {
			return list[0].Key, nil
		}
		select {
		case <-ctx.Done():
			return peer.Key{}, context.Cause(ctx)
		case <-time.After(tick):
		}
	}
	return peer.Key{}, ErrNoPeers
}

// state fetches all chunks of the plan.
func (j *joining) state(ctx context.Context, m *Manifest, p *plan) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	group, inner := errgroup.WithContext(inner)
	group.Go(func() error {
		defer cancel()
		return p.finish(inner)
	})
	group.Go(func() error { j.report(inner, m, p); return nil })
	j.conduct.eachFit(inner, func(i peer.Info) {
		if p.join(i.Key) {
			group.Go(func() error { return j.attend(inner, m, p, i.Key) })
		}
	})
	err := group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// attend fetches chunks from one peer until that fails. An error is the sink's.
func (j *joining) attend(ctx context.Context, m *Manifest, p *plan, key peer.Key) error {
	defer p.leave(key)
	group, inner := errgroup.WithContext(ctx)
	for range chunksOfPeer {
		group.Go(func() error { return j.chunks(inner, m, p, key) })
	}
	err := group.Wait()
	if _, ok := errors.AsType[fault](err); !ok || ctx.Err() != nil {
		return err
	}
	j.conduct.judge(key, err)
	return nil
}

// chunks takes pieces and fetches them from a peer.
func (j *joining) chunks(ctx context.Context, m *Manifest, p *plan, key peer.Key) error {
	for {
		c, ok := p.take(ctx, key)
		if !ok {
			return nil
		}
		chunk, size, err := j.chunk(ctx, m, key, c)
		switch {
		case errors.Is(err, abi.CodeTooLarge) && !isLie(err) && c.depth < proof.MaxChunkDepth:
			p.tooLarge(c, key)
			continue
		case err != nil:
			p.giveBack(c)
			return fault{err}
		}
		if err := j.cfg.Sink.Chunk(c.prefix, c.depth, chunk); err != nil {
			return fmt.Errorf("keeping a chunk: %w", err)
		}
		j.keys.Add(uint64(len(chunk.Entries)))
		j.bytes.Add(uint64(size))
		p.done(c)
	}
}

// chunk fetches one chunk and verifies it.
func (j *joining) chunk(ctx context.Context, m *Manifest, key peer.Key, c piece) (*proof.Chunk, int, error) {
	frame, err := j.one(ctx, key, &request{kind: kindChunk, height: m.Header.Height, prefix: c.prefix, depth: c.depth})
	if err != nil {
		return nil, 0, err
	}
	chunk, err := proof.ParseChunk(frame)
	if err == nil {
		err = chunk.Verify(m.Header.State, c.prefix, c.depth)
	}
	if err != nil {
		return nil, 0, lies("chunk: %w", err)
	}
	return &chunk, len(frame), nil
}

// guardsOf hands over the replay guards that a peer sends.
func (j *joining) guardsOf(ctx context.Context, m *Manifest, key peer.Key) error {
	a, err := ask(ctx, j.cfg.Peers, key, &request{kind: kindGuards, height: m.Header.Height}, j.conduct.patience(key))
	if err != nil {
		return fault{err}
	}
	defer a.close()
	var last []byte
	for pages := 0; ; pages++ {
		page, err := a.next()
		if err == io.EOF && pages > 0 {
			return nil
		}
		if err != nil {
			return fault{noEnd(err)}
		}
		guards, err := proof.ParseGuards(page)
		if err != nil {
			return fault{lies("guards: %w", err)}
		}
		if pages == maxPages || len(guards) > 0 && bytes.Compare(guards[0].Key(), last) <= 0 {
			return fault{lies("page %d of the guards does not follow the one before", pages)}
		}
		if len(guards) > 0 {
			last = guards[len(guards)-1].Key()
		}
		if err := j.cfg.Sink.Guards(page); err != nil {
			return err
		}
	}
}

// report logs now and then how far the join is.
func (j *joining) report(ctx context.Context, m *Manifest, p *plan) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(reportEvery):
		}
		covered, peers := p.figures()
		j.cfg.Logger.Info("joining by a snapshot", "height", m.Header.Height, "percent", int(100*covered),
			"keys", j.keys.Load(), "bytes", j.bytes.Load(), "peers", peers)
	}
}
